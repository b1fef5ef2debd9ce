//! Failures of exporting classifiers and of running them.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A classifier cannot be exported or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// A path holds nothing that could become a classifier.
    #[error("`{path}` is neither the record of a probe nor a fine-tuning run: {problem}")]
    NotASource {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The network and preprocessing behind features are not known.
    #[error("which network made the features of `{path}` is not known: it is no embedding cache")]
    ForeignFeatures {
        /// The table of features.
        path: PathBuf,
    },
    /// The model of a cache was a file that is not known by its name alone.
    #[error("the embeddings were made with the file `{name}`, which must be named")]
    ModelNeeded {
        /// The file's name.
        name: String,
    },
    /// The model at hand is not the one that made the embeddings.
    #[error("`{model}` is not the model that made `{cache}`: {}", differences.join("; "))]
    OtherModel {
        /// The model as asked for.
        model: String,
        /// The cache.
        cache: PathBuf,
        /// What differs, with both values.
        differences: Vec<String>,
    },
    /// Something cannot be part of a classifier's graph.
    #[error("{what} cannot be exported: {reason}")]
    Inexpressible {
        /// What, as a phrase.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// There is no image to compare the classifier with the library on.
    #[error("there is no image to verify the classifier on: {reason}")]
    NoImages {
        /// Why.
        reason: String,
    },
    /// A classifier gives other probabilities than the library.
    #[error(
        "the classifier gives {found} for class `{class}` of `{image}`, {reference} {expected}: the difference of {difference:.2e} is more than the {allowed:.0e} allowed"
    )]
    Differs {
        /// The image.
        image: PathBuf,
        /// The class of the largest difference.
        class: String,
        /// Its probability according to the classifier.
        found: f64,
        /// What it is compared with, with a verb: `the library gives`.
        reference: &'static str,
        /// The probability expected.
        expected: f64,
        /// By how much they differ.
        difference: f64,
        /// By how much they may.
        allowed: f64,
    },
    /// A classifier's answer is not what its probabilities decide.
    #[error("the classifier answers {answer} for `{image}`, which its probabilities {probabilities} do not decide")]
    Decides {
        /// The image.
        image: PathBuf,
        /// The answer.
        answer: String,
        /// The probabilities.
        probabilities: String,
    },
    /// Thresholds do not fit the classes.
    #[error("thresholds are {found}, expected {expected}")]
    Thresholds {
        /// What was given.
        found: String,
        /// What would fit.
        expected: String,
    },
    /// A file is no classifier that this crate exported.
    #[error("`{path}` is no exported classifier: {problem}")]
    NotAClassifier {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A classifier gives an output of another type or shape than it states.
    #[error("the classifier gives {found} as `{name}`, expected {expected}")]
    Output {
        /// The output.
        name: String,
        /// Type and shape that it should have.
        expected: String,
        /// What it gives.
        found: String,
    },
    /// An image has more bits than a classifier takes.
    #[error("the image has {bits} bits per sample, the classifier takes 8")]
    Depth {
        /// Bits of one sample.
        bits: u32,
    },
}

impl Diagnostic for DeployError {
    fn kind(&self) -> Kind {
        match self {
            DeployError::Differs { .. } | DeployError::Decides { .. } => Kind::Incomplete,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            DeployError::NotASource { .. } => {
                "name a record that `defrost probe` saved, such as `CACHE/probes/linear.json`, or the directory of a run"
                    .into()
            }
            DeployError::ForeignFeatures { .. } => {
                "make a cache with `defrost embed`, probe it, and export that probe; or name its cache with `<cache>`".into()
            }
            DeployError::ModelNeeded { .. } => "name the file with `<model FILE>`".into(),
            DeployError::OtherModel { .. } => {
                "name the model as `defrost embed` was given it: `<model>`, `<weights>`, `<preprocess>` and the others".into()
            }
            DeployError::NoImages { .. } => "name images with `<verify DATA>`".into(),
            DeployError::NotAClassifier { .. } | DeployError::Output { .. } => "make one with `defrost export`".into(),
            DeployError::Depth { .. } => "convert it to 8 bits as your application will do".into(),
            DeployError::Inexpressible { .. }
            | DeployError::Differs { .. }
            | DeployError::Decides { .. }
            | DeployError::Thresholds { .. } => return None,
        })
    }
}
