//! Everything that predictions tell: each metric with its interval, scores per class, confusion
//! matrix, reliability bins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::calibration::{CalibrationBins, ReliabilityBin};
use crate::metrics::confusion::{ClassShare, Decisions};
use crate::metrics::estimate::{Estimate, Score};
use crate::metrics::intervals::Intervals;
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::ranking::RankingScores;
use crate::metrics::scorer::Scorer;
use crate::metrics::units::Units;

/// The evaluation of one set of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of samples.
    pub samples: usize,
    /// Number of groups, where they are the independent units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// How the intervals were computed.
    pub bootstrap: Bootstrap,
    /// Each metric, in the order of [`Metric`].
    pub metrics: BTreeMap<Metric, Estimate>,
    /// Each class (or label) by itself.
    pub classes: Vec<ClassScores>,
    /// Number of samples by true class (row) and predicted class (column); not for multi-label
    /// tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// The reliability diagram: of the most probable class's probability, or of all known labels'
    /// probabilities.
    pub reliability: Vec<ReliabilityBin>,
    /// What makes the intervals wide or rough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Samples below which intervals are said to be rough.
const MIN_SAMPLES: usize = 30;
/// Groups below which intervals are said to be rough.
const MIN_GROUPS: usize = 10;
/// Absent classes that are named.
const MAX_NAMED: usize = 5;

/// How one class (or label) fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Name of the class.
    pub name: String,
    /// Samples that have it.
    pub support: usize,
    /// Samples for which it is predicted.
    pub predicted: usize,
    /// Share of its samples that are found; `None` when it has none.
    pub recall: Option<f64>,
    /// Wilson's interval of that, where intervals were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall_interval: Option<[f64; 2]>,
    /// Share of the other samples that it is not predicted for; `None` when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<f64>,
    /// Wilson's interval of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity_interval: Option<[f64; 2]>,
    /// Share of its predictions that are right; `None` when it is never predicted.
    pub precision: Option<f64>,
    /// Wilson's interval of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision_interval: Option<[f64; 2]>,
    /// Harmonic mean of the two; `None` when it neither occurs nor is predicted.
    pub f1: Option<f64>,
    /// Area under the ROC curve against the rest; `None` when it has no samples or all, and for
    /// class 0 of two.
    pub roc_auc: Option<f64>,
    /// Average precision; `None` when it has no samples, and for class 0 of two.
    pub average_precision: Option<f64>,
}

/// Evaluates predictions: every metric that their task has, each with its interval.
pub fn evaluate(predictions: &Predictions, bootstrap: &Bootstrap) -> Evaluation {
    let scorer = Scorer::new(predictions);
    let once = vec![1; predictions.len()];
    let scores = scorer.scores(&once);
    let intervals = (bootstrap.resamples > 0).then(|| Intervals::new(predictions, &scorer, bootstrap));
    let bins = CalibrationBins::new(&scorer.statements(), &Units::new(predictions));
    let undefined = |metric: Metric| scores.iter().any(|(other, score)| *other == metric && score.is_err());
    let estimate = |(position, (metric, score)): (usize, &(Metric, Score))| {
        if metric.replaces().is_some_and(|strict| !undefined(strict)) {
            return None;
        }
        let n = predictions.len();
        let value = match score {
            Ok(value) => *value,
            Err(reason) => {
                let undefined = Some(reason.describe(&predictions.names));
                return Some((*metric, Estimate { n, undefined, ..Estimate::default() }));
            }
        };
        let found = intervals.as_ref().map(|intervals| intervals.of(*metric, position, value, bins.as_ref()));
        Some((*metric, Estimate::new(value, found, n)))
    };
    let mut metrics: BTreeMap<Metric, Estimate> = scores.iter().enumerate().filter_map(estimate).collect();
    if let (Some(bins), Some(ece)) = (&bins, metrics.get(&Metric::Ece)) {
        metrics.insert(Metric::EceDebiased, Estimate { value: Some(bins.debiased()), ..ece.clone() });
    }
    let ((decisions, rankings), confusion, reliability) = match &scorer {
        Scorer::Multiclass(scorer) => {
            (scorer.per_class(&once), Some(scorer.confusion(&once).rows()), scorer.reliability(&once))
        }
        Scorer::Multilabel(scorer) => (scorer.per_label(&once), None, scorer.reliability(&once)),
    };
    let mut classes = class_scores(&predictions.names, &decisions, rankings);
    let mut warnings = Vec::new();
    if let Some(intervals) = &intervals {
        for (class, scores) in classes.iter_mut().enumerate() {
            let interval = |share| intervals.of_class(class, share);
            scores.recall_interval = interval(ClassShare::Recall);
            scores.specificity_interval = interval(ClassShare::Specificity);
            scores.precision_interval = interval(ClassShare::Precision);
        }
        warnings = cautions(predictions, &metrics, &classes);
    }
    Evaluation {
        samples: predictions.len(),
        groups: predictions.group_count(),
        bootstrap: *bootstrap,
        metrics,
        classes,
        confusion,
        reliability,
        warnings,
    }
}

/// What makes intervals wide or rough, in words.
fn cautions(predictions: &Predictions, metrics: &BTreeMap<Metric, Estimate>, classes: &[ClassScores]) -> Vec<String> {
    let mut cautions = Vec::new();
    let samples = predictions.len();
    if samples < MIN_SAMPLES {
        cautions.push(format!(
            "the figures rest on {samples} samples: with fewer than {MIN_SAMPLES}, intervals are wide and rough"
        ));
    }
    if let Some(groups) = predictions.group_count().filter(|groups| *groups < MIN_GROUPS) {
        cautions.push(format!(
            "the samples belong to {groups} groups: with fewer than {MIN_GROUPS}, intervals are wide and rough"
        ));
    }
    let accuracy = metrics.get(&Metric::Accuracy).and_then(|estimate| estimate.value);
    match accuracy {
        Some(1.0) => cautions.push(format!(
            "all {samples} samples are right: the intervals are what so many can exclude, not what was seen to vary"
        )),
        Some(0.0) => cautions.push(format!(
            "all {samples} samples are wrong: the intervals are what so many can exclude, not what was seen to vary"
        )),
        _ => {}
    }
    let absent: Vec<String> =
        classes.iter().filter(|class| class.support == 0).map(|class| format!("`{}`", class.name)).collect();
    if !absent.is_empty() {
        let shown = absent.iter().take(MAX_NAMED).cloned().collect::<Vec<String>>().join(", ");
        let more = absent.len().saturating_sub(MAX_NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        cautions.push(format!("no sample has {shown}{rest}: means over classes are of the others"));
    }
    cautions
}

fn class_scores(names: &[String], decisions: &[Decisions], rankings: Vec<Option<RankingScores>>) -> Vec<ClassScores> {
    let describe = |((name, decisions), ranking): ((&String, &Decisions), Option<RankingScores>)| ClassScores {
        name: name.clone(),
        support: decisions.support() as usize,
        predicted: decisions.predicted() as usize,
        recall: decisions.recall(),
        recall_interval: None,
        specificity: decisions.specificity(),
        specificity_interval: None,
        precision: decisions.precision(),
        precision_interval: None,
        f1: decisions.f1(),
        roc_auc: ranking.as_ref().and_then(|ranking| ranking.roc_auc.ok()),
        average_precision: ranking.as_ref().and_then(|ranking| ranking.average_precision.ok()),
    };
    names.iter().zip(decisions).zip(rankings).map(describe).collect()
}
