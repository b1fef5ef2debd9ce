//! Whether probabilities mean what they say: reliability bins and the expected calibration error.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use statrs::function::erf::erf;

use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::interval::{Interval, IntervalMethod, student};
use crate::metrics::units::{Units, error_of_sum};

/// Number of bins of equal width over 0 to 1.
pub const CALIBRATION_BINS: usize = 15;

/// Samples whose stated probability lies in `(low, high]` (0 belongs to the first bin).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Lower end, exclusive.
    pub low: f64,
    /// Upper end, inclusive.
    pub high: f64,
    /// Number of samples.
    pub n: usize,
    /// Mean stated probability; `None` for an empty bin.
    pub confidence: Option<f64>,
    /// Share of the samples for which it came true; `None` for an empty bin.
    pub accuracy: Option<f64>,
}

/// One statement per sample: how probable something was said to be, and whether it came true.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    pub(super) sample: u32,
    pub(super) bin: u32,
    pub(super) probability: f64,
    pub(super) came_true: f64,
}

impl Statement {
    pub(super) fn new(sample: usize, probability: f64, came_true: bool) -> Self {
        let bin = (1..CALIBRATION_BINS).take_while(|&edge| edge as f64 * WIDTH < probability).count();
        Statement { sample: sample as u32, bin: bin as u32, probability, came_true: f64::from(u8::from(came_true)) }
    }
}

const WIDTH: f64 = 1.0 / CALIBRATION_BINS as f64;

/// Weighted sums per bin: samples, probabilities, outcomes.
fn bins(statements: &[Statement], counts: &[u32]) -> [[f64; 3]; CALIBRATION_BINS] {
    let mut bins = [[0.0; 3]; CALIBRATION_BINS];
    for statement in statements {
        let count = f64::from(counts[statement.sample as usize]);
        let bin = &mut bins[statement.bin as usize];
        bin[0] += count;
        bin[1] += count * statement.probability;
        bin[2] += count * statement.came_true;
    }
    bins
}

/// Sum over bins of their share of the samples times |outcome rate - mean probability| (Naeini
/// 2015, Guo 2017).
pub(super) fn calibration_error(statements: &[Statement], counts: &[u32]) -> Score {
    let bins = bins(statements, counts);
    let total: f64 = bins.iter().map(|bin| bin[0]).sum();
    if total == 0.0 {
        return Err(Undefined::NoSamples);
    }
    Ok(bins.iter().map(|[_, probabilities, outcomes]| (outcomes - probabilities).abs()).sum::<f64>() / total)
}

/// The differences of shares and probabilities in the bins of several labels, with their errors:
/// what the debiased calibration error and its interval are computed from.
///
/// In a bin of n of the N statements about one of L labels let `d = (outcomes - probabilities) / (N
/// L)`; the calibration error is the sum of the `|d|`. The variance of d is `s^2 = n v (1 - v) g /
/// (N L)^2`, where v is the share of outcomes with one more of the mean probability, and g the
/// effect of groups. `|d|` is the size of a normal variable: around a true t its mean is `m = s
/// sqrt(2 / pi) exp(-t^2 / 2 s^2) + t erf(t / s sqrt 2)` and its variance `t^2 + s^2 - m^2`. The
/// truth is taken to be `t = c sqrt(max(0, d^2 - s^2))` with one c for all bins (at the upper end
/// of the interval also `t = c s`): the debiased error is the sum of the t where the sum of the m
/// is the error seen, and the interval holds those for which the error seen is within their tails.
#[derive(Clone, Debug)]
pub(super) struct CalibrationBins {
    bins: Vec<Bin>,
    /// Unit, bin, difference of outcomes and probabilities over N L.
    differences: Vec<(usize, usize, f64)>,
    /// Unit, label, statements over N.
    statements: Vec<(usize, usize, f64)>,
    units: usize,
    is_grouped: bool,
    labels: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bin {
    label: usize,
    difference: f64,
    variance: f64,
    /// Statements.
    n: f64,
}

/// How the truth is distributed over bins.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// As the differences beyond their errors, `sqrt(max(0, d^2 - s^2))`.
    Seen,
    /// As the errors.
    Even,
}

impl Bin {
    fn shape(&self, shape: Shape) -> f64 {
        match shape {
            Shape::Seen => (self.difference * self.difference - self.variance).max(0.0).sqrt(),
            Shape::Even => self.variance.sqrt(),
        }
    }

