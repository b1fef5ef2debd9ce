//! What the labels of a dataset say: how many samples of each class there are, in all and in each
//! split, which samples are labelled at all, and the labels of some rows as fitting takes them.

use ndarray::Array2;
use serde::Serialize;

use crate::data::sample::{Dataset, Label, Split, Task};
use crate::error::ProbeError;

/// Numbers of samples in all and by split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In all.
    pub all: usize,
    /// In training data.
    pub train: usize,
    /// In validation data.
    pub validation: usize,
    /// In test data.
    pub test: usize,
    /// Without a split.
    pub without_split: usize,
}

impl Counts {
    fn add(&mut self, split: Option<Split>) {
        self.all += 1;
        match split {
            Some(Split::Train) => self.train += 1,
            Some(Split::Validation) => self.validation += 1,
            Some(Split::Test) => self.test += 1,
            None => self.without_split += 1,
        }
    }
}

/// Numbers of samples of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    /// The class.
    pub class: String,
    /// Samples that have it.
    #[serde(flatten)]
    pub present: Counts,
    /// Samples of which it is not known whether they have it; only where a sample can have several
    /// classes.
    pub unknown: usize,
}

/// Numbers of samples of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Census {
    /// By class, in the order of the classes.
    pub classes: Vec<ClassCounts>,
    /// Samples without any label.
    pub unlabelled: Counts,
    /// All samples.
    pub total: Counts,
}

impl Dataset {
    /// Counts the samples by class and split.
    pub fn census(&self) -> Census {
        let class = |class: &String| ClassCounts { class: class.clone(), present: Counts::default(), unknown: 0 };
        let mut classes: Vec<ClassCounts> = self.classes.iter().map(class).collect();
        let mut unlabelled = Counts::default();
        let mut total = Counts::default();
        for sample in &self.samples {
            total.add(sample.split);
            sample.label.present().for_each(|class| classes[class].present.add(sample.split));
            match &sample.label {
                Label::Unknown => unlabelled.add(sample.split),
                Label::Classes(known) => {
                    let unknown = known.iter().enumerate().filter(|(_, known)| known.is_none());
                    unknown.for_each(|(class, _)| classes[class].unknown += 1);
                }
                Label::Class(_) => {}
            }
        }
        Census { classes, unlabelled, total }
    }

    /// The rows that have a label, or one at least of several, ascending.
    ///
    /// # Errors
    /// [`ProbeError::Label`] naming the first sample whose label does not fit the task.
    pub fn labelled_rows(&self) -> Result<Vec<usize>, ProbeError> {
        let multi_label = self.task == Task::MultiLabel;
        let is_known = |label: &Label| match label {
            Label::Unknown => Some(false),
            Label::Class(class) => (!multi_label && *class < self.classes.len()).then_some(true),
            Label::Classes(labels) => {
                let fits = multi_label && labels.len() == self.classes.len();
                fits.then(|| labels.iter().any(Option::is_some))
            }
        };
        let mut rows = Vec::new();
        for (row, sample) in self.samples.iter().enumerate() {
            match is_known(&sample.label) {
                Some(true) => rows.push(row),
                Some(false) => {}
                None => {
                    let task = if multi_label { "multi-label" } else { "single-label" };
                    return Err(ProbeError::Label { id: sample.id.clone(), task });
                }
            }
        }
        Ok(rows)
    }

    /// The dataset of some rows, in their order.
    pub fn select(&self, rows: &[usize]) -> Dataset {
        let samples = rows.iter().map(|&row| self.samples[row].clone()).collect();
        Dataset { samples, ..self.without_samples() }
    }

    /// The classes of some rows; rows without one are left out.
    pub fn class_list(&self, rows: &[usize]) -> Vec<usize> {
        let class = |&row: &usize| match self.samples[row].label {
            Label::Class(class) => Some(class),
            Label::Unknown | Label::Classes(_) => None,
        };
        rows.iter().filter_map(class).collect()
    }

    /// The labels of some rows, `[rows, classes]`; `None` is unknown.
    pub fn label_table(&self, rows: &[usize]) -> Array2<Option<bool>> {
        let mut table = Array2::from_elem((rows.len(), self.classes.len()), None);
        for (mut line, &row) in table.rows_mut().into_iter().zip(rows) {
            if let Label::Classes(labels) = &self.samples[row].label {
                line.iter_mut().zip(labels).for_each(|(entry, label)| *entry = *label);
            }
        }
        table
    }
}
