//! The labelled images of a run, as training and division need them.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::data::{Dataset, Task};
use crate::error::{ProbeError, Result};
use crate::support::fs;

/// Labelled images.
#[derive(Clone, Debug)]
pub(super) struct TrainingSet {
    /// The images that have a label, with the digests of their files.
    pub(super) dataset: Dataset,
    /// Images without label, which are left out.
    pub(super) unlabelled: usize,
}

impl TrainingSet {
    /// The labelled images of a dataset.
    ///
    /// # Errors
    /// [`ProbeError::Label`] for labels that do not fit the task, [`ProbeError::Unlabelled`] where
    /// there are none.
    pub(super) fn new(dataset: &Dataset) -> Result<TrainingSet> {
        let rows = dataset.labelled_rows()?;
        if rows.is_empty() || dataset.task == Task::Unlabelled {
            return Err(ProbeError::Unlabelled.into());
        }
        let unlabelled = dataset.len() - rows.len();
        let mut dataset = dataset.select(&rows);
        // As in a cache, images of the same content are one; a file that cannot be read stands by
        // itself.
        let hash = |path: &PathBuf| fs::sha256_of_file(path).ok();
        dataset.samples.par_iter_mut().for_each(|sample| sample.content_hash = hash(&sample.path));
        Ok(TrainingSet { dataset, unlabelled })
    }
}
