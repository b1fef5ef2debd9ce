//! Intervals of figures on a bounded scale: Wilson's score interval at an effective sample size.
//!
//! A percentile interval of a share is too short, and has no width where all is right or wrong.
//! Wilson (1927, JASA 22) inverts the test of each share `q` instead, `|p - q| <= z sqrt(q (1 - q)
//! / n)`. Where observations depend on each other, `n` is the effective sample size, by which the
//! variance of the share is `p (1 - p) / n` (Korn and Graubard 1998, Survey Methodology 24; Dean
//! and Pagano 2015, J. Surv. Stat. Methodol. 3), and `z` is Student's t of the number of groups.
//! The same is done for every figure from 0 to 1 whose standard error is known.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

/// How an interval was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntervalMethod {
    /// Shares: Wilson's score interval (1927); with groups at the effective sample size (Korn and
    /// Graubard 1998).
    Wilson,
    /// Areas under the ROC curve: score interval at the effective sample size of DeLong's variance
    /// (DeLong et al. 1988); with groups Obuchowski's (1997).
    Delong,
    /// Other figures on a bounded scale: score interval at the effective sample size of the
    /// jackknife variance (Tukey 1958) over samples or groups.
    Jackknife,
    /// Means of losses: studentised bootstrap (Efron 1981, Hall 1988) over samples or groups.
    BootstrapT,
    /// Means of losses over fewer than ten samples or groups, and differences: Student's t.
    StudentT,
    /// Calibration errors: around the debiased error, by the variance of folded normal variables.
    FoldedNormal,
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) method: IntervalMethod,
}

/// The quantile of Student's t with `units - 1` degrees of freedom; of the normal distribution for
/// fewer than two units.
pub(super) fn student(share: f64, units: usize) -> f64 {
    match units.checked_sub(1).map(|freedom| StudentsT::new(0.0, 1.0, freedom as f64)) {
        Some(Ok(distribution)) if units < 100_000 => distribution.inverse_cdf(share),
        _ => Normal::standard().inverse_cdf(share),
    }
}

/// The two-sided p-value of `difference / error` by Student's t with `units - 1` degrees of
/// freedom.
pub(super) fn two_sided(difference: f64, error: f64, units: usize) -> f64 {
    if error <= 0.0 {
        return f64::from(u8::from(difference == 0.0));
    }
    let t = (difference / error).abs();
    match units.checked_sub(1).map(|freedom| StudentsT::new(0.0, 1.0, freedom as f64)) {
        Some(Ok(distribution)) if units < 100_000 => 2.0 * distribution.sf(t),
        _ => statrs::function::erf::erfc(t / std::f64::consts::SQRT_2),
    }
}

/// Errors that the assumption of groups that are right or wrong as a whole counts for.
const PRIOR: f64 = 0.5;

/// What a figure on a bounded scale rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Basis {
    /// Observations, if all were independent.
    pub(super) size: f64,
    /// Observations in the unit of an observation, on average; 1 without groups.
    pub(super) clustering: f64,
    /// Units.
    pub(super) units: usize,
}

impl Basis {
    /// Of the number of observations of each unit.
    pub(super) fn new(observations: &[f64]) -> Self {
        let size: f64 = observations.iter().sum();
        let squares: f64 = observations.iter().map(|count| count * count).sum();
        let clustering = if size > 0.0 { squares / size } else { 1.0 };
        Basis { size, clustering, units: observations.iter().filter(|count| **count > 0.0).count() }
    }

    /// Of the mean of figures over `all`, each independent of the others: `1 / size` is the mean of
    /// the `1 / size`, divided by their number.
    pub(super) fn mean(all: &[Basis], units: usize) -> Self {
        let variance: f64 = all.iter().map(|basis| 1.0 / basis.size).sum();
        let clustered: f64 = all.iter().map(|basis| basis.clustering / basis.size).sum();
        let count = all.len() as f64;
        Basis { size: count * count / variance, clustering: clustered / variance, units }
    }

