//! What a classifier's file says about itself: one JSON value per key of the ONNX metadata, all
//! keys start with `defrost.`.
//!
//! `defrost.task` (text), `defrost.classes` (list of names, in the order of the probabilities),
//! `defrost.temperature` (list of one number, or one per label: what scores are divided by; only
//! where probabilities were calibrated), `defrost.thresholds` (list: one per label where labels are
//! decided one by one; one number of the second of two classes where it is not answered from one
//! half on), `defrost.cut_points` (list; only where the expected grade of ordered classes is cut),
//! `defrost.fitted_on` (what these were fitted on, where they were), `defrost.preprocess`,
//! `defrost.method`, `defrost.metrics` (on the test split), `defrost.origin`,
//! `defrost.verification`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::error::{DeployError, Result};
use crate::graph::Property;
use crate::metrics::{Decision, Estimate, Metric, ThresholdRule};
use crate::preprocess::Preprocess;
use crate::records::Chosen;

/// What a classifier is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelCard {
    /// What the labels mean.
    pub task: Task,
    /// Class (or label) names, in the order of the probabilities.
    pub classes: Vec<String>,
    /// What scores are divided by before they become probabilities: one number, or one per label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Vec<f32>>,
    /// Several labels per image: above which probability each of them counts as present. Two
    /// classes: one number, the probability of the second from which on it is the answer; none for
    /// the more probable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Vec<f32>>,
    /// Ordered classes: the answer is the number of these, ascending, that the expected grade
    /// reaches; none for the most probable class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut_points: Option<Vec<f32>>,
    /// What temperature, thresholds and cut-points were fitted on, where they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fitted_on: Option<FittedOn>,
    /// What the graph does to pixels first.
    pub preprocess: Preprocess,
    /// The method and its hyper-parameters.
    pub method: Chosen,
    /// Metrics on the test split.
    pub metrics: BTreeMap<Metric, Estimate>,
    /// Where it comes from.
    pub origin: ModelOrigin,
    /// How it was compared with the library; none before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

/// What temperature, thresholds and cut-points were fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedOn {
    /// Validation samples.
    pub validation_samples: usize,
    /// What thresholds were chosen for; none where there are none, or where they were given at
    /// export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_rule: Option<ThresholdRule>,
}

/// Where a classifier comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelOrigin {
    /// Version of this crate.
    pub defrost: String,
    /// Name of the network.
    pub model: String,
    /// Digest of the network's weights, sha256.
    pub weights_sha256: String,
    /// Digest of the network's graph, sha256.
    pub graph_sha256: String,
    /// Licence of the weights; none where nobody said.
    pub licence: Option<String>,
    /// Whether the network's weights are random: the classifier means nothing then.
    #[serde(default)]
    pub random_weights: bool,
    /// Fingerprint of the dataset.
    pub dataset: Option<String>,
    /// Digest of the record of the probe or run, sha256.
    pub record_sha256: String,
    /// Digest of the file of fitted weights beside the record, sha256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted_sha256: Option<String>,
    /// Samples it was fitted on, validation included where it was fitted again on both.
    pub fitted_samples: usize,
    /// What the reader should know before trusting the metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a classifier was compared with the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Images that both were run on.
    pub images: usize,
    /// Largest difference of a probability from the library's.
    pub largest_difference: f64,
    /// Largest difference from the predictions that the metrics were computed from, on those of the
    /// images that are among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_difference_from_record: Option<f64>,
    /// Name of the tolerance.
    pub tolerance: String,
    /// Largest difference that it allows.
    pub allowed: f64,
    /// Images left out of the comparison because two neighbours are equally near and either may
    /// vote.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tied: usize,
    /// Version of ONNX Runtime.
    pub runtime: String,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

const TASK: &str = "defrost.task";
const CLASSES: &str = "defrost.classes";
const TEMPERATURE: &str = "defrost.temperature";
const THRESHOLDS: &str = "defrost.thresholds";
const CUT_POINTS: &str = "defrost.cut_points";
const FITTED_ON: &str = "defrost.fitted_on";
const PREPROCESS: &str = "defrost.preprocess";
const METHOD: &str = "defrost.method";
const METRICS: &str = "defrost.metrics";
const ORIGIN: &str = "defrost.origin";
const VERIFICATION: &str = "defrost.verification";

