//! What is fitted on validation predictions behind a classifier: temperatures, thresholds,
//! cut-points; and the evaluation on test data with them and without. Probes and fine-tuned
//! networks share it.
//!
//! In: scores of the validation split and of the test split; out: [`TestEvaluation`]. Nothing is
//! fitted on test rows. The validation predictions are those of the classifier that was fitted on
//! the train split alone, also where the final one is fitted on both (scikit-learn's
//! `CalibratedClassifierCV(ensemble=False)` does the same). Temperatures come first; thresholds and
//! cut-points are chosen on probabilities that are divided by them. Unknown labels count nowhere.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Split, Task};
use crate::error::{ProbeError, Result};
use crate::metrics::{
    Activation, Bootstrap, ClassThreshold, CutPoints, Decision, Estimate, Evaluation, Metric, ReliabilityBin,
    Temperature, ThresholdRule, cut_points, evaluate, temperatures, thresholds,
};
use crate::records::predictions::PredictionTable;

/// What is to be fitted on validation predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationConfig {
    /// Temperatures, so that probabilities mean what they say.
    pub calibrate: bool,
    /// Thresholds: for class 1 of two, or for each label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<ThresholdRule>,
    /// Cut-points on the expected grade of ordered classes.
    pub cut_points: bool,
}

/// What was fitted on validation predictions, and the test figures without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Validation samples that it was fitted on.
    pub samples: usize,
    /// What scores are divided by: one for all classes, or one per label. Empty where probabilities
    /// were not calibrated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub temperatures: Vec<Temperature>,
    /// What thresholds were chosen for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<ThresholdRule>,
    /// The threshold of class 1 of two, or of each label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<ClassThreshold>,
    /// Where the expected grade of ordered classes is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_points: Option<CutPoints>,
    /// Metrics on the test split without any of it.
    pub without: BTreeMap<Metric, Estimate>,
    /// The reliability diagram of the test split without any of it.
    pub reliability_without: Vec<ReliabilityBin>,
}

/// What a classifier says of the samples of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredSplit {
    /// The samples.
    pub rows: Vec<usize>,
    /// `[rows, C]`, as it states them by itself.
    pub probabilities: Array2<f64>,
    /// `[rows, C]`, what temperatures divide.
    pub scores: Array2<f64>,
    /// From those to probabilities.
    pub activation: Activation,
}

/// The evaluation of a classifier on its test split.
#[derive(Clone, Debug)]
pub struct TestEvaluation {
    /// `[rows, C]`, calibrated where that was asked for.
    pub probabilities: Array2<f64>,
    /// How they are decided, where not by the most probable class.
    pub decision: Option<Decision>,
    /// Every metric of these.
    pub evaluation: Evaluation,
    /// What was fitted on validation predictions, where something was.
    pub adjustment: Option<Calibration>,
}

impl ScoredSplit {
    /// Of a classifier whose probabilities are the activation of its scores.
    pub fn of(rows: Vec<usize>, scores: Array2<f64>, activation: Activation) -> Self {
        ScoredSplit { rows, probabilities: activation.apply(scores.clone()), scores, activation }
    }
}

impl CalibrationConfig {
    /// Whether nothing is to be fitted.
    pub fn is_none(&self) -> bool {
        *self == CalibrationConfig::default()
    }

    /// Checks that it suits the labels.
    ///
    /// # Errors
    /// [`ProbeError::Parameter`] for thresholds of more than two classes that exclude each other,
    /// or of ordered ones, and for cut-points of classes without order.
    pub fn check(&self, task: Task, classes: usize) -> Result<(), ProbeError> {
        let refused = |name, found: String, expected| Err(ProbeError::Parameter { name, found, expected });
        let is_thresholded = task == Task::MultiLabel || (task == Task::Multiclass && classes == 2);
        match self.threshold {
            Some(rule) if task == Task::Ordinal => {
                refused("threshold", format!("{rule} for ordered classes"), "none: ordered classes have cut-points")
            }
            Some(rule) if !is_thresholded => refused(
                "threshold",
                format!("{rule} for {classes} classes"),
                "two classes, or several labels per image",
            ),
            _ if self.cut_points && task != Task::Ordinal => {
                refused("cut-points", format!("asked for {} labels", task.name()), "ordered classes")
            }
            _ => Ok(()),
        }
    }

