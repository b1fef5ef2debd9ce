//! The metric that decides between candidates, its value, and what is said of the choice.

use crate::data::Task;
use crate::metrics::{Evaluation, Metric};
use crate::records::Selection;

/// Validation samples below which a choice is said to rest on few.
pub const MIN_VALIDATION: usize = 30;

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

/// What candidates and epochs are ordered by, larger is better: the deciding metric, then a small
/// log loss.
pub fn rank(metric: Metric, score: f64, log_loss: Option<f64>) -> [f64; 2] {
    let merit = if metric.larger_is_better() { score } else { -score };
    [merit, -log_loss.unwrap_or(f64::INFINITY)]
}

impl Selection {
    /// What the reader should know of the choice of `chosen` with a validation split of
    /// `validation` samples: too few of them, a value at the edge of its grid, a tie of all
    /// candidates.
    pub fn warnings(&self, chosen: f64, validation: usize) -> Vec<String> {
        let count = self.candidates.len();
        if count < 2 {
            return Vec::new();
        }
        let name = match self.parameter.as_str() {
            "c" => "C",
            "learning_rate" => "learning rate",
            other => other,
        };
        let mut warnings = Vec::new();
        if let Some(folds) = self.folds {
            warnings.push(format!(
                "{validation} validation samples are few: {name} was chosen by {folds}-fold cross-validation of train and \
                 validation"
            ));
        } else if validation < MIN_VALIDATION {
            warnings.push(format!(
                "{name} was chosen on {validation} validation samples, fewer than {MIN_VALIDATION}: others may choose \
                 otherwise"
            ));
        }
        let values = || self.candidates.iter().map(|candidate| candidate.value);
        let least = values().fold(f64::INFINITY, f64::min);
        let most = values().fold(f64::NEG_INFINITY, f64::max);
        for (edge, word) in [(least, "smallest"), (most, "largest")] {
            if chosen == edge && least < most {
                warnings.push(format!(
                    "the chosen {name} is the {word} of {count} candidates: a better one may lie beyond them"
                ));
            }
        }
        let scores: Vec<f64> = self.candidates.iter().filter_map(|candidate| candidate.score).collect();
        if let Some(first) = scores.first()
            && scores.len() == count
            && scores.iter().all(|score| score == first)
        {
            let metric = self.metric.title();
            warnings.push(format!("all {count} candidates have the same {metric}, {first:.3}: the log loss decided"));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Candidate;

    #[test]
    fn edges_ties_and_few_samples_are_told() {
        let candidate = |value| Candidate { value, score: Some(1.0), log_loss: None, fit: None };
        let selection = |folds| Selection {
            parameter: "c".into(),
            metric: Metric::Accuracy,
            candidates: [0.1, 1.0, 10.0].map(candidate).to_vec(),
            refitted: true,
            folds,
        };
        let told = selection(None).warnings(10.0, 8);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("C was chosen on 8 validation samples, fewer than 30"), "{told:?}");
        assert!(told[1].starts_with("the chosen C is the largest of 3 candidates"), "{told:?}");
        assert!(told[2].starts_with("all 3 candidates have the same Accuracy, 1.000"), "{told:?}");
        assert!(selection(Some(5)).warnings(1.0, 8)[0].contains("5-fold cross-validation"));
        assert_eq!(selection(None).warnings(1.0, 30).len(), 1);
    }
}
