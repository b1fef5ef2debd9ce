//! What a probe is given: labelled features.
//!
//! Refused: values that are not finite (the row is named), labels that do not fit the task, no
//! labels at all.

use std::borrow::Cow;

use linfa::traits::Fit as _;
use linfa::{DatasetBase, ParamGuard as _};
use ndarray::{Array1, Array2, ArrayView2, Axis, CowArray, Ix2};

use crate::data::{Dataset, Task};
use crate::error::{ProbeError, Result};
use crate::probe::knn::{KnnModel, KnnParams};
use crate::records::{ProbeInput, Source};

/// Labelled features that were made in the program.
#[derive(Clone, Debug)]
pub struct Samples {
    /// What is known of each sample, a row each.
    pub dataset: Dataset,
    /// Features `[N, D] f32`, finite.
    pub features: Array2<f32>,
}

impl ProbeInput for Samples {
    fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn features(&self) -> ArrayView2<'_, f32> {
        self.features.view()
    }

    fn source(&self) -> Source {
        Source { dimension: self.features.ncols(), ..Source::default() }
    }
}

/// Labelled features that are checked, without the samples that have no label.
#[derive(Clone, Debug)]
pub struct ValidSamples<'a> {
    dataset: Cow<'a, Dataset>,
    features: CowArray<'a, f32, Ix2>,
    unlabelled: usize,
}

/// Samples of some rows as linfa wants them.
pub(super) enum Subset {
    Classes(DatasetBase<Array2<f32>, Array1<usize>>),
    Labels(DatasetBase<Array2<f32>, Array2<Option<bool>>>),
}

impl<'a> ValidSamples<'a> {
    /// Checks lengths, values and labels, and leaves out samples without any label.
    ///
    /// # Errors
    /// [`ProbeError`] naming the first row that does not fit.
    pub fn new(input: &'a dyn ProbeInput) -> Result<Self> {
        let (dataset, features) = (input.dataset(), input.features());
        let (found, expected) = (dataset.len(), features.nrows());
        if found != expected {
            return Err(ProbeError::Length { what: "samples", found, expected }.into());
        }
        if let Some(((row, feature), &value)) = features.indexed_iter().find(|(_, value)| !value.is_finite()) {
            return Err(ProbeError::NotFinite { row, id: dataset.samples[row].id.clone(), feature, value }.into());
        }
        let rows = dataset.labelled_rows()?;
        if rows.is_empty() || dataset.task == Task::Unlabelled {
            return Err(ProbeError::Unlabelled.into());
        }
        let unlabelled = expected - rows.len();
        if unlabelled == 0 {
            return Ok(ValidSamples { dataset: Cow::Borrowed(dataset), features: features.into(), unlabelled });
        }
        let features = features.select(Axis(0), &rows).into();
        Ok(ValidSamples { dataset: Cow::Owned(dataset.select(&rows)), features, unlabelled })
    }

    /// What is known of each sample.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Number of values of each sample.
    pub fn dimension(&self) -> usize {
        self.features.ncols()
    }

    /// Number of samples that were left out.
    pub fn unlabelled(&self) -> usize {
        self.unlabelled
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.dataset.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
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

    /// Features of some rows.
    pub(super) fn features_of(&self, rows: &[usize]) -> Array2<f32> {
        self.features.select(Axis(0), rows)
    }

    /// Some rows for fitting.
    pub(super) fn subset(&self, rows: &[usize]) -> Subset {
        let samples = &self.dataset.samples;
        let weights: Array1<f32> = if samples.iter().all(|sample| sample.weight == 1.0) {
            Array1::zeros(0)
        } else {
            rows.iter().map(|&row| samples[row].weight).collect()
        };
        let features = self.features_of(rows);
        if self.dataset.task == Task::MultiLabel {
            Subset::Labels(DatasetBase::new(features, self.dataset.label_table(rows)).with_weights(weights))
        } else {
            let classes = Array1::from(self.dataset.class_list(rows));
            Subset::Classes(DatasetBase::new(features, classes).with_weights(weights))
        }
    }
}
