//! The difference of two methods over repeats: each repeat has a seed, predictions of both methods
//! on the same test samples, and its difference of a metric. What can change the mean difference
//! are the seeds (initialisation, order, what a drawn split trains on) and the test samples, by
//! group; repeats may test on the same samples (a given split), on others, or partly on the same.
//!
//! With `d_s` the difference of seed s and S seeds, `d_s = theta + a_s + e_s`, where a_s is what
//! the seed adds and e_s what its test samples do:
//!
//! ```text
//! var(mean d) = var(a) / S + var(mean e)
//! var(mean e)   jackknife of mean d over groups, each left out of all repeats at once
//! var(a)        var_s(d_s) - S / (S - 1) (mean_s jackknife(d_s) - var(mean e)), at least 0
//! ```
//!
//! The second line of `var(a)` is what test samples alone make the repeats differ by, so that
//! samples are counted once, however many repeats share them. Degrees of freedom after
//! Satterthwaite (1946). What another training set of images would change is counted as far as
//! drawn splits show it.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::scorer::Scorer;
use crate::metrics::units::jackknife;

/// A metric of one repeat on all its test samples, and without each block of them.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaveOut {
    /// On all samples; `None` where it is undefined.
    pub value: Option<f64>,
    without: Vec<Option<f64>>,
    /// Between the smallest and the largest value of the metric.
    width: f64,
}

impl LeaveOut {
    /// `blocks` has the block of each sample, from 0 to `count - 1`: samples of a group are in one
    /// block, and a group is in the same block in all repeats. A block may be empty.
    pub fn new(predictions: &Predictions, metric: Metric, blocks: &[usize], count: usize) -> Self {
        let scorer = Scorer::new(predictions);
        let on = |counts: &[u32]| {
            scorer.scores(counts).into_iter().find(|(other, _)| *other == metric).and_then(|(_, score)| score.ok())
        };
        let value = on(&vec![1; predictions.len()]);
        let mut filled = vec![false; count];
        blocks.iter().for_each(|&block| filled[block] = true);
        let without = |left_out: usize| {
            if !filled[left_out] {
                return value;
            }
            let counts: Vec<u32> = blocks.iter().map(|&block| u32::from(block != left_out)).collect();
            on(&counts)
        };
        let [smallest, largest] = metric.range();
        LeaveOut { value, without: (0..count).into_par_iter().map(without).collect(), width: largest - smallest }
    }

    /// Second minus first.
    fn difference(first: &LeaveOut, second: &LeaveOut) -> Option<LeaveOut> {
        let minus = |(a, b): (&Option<f64>, &Option<f64>)| Some((*b)? - (*a)?);
        let value = Some(second.value? - first.value?);
        let without = first.without.iter().zip(&second.without).map(minus).collect();
        Some(LeaveOut { value, without, width: first.width })
    }
}

/// How much larger a metric is for the second method than for the first, over repeats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatedDifference {
    /// Mean over the repeats of second minus first.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Two-sided p-value of "no difference" by Student's t.
    pub p: f64,
    /// Standard error that the test samples cause.
    pub sample_error: f64,
    /// Standard error that the seeds cause; `None` for one repeat, which says nothing of it.
    pub seed_error: Option<f64>,
    /// Degrees of freedom.
    pub freedom: f64,
    /// Number of repeats in which both methods have the metric.
    pub repeats: usize,
}

