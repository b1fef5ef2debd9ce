//! The difference of two sets of predictions on the same samples, with its interval: is one really
//! better?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{MetricError, Result};
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::evaluation::Scorer;
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;

/// How much larger a metric is for the second predictions than for the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Second minus first, on all samples; `None` where either is undefined.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Two-sided bootstrap p-value of "no difference": twice the smaller share of resamples on
    /// either side of 0, from 1 / (resamples + 1) to 1.
    pub p: Option<f64>,
    /// Number of samples.
    pub n: usize,
}

/// The paired difference of every metric: both predictions are resampled together, so that what the
/// samples share cancels.
///
/// # Errors
/// [`MetricError::Unpaired`] when truth, groups or numbers of classes differ.
pub fn difference(
    first: &Predictions,
    second: &Predictions,
    bootstrap: &Bootstrap,
) -> Result<BTreeMap<Metric, Difference>> {
    let unpaired = |what| Err(MetricError::Unpaired { what }.into());
    if first.probabilities.dim() != second.probabilities.dim() {
        return unpaired("the number of samples or classes");
    }
    if first.truth != second.truth {
        return unpaired("the truth");
    }
    if first.groups != second.groups {
        return unpaired("the groups");
    }
    // Both must have the same metrics, at the same positions.
    let is_ordered = first.is_ordered && second.is_ordered;
    let scorers = [first, second].map(|predictions| Scorer::new(&predictions.clone().with_order(is_ordered)));
    let differences = |counts: &[u32]| -> Vec<Option<f64>> {
        let [first, second] = scorers.each_ref().map(|scorer| scorer.values(counts));
        first.into_iter().zip(second).map(|(first, second)| Some(second? - first?)).collect()
    };
    let once = vec![1; first.len()];
    let metrics: Vec<Metric> = scorers[0].scores(&once).into_iter().map(|(metric, _)| metric).collect();
    let values = differences(&once);
    let resamples = bootstrap.over(first, differences);
    let describe = |(position, metric): (usize, Metric)| {
        let column = || resamples.iter().map(|values| values[position]);
        let value = values[position];
        let interval = value.and_then(|_| bootstrap.interval(column()).0);
        let p = interval.map(|_| p_value(column().flatten()));
        let [low, high] = interval.map_or([None; 2], |ends| ends.map(Some));
        (metric, Difference { value, low, high, p, n: first.len() })
    };
    Ok(metrics.into_iter().enumerate().map(describe).collect())
}

fn p_value(differences: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut not_above, mut not_below) = (1.0, 1.0, 1.0);
    for difference in differences {
        count += 1.0;
        not_above += f64::from(u8::from(difference <= 0.0));
        not_below += f64::from(u8::from(difference >= 0.0));
    }
    (2.0 * f64::min(not_above, not_below) / count).min(1.0)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn predictions(right: impl Fn(usize) -> bool) -> Predictions {
        let truth: Vec<usize> = (0..200).map(|row| row % 3).collect();
        let probabilities = Array2::from_shape_fn((200, 3), |(row, class)| {
            let predicted = if right(row) { row % 3 } else { (row + 1) % 3 };
            if class == predicted { 0.8 } else { 0.1 }
        });
        Predictions::of_classes(truth, probabilities).unwrap()
    }

    #[test]
    fn a_better_predictor_is_told_from_an_equal_one() {
        let (worse, better) = (predictions(|row| row % 4 != 0), predictions(|row| row % 8 != 0));
        let found = &difference(&worse, &better, &Bootstrap::default()).unwrap()[&Metric::Accuracy];
        assert_eq!((found.value, found.n), (Some(0.125), 200));
        assert!(found.low.unwrap() > 0.0 && found.p.unwrap() < 0.01);
        let same = &difference(&worse, &worse, &Bootstrap::default()).unwrap()[&Metric::Accuracy];
        assert_eq!((same.value, same.low, same.high, same.p), (Some(0.0), Some(0.0), Some(0.0), Some(1.0)));
    }

    #[test]
    fn only_metrics_of_both_are_compared() {
        let (graded, plain) = (predictions(|row| row % 4 != 0).with_order(true), predictions(|row| row % 8 != 0));
        let both = difference(&graded, &graded, &Bootstrap::default()).unwrap();
        assert_eq!(both[&Metric::QuadraticKappa].value, Some(0.0));
        let mixed = difference(&graded, &plain, &Bootstrap::default()).unwrap();
        assert!(!mixed.contains_key(&Metric::QuadraticKappa));
        assert_eq!(mixed, difference(&graded.with_order(false), &plain, &Bootstrap::default()).unwrap());
    }

    #[test]
    fn predictions_of_other_samples_are_refused() {
        let first = predictions(|_| true);
        let grouped = first.clone().with_groups(&[0; 200]).unwrap();
        assert!(difference(&first, &grouped, &Bootstrap::default()).is_err());
    }
}