    /// Fits on validation predictions what is asked for, and evaluates the test predictions, with
    /// it and without.
    ///
    /// # Errors
    /// [`ProbeError::EmptySplit`] where there is something to fit and no validation prediction;
    /// `MetricError` where shapes or values do not fit.
    pub fn judge(
        &self,
        dataset: &Dataset,
        validation: Option<&ScoredSplit>,
        test: ScoredSplit,
        bootstrap: &Bootstrap,
    ) -> Result<TestEvaluation> {
        let plain = evaluate(
            &PredictionTable::new(dataset, &test.rows, test.probabilities.clone(), None).predictions()?,
            bootstrap,
        );
        if self.is_none() {
            let probabilities = test.probabilities;
            return Ok(TestEvaluation { probabilities, decision: None, evaluation: plain, adjustment: None });
        }
        let Some(validation) = validation.filter(|scored| !scored.rows.is_empty()) else {
            return Err(ProbeError::EmptySplit { split: Split::Validation.name() }.into());
        };
        let mut adjustment = Calibration {
            samples: validation.rows.len(),
            temperatures: Vec::new(),
            rule: self.threshold,
            thresholds: Vec::new(),
            cut_points: None,
            without: plain.metrics,
            reliability_without: plain.reliability,
        };
        let mut known =
            PredictionTable::new(dataset, &validation.rows, validation.probabilities.clone(), None).predictions()?;
        if self.calibrate {
            adjustment.temperatures = temperatures(validation.scores.view(), &known);
            known = PredictionTable::new(dataset, &validation.rows, adjustment.calibrated(validation), None)
                .predictions()?;
        }
        if let Some(rule) = self.threshold {
            adjustment.thresholds = thresholds(&known, rule);
        }
        adjustment.cut_points = self.cut_points.then(|| cut_points(&known));
        let (probabilities, decision) = (adjustment.calibrated(&test), adjustment.decision());
        let decided =
            PredictionTable::new(dataset, &test.rows, probabilities.clone(), decision.clone()).predictions()?;
        let evaluation = evaluate(&decided, bootstrap);
        Ok(TestEvaluation { probabilities, decision, evaluation, adjustment: Some(adjustment) })
    }
}

impl Calibration {
    /// What scores are divided by, one number or one per label; none where probabilities were not
    /// calibrated.
    pub fn divisors(&self) -> Option<Vec<f64>> {
        let values: Vec<f64> = self.temperatures.iter().map(|temperature| temperature.value).collect();
        (!values.is_empty()).then_some(values)
    }

    /// How probabilities are decided, where not by the most probable class.
    pub fn decision(&self) -> Option<Decision> {
        let points = self.cut_points.as_ref().filter(|points| points.undefined.is_none());
        match (points, self.thresholds.as_slice()) {
            (Some(points), _) => Some(Decision::CutPoints(points.values.clone())),
            (None, []) => None,
            (None, chosen) => Some(Decision::Thresholds(chosen.iter().map(|threshold| threshold.value).collect())),
        }
    }

    /// What could not be fitted, with the reasons.
    pub fn gaps(&self) -> Vec<String> {
        let of = |name: Option<&str>| name.map_or_else(String::new, |name| format!(" of `{name}`"));
        let temperatures = self.temperatures.iter().filter_map(|fitted| {
            let reason = fitted.undefined.as_ref()?;
            Some(format!("the temperature{} stays 1: {reason}", of(fitted.label.as_deref())))
        });
        let thresholds = self.thresholds.iter().filter_map(|chosen| {
            let reason = chosen.undefined.as_ref()?;
            Some(format!("the threshold of `{}` stays 0.5: {reason}", chosen.name))
        });
        let points = self.cut_points.iter().filter_map(|points| points.undefined.as_ref());
        let points = points.map(|reason| format!("there are no cut-points: {reason}"));
        let on = |text: String| format!("{text} (on validation data)");
        temperatures.chain(thresholds).chain(points).map(on).collect()
    }

