//! The labelled images of a run, as training and division need them.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::data::{Dataset, Task};
use crate::error::{ProbeError, Result};
use crate::pixels::frame;
use crate::support::fs;

/// Labelled images.
#[derive(Clone, Debug)]
pub(super) struct TrainingSet {
    /// The images that have a label, with the digests of their files.
    pub(super) dataset: Dataset,
    /// Images without label, which are left out.
    pub(super) unlabelled: usize,
    /// Images that are the first of several of their file.
    pub(super) first_of_several: usize,
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
        let several = AtomicUsize::new(0);
        dataset.samples.par_iter_mut().for_each(|sample| {
            let Ok(content) = fs::read(&sample.path) else { return };
            sample.content_hash = Some(fs::sha256(&content));
            several.fetch_add(usize::from(frame::has_several(&content)), Ordering::Relaxed);
        });
        Ok(TrainingSet { dataset, unlabelled, first_of_several: several.into_inner() })
    }
}