impl ModelCard {
    /// The card as metadata of a model.
    pub fn properties(&self) -> Vec<Property> {
        let mut properties = vec![
            Property::new(TASK, self.task.name()),
            json(CLASSES, &self.classes),
            json(PREPROCESS, &self.preprocess),
            json(METHOD, &self.method),
            json(METRICS, &self.metrics),
            json(ORIGIN, &self.origin),
        ];
        let lists = [(TEMPERATURE, &self.temperature), (THRESHOLDS, &self.thresholds), (CUT_POINTS, &self.cut_points)];
        properties.extend(lists.into_iter().filter_map(|(key, list)| Some(json(key, list.as_ref()?))));
        properties.extend(self.fitted_on.as_ref().map(|fitted_on| json(FITTED_ON, fitted_on)));
        properties.extend(self.verification.as_ref().map(|verification| json(VERIFICATION, verification)));
        properties
    }

    /// The card in the metadata of the model `path`.
    ///
    /// # Errors
    /// [`DeployError::NotAClassifier`] where a key is missing or has another meaning.
    pub fn read(path: &Path, metadata: &BTreeMap<String, String>) -> Result<ModelCard> {
        let field = Fields { path, metadata };
        let task = field.text(TASK)?;
        let task = serde_json::from_value(task.into()).map_err(|error| field.malformed(TASK, &error))?;
        let card = ModelCard {
            task,
            classes: field.json(CLASSES)?,
            temperature: field.optional(TEMPERATURE)?,
            thresholds: field.optional(THRESHOLDS)?,
            cut_points: field.optional(CUT_POINTS)?,
            fitted_on: field.optional(FITTED_ON)?,
            preprocess: field.json(PREPROCESS)?,
            method: field.json(METHOD)?,
            metrics: field.json(METRICS)?,
            origin: field.json(ORIGIN)?,
            verification: field.optional(VERIFICATION)?,
        };
        let classes = card.classes.len();
        let is_of_labels = card.task == Task::MultiLabel;
        let fits = |list: &Option<Vec<f32>>, lengths: &[Option<usize>]| lengths.contains(&list.as_ref().map(Vec::len));
        let thresholds: &[Option<usize>] = match (is_of_labels, classes) {
            (true, _) => &[Some(classes)],
            (false, 2) => &[None, Some(1)],
            _ => &[None],
        };
        let divisors = if is_of_labels { classes } else { 1 };
        let points = (card.task == Task::Ordinal).then_some(classes.saturating_sub(1));
        let checks = [
            (TEMPERATURE, fits(&card.temperature, &[None, Some(divisors)])),
            (THRESHOLDS, fits(&card.thresholds, thresholds)),
            (CUT_POINTS, fits(&card.cut_points, &[None, points])),
        ];
        match checks.into_iter().find(|(_, fits)| !fits) {
            Some((key, _)) => Err(field.refused(format!("`{key}` does not fit `{TASK}` and `{CLASSES}`"))),
            None => Ok(card),
        }
    }

    /// How probabilities are decided, where not by the most probable class.
    pub fn decision(&self) -> Option<Decision> {
        let numbers = |list: &Vec<f32>| list.iter().map(|&value| f64::from(value)).collect();
        let points = self.cut_points.as_ref().map(|points| Decision::CutPoints(numbers(points)));
        points.or_else(|| self.thresholds.as_ref().map(|thresholds| Decision::Thresholds(numbers(thresholds))))
    }
}

/// A value of a card as JSON.
fn json(key: &str, value: &impl Serialize) -> Property {
    #[expect(clippy::expect_used, reason = "structs of texts and numbers always have a JSON form")]
    let text = serde_json::to_string(value).expect("a value of a card has a JSON form");
    Property::new(key, text)
}

/// The metadata of a file.
struct Fields<'a> {
    path: &'a Path,
    metadata: &'a BTreeMap<String, String>,
}

impl Fields<'_> {
    fn refused(&self, problem: String) -> crate::Error {
        DeployError::NotAClassifier { path: self.path.to_path_buf(), problem }.into()
    }

    fn malformed(&self, key: &str, error: &serde_json::Error) -> crate::Error {
        self.refused(format!("its property `{key}` cannot be read: {error}"))
    }

    fn text(&self, key: &str) -> Result<&str> {
        let text = self.metadata.get(key).map(String::as_str);
        text.ok_or_else(|| self.refused(format!("it has no property `{key}`")))
    }

    fn optional<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.metadata.contains_key(key).then(|| self.json(key)).transpose()
    }

    fn json<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        serde_json::from_str(self.text(key)?).map_err(|error| self.malformed(key, &error))
    }
}
