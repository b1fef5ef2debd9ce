//! What a dataset is once it is read: samples with labels, in a stated order.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::data::options::{DatasetSource, OpenOptions};
use crate::support::fs;

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

impl Task {
    /// The name in records: `unlabelled`, `multiclass`, `ordinal`, `multi_label`.
    pub const fn name(self) -> &'static str {
        match self {
            Task::Unlabelled => "unlabelled",
            Task::Multiclass => "multiclass",
            Task::Ordinal => "ordinal",
            Task::MultiLabel => "multi_label",
        }
    }
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

    /// The split a user means by a name, without regard to case: `val`, `valid` and `dev` are
    /// `validation`, `training` is `train`, `testing` is `test`.
    pub fn parse(name: &str) -> Option<Split> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "validation" | "val" | "valid" | "dev" => Some(Split::Validation),
            "test" | "testing" => Some(Split::Test),
            _ => None,
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
    /// Unique in the dataset: the path relative to the root, with `/`, unless the table has an `id`
    /// column.
    pub id: String,
    /// The image file; `FILE#N` is frame N, from 1. Empty where a table of features states none.
    pub path: PathBuf,
    /// sha256 of the image file, lower-case hexadecimal, where it is known: in caches, and while a
    /// network is trained.
    pub content_hash: Option<String>,
    /// The label.
    pub label: Label,
    /// The split, where the dataset states one.
    pub split: Option<Split>,
    /// Patient, lesion or any other unit that must not be divided between splits.
    pub group: Option<String>,
    /// Weight in fitting and evaluation, > 0; 1 unless the table has a `weight` column.
    pub weight: f32,
}

/// Why a file beside the images is not part of the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its name, or that of a folder above it, starts with a dot, or is one that operating systems
    /// leave behind (`Thumbs.db`, `desktop.ini`, `__MACOSX`).
    Hidden,
    /// Its extension is not one of [`crate::data::IMAGE_EXTENSIONS`], and its content not DICOM
    /// without an extension.
    NotAnImage,
    /// An image outside the class folders, so that it has no class.
    OutsideClasses,
    /// A symbolic link to nothing, or to itself.
    BrokenLink,
    /// A symbolic link to a folder that it lies in: its images are there already.
    LinkLoop,
    /// Its name, or that of a folder above it, is not valid UTF-8, so that it cannot be an id.
    NameNotUtf8,
    /// The system does not let it be read: a folder that cannot be listed, an entry that vanished
    /// while its folder was.
    Unreadable,
}

/// A file that was found beside the images and left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file, or the folder that was not entered.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: SkipReason,
}

/// Labelled samples: images to embed or to train on, or the rows of a table of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What it was read from; the root, for a dataset that was put together in memory.
    pub source: DatasetSource,
    /// Folder that paths and ids are relative to.
    pub root: PathBuf,
    /// What the labels mean.
    pub task: Task,
    /// Class names; `Label::Class` indexes them. Sorted unless the source states an order.
    pub classes: Vec<String>,
    /// The samples, ids unique; sorted by id where they were read from a folder or a table of
    /// images, in the order of the rows where they belong to features.
    pub samples: Vec<Sample>,
    /// Files that were found and left out, sorted by path.
    pub skipped: Vec<Skipped>,
    /// What a reader of the dataset should know: interpretations that were made, classes too small
    /// to use.
    pub notes: Vec<String>,
}

impl Sample {
    /// A sample of which nothing else is known: without split and group, of weight 1.
    pub fn new(id: impl Into<String>, path: impl Into<PathBuf>, label: Label) -> Self {
        Sample { id: id.into(), path: path.into(), content_hash: None, label, split: None, group: None, weight: 1.0 }
    }

    /// The image file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        (!self.path.as_os_str().is_empty()).then_some(self.path.as_path())
    }
}

impl Dataset {
    /// A dataset of these samples, which are put into the order of their ids.
    pub fn new(root: PathBuf, task: Task, classes: Vec<String>, mut samples: Vec<Sample>) -> Self {
        samples.sort_by(|a, b| a.id.cmp(&b.id));
        Dataset::in_row_order(root, task, classes, samples)
    }

    /// A dataset of these samples in their order, which is that of the rows of features.
    pub fn in_row_order(root: PathBuf, task: Task, classes: Vec<String>, samples: Vec<Sample>) -> Self {
        let source = DatasetSource { path: root.clone(), reading: OpenOptions::default() };
        Dataset { source, root, task, classes, samples, skipped: Vec::new(), notes: Vec::new() }
    }

    /// Files and folders that were left out although they may hold images: what a run that goes on
    /// without them should be remembered by.
    pub fn unread(&self) -> usize {
        let is_unread = |reason| matches!(reason, SkipReason::NameNotUtf8 | SkipReason::Unreadable);
        self.skipped.iter().filter(|skipped| is_unread(skipped.reason)).count()
    }

    /// The same without any sample.
    pub(super) fn without_samples(&self) -> Self {
        Dataset {
            source: self.source.clone(),
            root: self.root.clone(),
            task: self.task,
            classes: self.classes.clone(),
            samples: Vec::new(),
            skipped: self.skipped.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Number of samples that have each class, in the order of `classes`.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            for class in sample.label.present() {
                counts[class] += 1;
            }
        }
        counts
    }

