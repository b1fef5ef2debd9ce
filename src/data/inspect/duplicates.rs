//! Images with equal pixels, and what is wrong with them: members in two splits, labels that
//! contradict each other.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::inspect::perceptual_hash::ImageHash;
use crate::data::{Dataset, Label, Split};

/// Images with equal pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The images, sorted by id, at least two.
    pub members: Vec<Member>,
    /// Members are in more than one split.
    pub across_splits: bool,
    /// Members have different known labels.
    pub labels_differ: bool,
}

/// One of several images with equal pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The sample.
    pub id: String,
    /// Its split, where one is stated.
    pub split: Option<Split>,
    /// Names of its classes; empty for none or unknown.
    pub labels: Vec<String>,
}

/// All sets of images with equal pixels: those across splits first, then those whose labels differ,
/// then by id.
pub(super) fn find(dataset: &Dataset, looks: &[ImageHash]) -> Vec<Duplicate> {
    let mut same: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for (index, look) in looks.iter().enumerate() {
        if let Ok(picture) = &look.picture {
            same.entry(picture.digest).or_default().push(index);
        }
    }
    let mut duplicates: Vec<Duplicate> =
        same.into_values().filter(|members| members.len() > 1).map(|members| duplicate(dataset, &members)).collect();
    duplicates.sort_by(|a, b| {
        let key = |duplicate: &Duplicate| (!duplicate.across_splits, !duplicate.labels_differ);
        key(a).cmp(&key(b)).then_with(|| a.members[0].id.cmp(&b.members[0].id))
    });
    duplicates
}

fn duplicate(dataset: &Dataset, members: &[usize]) -> Duplicate {
    let samples = || members.iter().map(|&index| &dataset.samples[index]);
    let mut splits = samples().filter_map(|sample| sample.split);
    let first = splits.next();
    let across_splits = splits.any(|split| Some(split) != first);
    let labels_differ = Label::contradict(samples().map(|sample| &sample.label));
    let members = samples()
        .map(|sample| Member {
            id: sample.id.clone(),
            split: sample.split,
            labels: sample.label.present().map(|class| dataset.classes[class].clone()).collect(),
        })
        .collect();
    Duplicate { members, across_splits, labels_differ }
}
