//! What a dataset is once it is read: samples with labels, in a stated order.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the labels mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// No labels.
    Unlabelled,
    /// One of several classes (two for a binary task).
    Multiclass,
    /// One of several classes that are ordered.
    Ordinal,
    /// Each class is present, absent or unknown by itself.
    MultiLabel,
}

/// The label of one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Label {
    /// Not labelled.
    Unknown,
    /// Index of the class.
    Class(usize),
    /// One entry per class; `None` is unknown and masked in training and evaluation.
    Classes(Vec<Option<bool>>),
}

/// The part of a dataset that a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Fits parameters.
    Train,
    /// Chooses hyper-parameters.
    Validation,
    /// Read once, by the final evaluation.
    Test,
}

impl Split {
    /// All splits, in their order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name in tables: `train`, `validation`, `test`.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One image file and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unique in the dataset: the path relative to the root, with `/`, unless the table has an `id` column.
    pub id: String,
    /// The image file.
    pub path: PathBuf,
    /// The label.
    pub label: Label,
    /// The split, where the dataset states one.
    pub split: Option<Split>,
    /// Patient, lesion or any other unit that must not be divided between splits.
    pub group: Option<String>,
    /// Weight in fitting and evaluation, > 0; 1 unless the table has a `weight` column.
    pub weight: f32,
}

/// Labelled images; the samples are sorted by id.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Folder that paths and ids are relative to.
    pub root: PathBuf,
    /// What the labels mean.
    pub task: Task,
    /// Class names; `Label::Class` indexes them. Sorted unless the source states an order.
    pub classes: Vec<String>,
    /// The samples, sorted by id, ids unique.
    pub samples: Vec<Sample>,
}
