//! Checkpoints: `checkpoints/best` (weights) and `checkpoints/last` (weights, moments and
//! everything else a run needs to go on).
//!
//! A checkpoint is a folder: `model.safetensors` with all parameters and statistics under the names
//! that the weights' file has for them, and in `last` also `optimizer.safetensors` (`exp_avg/...`,
//! `exp_avg_sq/...`, as PyTorch's AdamW calls them) and `state.json`. A new one is written beside
//! the old one and takes its place once it is complete, so that one whole checkpoint can be read at
//! any moment.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{FinetuneError, Result};
use crate::finetune::optimizer::{FIRST_MOMENT, SECOND_MOMENT};
use crate::support::{fs, json};
use crate::tensor::safetensors;
use crate::tensor::safetensors::{Metadata, Tensors};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
/// What it is, for errors.
const FORMAT: &str = "state of a run";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainState {
    /// The largest learning rate of the schedule.
    pub(super) learning_rate: f64,
    /// Epochs that are complete.
    pub(super) epoch: usize,
    /// Steps of the epoch that is under way.
    pub(super) within: usize,
    /// Steps in all.
    pub(super) step: u64,
    /// Sum of the losses of the epoch that is under way.
    pub(super) loss: f64,
    /// How often a plateau lowered the learning rate.
    pub(super) lowered: u32,
    /// Epochs since the last improvement, or since the rate was lowered.
    pub(super) stalled: usize,
    /// The best epoch so far.
    pub(super) best: Option<Best>,
    /// Bytes of the journal.
    pub(super) journal: u64,
    /// Seconds of training so far.
    pub(super) seconds: f64,
    /// Images that could not be read, by id.
    pub(super) unreadable: std::collections::BTreeMap<String, String>,
}

/// The epoch that did best on validation data.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    /// From 1.
    pub(super) epoch: usize,
    /// The deciding metric.
    pub(super) score: f64,
    /// The log loss, which decides between epochs of one score.
    pub(super) log_loss: Option<f64>,
}

/// The checkpoints of a run's folder.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    pub(super) fn new(run: &Path) -> Self {
        Checkpoints { folder: run.join("checkpoints") }
    }

    /// The best weights' file.
    pub(super) fn best(&self) -> PathBuf {
        self.folder.join("best").join(MODEL)
    }

    /// Folder of the last checkpoint.
    pub(super) fn last(&self) -> PathBuf {
        self.folder.join("last")
    }

    /// Keeps the weights of the best epoch.
    pub(super) fn write_best(&self, weights: &Tensors, about: &Metadata) -> Result<()> {
        self.replace("best", |folder| safetensors::write(&folder.join(MODEL), weights, about))
    }

    /// Keeps everything; `state` holds weights and moments.
    pub(super) fn write_last(
        &self,
        weights: &Tensors,
        state: &Tensors,
        about: &Metadata,
        position: &TrainState,
    ) -> Result<()> {
        self.replace("last", |folder| {
            safetensors::write(&folder.join(MODEL), weights, about)?;
            let is_moment = |name: &str| name.starts_with(FIRST_MOMENT) || name.starts_with(SECOND_MOMENT);
            let moments = state.iter().filter(|(name, _)| is_moment(name));
            let moments: Tensors = moments.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
            safetensors::write(&folder.join(OPTIMIZER), &moments, &Metadata::new())?;
            let path = folder.join(STATE);
            json::write(&path, FORMAT, position)
        })
    }

    /// The last checkpoint: weights and moments, and where the run stood; `None` where there is
    /// none.
    pub(super) fn read_last(&self) -> Result<Option<(Tensors, TrainState)>> {
        self.recover("last")?;
        let folder = self.last();
        if !folder.is_dir() {
            return Ok(None);
        }
        let (mut state, _) = safetensors::read(&folder.join(MODEL))?;
        state.extend(safetensors::read(&folder.join(OPTIMIZER))?.0);
        let path = folder.join(STATE);
        let position = json::read(&path, FORMAT)?;
        Ok(Some((state, position)))
    }

    /// The weights of the best epoch.
    pub(super) fn read_best(&self) -> Result<Tensors> {
        self.recover("best")?;
        Ok(safetensors::read(&self.best())?.0)
    }

    /// Writes a checkpoint beside the one of that name, then lets it take its place.
    fn replace(&self, name: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.recover(name)?;
        let [new, old, place] = self.places(name);
        fs::create_directory(&new)?;
        write(&new)?;
        fs::sync_directory(&new)?;
        if place.is_dir() {
            fs::rename(&place, &old)?;
        }
        fs::rename(&new, &place)?;
        fs::sync_directory(&place)?;
        remove_directory(&old)
    }

    /// Undoes or completes a replacement that was interrupted.
    fn recover(&self, name: &str) -> Result<()> {
        let [new, old, place] = self.places(name);
        if !place.is_dir() && old.is_dir() {
            // The old one was moved away, so the new one was complete.
            fs::rename(if new.is_dir() { &new } else { &old }, &place)?;
        }
        remove_directory(&new)?;
        remove_directory(&old)
    }

    fn places(&self, name: &str) -> [PathBuf; 3] {
        [format!(".{name}.new"), format!(".{name}.old"), name.to_owned()].map(|name| self.folder.join(name))
    }
}

/// Whether a file holds all tensors with their shapes.
///
/// # Errors
/// [`FinetuneError::Checkpoint`] naming the first that it lacks.
pub(super) fn check_fits(path: &Path, found: &Tensors, needed: &Tensors) -> Result<()> {
    for (name, tensor) in needed {
        if found.get(name).is_none_or(|found| found.shape() != tensor.shape() || found.dtype() != tensor.dtype()) {
            let expected = format!("{} {:?}", tensor.dtype(), tensor.shape());
            return Err(FinetuneError::Checkpoint { path: path.to_path_buf(), name: name.clone(), expected }.into());
        }
    }
    Ok(())
}

fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fs::io_error("remove", path)(error).into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::HostTensor;

    fn state(value: f32) -> Tensors {
        ["w", "exp_avg/w", "exp_avg_sq/w"].map(|name| (name.to_owned(), HostTensor::vector(vec![value; 3]))).into()
    }

    #[test]
    fn a_replacement_that_was_interrupted_leaves_one_whole_checkpoint() {
        let run = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(run.path());
        assert!(checkpoints.read_last().unwrap().is_none());
        let weights = |value: f32| -> Tensors { [("w".to_owned(), HostTensor::vector(vec![value; 3]))].into() };
        let write = |value: f32, step: u64| {
            let position = TrainState { step, ..TrainState::default() };
            checkpoints.write_last(&weights(value), &state(value), &Metadata::new(), &position).unwrap();
        };
        write(1.0, 1);
        let [new, old, place] = checkpoints.places("last");
        // Killed while the new one was written.
        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join(MODEL), b"half").unwrap();
        assert_eq!(checkpoints.read_last().unwrap().unwrap().1.step, 1);
        // Killed between the two renames.
        write(2.0, 2);
        std::fs::rename(&place, &new).unwrap();
        let other = tempfile::tempdir().unwrap();
        let earlier = Checkpoints::new(other.path());
        earlier.write_last(&weights(1.0), &state(1.0), &Metadata::new(), &TrainState::default()).unwrap();
        std::fs::rename(earlier.last(), &old).unwrap();
        let (found, position) = checkpoints.read_last().unwrap().unwrap();
        assert_eq!((position.step, found), (2, state(2.0)));
        assert!(!new.exists() && !old.exists());
    }
}
