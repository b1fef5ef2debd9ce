//! What a classifier is made of, found out from the record of a probe or from the directory of a
//! fine-tuning run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::backbones::ModelOptions;
use crate::data::Task;
use crate::deploy::{FittedOn, Head, ModelCard, from_probe, from_run};
use crate::error::{DeployError, Result};
use crate::graph::Model;
use crate::metrics::{Bootstrap, Decision, Estimate, Metric, evaluate};
use crate::preprocess::{Preprocess, ValidPreprocess, Window};
use crate::records::{Calibration, Chosen, PredictionTable, Record, Settings};
use crate::support::progress::Progress;

/// What a user says beyond the probe or run.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The model that made the embeddings; by default as the cache names it.
    pub model: Option<String>,
    /// What else there is to say about that model; its taps follow from the cache.
    pub options: ModelOptions,
    /// The embedding cache; by default the one that the record lies in or names.
    pub cache: Option<PathBuf>,
    /// Files of the images that a run was tested on, by id, as far as they are known; those of
    /// probes are known by their cache.
    pub images: HashMap<String, PathBuf>,
    /// Above which probabilities labels count as present: one for all, or one per label; from which
    /// probability on the second of two classes is the answer. As the record says unless given.
    pub thresholds: Vec<f32>,
}

/// The network of a classifier.
#[derive(Clone, Debug)]
pub struct ExportedNetwork {
    /// The graph.
    pub model: Model,
    /// Its input, f32 [N, C, H, W].
    pub input: String,
    /// The output that the head reads, f32 [N, D].
    pub output: String,
    /// Length of a row of that output.
    pub width: usize,
    /// The number of images that it takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
}

/// What a classifier is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// What happens to pixels first.
    pub preprocess: ValidPreprocess,
    /// The network.
    pub body: ExportedNetwork,
    /// What makes probabilities of the network's output.
    pub head: Head,
    /// What the file will say about itself.
    pub card: ModelCard,
    /// Images of the test split that it was evaluated on, in order, with the probabilities found
    /// then.
    pub tested: Vec<RecordedPrediction>,
    /// How much the probabilities found then may differ from those found now.
    pub recorded_tolerance: f64,
}

/// An image of the test split.
#[derive(Clone, Debug)]
pub struct RecordedPrediction {
    /// The file.
    pub path: PathBuf,
    /// The probabilities that the metrics were computed from.
    pub probabilities: Vec<f64>,
}

/// Finds out what the classifier of a probe's record or of a run's directory is made of.
///
/// # Errors
/// [`DeployError`]: it is neither; the model is not the one that made the embeddings. Those of
/// reading caches, records and models.
pub fn open(path: &Path, asked: &ExportOptions, progress: &dyn Progress) -> Result<Source> {
    if path.is_dir() {
        return from_run::open(path, asked);
    }
    let record = Record::read(path)?;
    match record.chosen {
        Chosen::Linear { .. } | Chosen::Knn { .. } => from_probe::open(path, &record, asked, progress),
        Chosen::Finetune { .. } => from_run::open(path.parent().unwrap_or(Path::new("")), asked),
    }
}

/// What a user of the file should know.
pub(super) fn warnings(record: &Record, preprocess: &Preprocess) -> Vec<String> {
    let mut warnings = record.warnings.clone();
    if preprocess.fast_decode {
        warnings.push(
            "large JPEGs were decoded at a reduced size: decoded in full, they give slightly other results".into(),
        );
    }
    if preprocess.window != Window::File {
        warnings
            .push("grey values were windowed while decoding: images must be given with the same window applied".into());
    }
    warnings
}

/// How a classifier's scores become probabilities and those a decision, with its metrics on test
/// data when it decides so.
pub(super) struct DecisionRule {
    pub(super) temperature: Option<Vec<f32>>,
    pub(super) thresholds: Option<Vec<f32>>,
    pub(super) cut_points: Option<Vec<f32>>,
    pub(super) fitted_on: Option<FittedOn>,
    pub(super) metrics: BTreeMap<Metric, Estimate>,
}

impl DecisionRule {
    /// As the record says; thresholds that are asked for take the place of the record's, and the
    /// test predictions are evaluated with them.
    ///
    /// # Errors
    /// [`DeployError::Thresholds`] for thresholds where there is nothing to threshold, for another
    /// number of them than there are labels, and for values outside of 0 to 1.
    pub(super) fn of(record: &Record, asked: &[f32], predictions: Option<&PredictionTable>) -> Result<DecisionRule> {
        let adjustment = record.adjustment.as_ref();
        let rounded = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let mut deciding = DecisionRule {
            temperature: adjustment.and_then(Calibration::divisors).map(rounded),
            thresholds: (record.task == Task::MultiLabel).then(|| vec![0.5; record.classes.len()]),
            cut_points: None,
            fitted_on: adjustment
                .map(|fitted| FittedOn { validation_samples: fitted.samples, threshold_rule: fitted.rule }),
            metrics: record.metrics.clone(),
        };
        match adjustment.and_then(Calibration::decision) {
            Some(Decision::Thresholds(values)) => deciding.thresholds = Some(rounded(values)),
            Some(Decision::CutPoints(values)) => deciding.cut_points = Some(rounded(values)),
            None => {}
        }
        let Some(thresholds) = thresholds(record.task, record.classes.len(), asked)? else { return Ok(deciding) };
        let decision = Decision::Thresholds(thresholds.iter().map(|&value| f64::from(value)).collect());
        deciding.metrics = match predictions {
            Some(table) => {
                let table = PredictionTable { decision: Some(decision), ..table.clone() };
                let Settings { bootstrap: resamples, level: coverage, .. } = record.settings;
                let bootstrap = Bootstrap { resamples, coverage, ..Bootstrap::default() };
                evaluate(&table.predictions()?, &bootstrap).metrics
            }
            None => BTreeMap::new(),
        };
        deciding.thresholds = Some(thresholds);
        if let Some(fitted_on) = &mut deciding.fitted_on {
            fitted_on.threshold_rule = None;
        }
        Ok(deciding)
    }
}

/// The thresholds asked for, one per label, or one of the second of two classes.
fn thresholds(task: Task, classes: usize, asked: &[f32]) -> Result<Option<Vec<f32>>, DeployError> {
    let refused = |expected: String| DeployError::Thresholds { found: format!("{asked:?}"), expected };
    if asked.is_empty() {
        return Ok(None);
    }
    if asked.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
        return Err(refused("numbers from 0 to 1".into()));
    }
    match (task, asked) {
        (Task::MultiLabel, [one]) => Ok(Some(vec![*one; classes])),
        (Task::MultiLabel, several) if several.len() == classes => Ok(Some(several.to_vec())),
        (Task::MultiLabel, _) => Err(refused(format!("one, or {classes}: one per label"))),
        (Task::Multiclass, [one]) if classes == 2 => Ok(Some(vec![*one])),
        (Task::Multiclass, _) if classes == 2 => Err(refused("one: of the second class".into())),
        _ => Err(refused("none: an image has one class, the one of the highest probability".into())),
    }
}
