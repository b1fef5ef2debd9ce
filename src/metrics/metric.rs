//! The metrics by name: what they are called in records and in print, and which direction is
//! better.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A figure that judges predictions. The order is that of tables; the serialised form is the
/// snake-case name.
///
/// Means over classes (`macro`) are unweighted. Recall, precision and F1 follow scikit-learn: the
/// mean is over the classes that occur in the truth or in the predictions, and a ratio 0/0 among
/// these (precision of a class that is never predicted) counts as 0. Ranking metrics have no such
/// convention: where one class cannot be ranked, the mean over classes is undefined, and the
/// variant `_present` gives the mean over the classes that can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Share of samples whose predicted class is the true one; multi-label: share of known labels
    /// predicted rightly.
    Accuracy,
    /// Share of samples whose true class is among the five most probable ones (more than five
    /// classes only).
    TopFiveAccuracy,
    /// Multi-label: share of samples of which every known label is predicted rightly.
    SubsetAccuracy,
    /// Mean recall over the classes that are present in the truth.
    BalancedAccuracy,
    /// Mean over classes of the share of a class that is found.
    MacroRecall,
    /// Mean over classes of the share of the predictions of a class that are right.
    MacroPrecision,
    /// Mean over classes of the harmonic mean of precision and recall.
    MacroF1,
    /// Two classes: recall of class 1.
    Sensitivity,
    /// Two classes: recall of class 0.
    Specificity,
    /// Cohen's kappa: agreement beyond chance.
    CohenKappa,
    /// Cohen's kappa with disagreements weighted by the squared distance of the class indices (for
    /// ordered classes).
    QuadraticKappa,
    /// Two classes: area under the ROC curve of the probability of class 1; ties count one half.
    RocAuc,
    /// Multi-label: mean over labels of the area under the ROC curve among the samples whose label
    /// is known.
    RocAucMacro,
    /// `RocAucMacro` over the labels with both positive and negative samples; given when that
    /// leaves labels out.
    RocAucMacroPresent,
    /// Mean over classes of the area under the ROC curve of the class against the rest, on its own
    /// probability.
    #[serde(rename = "roc_auc_ovr")]
    RocAucOneVsRest,
    /// `RocAucOneVsRest` over the classes that are present; given when that leaves classes out.
    #[serde(rename = "roc_auc_ovr_present")]
    RocAucOneVsRestPresent,
    /// Mean over ordered pairs of classes (a, b) of the area under the ROC curve of a against b on
    /// the probability of a.
    #[serde(rename = "roc_auc_ovo")]
    RocAucOneVsOne,
    /// `RocAucOneVsOne` over the classes that are present; given when that leaves classes out.
    #[serde(rename = "roc_auc_ovo_present")]
    RocAucOneVsOnePresent,
    /// Average precision of class 1 (two classes) or its mean over classes: sum over distinct
    /// thresholds of the gain in recall times the precision, without interpolation.
    AveragePrecision,
    /// `AveragePrecision` over the classes with positive samples; given when that leaves classes
    /// out.
    AveragePrecisionPresent,
    /// Mean of -ln p(true class), p clipped to `[2^-52, 1 - 2^-52]`; multi-label: mean over known
    /// labels.
    LogLoss,
    /// Mean squared distance of probabilities and truth: summed over classes (0 to 2) for more than
    /// two classes, of the probability of class 1 (0 to 1) for two, mean over known labels for
    /// multi-label.
    Brier,
    /// Expected calibration error in 15 bins of equal width `(low, high]`: of the most probable
    /// class's probability; multi-label: mean over labels of that of the label's probability.
    Ece,
    /// `Ece` without the error that chance adds: calibrated probabilities, too, differ from the
    /// shares that a bin's few samples show. Each bin's `|share - probability|` is lowered by what
    /// a normal variable of its variance adds to the size of its mean (as Kumar et al. 2019 debias
    /// the squared error; Ferro and Fricker 2012), and the sum is at least 0.
    EceDebiased,
}

