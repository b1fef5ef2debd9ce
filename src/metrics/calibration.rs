//! Whether probabilities mean what they say: reliability bins and the expected calibration error.

use serde::{Deserialize, Serialize};

use crate::metrics::estimate::{Score, Undefined};

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
