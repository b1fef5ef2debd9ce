//! What a probe or a fine-tuning run leaves behind: hyper-parameters, metrics with intervals,
//! curves, counts, and what is needed to do it again.
//!
//! A record is the JSON file `probes/<name>.json` of a cache or `record.json` of a run, and what
//! `--json` prints. It belongs to the *first* repeat: its predictions and weights lie beside it
//! (see [`Record::predictions`] and [`Record::weights`]); the other repeats are summarised by mean
//! and standard deviation.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::split::TrainFraction;
use crate::data::{Split, Task};
use crate::error::{ProbeError, Result};
use crate::metrics::{ClassScores, Estimate, Evaluation, Metric, ReliabilityBin};
use crate::records::Calibration;
use crate::support::json;

/// One probe of one cache, or one fine-tuned network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The hyper-parameters of the first repeat; the tag `probe` is `linear`, `knn` or `finetune`.
    pub chosen: Chosen,
    /// Metrics on the test split, first repeat.
    pub metrics: BTreeMap<Metric, Estimate>,
    /// Mean and standard deviation over the repeats, where there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summary: BTreeMap<Metric, Summary>,
    /// How the hyper-parameter was chosen, first repeat.
    pub selection: Selection,
    /// Every repeat, the first included.
    pub repeats: Vec<Repeat>,
    /// Counts of the test split, first repeat: `confusion[truth][decision]`; none for multi-label
    /// tasks.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Each class (or label) by itself on the test split, first repeat.
    pub per_class: Vec<ClassScores>,
    /// The reliability diagram of the test split, first repeat.
    pub reliability: Vec<ReliabilityBin>,
    /// What was fitted on validation predictions behind the classifier: the figures are of the
    /// classifier with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjustment: Option<Calibration>,
    /// What the labels mean.
    pub task: Task,
    /// Class (or label) names, in the order of the probabilities' columns.
    pub classes: Vec<String>,
    /// Samples of each split, first repeat.
    pub splits: BTreeMap<Split, Counts>,
    /// Where the features come from.
    pub source: Source,
    /// What was asked for.
    pub settings: Settings,
    /// Wall-clock time.
    pub seconds: Seconds,
    /// What the reader should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Leaks between splits that were allowed: the figures are too good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<String>,
    /// File name, beside the record, of the predictions on the test split, first repeat: see
    /// [`PredictionTable`](crate::records::PredictionTable).
    pub predictions: Option<String>,
    /// File name, beside the record, of the fitted classifier's weights, first repeat. None for
    /// k-NN, whose model is the cache.
    pub weights: Option<String>,
    /// Version of this crate.
    pub version: String,
}

/// What is done to features before a linear probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Subtract each feature's mean and divide by its standard deviation (divisor N), both of the
    /// fitted samples. A constant feature is only centred.
    #[default]
    Standard,
    /// Divide each sample by its Euclidean norm (at least 1e-12).
    L2,
    /// Features as they are.
    None,
}

/// Who fits a logistic regression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Solver {
    /// This library: preconditioned L-BFGS until no entry of the gradient of the mean loss and its
    /// penalty is above the tolerance.
    #[default]
    Own,
    /// The crate `linfa-logistic`, as a reference: its L-BFGS on the sum of losses, in f64. It
    /// takes no weights of samples.
    Linfa,
}

/// What a solver other than this library's minimises, and where it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SolverReport {
    /// The solver.
    pub name: Solver,
    /// Its objective with its penalty.
    pub penalty: String,
    /// Where it ends.
    pub criterion: String,
}

