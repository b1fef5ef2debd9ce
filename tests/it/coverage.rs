//! Intervals hold the true value as often as they say, and equal classifiers are told apart as
//! seldom: a small part of what `scripts/coverage.py` measures.
//!
//! Percentile intervals of the bootstrap covered .91 of the true accuracies and none of the true
//! calibration errors, and 30 right answers of 30 gave an interval without width.

use defrost::metrics::{Bootstrap, Estimate, IntervalMethod, Metric, Predictions, difference, evaluate};
use ndarray::Array2;

#[allow(dead_code, reason = "the script prints more than the test checks")]
#[path = "../../scripts/coverage_simulation.rs"]
mod simulation;

use simulation::{Repeats, Situation};

/// Draws of each situation: the standard error of a coverage of .95 is .018.
const DRAWS: usize = 150;
/// Resamples behind the intervals of losses.
const RESAMPLES: usize = 200;
/// Least coverage of 95 % intervals in so many draws: .95 less three standard errors.
const LEAST_COVERAGE: f64 = 0.895;
/// The same of the calibration error, whose true value is at the end of its scale.
const LEAST_OF_CALIBRATION: f64 = 0.85;
/// Largest share of comparisons of equal classifiers with p < .05: .05 and three standard errors.
const LARGEST_SIZE: f64 = 0.105;

const PLAIN: Situation = Situation { samples: 60, classes: 2, accuracy: 0.8, slope: 0.7, group: 1, correlation: 0.0 };
const GROUPED: Situation =
    Situation { samples: 120, classes: 3, accuracy: 0.8, slope: 1.0, group: 6, correlation: 0.4 };

#[test]
fn intervals_hold_the_true_values() {
    for situation in [PLAIN, GROUPED] {
        let tallies = situation.coverage(DRAWS, RESAMPLES, 7);
        assert!(tallies.len() >= 12, "{tallies:?}");
        for (metric, tally) in tallies {
            let is_calibration = matches!(metric, Metric::Ece | Metric::EceDebiased);
            let least = if is_calibration { LEAST_OF_CALIBRATION } else { LEAST_COVERAGE };
            assert!(tally.coverage() >= least, "{metric}: {} in {situation:?}", tally.coverage());
        }
    }
}

#[test]
fn equal_classifiers_are_seldom_told_apart() {
    for situation in [PLAIN, GROUPED] {
        for (metric, tally) in situation.comparisons(DRAWS, 7) {
            assert!(tally.size() <= LARGEST_SIZE, "{metric}: {} in {situation:?}", tally.size());
        }
    }
}

fn certain(samples: usize, right: usize) -> Predictions {
    let truth: Vec<usize> = (0..samples).map(|row| row % 2).collect();
    let said = |row: usize| if row < right { row % 2 } else { 1 - row % 2 };
    let table = Array2::from_shape_fn((samples, 2), |(row, class)| f64::from(u8::from(class == said(row))));
    Predictions::of_classes(truth, table).unwrap()
}

#[test]
fn intervals_have_width_where_all_is_right_or_wrong() {
    let has_width = |found: &Estimate| found.high.unwrap() - found.low.unwrap() > 0.01;
    for (right, warning) in [(30, "all 30 samples are right"), (0, "all 30 samples are wrong")] {
        let found = evaluate(&certain(30, right), &Bootstrap::default());
        for (metric, estimate) in &found.metrics {
            assert!(has_width(estimate), "{right} right, {metric}: {estimate:?}");
        }
        assert!(found.warnings.iter().any(|text| text.starts_with(warning)), "{:?}", found.warnings);
        assert!(found.classes.iter().all(|class| class.recall_interval.is_some_and(|[low, high]| high - low > 0.05)));
    }
    // Wilson's interval of 30 of 30: from n / (n + z^2).
    let accuracy = &evaluate(&certain(30, 30), &Bootstrap::default()).metrics[&Metric::Accuracy];
    assert_eq!((accuracy.high, accuracy.method), (Some(1.0), Some(IntervalMethod::Wilson)));
    assert!((accuracy.low.unwrap() - 30.0 / (30.0 + 1.959964f64.powi(2))).abs() < 1e-6);
}

#[test]
fn few_samples_few_groups_and_absent_classes_are_told() {
    let warned = |predictions: &Predictions, words: &str| {
        let warnings = evaluate(predictions, &Bootstrap::default()).warnings;
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{words}: {warnings:?}");
    };
    warned(&certain(12, 9), "12 samples: with fewer than 30");
    let groups: Vec<usize> = (0..60).map(|row| row / 15).collect();
    warned(&certain(60, 50).with_groups(&groups).unwrap(), "4 groups: with fewer than 10");
    let one = Predictions::of_classes(vec![0; 40], Array2::from_elem((40, 2), 0.5)).unwrap();
    warned(&one, "no sample has `1`");
    let alone = certain(40, 36).with_groups(&[0; 40]).unwrap();
    let accuracy = &evaluate(&alone, &Bootstrap::default()).metrics[&Metric::Accuracy];
    assert!(accuracy.high.unwrap() - accuracy.low.unwrap() > 0.4, "one group tells next to nothing: {accuracy:?}");
}

#[test]
fn classifiers_that_do_not_differ_on_few_samples_may_yet_differ() {
    let table = |confidence: f64| {
        Array2::from_shape_fn((20, 2), |(row, class)| if class == row % 2 { confidence } else { 1.0 - confidence })
    };
    let truth: Vec<usize> = (0..20).map(|row| row % 2).collect();
    let [first, second] = [0.9, 0.8].map(|p| Predictions::of_classes(truth.clone(), table(p)).unwrap());
    let found = &difference(&first, &second, &Bootstrap::default()).unwrap()[&Metric::Accuracy];
    assert_eq!((found.value, found.p), (Some(0.0), Some(1.0)));
    assert!(found.low.unwrap() < -0.1 && found.high.unwrap() > 0.1, "{found:?}");
}

/// Methods alike over repeats are told apart as seldom, whether seeds matter or not, on test images
/// that all repeats share, and on others.
#[test]
fn differences_over_repeats_count_seeds_and_images() {
    let given = Repeats { tested: 25, groups: 25, repeats: 3, group_effect: 0.5, seed_effect: 0.0 };
    let situations = [
        given,
        Repeats { seed_effect: 0.4, ..given },
        Repeats { groups: 100, ..given },
        Repeats { groups: 100, repeats: 5, seed_effect: 0.4, ..given },
    ];
    for situation in situations {
        let tally = situation.comparisons(DRAWS, 11);
        assert!(tally.size() <= LARGEST_SIZE, "{} in {situation:?}", tally.size());
        assert!(tally.coverage() >= LEAST_COVERAGE, "{} in {situation:?}", tally.coverage());
    }
    // Seeds that matter make it wide: without them it would be told apart far too often.
    let [quiet, loud] = [given, situations[1]].map(|situation| situation.comparisons(DRAWS, 11).width);
    assert!(loud > 1.3 * quiet, "{loud} {quiet}");
}
