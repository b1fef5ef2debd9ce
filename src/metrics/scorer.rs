//! Statistics of predictions of either kind.

use crate::metrics::calibration::Statement;
use crate::metrics::confusion::ClassShare;
use crate::metrics::estimate::Score;
use crate::metrics::interval::Basis;
use crate::metrics::metric::Metric;
use crate::metrics::multiclass::Multiclass;
use crate::metrics::multilabel::Multilabel;
use crate::metrics::predictions::{Predictions, Truth};
use crate::metrics::ratio::Part;
use crate::metrics::units::Units;

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

    /// The statements about probabilities, of each label.
    pub(super) fn statements(&self) -> Vec<&[Statement]> {
        match self {
            Scorer::Multiclass(scorer) => scorer.statements(),
            Scorer::Multilabel(scorer) => scorer.statements(),
        }
    }

    /// The samples that a share or a mean is of, with what they add to it; none for other metrics.
    pub(super) fn parts(&self, metric: Metric) -> Option<Vec<(usize, Part)>> {
        match self {
            Scorer::Multiclass(scorer) => scorer.parts(metric),
            Scorer::Multilabel(scorer) => scorer.parts(metric),
        }
    }

    /// The samples that a share of one class is of, and whether they are right.
    pub(super) fn class_parts(&self, class: usize, share: ClassShare) -> Vec<(usize, Part)> {
        match self {
            Scorer::Multiclass(scorer) => scorer.class_parts(class, share),
            Scorer::Multilabel(scorer) => scorer.label_parts(class, share),
        }
    }

    /// The mean of `metric`, a loss, over samples that are all right, and over all if each were
    /// wrong.
    pub(super) fn losses(&self, metric: Metric, predictions: &Predictions) -> [f64; 2] {
        match self {
            Scorer::Multiclass(scorer) => scorer.losses(metric, predictions.probabilities()),
            Scorer::Multilabel(scorer) => scorer.losses(metric, predictions.probabilities()),
        }
    }

    /// What each sample adds to the (mean) area under the ROC curve.
    pub(super) fn area_influences(&self, predictions: &Predictions) -> Vec<f64> {
        match self {
            Scorer::Multiclass(scorer) => scorer.area_influences(predictions.probabilities()),
            Scorer::Multilabel(scorer) => scorer.area_influences(predictions.probabilities()),
        }
    }

    /// What means over classes rest on.
    pub(super) fn class_bases(&self, units: &Units, of_ranks: bool) -> Vec<Basis> {
        match self {
            Scorer::Multiclass(scorer) => scorer.class_bases(units, of_ranks),
            Scorer::Multilabel(scorer) => scorer.label_bases(units, of_ranks),
        }
    }

    /// The values alone, in the order of [`Scorer::scores`].
    pub(super) fn values(&self, counts: &[u32]) -> Vec<Option<f64>> {
        self.scores(counts).into_iter().map(|(_, score)| score.ok()).collect()
    }
}