/// The mean difference over repeats with its interval; the two slices hold the same repeats in the
/// same order, over the same blocks. `coverage` is between 0 and 1. `None` where no repeat has the
/// metric of both, or fewer than half of the blocks can be left out.
pub fn repeated_difference(first: &[LeaveOut], second: &[LeaveOut], coverage: f64) -> Option<RepeatedDifference> {
    let repeats: Vec<LeaveOut> = first.iter().zip(second).filter_map(|(a, b)| LeaveOut::difference(a, b)).collect();
    let blocks = repeats.first()?.without.len();
    let count = repeats.len() as f64;
    let values: Vec<f64> = repeats.iter().filter_map(|repeat| repeat.value).collect();
    let value = values.iter().sum::<f64>() / count;
    let mean_without = |block: usize| {
        let sum: Option<f64> = repeats.iter().map(|repeat| repeat.without[block]).sum();
        Some(sum? / count)
    };
    let of_samples = jackknife(value, (0..blocks).map(mean_without))?.powi(2);
    let mut of_seeds: Option<f64> = None;
    // Variance of the mean as the repeats alone show it.
    let mut observed = 0.0;
    if repeats.len() > 1 {
        let own = |repeat: &LeaveOut| Some(jackknife(repeat.value?, repeat.without.iter().copied())?.powi(2));
        let own_mean = repeats.iter().map(own).sum::<Option<f64>>()? / count;
        let between = values.iter().map(|other| (other - value).powi(2)).sum::<f64>() / (count - 1.0);
        let by_samples = count / (count - 1.0) * (own_mean - of_samples).max(0.0);
        observed = between / count;
        of_seeds = Some((between - by_samples).max(0.0) / count);
    }
    let variance = of_samples + of_seeds.unwrap_or(0.0);
    let error = variance.sqrt();
    let noise = of_samples.powi(2) / (blocks as f64 - 1.0) + observed.powi(2) / (count - 1.0).max(1.0);
    let freedom = if noise > 0.0 { variance.powi(2) / noise } else { blocks as f64 - 1.0 };
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let quantile = student.inverse_cdf((1.0 + coverage) / 2.0);
    let width = repeats[0].width;
    let (reach, p) = if error > 1e-12 {
        (quantile * error, 2.0 * student.sf((value / error).abs()))
    } else {
        // Nothing differs, or all by the same: as many more as so many units can have missed.
        let reach = width * quantile * quantile / (blocks as f64 + quantile * quantile);
        (reach, f64::from(u8::from(value.abs() <= reach)))
    };
    Some(RepeatedDifference {
        value,
        low: (value - reach).max(-width),
        high: (value + reach).min(width),
        p,
        sample_error: of_samples.sqrt(),
        seed_error: of_seeds.map(f64::sqrt),
        freedom,
        repeats: repeats.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repeat whose mean over blocks is taken: block b adds `values[b]`.
    fn mean(values: &[f64]) -> LeaveOut {
        let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
        let without = values.iter().map(|value| Some((sum - value) / (count - 1.0))).collect();
        LeaveOut { value: Some(sum / count), without, width: 1.0 }
    }

    /// A given split: the two errors by their textbook formulas.
    #[test]
    fn errors_of_means_are_those_of_the_textbook() {
        let zero = mean(&[0.0; 4]);
        let repeats = [mean(&[0.1, 0.3, 0.2, 0.6]), mean(&[0.3, 0.5, 0.4, 0.8])];
        let found = repeated_difference(&[zero.clone(), zero.clone()], &repeats, 0.95).unwrap();
        assert!((found.value - 0.4).abs() < 1e-12);
        // Means of the blocks over the repeats: .2 .4 .3 .7; their variance is .14 / 3, of four.
        assert!((found.sample_error - (0.14f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12, "{found:?}");
        // Repeats are .3 and .5: variance .02 of two; samples, all shared, make none of it.
        assert!((found.seed_error.unwrap() - 0.1).abs() < 1e-12, "{found:?}");
        let variance: f64 = 0.14 / 12.0 + 0.01;
        let freedom = variance.powi(2) / ((0.14f64 / 12.0).powi(2) / 3.0 + 0.01f64.powi(2));
        assert!((found.freedom - freedom).abs() < 1e-9, "{found:?}");
        let one = repeated_difference(&[zero], &repeats[..1], 0.95).unwrap();
        assert_eq!((one.seed_error, one.repeats, one.freedom), (None, 1, 3.0));
    }

    /// Test samples of their own: what they make the repeats differ by is not counted twice.
    #[test]
    fn repeats_on_other_samples_are_counted_once() {
        let split = |values: [f64; 3], at: usize| {
            let own = mean(&values);
            let mut without = vec![own.value; 6];
            without[at..at + 3].copy_from_slice(&own.without);
            LeaveOut { without, ..own }
        };
        let zero = LeaveOut { value: Some(0.0), without: vec![Some(0.0); 6], width: 1.0 };
        let repeats = [split([0.1, 0.2, 0.3], 0), split([0.15, 0.25, 0.35], 3)];
        let found = repeated_difference(&[zero.clone(), zero], &repeats, 0.95).unwrap();
        // Each mean varies by .01 / 3; the jackknife over all six blocks has 5 / 6 instead of 2 / 3.
        let expected = 0.01 / 3.0 / 2.0 * (5.0 / 6.0) / (2.0 / 3.0);
        assert!((found.sample_error.powi(2) - expected).abs() < 1e-12, "{found:?}");
        assert_eq!(found.seed_error, Some(0.0));
    }

    #[test]
    fn what_is_undefined_or_never_differs_is_told() {
        let (same, none) = (mean(&[0.5; 8]), LeaveOut { value: None, ..mean(&[0.5; 8]) });
        assert_eq!(repeated_difference(std::slice::from_ref(&none), std::slice::from_ref(&same), 0.95), None);
        let found = repeated_difference(&[same.clone(), none], &[same.clone(), same], 0.95).unwrap();
        assert_eq!((found.repeats, found.value, found.p), (1, 0.0, 1.0));
        assert!(found.low < -0.1 && found.high > 0.1, "eight blocks cannot exclude much: {found:?}");
    }
}
