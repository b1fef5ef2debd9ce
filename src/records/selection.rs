//! The metric that decides between candidates, and its value.

use crate::data::Task;
use crate::metrics::{Evaluation, Metric};

/// The metric that decides unless another is named: accuracy, quadratic kappa for ordered classes,
/// the mean ROC-AUC over labels for multi-label tasks (over the labels that have both values, where
/// some lack one).
pub fn deciding_metric(task: Task) -> Metric {
    match task {
        Task::Ordinal => Metric::QuadraticKappa,
        Task::MultiLabel => Metric::RocAucMacro,
        Task::Unlabelled | Task::Multiclass => Metric::Accuracy,
    }
}

/// The value of a metric; where absent classes leave the mean over all classes undefined, that over
/// those present.
pub fn score(evaluation: &Evaluation, metric: Metric) -> Option<f64> {
    let present = match metric {
        Metric::RocAucMacro => Some(Metric::RocAucMacroPresent),
        Metric::RocAucOneVsRest => Some(Metric::RocAucOneVsRestPresent),
        Metric::RocAucOneVsOne => Some(Metric::RocAucOneVsOnePresent),
        Metric::AveragePrecision => Some(Metric::AveragePrecisionPresent),
        _ => None,
    };
    let value = |metric: Metric| evaluation.metrics.get(&metric).and_then(|estimate| estimate.value);
    value(metric).or_else(|| present.and_then(value))
}
