//! Failures of fitting and evaluating probes.

use crate::error::Diagnostic;

/// A probe cannot be fitted or evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// A hyper-parameter is outside its range.
    #[error("`{name}` is {found}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What was given.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A feature is NaN or infinite.
    #[error("feature {feature} of row {row} (`{id}`) is {value}")]
    NotFinite {
        /// Position of the sample.
        row: usize,
        /// Its id.
        id: String,
        /// Position of the feature.
        feature: usize,
        /// What was found.
        value: f32,
    },
    /// Two things that must have one entry per sample differ in their number.
    #[error("{found} {what} for {expected} samples")]
    Length {
        /// What is counted, plural.
        what: &'static str,
        /// Entries found.
        found: usize,
        /// Number of samples.
        expected: usize,
    },
    /// A probe is applied to features of another length than it was fitted on.
    #[error("features have length {found}, the probe was fitted on length {expected}")]
    Dimension {
        /// Length found.
        found: usize,
        /// Length needed.
        expected: usize,
    },
    /// Samples have labels of a kind that does not fit the task.
    #[error("sample `{id}` has a label that does not fit a {task} task")]
    Label {
        /// Its id.
        id: String,
        /// What the labels mean.
        task: &'static str,
    },
    /// There are no labels to learn.
    #[error("no sample has a label")]
    Unlabelled,
    /// A split that is needed has no labelled sample.
    #[error("the {split} split has no labelled sample")]
    EmptySplit {
        /// Its name.
        split: &'static str,
    },
    /// There is nothing to tell apart.
    #[error("all {samples} samples of the train split are of one class, `{class}`")]
    OneClass {
        /// Number of samples.
        samples: usize,
        /// The class.
        class: String,
    },
    /// A group has samples in two splits.
    #[error("group `{group}` has samples in the {first} and the {second} split ({count} such groups in all)")]
    Leak {
        /// The first such group.
        group: String,
        /// One of its splits.
        first: &'static str,
        /// Another of its splits.
        second: &'static str,
        /// Number of such groups.
        count: usize,
    },
    /// An image is in two splits.
    #[error("image `{id}` is in the {first} and in the {second} split, byte for byte ({count} such images in all)")]
    RepeatedImage {
        /// The first such image.
        id: String,
        /// One of its splits.
        first: &'static str,
        /// Another of its splits.
        second: &'static str,
        /// Number of such images.
        count: usize,
    },
    /// Two sets of predictions cannot be compared.
    #[error("the predictions cannot be compared: {problem}")]
    Incomparable {
        /// Why.
        problem: String,
    },
    /// The deciding metric is undefined for every candidate.
    #[error("`{metric}` is undefined on the validation split for every candidate")]
    NothingToChoose {
        /// The metric.
        metric: &'static str,
    },
    /// A figure is asked for that there is not.
    #[error("there is no `{metric}`: {reason}")]
    NoMetric {
        /// The metric.
        metric: &'static str,
        /// Why.
        reason: String,
    },
    /// Repeats are asked for where nothing varies.
    #[error("{repeats} repeats are asked for, but the splits are given and leave nothing to draw")]
    NothingVaries {
        /// Repeats asked for.
        repeats: usize,
    },
    /// The samples are not those that a record was made from.
    #[error("the samples have changed since the probe was made: {what}: {recorded} then, {found} now")]
    Changed {
        /// What has changed.
        what: String,
        /// As the record states it.
        recorded: String,
        /// As it is now.
        found: String,
    },
    /// The reference solver does not fit a probe.
    #[error("`linfa-logistic` does not fit the probe: {reason}")]
    Solver {
        /// Why.
        reason: String,
    },
    /// The machine learning library refused a dataset.
    #[error(transparent)]
    Library(#[from] linfa::Error),
}

impl Diagnostic for ProbeError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            ProbeError::NotFinite { .. } => "remove the row, or find out why the model gives such features".into(),
            ProbeError::Unlabelled => "name the column of the labels with `<label>`".into(),
            ProbeError::EmptySplit { split: "test" | "validation" } => {
                "add samples to the split, or leave the splits out of the table to have them drawn".into()
            }
            ProbeError::EmptySplit { .. } => "a probe needs labelled samples to learn from".into(),
            ProbeError::OneClass { .. } => "check the labels and the splits: a probe needs two classes at least".into(),
            ProbeError::Leak { .. } | ProbeError::RepeatedImage { .. } => {
                "correct the splits, draw them with `<resplit>`, or accept the leak with `<allow-leak>`".into()
            }
            ProbeError::NothingToChoose { .. } => {
                "choose another metric with `<metric>`, or fix the hyper-parameter".into()
            }
            ProbeError::NothingVaries { .. } => "leave `<repeats>` out, or draw new splits with `<resplit>`".into(),
            ProbeError::Changed { .. } => "run the probe again".into(),
            _ => return None,
        })
    }
}
