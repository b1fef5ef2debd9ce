//! `metrics.jsonl`: one line per step and per epoch, in order.
//!
//! A run that goes on from a checkpoint cuts the file to what it held then, so that no step is told
//! twice.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{FileError, Result};
use crate::metrics::Metric;
use crate::support::fs;

/// Name of the file in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A step of the optimiser.
    Step {
        /// From 1.
        step: u64,
        /// From 1.
        epoch: usize,
        /// The loss on the step's images, before its update.
        loss: f32,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The norm of the gradient before clipping.
        gradient_norm: f32,
    },
    /// The end of an epoch.
    Epoch {
        /// From 1.
        epoch: usize,
        /// Steps so far.
        step: u64,
        /// Mean loss over the epoch's steps.
        loss: f64,
        /// Metrics on the validation split.
        validation: BTreeMap<Metric, Option<f64>>,
        /// Whether this is the best epoch so far.
        best: bool,
        /// Time of the epoch's training, since the last checkpoint where the run was interrupted in
        /// between.
        seconds: f64,
        /// Training images per second.
        images_per_second: f64,
    },
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Opens the file of a run's folder and cuts it to its first `bytes`.
    pub(super) fn open(folder: &Path, bytes: u64) -> Result<Journal> {
        let path = folder.join(METRICS);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(fs::io_error("open", &path))?;
        file.set_len(bytes).map_err(fs::io_error("shorten", &path))?;
        Ok(Journal { path, file, bytes })
    }

    /// Appends a line.
    pub(super) fn write(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_vec(line).map_err(|source| malformed(&self.path, source))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(fs::io_error("write", &self.path))?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Flushes the file to disk; gives its length.
    pub(super) fn sync(&self) -> Result<u64> {
        self.file.sync_data().map_err(fs::io_error("write", &self.path))?;
        Ok(self.bytes)
    }
}

/// Reads the lines of a run's folder.
///
/// # Errors
/// [`FileError`] when the file cannot be read or a line is malformed.
pub fn read(folder: &Path) -> Result<Vec<Line>> {
    let path = folder.join(METRICS);
    let text = fs::read_text(&path)?;
    text.lines().map(|line| Ok(serde_json::from_str(line).map_err(|source| malformed(&path, source))?)).collect()
}

fn malformed(path: &Path, source: serde_json::Error) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format: "journal of a run", source: source.into() }
}
