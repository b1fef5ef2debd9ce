//! What a probe is given: features with ids, labels, groups and splits.
//!
//! Refused: values that are not finite (the row is named), labels that do not fit the task, no
//! labels at all.

use linfa::traits::Fit as _;
use linfa::{DatasetBase, ParamGuard as _};
use ndarray::{Array1, Array2, Axis};

use crate::data::{Label, Split, Task};
use crate::error::{ProbeError, Result};
use crate::probe::{KnnModel, KnnParams};
use crate::records::{Labelled, Partition, SplitConfig};

/// Features of labelled samples; every vector has one entry per row.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Unique ids.
    pub ids: Vec<String>,
    /// Features `[N, D] f32`, finite.
    pub features: Array2<f32>,
    /// Labels.
    pub labels: Vec<Label>,
    /// Given splits.
    pub splits: Vec<Option<Split>>,
    /// Units that must not be divided between splits.
    pub groups: Vec<Option<String>>,
    /// Weights in fitting, > 0.
    pub weights: Vec<f32>,
    /// Digests of the images' content, to find duplicates.
    pub content_hashes: Vec<Option<String>>,
    /// What the labels mean.
    pub task: Task,
    /// Class (or label) names.
    pub classes: Vec<String>,
}

/// Samples of some rows as linfa wants them.
pub(super) enum Subset {
    Classes(DatasetBase<Array2<f32>, Array1<usize>>),
    Labels(DatasetBase<Array2<f32>, Array2<Option<bool>>>),
}

impl Samples {
    /// Checks lengths, values and labels, and leaves out samples without any label; gives their
    /// number.
    ///
    /// # Errors
    /// [`ProbeError`] naming the first row that does not fit.
    pub fn checked(mut self) -> Result<(Self, usize)> {
        let expected = self.features.nrows();
        let lengths = [
            ("ids", self.ids.len()),
            ("labels", self.labels.len()),
            ("splits", self.splits.len()),
            ("groups", self.groups.len()),
            ("weights", self.weights.len()),
            ("content hashes", self.content_hashes.len()),
        ];
        if let Some(&(what, found)) = lengths.iter().find(|(_, found)| *found != expected) {
            return Err(ProbeError::Length { what, found, expected }.into());
        }
        if let Some(((row, feature), &value)) = self.features.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(ProbeError::NotFinite { row, id: self.ids[row].clone(), feature, value }.into());
        }
        let rows = self.labelled().known_rows()?;
        if rows.is_empty() || self.task == Task::Unlabelled {
            return Err(ProbeError::Unlabelled.into());
        }
        let left_out = expected - rows.len();
        if left_out > 0 {
            self = self.select(&rows);
        }
        Ok((self, left_out))
    }

    fn select(self, rows: &[usize]) -> Self {
        fn chosen<T: Clone>(values: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|&row| values[row].clone()).collect()
        }
        Samples {
            ids: chosen(&self.ids, rows),
            features: self.features.select(Axis(0), rows),
            labels: chosen(&self.labels, rows),
            splits: chosen(&self.splits, rows),
            groups: chosen(&self.groups, rows),
            weights: chosen(&self.weights, rows),
            content_hashes: chosen(&self.content_hashes, rows),
            ..self
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What is known of the samples besides their features.
    pub fn labelled(&self) -> Labelled<'_> {
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

    /// Some rows as the bank of a nearest-neighbour probe.
    ///
    /// # Errors
    /// [`ProbeError::Parameter`] for parameters out of range.
    pub fn bank(&self, rows: &[usize], params: &KnnParams) -> Result<KnnModel> {
        let params = params.check_ref()?;
        Ok(match self.subset(rows) {
            Subset::Classes(data) => params.fit(&data)?,
            Subset::Labels(data) => params.fit(&data)?,
        })
    }

    /// Divides the samples, see [`Labelled::divide`].
    ///
    /// # Errors
    /// As [`Labelled::divide`].
    pub fn divide(&self, division: &SplitConfig, seed: u64, choose: bool) -> Result<Partition> {
        self.labelled().divide(division, seed, choose)
    }

    /// Features of some rows.
    pub(super) fn features_of(&self, rows: &[usize]) -> Array2<f32> {
        self.features.select(Axis(0), rows)
    }

    /// Some rows for fitting.
    pub(super) fn subset(&self, rows: &[usize]) -> Subset {
        let weights: Array1<f32> = if self.weights.iter().all(|&weight| weight == 1.0) {
            Array1::zeros(0)
        } else {
            rows.iter().map(|&row| self.weights[row]).collect()
        };
        let features = self.features_of(rows);
        if self.task == Task::MultiLabel {
            Subset::Labels(DatasetBase::new(features, self.labelled().label_table(rows)).with_weights(weights))
        } else {
            let classes = Array1::from(self.labelled().class_list(rows));
            Subset::Classes(DatasetBase::new(features, classes).with_weights(weights))
        }
    }
}
