//! The index of a study's folder, `cells.json`: which cells the study has, which experiments need
//! them, and what is known of datasets and backbones, so that results are read without opening
//! either.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::error::Result;
use crate::metrics::Metric;
use crate::study::Cell;
use crate::study::config::Experiment;
use crate::study::record::read;
use crate::support::json;

/// Name of the index in a study's folder.
pub const INDEX: &str = "cells.json";
/// Name of the folder of the cells, within a study's.
pub const CELLS: &str = "cells";

/// What a study consists of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The datasets, in the order of the file.
    pub datasets: Vec<DatasetFacts>,
    /// The backbones, in the order of the file.
    pub backbones: Vec<BackboneFacts>,
    /// The cells, in an order in which what a cell needs comes before it.
    pub cells: Vec<PlannedCell>,
}

/// A cell of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedCell {
    /// Digest of what determines its numbers, and name of its folder.
    pub key: String,
    /// What is computed.
    pub cell: Cell,
    /// The experiments that need it.
    pub experiments: Vec<Experiment>,
    /// Keys of the cells that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What is known before the run that keeps it from being computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is known of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetFacts {
    /// Its name.
    pub name: String,
    /// Whether experiments are about it.
    pub target: bool,
    /// What its labels mean.
    pub task: Task,
    /// Its classes.
    pub classes: Vec<String>,
    /// The metric that decides and is reported.
    pub metric: Metric,
    /// Number of images.
    pub images: usize,
    /// Images of the train, validation and test split, first repeat.
    pub splits: [usize; 3],
    /// Whether images belong to groups.
    pub grouped: bool,
    /// Why it cannot be used, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is known of a backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneFacts {
    /// Its name.
    pub name: String,
    /// The model behind it.
    pub model: String,
    /// Number of its parameters; `None` where it cannot be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Number of images it was trained on; `None` where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_images: Option<u64>,
    /// Blocks that it names.
    pub blocks: usize,
    /// Whether its weights are random.
    pub random: bool,
    /// Why it cannot be used, where it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Index {
    /// Reads the index of a study's folder; `None` where there is none.
    ///
    /// # Errors
    /// `FileError` where it cannot be read or is no index.
    pub fn read(folder: &Path) -> Result<Option<Index>> {
        read(&folder.join(INDEX), "index of a study")
    }

    /// Writes the index into a study's folder.
    ///
    /// # Errors
    /// `FileError` where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        json::write(&folder.join(INDEX), "index of a study", self)
    }
}
