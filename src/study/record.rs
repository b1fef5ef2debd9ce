//! What a cell leaves behind: `cells/KEY/record.json`, or `failure.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::records::Record;
use crate::study::Cell;
use crate::support::json;

/// Name of the record in a cell's folder.
pub const CELL_RECORD: &str = "record.json";
/// Name of the file in a cell's folder that says why it failed.
pub const FAILURE: &str = "failure.json";
/// Name of the folder of a cell's run, within the cell's.
pub const RUN: &str = "run";

/// A cell that is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellRecord {
    /// What was computed.
    pub cell: Cell,
    /// What it gave.
    pub measurement: Measurement,
    /// Wall-clock time of the cell in seconds.
    pub seconds: f64,
}

/// What a cell gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Measurement {
    /// A trained network on its test split.
    Training {
        /// Everything about it.
        record: Box<Record>,
        /// Steps of the optimizer until the epoch that did best on validation data ended.
        best_step: u64,
        /// Steps of the optimizer in all.
        steps: u64,
    },
    /// A probe of cached embeddings on the test split.
    Probe {
        /// Everything about it.
        record: Box<Record>,
    },
    /// Inference times.
    InferenceTime(InferenceTime),
    /// Similarities of two networks.
    Similarity(SimilarityMatrix),
    /// Scores of the embeddings of the training split.
    Transferability {
        /// Each score by its name, larger is better: `logme`, `h_score`, `knn`, `linear_probe`.
        scores: BTreeMap<String, f64>,
        /// Images that it was computed on.
        images: usize,
    },
}

/// How long inference takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceTime {
    /// The device.
    pub device: String,
    /// Images of the larger batch.
    pub batch: usize,
    /// Median seconds per image, warm.
    pub seconds: InferenceSeconds,
}

/// Median seconds per image, warm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceSeconds {
    /// One image at a time.
    pub single: f64,
    /// In the larger batch.
    pub batched: f64,
}

/// Linear CKA of the layers of two networks on the same images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityMatrix {
    /// Layers of the first network, from the input on.
    pub rows: Vec<String>,
    /// Layers of the second network.
    pub columns: Vec<String>,
    /// The biased estimate, a row for each of `rows`; `None` where it is undefined.
    pub biased: Vec<Vec<Option<f64>>>,
    /// The unbiased estimate.
    pub unbiased: Vec<Vec<Option<f64>>>,
    /// Images that were compared on.
    pub images: usize,
    /// How features with several vectors per image became one.
    pub pool: String,
}

/// A cell that failed; the next run tries it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What was to be computed.
    pub cell: Cell,
    /// Why it could not be, with causes.
    pub reason: String,
}

impl CellRecord {
    /// The record of what was trained or probed; `None` for other cells.
    pub fn record(&self) -> Option<&Record> {
        match &self.measurement {
            Measurement::Training { record, .. } | Measurement::Probe { record } => Some(record),
            _ => None,
        }
    }

    /// Reads the record in a cell's folder; `None` where there is none.
    ///
    /// # Errors
    /// [`FileError`](crate::error::FileError) where it cannot be read or is no record.
    pub fn read(folder: &Path) -> Result<Option<CellRecord>> {
        read(&folder.join(CELL_RECORD), "record of a cell")
    }

    /// Writes the record into a cell's folder, at once or not at all.
    ///
    /// # Errors
    /// [`FileError`](crate::error::FileError) where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        json::write(&folder.join(CELL_RECORD), "record of a cell", self)
    }
}

impl Failure {
    /// Reads why the cell of this folder failed; `None` where it did not.
    ///
    /// # Errors
    /// As [`CellRecord::read`].
    pub fn read(folder: &Path) -> Result<Option<Failure>> {
        read(&folder.join(FAILURE), "failure of a cell")
    }

    /// Writes the failure into a cell's folder.
    ///
    /// # Errors
    /// [`FileError`](crate::error::FileError) where it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        json::write(&folder.join(FAILURE), "failure of a cell", self)
    }
}

/// Reads a JSON file; `None` where there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path, format: &'static str) -> Result<Option<T>> {
    path.is_file().then(|| json::read(path, format)).transpose()
}