/// The hyper-parameters of a fitted classifier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "probe", rename_all = "snake_case")]
pub enum Chosen {
    /// Logistic regression.
    Linear {
        /// Inverse strength of the penalty: `c * sum of losses + 1/2 * |W|^2`.
        c: f64,
        /// What was done to the features.
        scale: Scale,
    },
    /// Weighted nearest neighbours.
    Knn {
        /// Number of neighbours that vote.
        k: usize,
        /// Votes are weighted by `exp(similarity / temperature)`.
        temperature: f64,
    },
    /// A network trained further.
    Finetune {
        /// The largest learning rate of the schedule.
        learning_rate: f64,
        /// The epoch, from 1, whose weights did best on validation data.
        epoch: usize,
    },
}

impl Chosen {
    /// The hyper-parameter that was chosen among candidates.
    pub const fn value(&self) -> f64 {
        match self {
            Chosen::Linear { c, .. } => *c,
            Chosen::Knn { k, .. } => *k as f64,
            Chosen::Finetune { learning_rate, .. } => *learning_rate,
        }
    }

    /// The name of the classifier and of its files: `linear`, `knn` or `finetune`.
    pub const fn name(&self) -> &'static str {
        match self {
            Chosen::Linear { .. } => "linear",
            Chosen::Knn { .. } => "knn",
            Chosen::Finetune { .. } => "finetune",
        }
    }
}

/// How a hyper-parameter was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// What varies: `c`, `k` or `learning_rate`.
    pub parameter: String,
    /// The metric that decides; at equal values the log loss does, then the stronger penalty.
    pub metric: Metric,
    /// The candidates in the order they were tried. Scores are of the validation split, of the
    /// probe fitted on train alone; they are absent when there was only one candidate and thus
    /// nothing to choose. With `folds` they are of the held-out predictions of the folds.
    pub candidates: Vec<Candidate>,
    /// Whether the final probe was fitted on train and validation together.
    pub refitted: bool,
    /// Number of folds of a cross-validation within train and validation, where the validation
    /// split is too small to choose on; then the log loss decides, by the one-standard-error rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
}

/// One candidate of a hyper-parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The value of the hyper-parameter.
    pub value: f64,
    /// The deciding metric on the validation split; `None` where undefined or not computed.
    pub score: Option<f64>,
    /// The log loss on the validation split, which decides between candidates of one score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_loss: Option<f64>,
    /// How the fit went, for linear probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitReport>,
}

/// How an optimisation ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitReport {
    /// Whether the largest entry of the gradient fell below the tolerance.
    pub converged: bool,
    /// Steps taken; 0 where the solver does not tell.
    pub iterations: usize,
    /// Evaluations of the objective and its gradient, by this library.
    pub evaluations: usize,
    /// The objective, `sum of losses + |W|^2 / (2 c)`, divided by the sum of the sample weights.
    pub objective: f64,
    /// Largest absolute entry of the gradient of that.
    pub gradient: f64,
}

/// Mean and spread of a metric over repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Mean over the repeats that define the metric.
    pub mean: f64,
    /// Standard deviation (divisor: repeats - 1); `None` for fewer than two.
    pub standard_deviation: Option<f64>,
    /// Number of repeats that define the metric.
    pub repeats: usize,
}

impl Summary {
    /// Mean and standard deviation of `values`; `None` without any.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Summary { mean, standard_deviation, repeats: values.len() })
    }
}

/// One repeat: a split of its own, a selection of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    /// The seed of its split.
    pub seed: u64,
    /// What was chosen on its validation split.
    pub chosen: Chosen,
    /// Metrics on its test split.
    pub metrics: BTreeMap<Metric, Option<f64>>,
}

impl Repeat {
    /// A repeat with these figures.
    pub(crate) fn new(seed: u64, chosen: Chosen, evaluation: &Evaluation) -> Self {
        let metrics = evaluation.metrics.iter().map(|(metric, estimate)| (*metric, estimate.value)).collect();
        Repeat { seed, chosen, metrics }
    }
}

/// What one split consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Labelled samples.
    pub samples: usize,
    /// Samples of each class (multi-label: samples that have the label).
    pub per_class: Vec<usize>,
    /// Distinct groups, where there are groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
}

