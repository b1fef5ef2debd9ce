//! The audit of a dataset's files: what an inspection found, as pairs.

use std::collections::BTreeMap;

use crate::audit::{Audit, Member, Pair, divided};
use crate::data::Dataset;
use crate::data::Split;
use crate::data::inspect::Inspection;

/// Audits a dataset: its groups, and, where its images were inspected, those of equal pixels.
pub fn of_images(dataset: &Dataset, inspection: Option<&Inspection>) -> Audit {
    let mut audit = Audit { images: dataset.samples.len(), ..Audit::default() };
    for split in dataset.samples.iter().filter_map(|sample| sample.split) {
        *audit.splits.entry(split).or_default() += 1;
    }
    let groups: Vec<Option<String>> = dataset.samples.iter().map(|sample| sample.group.clone()).collect();
    let splits: Vec<Option<Split>> = dataset.samples.iter().map(|sample| sample.split).collect();
    audit.divided_groups = divided(&groups, &splits);
    let Some(inspection) = inspection else { return audit };
    audit.broken = inspection.broken.len();
    let samples: BTreeMap<&str, _> = dataset.samples.iter().map(|sample| (sample.id.as_str(), sample)).collect();
    for duplicate in &inspection.duplicates {
        let member = |member: &crate::data::inspect::Member| {
            let sample = samples.get(member.id.as_str());
            Member {
                id: member.id.clone(),
                path: sample.map(|sample| sample.path.clone()),
                split: member.split,
                group: sample.and_then(|sample| sample.group.clone()),
                labels: member.labels.clone(),
            }
        };
        let first = &duplicate.members[0];
        for other in &duplicate.members[1..] {
            let pair = || {
                let (a, b) = if first.split >= other.split { (first, other) } else { (other, first) };
                Pair { a: member(a), b: member(b), similarity: 1.0 }
            };
            if audit.splits.is_empty() || first.split != other.split {
                audit.equal.push(pair);
            }
            if duplicate.labels_differ && first.labels != other.labels {
                audit.contradictions.push(pair);
            }
        }
    }
    audit
}
