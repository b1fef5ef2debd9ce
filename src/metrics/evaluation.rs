//! Everything that predictions tell: each metric with its interval, scores per class, confusion
//! matrix, reliability bins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::calibration::ReliabilityBin;
use crate::metrics::confusion::Decisions;
use crate::metrics::estimate::{Estimate, Score};
use crate::metrics::metric::Metric;
use crate::metrics::multiclass::Multiclass;
use crate::metrics::multilabel::Multilabel;
use crate::metrics::predictions::{Predictions, Truth};
use crate::metrics::ranking::RankingScores;

/// The evaluation of one set of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of samples.
    pub samples: usize,
    /// Number of groups, where resampling draws groups.
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
}

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
    /// Share of the other samples that it is not predicted for; `None` when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specificity: Option<f64>,
    /// Share of its predictions that are right; `None` when it is never predicted.
    pub precision: Option<f64>,
    /// Harmonic mean of the two; `None` when it neither occurs nor is predicted.
    pub f1: Option<f64>,
    /// Area under the ROC curve against the rest; `None` when it has no samples or all, and for
    /// class 0 of two.
    pub roc_auc: Option<f64>,
    /// Average precision; `None` when it has no samples, and for class 0 of two.
    pub average_precision: Option<f64>,
}

/// The statistics that give every metric for any weighting of the samples.
pub(super) enum Scorer {
    Multiclass(Multiclass),
    Multilabel(Multilabel),
}

impl Scorer {
    pub(super) fn new(predictions: &Predictions) -> Self {
        match &predictions.truth {
            Truth::Classes(truth) => Scorer::Multiclass(Multiclass::new(predictions, truth)),
            Truth::Labels(truth) => Scorer::Multilabel(Multilabel::new(predictions, truth)),
        }
    }

    pub(super) fn scores(&self, counts: &[u32]) -> Vec<(Metric, Score)> {
        match self {
            Scorer::Multiclass(scorer) => scorer.scores(counts),
            Scorer::Multilabel(scorer) => scorer.scores(counts),
        }
    }

    /// The values alone, in the order of [`Scorer::scores`].
    pub(super) fn values(&self, counts: &[u32]) -> Vec<Option<f64>> {
        self.scores(counts).into_iter().map(|(_, score)| score.ok()).collect()
    }
}

/// Evaluates predictions: every metric that their task has, each with its interval.
pub fn evaluate(predictions: &Predictions, bootstrap: &Bootstrap) -> Evaluation {
    let scorer = Scorer::new(predictions);
    let once = vec![1; predictions.len()];
    let resamples = bootstrap.over(predictions, |counts| scorer.values(counts));
    let scores = scorer.scores(&once);
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
        let (interval, undefined_resamples) = bootstrap.interval(resamples.iter().map(|values| values[position]));
        let [low, high] = interval.map_or([None; 2], |ends| ends.map(Some));
        Some((*metric, Estimate { value: Some(value), low, high, n, undefined: None, undefined_resamples }))
    };
    let metrics = scores.iter().enumerate().filter_map(estimate).collect();
    let ((decisions, rankings), confusion, reliability) = match &scorer {
        Scorer::Multiclass(scorer) => {
            (scorer.per_class(&once), Some(scorer.confusion(&once).rows()), scorer.reliability(&once))
        }
        Scorer::Multilabel(scorer) => (scorer.per_label(&once), None, scorer.reliability(&once)),
    };
    Evaluation {
        samples: predictions.len(),
        groups: predictions.group_count(),
        bootstrap: *bootstrap,
        metrics,
        classes: class_scores(&predictions.names, &decisions, rankings),
        confusion,
        reliability,
    }
}

fn class_scores(names: &[String], decisions: &[Decisions], rankings: Vec<Option<RankingScores>>) -> Vec<ClassScores> {
    let describe = |((name, decisions), ranking): ((&String, &Decisions), Option<RankingScores>)| ClassScores {
        name: name.clone(),
        support: decisions.support() as usize,
        predicted: decisions.predicted() as usize,
        recall: decisions.recall(),
        specificity: decisions.specificity(),
        precision: decisions.precision(),
        f1: decisions.f1(),
        roc_auc: ranking.as_ref().and_then(|ranking| ranking.roc_auc.ok()),
        average_precision: ranking.as_ref().and_then(|ranking| ranking.average_precision.ok()),
    };
    names.iter().zip(decisions).zip(rankings).map(describe).collect()
}