impl Metric {
    /// The name in records: `roc_auc_ovr`.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::TopFiveAccuracy => "top_five_accuracy",
            Metric::SubsetAccuracy => "subset_accuracy",
            Metric::BalancedAccuracy => "balanced_accuracy",
            Metric::MacroRecall => "macro_recall",
            Metric::MacroPrecision => "macro_precision",
            Metric::MacroF1 => "macro_f1",
            Metric::Sensitivity => "sensitivity",
            Metric::Specificity => "specificity",
            Metric::CohenKappa => "cohen_kappa",
            Metric::QuadraticKappa => "quadratic_kappa",
            Metric::RocAuc => "roc_auc",
            Metric::RocAucMacro => "roc_auc_macro",
            Metric::RocAucMacroPresent => "roc_auc_macro_present",
            Metric::RocAucOneVsRest => "roc_auc_ovr",
            Metric::RocAucOneVsRestPresent => "roc_auc_ovr_present",
            Metric::RocAucOneVsOne => "roc_auc_ovo",
            Metric::RocAucOneVsOnePresent => "roc_auc_ovo_present",
            Metric::AveragePrecision => "average_precision",
            Metric::AveragePrecisionPresent => "average_precision_present",
            Metric::LogLoss => "log_loss",
            Metric::Brier => "brier",
            Metric::Ece => "ece",
            Metric::EceDebiased => "ece_debiased",
        }
    }

    /// The name in print: `ROC-AUC, one-vs-rest`.
    pub const fn title(self) -> &'static str {
        match self {
            Metric::Accuracy => "Accuracy",
            Metric::TopFiveAccuracy => "Top-5 accuracy",
            Metric::SubsetAccuracy => "Subset accuracy",
            Metric::BalancedAccuracy => "Balanced accuracy",
            Metric::MacroRecall => "Recall, macro",
            Metric::MacroPrecision => "Precision, macro",
            Metric::MacroF1 => "F1, macro",
            Metric::Sensitivity => "Sensitivity",
            Metric::Specificity => "Specificity",
            Metric::CohenKappa => "Cohen's kappa",
            Metric::QuadraticKappa => "Quadratic kappa",
            Metric::RocAuc => "ROC-AUC",
            Metric::RocAucMacro => "ROC-AUC, mean over labels",
            Metric::RocAucMacroPresent => "ROC-AUC, labels present",
            Metric::RocAucOneVsRest => "ROC-AUC, one-vs-rest",
            Metric::RocAucOneVsRestPresent => "ROC-AUC, one-vs-rest, classes present",
            Metric::RocAucOneVsOne => "ROC-AUC, one-vs-one",
            Metric::RocAucOneVsOnePresent => "ROC-AUC, one-vs-one, classes present",
            Metric::AveragePrecision => "Average precision",
            Metric::AveragePrecisionPresent => "Average precision, classes present",
            Metric::LogLoss => "Log loss",
            Metric::Brier => "Brier score",
            Metric::Ece => "Calibration error (ECE)",
            Metric::EceDebiased => "Calibration error, debiased",
        }
    }

    /// Whether larger is better; losses and errors are better when small.
    pub const fn larger_is_better(self) -> bool {
        !matches!(self, Metric::LogLoss | Metric::Brier | Metric::Ece | Metric::EceDebiased)
    }

    /// The smallest and the largest value that it can have.
    pub(super) const fn range(self) -> [f64; 2] {
        match self {
            Metric::CohenKappa | Metric::QuadraticKappa => [-1.0, 1.0],
            // -ln 2^-52, the largest loss of a clipped probability.
            Metric::LogLoss => [0.0, 52.0 * std::f64::consts::LN_2],
            Metric::Brier => [0.0, 2.0],
            _ => [0.0, 1.0],
        }
    }

    /// Whether it is an area under a ROC curve, or the mean of one per class.
    pub(super) const fn is_area(self) -> bool {
        matches!(
            self,
            Metric::RocAuc
                | Metric::RocAucMacro
                | Metric::RocAucMacroPresent
                | Metric::RocAucOneVsRest
                | Metric::RocAucOneVsRestPresent
        )
    }

    /// The metric whose place this one takes where that one is undefined for want of samples of
    /// some class.
    pub(super) const fn replaces(self) -> Option<Metric> {
        match self {
            Metric::RocAucMacroPresent => Some(Metric::RocAucMacro),
            Metric::RocAucOneVsRestPresent => Some(Metric::RocAucOneVsRest),
            Metric::RocAucOneVsOnePresent => Some(Metric::RocAucOneVsOne),
            Metric::AveragePrecisionPresent => Some(Metric::AveragePrecision),
            _ => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
