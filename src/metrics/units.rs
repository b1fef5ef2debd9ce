//! What is independent of each other: samples, or groups where there are groups; and the standard
//! error of a figure over them.

use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::metrics::predictions::Predictions;
use crate::support::seed::Seed;

/// Most blocks of units that a jackknife leaves out one by one: with more units, each block holds
/// several of them, drawn at random.
const MAX_BLOCKS: usize = 300;

/// The independent units behind predictions.
#[derive(Clone, Debug)]
pub(super) struct Units {
    /// Unit of each sample.
    of: Vec<usize>,
    count: usize,
    /// Whether a unit can hold several samples.
    pub(super) is_grouped: bool,
}

impl Units {
    pub(super) fn new(predictions: &Predictions) -> Self {
        match (&predictions.groups, predictions.group_count()) {
            (Some(groups), Some(count)) => Units { of: groups.clone(), count, is_grouped: true },
            _ => Units { of: (0..predictions.len()).collect(), count: predictions.len(), is_grouped: false },
        }
    }

    /// Number of units.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The unit of a sample.
    pub(super) fn of(&self, sample: usize) -> usize {
        self.of[sample]
    }

    /// Number of samples of each unit, where each sample occurs once.
    pub(super) fn sizes(&self) -> Vec<f64> {
        self.sums(self.of.iter().enumerate().map(|(sample, _)| (sample, 1.0)))
    }

    /// Sums by unit of one value per sample.
    pub(super) fn sums(&self, values: impl Iterator<Item = (usize, f64)>) -> Vec<f64> {
        let mut sums = vec![0.0; self.count];
        values.for_each(|(sample, value)| sums[self.of[sample]] += value);
        sums
    }

    /// What `figures` makes of the samples without each block of units in turn.
    pub(super) fn leave_out<T: Send>(&self, figures: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        let blocks = self.count.min(MAX_BLOCKS);
        let mut order: Vec<usize> = (0..self.count).collect();
        if blocks < self.count {
            order.shuffle(&mut Seed::new(0).named("jackknife").random());
        }
        let mut block = vec![0; self.count];
        order.iter().enumerate().for_each(|(at, &unit)| block[unit] = at % blocks);
        let without = |left_out: usize| {
            let counts: Vec<u32> = self.of.iter().map(|&unit| u32::from(block[unit] != left_out)).collect();
            figures(&counts)
        };
        (0..blocks).into_par_iter().map(without).collect()
    }
}

/// The standard error of a figure from its values without each block (Tukey 1958):
/// `sqrt((B - 1) / B * sum (value_b - value)^2)`. `None` where fewer than half of them, or fewer
/// than two, are defined.
pub(super) fn jackknife(value: f64, without: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let all: Vec<Option<f64>> = without.collect();
    let defined: Vec<f64> = all.iter().copied().flatten().collect();
    if defined.len() < 2 || 2 * defined.len() < all.len() {
        return None;
    }
    let count = defined.len() as f64;
    Some(((count - 1.0) / count * defined.iter().map(|other| (other - value).powi(2)).sum::<f64>()).sqrt())
}

/// The standard error of a sum of contributions, one per unit, whose mean is subtracted:
/// `sqrt(U / (U - 1) * sum (x_u - mean)^2)`; 0 for fewer than two units.
pub(super) fn error_of_sum(contributions: &[f64]) -> f64 {
    let count = contributions.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = contributions.iter().sum::<f64>() / count;
    (count / (count - 1.0) * contributions.iter().map(|value| (value - mean).powi(2)).sum::<f64>()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jackknife_of_a_mean_is_its_standard_error() {
        let values = [1.0, 4.0, 2.0, 9.0];
        let mean =
            |without: usize| values.iter().enumerate().filter(|(at, _)| *at != without).map(|v| v.1).sum::<f64>() / 3.0;
        let found = jackknife(4.0, (0..4).map(|without| Some(mean(without)))).unwrap();
        let expected = (values.iter().map(|value| (value - 4.0f64).powi(2)).sum::<f64>() / 3.0 / 4.0).sqrt();
        assert!((found - expected).abs() < 1e-12);
        assert!((error_of_sum(&values.map(|value| value / 4.0)) - expected).abs() < 1e-12);
        assert_eq!(jackknife(1.0, [None, None, Some(1.0)].into_iter()), None);
    }
}