    /// Mean, variance and slope over the truth of the size of the difference. The size of the
    /// difference of few statements varies more than that of a normal variable: that of one is the
    /// larger the rarer the outcome.
    fn folded_normal(&self, truth: f64) -> [f64; 3] {
        if self.variance <= 0.0 {
            return [truth, 0.0, 1.0];
        }
        let z = truth / (2.0 * self.variance).sqrt();
        let slope = erf(z);
        let mean = (2.0 * self.variance / PI).sqrt() * (-z * z).exp() + truth * slope;
        let least = self.variance * (1.0 - 2.0 / PI * self.n / (self.n + 2.0));
        [mean, (truth * truth + self.variance - mean * mean).max(least), slope]
    }
}

/// Halvings of the interval that a root is in.
const HALVINGS: usize = 60;

impl CalibrationBins {
    /// `None` without any statement.
    pub(super) fn new(labels: &[&[Statement]], units: &Units) -> Option<Self> {
        let known: Vec<&[Statement]> = labels.iter().copied().filter(|statements| !statements.is_empty()).collect();
        let mut found = CalibrationBins {
            bins: Vec::new(),
            differences: Vec::new(),
            statements: Vec::new(),
            units: units.len(),
            is_grouped: units.is_grouped,
            labels: known.len(),
            count: known.iter().map(|statements| statements.len()).sum(),
        };
        for (label, statements) in known.iter().enumerate() {
            let scale = (statements.len() * known.len()) as f64;
            let once = vec![1; statements.iter().map(|statement| statement.sample as usize + 1).max().unwrap_or(0)];
            let sums = bins(statements, &once);
            // Number of statements and difference of outcomes and probabilities.
            let mut by_unit: BTreeMap<(usize, u32), [f64; 2]> = BTreeMap::new();
            for statement in *statements {
                let part = by_unit.entry((units.of(statement.sample as usize), statement.bin)).or_default();
                part[0] += 1.0;
                part[1] += statement.came_true - statement.probability;
            }
            let effect = if units.is_grouped { effect_of_groups(&sums, &by_unit) } else { 1.0 };
            let first = found.bins.len();
            found.bins.extend(sums.into_iter().map(|[n, probabilities, outcomes]| {
                let difference = (outcomes - probabilities) / scale;
                let share = if n > 0.0 { (outcomes + probabilities / n) / (n + 1.0) } else { 0.0 };
                let variance = n * share * (1.0 - share).max(0.0) * effect / (scale * scale);
                Bin { label, difference, variance, n }
            }));
            for ((unit, bin), [n, difference]) in by_unit {
                found.differences.push((unit, first + bin as usize, difference / scale));
                found.statements.push((unit, label, n / statements.len() as f64));
            }
        }
        (!known.is_empty()).then_some(found)
    }

    /// The calibration error: the sum of the `|d|`.
    fn error(&self) -> f64 {
        self.bins.iter().map(|bin| bin.difference.abs()).sum()
    }

    /// What each unit adds to the error to first order where each bin's truth is given, and the
    /// variance that is of no first order; with `is_coherent` all differences have one sign.
    fn influences(&self, truth: &dyn Fn(&Bin) -> f64, is_coherent: bool) -> (Vec<f64>, f64) {
        let folded: Vec<[f64; 3]> = self.bins.iter().map(|bin| bin.folded_normal(truth(bin))).collect();
        let sign = |bin: usize| if is_coherent { 1.0 } else { self.bins[bin].difference.signum() };
        let slope = |bin: usize| folded[bin][2] * sign(bin);
        let mut linear = vec![0.0; self.labels];
        let mut influences = vec![0.0; self.units];
        for &(unit, bin, difference) in &self.differences {
            influences[unit] += slope(bin) * difference;
            linear[self.bins[bin].label] += slope(bin) * difference;
        }
        for &(unit, label, share) in &self.statements {
            influences[unit] -= share * linear[label];
        }
        let remainder = self.bins.iter().zip(&folded);
        let remainder = remainder.map(|(bin, [_, variance, slope])| (variance - slope * slope * bin.variance).max(0.0));
        (influences, remainder.sum())
    }

    /// `quantile` errors above (or below) the mean of the error where each bin's truth is given.
    fn tail(&self, truth: &dyn Fn(&Bin) -> f64, quantile: f64) -> f64 {
        let [mut mean, mut variance] = [0.0; 2];
        for [own_mean, own_variance, _] in self.bins.iter().map(|bin| bin.folded_normal(truth(bin))) {
            mean += own_mean;
            variance += own_variance;
        }
        if quantile == 0.0 {
            return mean;
        }
        let error = |is_coherent: bool| {
            let (influences, remainder) = self.influences(truth, is_coherent);
            // Statements that are all alike have no spread to be seen.
            (error_of_sum(&influences).powi(2) + remainder).max(variance).sqrt()
        };
        // Groups move the differences of all bins together.
        let together = if self.is_grouped { error(true) } else { 0.0 };
        mean + quantile * error(false).max(together)
    }

