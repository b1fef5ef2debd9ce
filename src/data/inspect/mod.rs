//! What is in a dataset: counts, sizes, formats, broken files, duplicates and leaks between splits.
//!
//! Every image is read and decoded once, in parallel. Two images are duplicates when their decoded
//! pixels are equal, so that copies are found under another name, with other metadata or in another
//! lossless format.

mod duplicates;
mod perceptual_hash;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;

use crate::data::labels::Census;
use crate::data::split::divided_groups;
use crate::data::{Dataset, Sample, Task};
use crate::pixels::{DecodeLimits, frame};
use crate::support::progress::Progress;

pub use duplicates::{Duplicate, Member};

use perceptual_hash::ImageHash;

/// What [`inspect`] found.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Folder that paths and ids are relative to.
    pub root: PathBuf,
    /// What the labels mean.
    pub task: Task,
    /// Digest of ids, labels, splits, groups and weights.
    pub fingerprint: String,
    /// Numbers of samples by class and split.
    #[serde(flatten)]
    pub census: Census,
    /// Groups (patients, lesions); `None` where no sample has one.
    pub groups: Option<Groups>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Sizes of the images that could be decoded; `None` where there is none.
    pub sizes: Option<Sizes>,
    /// Images by file format, most frequent first.
    pub formats: Vec<Frequency>,
    /// Images by channels and depth, most frequent first.
    pub pixels: Vec<Frequency>,
    /// Files that cannot be decoded, by id.
    pub broken: Vec<Broken>,
    /// Sets of images with equal pixels: those across splits first, then those whose labels differ,
    /// then by id.
    pub duplicates: Vec<Duplicate>,
    /// Files that were left out when the dataset was read.
    pub left_out: usize,
    /// Those of them that may be images: names that are not UTF-8, folders that cannot be listed.
    pub unread: usize,
    /// What a reader of the dataset should know.
    pub notes: Vec<String>,
}

/// Groups of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// How many there are.
    pub count: usize,
    /// Samples of the largest.
    pub largest: usize,
    /// Those with samples in more than one split, sorted.
    pub divided: Vec<String>,
}

/// A value and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frequency {
    /// The value, for example `JPEG`.
    pub value: String,
    /// How often it occurs.
    pub count: usize,
}

/// Sizes in pixels, each dimension by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Smallest, median and largest width.
    pub width: Range,
    /// Smallest, median and largest height.
    pub height: Range,
    /// The most frequent sizes as `width x height`, at most five.
    pub most_frequent: Vec<Frequency>,
    /// How many different sizes there are.
    pub different: usize,
}

/// Smallest, median (the lower of two) and largest of some numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The smallest.
    pub min: u32,
    /// The lower median.
    pub median: u32,
    /// The largest.
    pub max: u32,
}

/// A file that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The sample.
    pub id: String,
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be decoded.
    pub reason: String,
}

impl Inspection {
    /// Duplicates with members in more than one split.
    pub fn leaks(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|duplicate| duplicate.across_splits)
    }

    /// Duplicates whose labels differ.
    pub fn contradictions(&self) -> impl Iterator<Item = &Duplicate> {
        self.duplicates.iter().filter(|duplicate| duplicate.labels_differ)
    }

    /// Whether every file can be read and decoded, no image or group is in two splits and no equal
    /// images are labelled differently.
    pub fn is_sound(&self) -> bool {
        let undivided = self.groups.as_ref().is_none_or(|groups| groups.divided.is_empty());
        let all_read = self.broken.is_empty() && self.unread == 0;
        all_read && undivided && self.leaks().next().is_none() && self.contradictions().next().is_none()
    }
}

/// Reads and decodes every image of the dataset, in parallel; broken files are recorded and never
/// stop it.
pub fn inspect(dataset: &Dataset, limits: &DecodeLimits, progress: &dyn Progress) -> Inspection {
    progress.begin("inspecting", dataset.samples.len() as u64, 0);
    let looks: Vec<ImageHash> = dataset
        .samples
        .par_iter()
        .map(|sample| {
            let look = ImageHash::at(&sample.path, limits);
            progress.advance(1);
            look
        })
        .collect();
    progress.end();
    let decoded = || looks.iter().filter_map(|look| look.picture.as_ref().ok());
    let broken = dataset.samples.iter().zip(&looks).filter_map(|(sample, look)| {
        let reason = look.picture.as_ref().err()?.clone();
        Some(Broken { id: sample.id.clone(), path: sample.path.clone(), reason })
    });
    let several = decoded().filter(|picture| picture.is_first_of_several).count();
    Inspection {
        root: dataset.root.clone(),
        task: dataset.task,
        fingerprint: dataset.fingerprint(),
        census: dataset.census(),
        groups: groups(dataset),
        bytes: looks.iter().map(|look| look.bytes).sum(),
        sizes: sizes(decoded().map(|picture| (picture.width, picture.height)).collect()),
        formats: frequencies(decoded().map(|picture| picture.format.to_owned())),
        pixels: frequencies(decoded().map(|picture| picture.kind())),
        broken: broken.collect(),
        duplicates: duplicates::find(dataset, &looks),
        left_out: dataset.skipped.len(),
        unread: dataset.unread(),
        notes: dataset.notes.iter().cloned().chain(frame::note_of_several(several)).collect(),
    }
}

fn groups<'a>(dataset: &'a Dataset) -> Option<Groups> {
    let mut found: HashMap<&str, usize> = HashMap::new();
    for group in dataset.samples.iter().filter_map(|sample| sample.group.as_deref()) {
        *found.entry(group).or_default() += 1;
    }
    let largest = found.values().copied().max()?;
    let in_splits = |sample: &'a Sample| Some((sample.group.as_deref()?, sample.split?));
    let divided = divided_groups(dataset.samples.iter().filter_map(in_splits));
    Some(Groups { count: found.len(), largest, divided })
}

fn sizes(all: Vec<(u32, u32)>) -> Option<Sizes> {
    let range = |mut values: Vec<u32>| {
        values.sort_unstable();
        Some(Range { min: *values.first()?, median: values[(values.len() - 1) / 2], max: *values.last()? })
    };
    let width = range(all.iter().map(|size| size.0).collect())?;
    let height = range(all.iter().map(|size| size.1).collect())?;
    let mut most_frequent = frequencies(all.iter().map(|(width, height)| format!("{width} x {height}")));
    let different = most_frequent.len();
    most_frequent.truncate(5);
    Some(Sizes { width, height, most_frequent, different })
}

/// Values and how often they occur, most frequent first, equal counts in the order of the values.
fn frequencies(values: impl Iterator<Item = String>) -> Vec<Frequency> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_default() += 1);
    let mut frequencies: Vec<Frequency> = counts.into_iter().map(|(value, count)| Frequency { value, count }).collect();
    frequencies.sort_by_key(|frequency| std::cmp::Reverse(frequency.count));
    frequencies
}
