//! Leaks: what would make a figure on test data too good. Groups in two splits, equal images,
//! near-duplicates by their embeddings, and labels that contradict each other on equal images.
//!
//! Certain findings (groups, equal images across splits, contradictions) make an audit unsound.
//! Near-duplicates are suspects: the cosine of two embeddings says how alike they look to the
//! network, not that they show the same thing.

mod images;
mod near;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::split::divided_groups;
use crate::data::{Dataset, Label, Split};
use crate::embed::Features;
use crate::error::Result;

pub use images::of_images;

/// Pairs that are kept of each kind; all are counted.
pub const MAX_PAIRS: usize = 200;
/// Neighbours of each image that are looked at for near-duplicates.
pub const NEIGHBOURS: usize = 10;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Audit {
    /// Images that were audited.
    pub images: usize,
    /// Images of each split; empty where no split is stated.
    pub splits: BTreeMap<Split, usize>,
    /// Groups in more than one split, sorted.
    pub divided_groups: Vec<String>,
    /// Pairs of equal images (byte for byte in a cache, pixel for pixel in a dataset) in two
    /// splits; without splits any equal pair.
    pub equal: Pairs,
    /// Pairs of equal images whose labels contradict each other.
    pub contradictions: Pairs,
    /// Pairs of different images whose embeddings are alike, in two splits; without splits any such
    /// pair.
    pub near: Option<Near>,
    /// Files that could not be decoded.
    pub broken: usize,
}

/// Near-duplicates.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Near {
    /// Cosine from which on two embeddings count as alike.
    pub threshold: f64,
    /// The most alike first.
    #[serde(flatten)]
    pub pairs: Pairs,
    /// Images whose last neighbour looked at was still alike: there may be more pairs than were
    /// counted.
    pub crowded: usize,
    /// The column of embeddings.
    pub column: String,
}

/// Pairs of images.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pairs {
    /// How many there are.
    pub count: usize,
    /// The first of them, [`MAX_PAIRS`] at most.
    pub first: Vec<Pair>,
}

/// Two images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// One of them, in the later split: the test image of a training and a test image.
    pub a: Member,
    /// The other one.
    pub b: Member,
    /// Cosine of their embeddings; 1 for equal images.
    pub similarity: f64,
}

/// One image of a pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its file, where it is known.
    pub path: Option<PathBuf>,
    /// Its split.
    pub split: Option<Split>,
    /// Its group.
    pub group: Option<String>,
    /// Names of its classes.
    pub labels: Vec<String>,
}

impl Audit {
    /// The audit of what a dataset states: its splits and groups.
    fn of_splits(dataset: &Dataset) -> Audit {
        let mut audit = Audit { images: dataset.len(), ..Audit::default() };
        for split in dataset.samples.iter().filter_map(|sample| sample.split) {
            *audit.splits.entry(split).or_default() += 1;
        }
        // Members without a split are in none.
        let both = dataset.samples.iter().filter_map(|sample| Some((sample.group.as_deref()?, sample.split?)));
        audit.divided_groups = divided_groups(both);
        audit
    }

    /// Whether nothing certain was found; near-duplicates are not certain.
    pub fn is_sound(&self) -> bool {
        let leaking = !self.splits.is_empty() && self.equal.count > 0;
        self.divided_groups.is_empty() && !leaking && self.contradictions.count == 0
    }

    /// Counts the pairs of a set of equal images: those in two splits (all, where no split is
    /// stated), and those whose labels contradict each other.
    fn count_equal(&mut self, dataset: &Dataset, set: &[usize]) {
        let is_split = !self.splits.is_empty();
        for (at, &a) in set.iter().enumerate() {
            for &b in &set[at + 1..] {
                let [first, second] = [a, b].map(|row| &dataset.samples[row]);
                if !is_split || matches!((first.split, second.split), (Some(a), Some(b)) if a != b) {
                    self.equal.push(|| Pair::new(dataset, a, b, 1.0));
                }
                if Label::contradict([&first.label, &second.label]) {
                    self.contradictions.push(|| Pair::new(dataset, a, b, 1.0));
                }
            }
        }
    }
}

impl Pairs {
    fn push(&mut self, pair: impl FnOnce() -> Pair) {
        self.count += 1;
        if self.first.len() < MAX_PAIRS {
            self.first.push(pair());
        }
    }
}

/// Audits the rows of a cache or a table of features; pairs of embeddings from `threshold` (cosine,
/// -1 to 1) on are near-duplicates.
///
/// # Errors
/// `ProbeError::Parameter` for a threshold that is no cosine.
pub fn of_features(features: &Features, threshold: f64) -> Result<Audit> {
    let dataset = &features.dataset;
    let mut audit = Audit::of_splits(dataset);
    let mut equal: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (row, sample) in dataset.samples.iter().enumerate() {
        if let Some(hash) = &sample.content_hash {
            equal.entry(hash).or_default().push(row);
        }
    }
    let mut sets: Vec<Vec<usize>> = equal.into_values().filter(|rows| rows.len() > 1).collect();
    sets.sort_unstable();
    for set in &sets {
        audit.count_equal(dataset, set);
    }
    audit.near = Some(near::near(features, threshold)?);
    Ok(audit)
}

impl Pair {
    /// Two rows of a dataset, that of the later split first.
    fn new(dataset: &Dataset, a: usize, b: usize, similarity: f64) -> Pair {
        let is_later = dataset.samples[a].split >= dataset.samples[b].split;
        let [a, b] = if is_later { [a, b] } else { [b, a] }.map(|row| Member::new(dataset, row));
        Pair { a, b, similarity }
    }
}

impl Member {
    fn new(dataset: &Dataset, row: usize) -> Member {
        let sample = &dataset.samples[row];
        Member {
            id: sample.id.clone(),
            path: sample.file().map(Path::to_path_buf),
            split: sample.split,
            group: sample.group.clone(),
            labels: sample.label.present().map(|class| dataset.classes[class].clone()).collect(),
        }
    }
}
