//! `[[experiment]]`: what is done with datasets and backbones; the keys of each experiment.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::finetune::Head;
use crate::study::config::{Checker, DatasetEntry, Study};

/// The experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// A linear head trained by the recipe on the frozen backbone.
    FrozenLinear,
    /// Logistic regression on cached embeddings.
    LinearProbe,
    /// Nearest neighbours among cached embeddings: the study's k, and one chosen from a grid.
    Knn,
    /// A transformer on the patch tokens of the frozen backbone.
    FrozenClassifier,
    /// A linear head, trained together with the backbone.
    UnfrozenLinear,
    /// A transformer on the patch tokens, trained together with the backbone.
    UnfrozenClassifier,
    /// A linear head, with the first k blocks frozen.
    ProgressiveFreezing,
    /// A transformer behind the first k blocks, frozen and unfrozen.
    Decapitation,
    /// Members of one family of several sizes.
    ModelSize,
    /// Larger images.
    Resolution,
    /// Iterations until the best validation metric, and inference time.
    Time,
    /// CKA, layer by layer before and after fine-tuning, and of last layers between backbones.
    Similarity,
    /// A part of the training labels.
    LabelFraction,
    /// Cheap scores that predict what fine-tuning reaches.
    Transferability,
}

/// What an experiment is about.
struct Row {
    experiment: Experiment,
    name: &'static str,
    /// The keys it has besides `name`, `datasets` and `backbones`.
    keys: &'static [&'static str],
}

const fn row(experiment: Experiment, name: &'static str, keys: &'static [&'static str]) -> Row {
    Row { experiment, name, keys }
}

/// All experiments, in the order of reports.
const ROWS: [Row; 14] = [
    row(Experiment::FrozenLinear, "frozen-linear", &[]),
    row(Experiment::LinearProbe, "linear-probe", &[]),
    row(Experiment::Knn, "knn", &["k", "temperature", "grid"]),
    row(Experiment::FrozenClassifier, "frozen-classifier", &["head", "head_weights"]),
    row(Experiment::UnfrozenLinear, "unfrozen-linear", &[]),
    row(Experiment::UnfrozenClassifier, "unfrozen-classifier", &["head", "head_weights"]),
    row(Experiment::ProgressiveFreezing, "progressive-freezing", &["blocks"]),
    row(Experiment::Decapitation, "decapitation", &["blocks", "head", "head_weights"]),
    row(Experiment::ModelSize, "model-size", &["protocols"]),
    row(Experiment::Resolution, "resolution", &["size", "protocols"]),
    row(Experiment::Time, "time", &["batch"]),
    row(Experiment::Similarity, "similarity", &["images"]),
    row(Experiment::LabelFraction, "label-fraction", &["fractions", "protocols"]),
    row(Experiment::Transferability, "transferability", &[]),
];

impl Experiment {
    /// All of them, in the order of reports.
    pub fn all() -> impl Iterator<Item = Experiment> {
        ROWS.iter().map(|row| row.experiment)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The name in study files: `frozen-linear`.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

impl FromStr for Experiment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = ROWS.iter().find(|row| row.name == text);
        let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        found.map(|row| row.experiment).ok_or_else(|| format!("expected one of {}", names()))
    }
}

/// What is trained where a choice is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Logistic regression on cached embeddings.
    LinearProbe,
    /// A linear head on the frozen backbone.
    FrozenLinear,
    /// A linear head, trained together with the backbone.
    UnfrozenLinear,
}

/// An experiment of a study. Keys that are not given are as the study has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentEntry {
    /// Which experiment.
    pub name: Experiment,
    /// Names of its datasets; all targets unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Vec<String>>,
    /// Names of its backbones; all unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbones: Option<Vec<String>>,
    /// Neighbours of the study's k-NN; 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<usize>,
    /// Temperature of its votes; 0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Numbers of neighbours of which validation data chooses one; 5, 10, 20, 50, 100, 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Vec<usize>>,
    /// The stacked classifier; `deit-b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Weights of a DeiT that it starts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_weights: Option<PathBuf>,
    /// Numbers of blocks that are frozen or kept; all that the backbone has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Vec<usize>>,
    /// What is trained; frozen and unfrozen with a linear head, of label fractions the linear probe
    /// and unfrozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocols: Option<Vec<Protocol>>,
    /// Height and width of larger images, in pixels; 1024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Images of the larger batch that inference is timed with; 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Images that layers are compared on, at most; 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// Shares of the training labels; 0.01, 0.05, 0.1, 0.25, 0.5, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fractions: Option<Vec<f64>>,
}

