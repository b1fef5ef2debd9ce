//! The difference of two sets of predictions on the same samples, with its interval: is one really
//! better?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{MetricError, Result};
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::calibration::CalibrationBins;
use crate::metrics::interval::{IntervalMethod, student, two_sided};
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::scorer::Scorer;
use crate::metrics::units::{Units, error_of_sum, jackknife};

/// How much larger a metric is for the second predictions than for the first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Second minus first, on all samples; `None` where either is undefined.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Two-sided p-value of "no difference" by Student's t.
    pub p: Option<f64>,
    /// How the standard error behind interval and p-value was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<IntervalMethod>,
    /// Number of samples.
    pub n: usize,
}

/// The paired difference of every metric, its interval and its p-value by Student's t with as many
/// degrees of freedom as there are samples, or groups, less one. The standard error is that of the
/// paired difference itself, so that what the samples share cancels: by DeLong's components for
/// areas under ROC curves, else by the jackknife. What chance adds to two calibration errors is
/// much the same: their difference is not debiased.
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
    let pair = Pair {
        scorers: [first, second].map(|predictions| Scorer::new(&predictions.clone().with_order(is_ordered))),
        units: Units::new(first),
    };
    let once = vec![1; first.len()];
    let values = pair.differences(&once);
    let intervals = bootstrap.resamples > 0;
    let without = if intervals { pair.units.leave_out(|counts| pair.differences(counts)) } else { Vec::new() };
    let is_same = first.probabilities == second.probabilities && first.decision == second.decision;
    let [a, b] = [(first, &pair.scorers[0]), (second, &pair.scorers[1])]
        .map(|(predictions, scorer)| scorer.area_influences(predictions));
    let areas = b.iter().zip(&a).map(|(b, a)| b - a).enumerate();
    let area_error = error_of_sum(&pair.units.sums(areas));
    let calibration = pair.calibration();
    let describe = |position: usize, metric: Metric| {
        let column = || without.iter().map(|values| values[position]);
        let (value, error, method) = match metric {
            Metric::Ece => (
                calibration.map(|(difference, _)| difference),
                calibration.map(|(_, error)| error),
                IntervalMethod::FoldedNormal,
            ),
            metric if metric.is_area() => (values[position], Some(area_error), IntervalMethod::Delong),
            _ => {
                let value = values[position];
                (value, value.and_then(|value| jackknife(value, column())), IntervalMethod::Jackknife)
            }
        };
        let mut found =
            Difference { value: values[position], low: None, high: None, p: None, method: None, n: first.len() };
        let (Some(value), true) = (value, intervals) else { return found };
        let (error, units) = (error.unwrap_or(0.0), pair.units.len());
        let quantile = student((1.0 + bootstrap.coverage) / 2.0, units);
        let width = metric.range()[1] - metric.range()[0];
        let mut reach = quantile * error;
        if error <= 1e-12 && !is_same {
            // Nothing differs, or all by the same: as many more as so many units can have missed.
            reach = width * quantile * quantile / (units as f64 + quantile * quantile);
        }
        found.low = Some((value - reach).max(-width));
        found.high = Some((value + reach).min(width));
        found.p = Some(if error <= 1e-12 {
            f64::from(u8::from(value.abs() <= reach))
        } else {
            two_sided(value, error, units)
        });
        found.method = Some(method);
        found
    };
    let metrics = pair.scorers[0].scores(&once).into_iter().map(|(metric, _)| metric);
    Ok(metrics.enumerate().map(|(position, metric)| (metric, describe(position, metric))).collect())
}

/// Two sets of predictions of the same samples.
struct Pair {
    scorers: [Scorer; 2],
    units: Units,
}

impl Pair {
    /// Second minus first of every metric.
    fn differences(&self, counts: &[u32]) -> Vec<Option<f64>> {
        let [first, second] = self.scorers.each_ref().map(|scorer| scorer.values(counts));
        first.into_iter().zip(second).map(|(first, second)| Some(second? - first?)).collect()
    }

    /// The difference of the calibration errors with its standard error.
    fn calibration(&self) -> Option<(f64, f64)> {
        let bins = |scorer: &Scorer| CalibrationBins::new(&scorer.statements(), &self.units);
        let [first, second] = self.scorers.each_ref().map(bins);
        Some(first?.difference(&second?))
    }
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
