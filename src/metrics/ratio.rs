//! Means and shares as ratios of two sums over units: `sum of values / sum of weights`, with the
//! interval of a mean by the studentised bootstrap.

use rand::Rng;
use rayon::prelude::*;

use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::interval::{Basis, Interval, IntervalMethod, student};
use crate::metrics::units::Units;
use crate::support::seed::Seed;

/// Units from which on resampling them tells how a studentised mean is distributed.
const MIN_UNITS: usize = 10;

/// Of one sample, or of one unit: the sum of its values and of their weights.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Part {
    pub(super) value: f64,
    pub(super) weight: f64,
}

/// A ratio of sums over units.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    /// Of the units that have some weight.
    parts: Vec<Part>,
    total: Part,
}

impl Ratio {
    /// Of samples, each with its part.
    pub(super) fn new(units: &Units, samples: impl Iterator<Item = (usize, Part)>) -> Self {
        let mut parts = vec![Part::default(); units.len()];
        let mut total = Part::default();
        for (sample, part) in samples {
            let unit = &mut parts[units.of(sample)];
            unit.value += part.value;
            unit.weight += part.weight;
            total.value += part.value;
            total.weight += part.weight;
        }
        parts.retain(|part| part.weight > 0.0);
        Ratio { parts, total }
    }

    /// Number of units that have some weight.
    pub(super) fn units(&self) -> usize {
        self.parts.len()
    }

    /// Of a share: what it counts.
    pub(super) fn hits(&self) -> f64 {
        self.total.value
    }

    /// Of a share: what is missing to 1, counted.
    pub(super) fn errors(&self) -> f64 {
        self.total.weight - self.total.value
    }

    /// What a share rests on: its weight.
    pub(super) fn basis(&self) -> Basis {
        Basis::new(&self.parts.iter().map(|part| part.weight).collect::<Vec<f64>>())
    }

    pub(super) fn value(&self) -> f64 {
        self.total.value / self.total.weight
    }

    /// By linearisation: `sqrt(U / (U - 1) * sum (value_u - ratio * weight_u)^2) / weight`.
    pub(super) fn standard_error(&self) -> f64 {
        let (ratio, units) = (self.value(), self.parts.len() as f64);
        let squares: f64 = self.parts.iter().map(|part| (part.value - ratio * part.weight).powi(2)).sum();
        if units < 2.0 { 0.0 } else { (units / (units - 1.0) * squares).sqrt() / self.total.weight }
    }

    /// The interval of a mean of values from 0 to `largest`: bootstrap-t (Efron 1981, Hall 1988),
    /// where each resample of the units gives `t = (mean* - mean) / error*`; with few units
    /// Student's t.
    pub(super) fn bootstrap_t(&self, bootstrap: &Bootstrap, largest: f64) -> Interval {
        let (mean, error) = (self.value(), self.standard_error());
        let tail = (1.0 - bootstrap.coverage) / 2.0;
        let of_ends = |low: f64, high: f64, method| Interval { low: low.max(0.0), high: high.min(largest), method };
        let mut drawn = match self.parts.len() {
            few if few < MIN_UNITS => Vec::new(),
            _ => self.studentised(bootstrap, mean),
        };
        if drawn.len() < bootstrap.resamples.div_ceil(2) || drawn.len() < 2 {
            let reach = error * student(1.0 - tail, self.parts.len());
            return of_ends(mean - reach, mean + reach, IntervalMethod::StudentT);
        }
        drawn.sort_by(f64::total_cmp);
        let low = mean - error * quantile(&drawn, 1.0 - tail);
        of_ends(low, mean - error * quantile(&drawn, tail), IntervalMethod::BootstrapT)
    }

    /// The defined `t` of the resamples.
    fn studentised(&self, bootstrap: &Bootstrap, mean: f64) -> Vec<f64> {
        let seed = Seed::new(bootstrap.seed).named("bootstrap");
        let units = self.parts.len();
        let scale = units as f64 / (units as f64 - 1.0);
        let of_resample = |resample: usize| {
            let mut random = seed.numbered(resample as u64).random();
            let mut total = Part::default();
            // Sums of value^2, value * weight, weight^2.
            let mut squares = [0.0; 3];
            for _ in 0..units {
                let Part { value, weight } = self.parts[random.gen_range(0..units)];
                total.value += value;
                total.weight += weight;
                squares[0] += value * value;
                squares[1] += value * weight;
                squares[2] += weight * weight;
            }
            let ratio = total.value / total.weight;
            let residuals = squares[0] - 2.0 * ratio * squares[1] + ratio * ratio * squares[2];
            let error = (scale * residuals.max(0.0)).sqrt() / total.weight;
            // Equal values leave nothing but rounding.
            (residuals > 1e-12 * squares[0]).then(|| (ratio - mean) / error)
        };
        (0..bootstrap.resamples).into_par_iter().filter_map(of_resample).collect()
    }
}

/// The quantile of sorted values with linear interpolation between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[1.0], 0.975), 1.0);
    }
}