    fn calibrated(&self, scored: &ScoredSplit) -> Array2<f64> {
        match self.divisors() {
            Some(divisors) => scored.activation.tempered(scored.scores.view(), &divisors),
            None => scored.probabilities.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;

    use super::*;
    use crate::data::{Label, Sample};

    const ROWS: usize = 240;

    struct Samples(Dataset);

    impl Samples {
        fn new(task: Task, classes: &[&str], label: impl Fn(usize) -> Label) -> Self {
            let samples = (0..ROWS).map(|row| Sample::new(row.to_string(), "", label(row))).collect();
            let classes = classes.iter().map(|&name| name.to_owned()).collect();
            Samples(Dataset::in_row_order("".into(), task, classes, samples))
        }

        /// The first half is validation, the second test.
        fn judge(&self, adjusting: CalibrationConfig, scores: &Array2<f64>, activation: Activation) -> TestEvaluation {
            let half = |rows: std::ops::Range<usize>| {
                let rows: Vec<usize> = rows.collect();
                ScoredSplit::of(rows.clone(), scores.select(Axis(0), &rows), activation)
            };
            let (validation, test) = (half(0..ROWS / 2), half(ROWS / 2..ROWS));
            let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
            adjusting.judge(&self.0, Some(&validation), test, &bootstrap).unwrap()
        }
    }

    fn wave(row: usize, phase: f64) -> f64 {
        (1.9 * row as f64 + phase).sin()
    }

    /// Far too confident scores of three classes, a third of them wrong.
    #[test]
    fn a_temperature_lowers_log_loss_and_calibration_error_and_leaves_the_decisions() {
        let samples = Samples::new(Task::Multiclass, &["a", "b", "c"], |row| Label::Class(row % 3));
        let scores = Array2::from_shape_fn((ROWS, 3), |(row, class)| {
            let said = if wave(row, 0.3) > 0.5 { (row + 1) % 3 } else { row % 3 };
            6.0 * wave(row, 2.0 * class as f64) + if class == said { 14.0 } else { 0.0 }
        });
        let adjusting = CalibrationConfig { calibrate: true, ..CalibrationConfig::default() };
        let judged = samples.judge(adjusting, &scores, Activation::Softmax);
        let adjustment = judged.adjustment.unwrap();
        assert!(adjustment.temperatures[0].value > 3.0, "{:?}", adjustment.temperatures);
        assert_eq!((adjustment.samples, adjustment.temperatures.len(), judged.decision), (120, 1, None));
        let [with, without] = [&judged.evaluation.metrics, &adjustment.without];
        for metric in [Metric::LogLoss, Metric::Ece, Metric::Brier] {
            assert!(with[&metric].value < without[&metric].value, "{metric}");
        }
        assert_eq!(with[&Metric::Accuracy], without[&Metric::Accuracy]);
    }

    #[test]
    fn test_labels_change_nothing_that_is_fitted() {
        let fit = |shift: usize| {
            let samples = Samples::new(Task::Multiclass, &["a", "b"], |row| {
                Label::Class(
                    usize::from(wave(row, 0.0) + wave(row, 1.0) > 0.6) ^ if row < ROWS / 2 { 0 } else { shift },
                )
            });
            let scores =
                Array2::from_shape_fn((ROWS, 2), |(row, class)| if class == 1 { 5.0 * wave(row, 0.0) } else { 0.0 });
            let adjusting =
                CalibrationConfig { calibrate: true, threshold: Some(ThresholdRule::F1), cut_points: false };
            samples.judge(adjusting, &scores, Activation::Softmax)
        };
        let (first, second) = (fit(0), fit(1));
        assert_eq!(first.decision, second.decision);
        assert_eq!(first.probabilities, second.probabilities);
        assert_ne!(first.evaluation.metrics, second.evaluation.metrics);
        let threshold = &first.adjustment.unwrap().thresholds[0];
        assert!(threshold.value != 0.5 && threshold.name == "b", "{threshold:?}");
    }

    #[test]
    fn unknown_labels_count_nowhere_and_labels_without_positives_are_told() {
        let is_known = |row: usize| !row.is_multiple_of(3);
        let samples = Samples::new(Task::MultiLabel, &["seen", "never"], |row| {
            Label::Classes(vec![is_known(row).then_some(wave(row, 0.0) > 0.7), Some(false)])
        });
        let mut scores = Array2::from_shape_fn((ROWS, 2), |(row, _)| 3.0 * wave(row, 0.4));
        let adjusting =
            CalibrationConfig { calibrate: true, threshold: Some(ThresholdRule::Youden), cut_points: false };
        let judged = samples.judge(adjusting, &scores, Activation::Sigmoid);
        let adjustment = judged.adjustment.unwrap();
        assert_eq!(adjustment.temperatures[0].samples, 80);
        assert_eq!(adjustment.thresholds[0].samples, 80);
        assert_eq!(
            adjustment.gaps(),
            [
                "the temperature of `never` stays 1: no sample has `never` (on validation data)",
                "the threshold of `never` stays 0.5: no sample has `never` (on validation data)"
            ]
        );
        (0..ROWS).filter(|&row| !is_known(row)).for_each(|row| scores[[row, 0]] = -40.0);
        let again = samples.judge(adjusting, &scores, Activation::Sigmoid);
        assert_eq!(again.adjustment.unwrap(), adjustment);
        assert_eq!(again.evaluation, judged.evaluation);
    }

    #[test]
    fn what_does_not_suit_the_labels_is_refused() {
        let message =
            |adjusting: CalibrationConfig, task, classes| adjusting.check(task, classes).unwrap_err().to_string();
        let threshold = CalibrationConfig { threshold: Some(ThresholdRule::F1), ..CalibrationConfig::default() };
        assert_eq!(
            message(threshold, Task::Multiclass, 3),
            "`threshold` is f1 for 3 classes, expected two classes, or several labels per image"
        );
        assert!(message(threshold, Task::Ordinal, 5).contains("ordered classes have cut-points"));
        let points = CalibrationConfig { cut_points: true, ..CalibrationConfig::default() };
        assert!(message(points, Task::Multiclass, 3).contains("expected ordered classes"));
        assert!(points.check(Task::Ordinal, 5).is_ok() && threshold.check(Task::MultiLabel, 1).is_ok());
    }
}
