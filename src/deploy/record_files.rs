//! The record of a probe or run with the files it names, and the card of the classifier that they
//! describe.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::data::Task;
use crate::deploy::model_card::{FittedOn, ModelCard, ModelOrigin};
use crate::deploy::source::RecordedPrediction;
use crate::error::{DeployError, ProbeError, Result};
use crate::metrics::{Bootstrap, Decision, Estimate, Metric, evaluate};
use crate::preprocess::{Preprocess, Window};
use crate::records::{Calibration, PredictionTable, Record, Settings};
use crate::support::fs;

/// A record with the files beside it.
pub(super) struct RecordFiles {
    pub(super) path: PathBuf,
    pub(super) record: Record,
    /// Predictions on the test split.
    pub(super) predictions: Option<PredictionTable>,
    /// The file of fitted weights, where one is named.
    pub(super) weights: Option<PathBuf>,
}

/// The network of a classifier, as its card names it.
pub(super) struct NetworkOrigin {
    pub(super) model: String,
    pub(super) weights_sha256: String,
    pub(super) graph_sha256: String,
    pub(super) licence: Option<String>,
    pub(super) random_weights: bool,
    /// Fingerprint of the dataset.
    pub(super) dataset: Option<String>,
}

impl RecordFiles {
    /// Reads a record and the predictions that it names.
    pub(super) fn read(path: &Path) -> Result<RecordFiles> {
        let record = Record::read(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let predictions = record.predictions.as_ref().map(|name| PredictionTable::read(&folder.join(name)));
        let weights = record.weights.as_ref().map(|name| folder.join(name));
        Ok(RecordFiles { path: path.to_path_buf(), predictions: predictions.transpose()?, weights, record })
    }

    /// Refuses classes that are not those of the record.
    ///
    /// # Errors
    /// [`ProbeError::Changed`].
    pub(super) fn check_classes(&self, found: &[String]) -> Result<()> {
        check_same("classes", &self.record.classes.join(", "), &found.join(", "))
    }

    /// The test images that have a file, with the probabilities found then.
    pub(super) fn tested(&self, images: &HashMap<String, PathBuf>) -> Result<Vec<RecordedPrediction>, String> {
        let table = self.predictions.as_ref().ok_or("the record names no test image")?;
        let rows = table.ids.iter().zip(table.probabilities.rows());
        let tested: Vec<RecordedPrediction> = rows
            .filter_map(|(id, row)| {
                Some(RecordedPrediction { path: images.get(id)?.clone(), probabilities: row.to_vec() })
            })
            .collect();
        match tested.is_empty() {
            true => Err("the record names no test image".to_owned()),
            false => Ok(tested),
        }
    }

    /// What the classifier's file says about itself; `thresholds` take the place of the record's
    /// unless empty.
    ///
    /// # Errors
    /// [`DeployError::Thresholds`]; `FileError` where a file cannot be read.
    pub(super) fn card(
        &self,
        network: NetworkOrigin,
        preprocess: &Preprocess,
        thresholds: &[f32],
    ) -> Result<ModelCard> {
        let record = &self.record;
        let rule = DecisionRule::new(record, thresholds, self.predictions.as_ref())?;
        Ok(ModelCard {
            task: record.task,
            classes: record.classes.clone(),
            temperature: rule.temperature,
            thresholds: rule.thresholds,
            cut_points: rule.cut_points,
            fitted_on: rule.fitted_on,
            preprocess: preprocess.clone(),
            method: record.chosen,
            metrics: rule.metrics,
            origin: ModelOrigin {
                defrost: env!("CARGO_PKG_VERSION").to_owned(),
                model: network.model,
                weights_sha256: network.weights_sha256,
                graph_sha256: network.graph_sha256,
                licence: network.licence,
                random_weights: network.random_weights,
                dataset: network.dataset,
                record_sha256: fs::sha256_of_file(&self.path)?,
                fitted_sha256: self.weights.as_deref().map(fs::sha256_of_file).transpose()?,
                fitted_samples: record.fitted(),
                warnings: warnings(record, preprocess),
            },
            verification: None,
        })
    }
}

/// Refuses what is not as it was recorded.
///
/// # Errors
/// [`ProbeError::Changed`].
pub(super) fn check_same(what: &str, recorded: &str, found: &str) -> Result<()> {
    if recorded == found {
        return Ok(());
    }
    let (what, recorded, found) = (what.to_owned(), recorded.to_owned(), found.to_owned());
    Err(ProbeError::Changed { what, recorded, found }.into())
}

/// What a user of the file should know.
fn warnings(record: &Record, preprocess: &Preprocess) -> Vec<String> {
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
struct DecisionRule {
    temperature: Option<Vec<f32>>,
    thresholds: Option<Vec<f32>>,
    cut_points: Option<Vec<f32>>,
    fitted_on: Option<FittedOn>,
    metrics: BTreeMap<Metric, Estimate>,
}

impl DecisionRule {
    /// As the record says; thresholds that are asked for take the place of the record's, and the
    /// test predictions are evaluated with them.
    ///
    /// # Errors
    /// [`DeployError::Thresholds`] for thresholds where there is nothing to threshold, for another
    /// number of them than there are labels, and for values outside of 0 to 1.
    fn new(record: &Record, asked: &[f32], predictions: Option<&PredictionTable>) -> Result<DecisionRule> {
        let calibration = record.adjustment.as_ref();
        let rounded = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let mut rule = DecisionRule {
            temperature: calibration.and_then(Calibration::divisors).map(rounded),
            thresholds: (record.task == Task::MultiLabel).then(|| vec![0.5; record.classes.len()]),
            cut_points: None,
            fitted_on: calibration
                .map(|fitted| FittedOn { validation_samples: fitted.samples, threshold_rule: fitted.rule }),
            metrics: record.metrics.clone(),
        };
        match calibration.and_then(Calibration::decision) {
            Some(Decision::Thresholds(values)) => rule.thresholds = Some(rounded(values)),
            Some(Decision::CutPoints(values)) => rule.cut_points = Some(rounded(values)),
            None => {}
        }
        let Some(thresholds) = thresholds(record.task, record.classes.len(), asked)? else { return Ok(rule) };
        let decision = Decision::Thresholds(thresholds.iter().map(|&value| f64::from(value)).collect());
        rule.metrics = match predictions {
            Some(table) => {
                let table = PredictionTable { decision: Some(decision), ..table.clone() };
                let Settings { bootstrap: resamples, level: coverage, .. } = record.settings;
                let bootstrap = Bootstrap { resamples, coverage, ..Bootstrap::default() };
                evaluate(&table.predictions()?, &bootstrap).metrics
            }
            None => BTreeMap::new(),
        };
        rule.thresholds = Some(thresholds);
        if let Some(fitted_on) = &mut rule.fitted_on {
            fitted_on.threshold_rule = None;
        }
        Ok(rule)
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