/// Where features come from, or images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The cache directory, Parquet file or dataset as given.
    pub path: String,
    /// The column of the features; `pixels` for a network that was trained on the images
    /// themselves.
    pub column: String,
    /// Length of a feature vector, or of the embedding of the network.
    pub dimension: usize,
    /// The model that made the features, or was trained further; where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Fingerprint of the dataset, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What was asked for: with the source, all that is needed to get the same record again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How the splits came about: `given`, `given, validation drawn from train`, `stratified
    /// random`, `grouped random`.
    pub splits: String,
    /// Seed of the first repeat's split; the others count up from it.
    pub split_seed: u64,
    /// Share of the samples that a drawn test split gets.
    pub test_fraction: f64,
    /// Share of the samples that a drawn validation split gets.
    pub validation_fraction: f64,
    /// The part of the train split that was trained on.
    #[serde(default, skip_serializing_if = "TrainFraction::is_whole")]
    pub train_fraction: TrainFraction,
    /// Resamples of the bootstrap.
    pub bootstrap: usize,
    /// Confidence level of the intervals.
    pub level: f64,
    /// Largest entry of the gradient at which a logistic regression counts as fitted; only for
    /// linear probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Who fitted a linear probe, where that was not this library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solver: Option<SolverReport>,
}

/// Wall-clock time in seconds, over all repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Reading the features.
    pub read: f64,
    /// Linear: fitting every candidate. k-NN: finding the neighbours of the validation split.
    /// Finetune: the search for the learning rate.
    pub select: f64,
    /// Linear: fitting the final probe and predicting. k-NN: finding the neighbours of the test
    /// split and voting. Finetune: training, validation included.
    pub fit: f64,
    /// Metrics and their intervals.
    pub evaluate: f64,
}

impl Record {
    /// A metric on the test split of the first repeat; of several repeats their mean.
    ///
    /// # Errors
    /// [`ProbeError::NoMetric`] for a metric that the task does not have, or that is undefined on
    /// these samples.
    pub fn metric(&self, metric: Metric) -> Result<f64, ProbeError> {
        if let Some(summary) = self.summary.get(&metric) {
            return Ok(summary.mean);
        }
        let estimate = self.metrics.get(&metric);
        let reason = || match estimate {
            Some(estimate) => estimate.undefined.clone().unwrap_or_else(|| "it has no value".into()),
            None => format!("a {} task has no such metric", self.task.name()),
        };
        let value = estimate.and_then(|estimate| estimate.value);
        value.ok_or_else(|| ProbeError::NoMetric { metric: metric.name(), reason: reason() })
    }

    /// The score of what was chosen, on validation data; `None` where there was nothing to choose.
    pub fn validation_score(&self) -> Option<f64> {
        let value = self.chosen.value();
        self.selection.candidates.iter().find(|candidate| candidate.value == value)?.score
    }

    /// Reads `probes/<name>.json` of a cache, or any other record.
    ///
    /// # Errors
    /// [`FileError`](crate::error::FileError) when the file cannot be read or is not a record.
    pub fn read(path: &Path) -> Result<Self> {
        json::read(path, "probe record")
    }

    /// Writes the record, replacing an older one atomically.
    ///
    /// # Errors
    /// [`FileError`](crate::error::FileError) when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        json::write(path, "probe record", self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_deviation_is_that_of_a_sample() {
        let summary = Summary::of(&[1.0, 2.0, 4.0]).unwrap();
        assert!((summary.mean - 7.0 / 3.0).abs() < 1e-15);
        assert!((summary.standard_deviation.unwrap() - (7.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Summary::of(&[3.0]).unwrap().standard_deviation, None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn hyper_parameters_carry_the_name_of_their_probe() {
        let chosen = Chosen::Knn { k: 20, temperature: 0.07 };
        assert_eq!(serde_json::to_string(&chosen).unwrap(), r#"{"probe":"knn","k":20,"temperature":0.07}"#);
    }
}