impl ExperimentEntry {
    /// An experiment with nothing else said.
    pub fn new(name: Experiment) -> Self {
        ExperimentEntry {
            name,
            datasets: None,
            backbones: None,
            k: None,
            temperature: None,
            grid: None,
            head: None,
            head_weights: None,
            blocks: None,
            protocols: None,
            size: None,
            batch: None,
            images: None,
            fractions: None,
        }
    }

    /// Relative paths start at `folder`.
    pub(super) fn start_at(&mut self, folder: &Path) {
        if let Some(path) = &mut self.head_weights {
            *path = folder.join(&path);
        }
    }

    /// Names of its datasets.
    pub fn dataset_names<'a>(&'a self, study: &'a Study) -> Vec<&'a str> {
        let all = || study.targets().map(|dataset: &DatasetEntry| dataset.name.as_str()).collect();
        self.datasets.as_ref().map_or_else(all, |names| names.iter().map(String::as_str).collect())
    }

    /// Names of its backbones.
    pub fn backbone_names<'a>(&'a self, study: &'a Study) -> Vec<&'a str> {
        let all = || study.backbones.iter().map(|backbone| backbone.name.as_str()).collect();
        self.backbones.as_ref().map_or_else(all, |names| names.iter().map(String::as_str).collect())
    }

    pub(super) fn check(&self, source: &Checker<'_>) -> Result<()> {
        let key = |field: &str| format!("experiment.{}.{field}", self.name.name());
        let given = [
            ("k", self.k.is_some()),
            ("temperature", self.temperature.is_some()),
            ("grid", self.grid.is_some()),
            ("head", self.head.is_some()),
            ("head_weights", self.head_weights.is_some()),
            ("blocks", self.blocks.is_some()),
            ("protocols", self.protocols.is_some()),
            ("size", self.size.is_some()),
            ("batch", self.batch.is_some()),
            ("images", self.images.is_some()),
            ("fractions", self.fractions.is_some()),
        ];
        let keys = self.name.row().keys;
        if let Some((field, _)) = given.into_iter().find(|(field, given)| *given && !keys.contains(field)) {
            let own = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let own = if own.is_empty() { "no key besides `datasets` and `backbones`".into() } else { own };
            return source.refuse(key(field), "a key of another experiment", &own);
        }
        for name in self.datasets.iter().flatten() {
            source.dataset(&key("datasets"), name)?;
        }
        for name in self.backbones.iter().flatten() {
            source.backbone(&key("backbones"), name)?;
        }
        if self.head == Some(Head::Linear) {
            return source.refuse(key("head"), "`linear`", "`deit-b` or `deit:WIDTHxDEPTHxHEADS`");
        }
        let counts = [("k", self.k), ("size", self.size), ("batch", self.batch), ("images", self.images)];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
            return source.refuse(key(field), 0, "at least 1");
        }
        if let Some(share) = self.fractions.iter().flatten().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return source.refuse(key("fractions"), share, "shares above 0, at most 1");
        }
        if let Some(temperature) = self.temperature.filter(|value| !(value.is_finite() && *value > 0.0)) {
            return source.refuse(key("temperature"), temperature, "a positive number");
        }
        let empty = [
            ("datasets", self.datasets.as_ref().is_some_and(Vec::is_empty)),
            ("backbones", self.backbones.as_ref().is_some_and(Vec::is_empty)),
            ("grid", self.grid.as_ref().is_some_and(|grid| grid.is_empty() || grid.contains(&0))),
            ("blocks", self.blocks.as_ref().is_some_and(Vec::is_empty)),
            ("protocols", self.protocols.as_ref().is_some_and(Vec::is_empty)),
            ("fractions", self.fractions.as_ref().is_some_and(Vec::is_empty)),
        ];
        match empty.into_iter().find(|(_, empty)| *empty) {
            Some((field, _)) => source.refuse(key(field), "empty or 0", "at least one entry, from 1"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_their_experiments() {
        for (number, row) in ROWS.iter().enumerate() {
            assert_eq!(row.experiment as usize, number, "{}", row.name);
            assert_eq!(serde_json::to_value(row.experiment).unwrap(), row.name);
            assert_eq!(row.name.parse::<Experiment>().unwrap(), row.experiment);
        }
    }
}