    /// A digest of what the dataset says: task, classes, and per sample id, label, split, group and
    /// weight; lower-case hexadecimal sha256. Where the files lie and what they contain is not part
    /// of it.
    pub fn fingerprint(&self) -> String {
        let mut digest = Fingerprint(Sha256::new());
        digest.text("defrost dataset 1");
        digest.text(self.task.name());
        digest.number(self.classes.len() as u64);
        self.classes.iter().for_each(|class| digest.text(class));
        for sample in &self.samples {
            digest.text(&sample.id);
            match &sample.label {
                Label::Unknown => digest.number(0),
                Label::Class(class) => {
                    digest.number(1);
                    digest.number(*class as u64);
                }
                Label::Classes(classes) => {
                    digest.number(2);
                    classes.iter().for_each(|class| digest.number(class.map_or(2, u64::from)));
                }
            }
            digest.text(sample.split.map_or("", Split::name));
            digest.number(u64::from(sample.group.is_some()));
            digest.text(sample.group.as_deref().unwrap_or_default());
            digest.number(u64::from(sample.weight.to_bits()));
        }
        fs::hexadecimal(&digest.0.finalize())
    }

    /// Takes groups whose names differ only in case or blanks for one: under the first spelling in
    /// the order of the samples.
    pub(super) fn unite_spellings_of_groups(&mut self) {
        let mut spellings: HashMap<String, String> = HashMap::new();
        let mut united: Option<(String, String)> = None;
        let mut count = 0;
        for group in self.samples.iter_mut().filter_map(|sample| sample.group.as_mut()) {
            if spellings.get(group.as_str()).is_some_and(|first| first == group) {
                continue;
            }
            let key = group.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            let first = spellings.entry(key).or_insert_with(|| group.clone());
            if first != group {
                count += 1;
                united.get_or_insert_with(|| (first.clone(), group.clone()));
                group.clone_from(first);
            }
        }
        if let Some((first, other)) = united {
            self.notes.push(format!(
                "groups that differ only in case or blanks are taken for one: `{first}` and `{other}`, {count} images in all"
            ));
        }
    }

    /// Tells of classes that cannot be in more than one split.
    pub(super) fn note_small_classes(&mut self) {
        for (class, count) in self.classes.iter().zip(self.class_counts()) {
            match count {
                0 => self.notes.push(format!("class `{class}` has no image")),
                1 => self.notes.push(format!("class `{class}` has one image: it cannot be both fitted and evaluated")),
                _ => {}
            }
        }
        if self.classes.len() == 1 && self.task != Task::MultiLabel {
            self.notes.push(format!("there is one class only, `{}`: nothing to tell apart", self.classes[0]));
        }
    }
}

impl Label {
    /// Whether labels cannot all be right; what is unknown contradicts nothing.
    pub fn contradict<'a>(labels: impl IntoIterator<Item = &'a Label>) -> bool {
        let mut class = None;
        let mut classes: Vec<Option<bool>> = Vec::new();
        for label in labels {
            match label {
                Label::Unknown => {}
                Label::Class(found) if *class.get_or_insert(*found) != *found => return true,
                Label::Class(_) => {}
                Label::Classes(found) => {
                    classes.resize(found.len(), None);
                    for (known, found) in classes.iter_mut().zip(found) {
                        if let Some(found) = found
                            && *known.get_or_insert(*found) != *found
                        {
                            return true;
                        }
                    }
                }
            }
        }
        false
    }

    /// Indices of the classes that are present.
    pub fn present(&self) -> impl Iterator<Item = usize> {
        let (one, several) = match self {
            Label::Unknown => (None, &[][..]),
            Label::Class(class) => (Some(*class), &[][..]),
            Label::Classes(classes) => (None, classes.as_slice()),
        };
        one.into_iter().chain(several.iter().enumerate().filter(|(_, known)| **known == Some(true)).map(|(i, _)| i))
    }
}

/// Feeds texts and numbers to a digest so that no two sequences give the same bytes.
struct Fingerprint(Sha256);

impl Fingerprint {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        let sample = |id: &str, class| Sample { split: Some(Split::Train), ..Sample::new(id, id, Label::Class(class)) };
        let classes = vec!["cat".into(), "dog".into()];
        Dataset::new("/somewhere".into(), Task::Multiclass, classes, vec![sample("b", 1), sample("a", 0)])
    }

    #[test]
    fn fingerprint_depends_on_what_is_said_and_not_on_where_the_files_lie() {
        let first = dataset();
        let mut moved = dataset();
        moved.root = "/elsewhere".into();
        moved.samples[0].path = "/elsewhere/a".into();
        moved.notes.push("moved".into());
        assert_eq!(first.fingerprint(), moved.fingerprint());
        let changes: [fn(&mut Dataset); 7] = [
            |d| d.samples[0].id = "c".into(),
            |d| d.samples[0].label = Label::Class(1),
            |d| d.samples[0].label = Label::Unknown,
            |d| d.samples[0].split = None,
            |d| d.samples[0].group = Some(String::new()),
            |d| d.samples[0].weight = 2.0,
            |d| d.classes[0] = "bat".into(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = dataset();
            change(&mut changed);
            assert_ne!(first.fingerprint(), changed.fingerprint(), "change {number}");
        }
    }

    #[test]
    fn fingerprint_is_the_same_in_every_version() {
        assert_eq!(dataset().fingerprint(), "7ccbaeb7b16208137bf3c8c68e90e5ff33fa7f3b05362475966c2b7e6019141d");
    }
}