    /// The true error of a shape for which the error seen lies `quantile` errors from its mean; at
    /// least 0.
    fn solve(&self, shape: Shape, quantile: f64) -> f64 {
        let shapes: f64 = self.bins.iter().map(|bin| bin.shape(shape)).sum();
        let seen = self.error();
        if shapes == 0.0 || self.tail(&|_| 0.0, quantile) >= seen {
            return 0.0;
        }
        // No error is above 1.
        let mut ends = [0.0, 1.0 / shapes];
        for _ in 0..HALVINGS {
            let middle = 0.5 * (ends[0] + ends[1]);
            let below = self.tail(&|bin| middle * bin.shape(shape), quantile) < seen;
            ends[usize::from(!below)] = middle;
        }
        shapes * ends[0]
    }

    /// The debiased error, at least 0.
    pub(super) fn debiased(&self) -> f64 {
        let seen = self.solve(Shape::Seen, 0.0);
        // Where no bin differs by more than its error, all may by as much.
        if seen > 0.0 { seen } else { self.solve(Shape::Even, 0.0) }
    }

    /// The interval of the true error.
    pub(super) fn interval(&self, coverage: f64) -> Interval {
        let quantile = student((1.0 + coverage) / 2.0, self.units);
        let method = IntervalMethod::FoldedNormal;
        if self.bins.iter().all(|bin| bin.variance == 0.0) {
            // Statements that were certain and all came true, or none: as many otherwise as so many
            // can have missed.
            let missed = quantile * quantile / (self.count as f64 + quantile * quantile);
            let (low, high) = ((self.error() - missed).max(0.0), (self.error() + missed).min(1.0));
            return Interval { low, high, method };
        }
        let high = self.solve(Shape::Seen, -quantile).max(self.solve(Shape::Even, -quantile)).min(1.0);
        Interval { low: self.solve(Shape::Seen, quantile), high, method }
    }

    /// How much larger the error of `other` is, with the standard error of that: what the same
    /// units add to both cancels.
    pub(super) fn difference(&self, other: &CalibrationBins) -> (f64, f64) {
        let influences = |bins: &CalibrationBins| bins.influences(&|bin| bin.shape(Shape::Seen), false);
        let (first, second) = (influences(self), influences(other));
        let linear: Vec<f64> = second.0.iter().zip(&first.0).map(|(second, first)| second - first).collect();
        let variance = error_of_sum(&linear).powi(2) + first.1 + second.1;
        (other.error() - self.error(), variance.sqrt())
    }
}

/// How much larger the squares of whole units' differences within bins are than those of
/// independent statements; at least 1.
fn effect_of_groups(bins: &[[f64; 3]; CALIBRATION_BINS], by_unit: &BTreeMap<(usize, u32), [f64; 2]>) -> f64 {
    let of_bin = |[n, _, outcomes]: &[f64; 3]| if *n > 0.0 { outcomes * (1.0 - outcomes / n) } else { 0.0 };
    let expected: f64 = bins.iter().map(of_bin).sum();
    let residual = |((_, bin), [n, difference]): (&(usize, u32), &[f64; 2])| {
        let [count, probabilities, outcomes] = bins[*bin as usize];
        (difference - n * (outcomes - probabilities) / count).powi(2)
    };
    let found: f64 = by_unit.iter().map(residual).sum();
    if expected > 0.0 { (found / expected).max(1.0) } else { 1.0 }
}

/// The bins of a reliability diagram.
pub(super) fn reliability(statements: &[Statement], counts: &[u32]) -> Vec<ReliabilityBin> {
    let describe = |(index, [n, probabilities, outcomes]): (usize, [f64; 3])| ReliabilityBin {
        low: index as f64 * WIDTH,
        high: (index + 1) as f64 / CALIBRATION_BINS as f64,
        n: n as usize,
        confidence: (n > 0.0).then(|| probabilities / n),
        accuracy: (n > 0.0).then(|| outcomes / n),
    };
    bins(statements, counts).into_iter().enumerate().map(describe).collect()
}

/// -ln p, p clipped to `[2^-52, 1 - 2^-52]`.
pub(super) fn surprise(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_edges_belong_to_their_bin_and_zero_to_the_first() {
        let bin = |probability| Statement::new(0, probability, true).bin;
        assert_eq!([bin(0.0), bin(WIDTH), bin(WIDTH + 1e-12), bin(1.0)], [0, 0, 1, 14]);
    }
}