    /// Of the ranks of `self` positive samples among negative ones: near an area of 1 its variance
    /// is `area (1 - area) / (4 m n / (m + n))` (Newcombe 2006, Statistics in Medicine 25, method
    /// 5).
    pub(super) fn against(self, negatives: Basis) -> Basis {
        if self.size == 0.0 || negatives.size == 0.0 {
            return Basis { size: 0.0, clustering: 1.0, units: 0 };
        }
        let (positive, negative) = (1.0 / self.size, 1.0 / negatives.size);
        let clustering = (self.clustering * positive + negatives.clustering * negative) / (positive + negative);
        Basis { size: 4.0 / (positive + negative), clustering, units: self.units + negatives.units }
    }

    /// The score interval of `value`, from `range[0]` to `range[1]`.
    ///
    /// Of independent observations the effective sample size is at most their number, and this
    /// where no error is known. The effect of groups cannot be told from a few errors: it is
    /// averaged with that of groups that are right or wrong as a whole, which has the weight of one
    /// error.
    pub(super) fn interval(self, value: f64, error: Option<f64>, range: [f64; 2], coverage: f64) -> [f64; 2] {
        let width = range[1] - range[0];
        let share = ((value - range[0]) / width).clamp(0.0, 1.0);
        let variance = error.map(|error| (error / width).powi(2)).filter(|variance| *variance > 0.0);
        let estimated = variance.map_or(1.0, |variance| self.size * variance / (share * (1.0 - share)));
        let effect = if self.clustering > 1.0 {
            let errors = self.size * share.min(1.0 - share);
            (errors * estimated + PRIOR * self.clustering) / (errors + PRIOR)
        } else {
            estimated.max(1.0)
        };
        let upper = (1.0 + coverage) / 2.0;
        let is_exact = error.is_none() && self.clustering <= 1.0;
        let quantile = if is_exact { student(upper, 0) } else { student(upper, self.units) };
        wilson(share, (self.size / effect).max(1.0), quantile).map(|end| range[0] + width * end)
    }
}

/// The shares `q` of `|p - q| <= z sqrt(q (1 - q) / n)`.
fn wilson(share: f64, size: f64, quantile: f64) -> [f64; 2] {
    let z = quantile * quantile / size;
    let centre = share + 0.5 * z;
    let reach = quantile * ((share * (1.0 - share) + 0.25 * z) / size).sqrt();
    // The ends of the scale are ends of the interval, but for rounding.
    let low = if share == 0.0 { 0.0 } else { (centre - reach) / (1.0 + z) };
    let high = if share == 1.0 { 1.0 } else { (centre + reach) / (1.0 + z) };
    [low.max(0.0), high.min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_shares_are_those_of_the_literature() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        for (hits, size, low, high) in [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ] {
            let found = wilson(hits / size, size, student(0.975, 0));
            assert!((found[0] - low).abs() < 5e-5 && (found[1] - high).abs() < 5e-5, "{found:?}");
        }
    }

    #[test]
    fn quantiles_and_tails_are_scipy_s() {
        // scipy.stats.t.ppf(.975, df), norm.ppf(.975), 2 * t.sf(t, df), 2 * norm.sf(t)
        for (units, quantile) in
            [(2, 12.706204736174694), (10, 2.262157162798205), (300, 1.9679296690653), (0, 1.959963984540054)]
        {
            assert!((student(0.975, units) - quantile).abs() < 1e-8 * quantile, "{units}: {}", student(0.975, units));
        }
        assert!((two_sided(2.0, 1.0, 11) - 0.07338803477074037).abs() < 1e-10);
        assert!((two_sided(8.0, 1.0, 0) - 1.2441921148543568e-15).abs() < 1e-24);
        assert_eq!([two_sided(0.0, 0.0, 9), two_sided(0.1, 0.0, 9)], [1.0, 0.0]);
    }

    #[test]
    fn groups_that_are_right_as_a_whole_count_as_one_observation_each() {
        let single = Basis { size: 60.0, clustering: 1.0, units: 60 };
        let grouped = Basis::new(&[6.0; 10]);
        assert_eq!((grouped.size, grouped.clustering, grouped.units), (60.0, 6.0, 10));
        let [low, high] = single.interval(1.0, None, [0.0, 1.0], 0.95);
        let [wide, end] = grouped.interval(1.0, Some(0.0), [0.0, 1.0], 0.95);
        assert!((low - 0.9398).abs() < 1e-4 && high == 1.0 && end == 1.0);
        // Ten observations, Student's t with nine degrees of freedom.
        assert!((wide - 10.0 / (10.0 + 2.262157f64.powi(2))).abs() < 1e-4, "{wide}");
    }
}
