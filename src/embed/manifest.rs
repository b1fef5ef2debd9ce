//! `cache.json`: what produced a cache, and the exact files it consists of.
//!
//! A reader uses only the files listed here, so that a cache changes from one state to the next at
//! the moment this file is replaced.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::embed::schema;
use crate::embed::schema::{EmbeddingColumn, Precision};
use crate::error::{FileError, Result};
use crate::preprocess::Preprocess;
use crate::support::fs;

/// Name of the manifest in a cache directory.
pub(crate) const MANIFEST_FILE: &str = "cache.json";
/// Version of the cache's layout that this crate writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// The network behind a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Name in the catalog, or the file name of the user's model.
    pub name: String,
    /// Digest of the weights, sha256.
    pub weights: String,
    /// Digest of the graph that was run, sha256.
    pub graph: String,
    /// What was changed about the published network, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// What software and device computed rows of a cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Producer {
    /// Version of this crate.
    pub defrost: String,
    /// Version of ONNX Runtime.
    pub runtime: String,
    /// Device, as `--device` names it.
    pub device: String,
}

/// The dataset whose samples the rows are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Folder that relative paths of the rows start at.
    pub root: String,
    /// Digest over ids, paths, content hashes, labels, splits, groups and weights, sha256.
    pub fingerprint: String,
    /// What the labels mean.
    pub task: Task,
    /// Class names in their order.
    pub classes: Vec<String>,
}

/// One file of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// File name in the cache directory.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Digest of the file, sha256.
    pub sha256: String,
}

/// The content of `cache.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the cache's layout.
    pub format: u32,
    /// The network.
    pub model: ModelRecord,
    /// What happens between decoded pixels and the network's input.
    pub preprocess: Preprocess,
    /// Digest of the preprocess specification, sha256.
    pub preprocess_digest: String,
    /// Element type of the embeddings.
    pub dtype: Precision,
    /// The columns of embeddings, `embedding` first.
    pub columns: Vec<EmbeddingColumn>,
    /// The dataset.
    pub dataset: DatasetRecord,
    /// What computed the rows, sorted; more than one entry when a cache was extended by another
    /// version or device.
    pub producers: Vec<Producer>,
    /// Rows in all parts.
    pub rows: u64,
    /// The parts, in the order of their rows.
    pub parts: Vec<PartRecord>,
    /// The table of files that could not be embedded.
    pub quarantine: PartRecord,
}

impl Manifest {
    /// The manifest of a cache directory; `None` when there is none.
    ///
    /// # Errors
    /// `FileError::Parse` when it is no manifest of a format this crate knows.
    pub fn read(cache: &Path) -> Result<Option<Manifest>> {
        let path = cache.join(MANIFEST_FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_text(&path)?;
        let malformed = |source: Box<dyn std::error::Error + Send + Sync>| FileError::Parse {
            path: path.clone(),
            format: "cache manifest",
            source,
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(&text).map_err(|error| malformed(error.into()))?;
        if version.format != FORMAT {
            let problem = format!("its format is {}, this version reads {FORMAT}", version.format);
            return Err(malformed(problem.into()).into());
        }
        Ok(Some(serde_json::from_str(&text).map_err(|error| malformed(error.into()))?))
    }

    /// The columns from the first layer to the last: taps as the network computes them, then the
    /// embedding.
    pub fn layers(&self) -> impl Iterator<Item = &EmbeddingColumn> {
        let is_embedding = |column: &&EmbeddingColumn| column.name == schema::EMBEDDING;
        let taps = self.columns.iter().filter(move |column| !is_embedding(column));
        taps.chain(self.columns.iter().filter(is_embedding))
    }

    /// The text of `cache.json`.
    ///
    /// # Errors
    /// `FileError::Parse` where a value has no JSON form.
    pub fn to_text(&self) -> Result<String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| FileError::Parse {
            path: MANIFEST_FILE.into(),
            format: "cache manifest",
            source: error.into(),
        })?;
        text.push('\n');
        Ok(text)
    }
}
