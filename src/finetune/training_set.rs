//! The labelled images of a run, as training and division need them.

use std::path::PathBuf;

use rayon::prelude::*;

use crate::data::{Dataset, Label, Split, Task};
use crate::error::{ProbeError, Result};
use crate::records::Labelled;
use crate::support::fs;

/// Labelled images; every vector has one entry per image.
#[derive(Clone, Debug)]
pub(super) struct TrainingSet {
    pub(super) ids: Vec<String>,
    pub(super) files: Vec<PathBuf>,
    pub(super) labels: Vec<Label>,
    pub(super) weights: Vec<f32>,
    splits: Vec<Option<Split>>,
    pub(super) groups: Vec<Option<String>>,
    content_hashes: Vec<Option<String>>,
    pub(super) task: Task,
    pub(super) classes: Vec<String>,
    /// Images without label, which are left out.
    pub(super) unlabelled: usize,
}

impl TrainingSet {
    /// The labelled images of a dataset.
    ///
    /// # Errors
    /// [`ProbeError::Label`] for labels that do not fit the task, [`ProbeError::Unlabelled`] where
    /// there are none.
    pub(super) fn of(dataset: &Dataset) -> Result<TrainingSet> {
        let mut material = TrainingSet {
            ids: Vec::new(),
            files: Vec::new(),
            labels: Vec::new(),
            weights: Vec::new(),
            splits: Vec::new(),
            groups: Vec::new(),
            content_hashes: Vec::new(),
            task: dataset.task,
            classes: dataset.classes.clone(),
            unlabelled: 0,
        };
        let all: Vec<Label> = dataset.samples.iter().map(|sample| sample.label.clone()).collect();
        let ids: Vec<String> = dataset.samples.iter().map(|sample| sample.id.clone()).collect();
        let nothing = vec![None; ids.len()];
        let everyone = Labelled {
            ids: &ids,
            labels: &all,
            splits: &vec![None; ids.len()],
            groups: &nothing,
            content_hashes: &nothing,
            task: dataset.task,
            classes: &dataset.classes,
        };
        let rows = everyone.known_rows()?;
        if rows.is_empty() || dataset.task == Task::Unlabelled {
            return Err(ProbeError::Unlabelled.into());
        }
        material.unlabelled = ids.len() - rows.len();
        for row in rows {
            let sample = &dataset.samples[row];
            material.ids.push(sample.id.clone());
            material.files.push(sample.path.clone());
            material.labels.push(sample.label.clone());
            material.weights.push(sample.weight);
            material.splits.push(sample.split);
            material.groups.push(sample.group.clone());
        }
        // As in a cache, images of the same content are one; a file that cannot be read stands by
        // itself.
        material.content_hashes = material.files.par_iter().map(|file| fs::sha256_of_file(file).ok()).collect();
        Ok(material)
    }

    /// What is known of the images besides their pixels.
    pub(super) fn labelled(&self) -> Labelled<'_> {
        Labelled {
            ids: &self.ids,
            labels: &self.labels,
            splits: &self.splits,
            groups: &self.groups,
            content_hashes: &self.content_hashes,
            task: self.task,
            classes: &self.classes,
        }
    }
}
