//! Failures of evaluating predictions: what is given does not fit together.

use crate::error::Diagnostic;

/// Predictions cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Two things that must have one entry per sample (or per class) have different numbers of
    /// entries.
    #[error("{found} {what} for {expected} rows of probabilities")]
    Length {
        /// What is counted, plural.
        what: &'static str,
        /// Entries found.
        found: usize,
        /// Entries needed.
        expected: usize,
    },
    /// There are fewer than two classes, or no label at all.
    #[error("probabilities have {found} columns, expected at least {expected}")]
    Classes {
        /// Columns found.
        found: usize,
        /// Columns needed.
        expected: usize,
    },
    /// A class index is outside the columns of the probabilities.
    #[error("sample {row} has class {class}, but the probabilities have {classes} columns")]
    UnknownClass {
        /// Position of the sample.
        row: usize,
        /// Its class.
        class: usize,
        /// Number of columns.
        classes: usize,
    },
    /// A probability is not a number from 0 to 1.
    #[error("the probability of sample {row}, class {class} is {value}, not a number from 0 to 1")]
    Probability {
        /// Position of the sample.
        row: usize,
        /// Column.
        class: usize,
        /// What was found.
        value: f64,
    },
    /// Thresholds or cut-points do not suit the classes.
    #[error("{found} cannot decide between {classes} columns of probabilities")]
    Decision {
        /// What was given.
        found: String,
        /// Number of columns.
        classes: usize,
    },
    /// Two sets of predictions are compared that do not belong to the same samples.
    #[error("the compared predictions differ in {what}")]
    Unpaired {
        /// What differs.
        what: &'static str,
    },
}

impl Diagnostic for MetricError {
    fn hint(&self) -> Option<String> {
        match self {
            MetricError::Unpaired { .. } => Some(
                "compare predictions of the same samples in the same order, with the same labels and groups".into(),
            ),
            _ => None,
        }
    }
}
