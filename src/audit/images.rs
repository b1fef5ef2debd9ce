//! The audit of a dataset's files: what an inspection found, as pairs.

use std::collections::BTreeMap;

use crate::audit::{Audit, Member, Pair, divided};
use crate::data::inspect::Inspection;
use crate::data::{Dataset, Label, Split};

/// Audits a dataset: its groups, and, where its images were inspected, those of equal pixels.
pub fn of_images(dataset: &Dataset, inspection: Option<&Inspection>) -> Audit {
    let mut audit = Audit { images: dataset.samples.len(), ..Audit::default() };
    let samples = &dataset.samples;
    let splits: Vec<Option<Split>> = samples.iter().map(|sample| sample.split).collect();
    for split in splits.iter().flatten() {
        *audit.splits.entry(*split).or_default() += 1;
    }
    let groups: Vec<Option<String>> = samples.iter().map(|sample| sample.group.clone()).collect();
    audit.divided_groups = divided(&groups, &splits);
    let Some(inspection) = inspection else { return audit };
    audit.broken = inspection.broken.len();
    let labels: Vec<Label> = samples.iter().map(|sample| sample.label.clone()).collect();
    let rows: BTreeMap<&str, usize> =
        samples.iter().enumerate().map(|(row, sample)| (sample.id.as_str(), row)).collect();
    let member = |row: usize| {
        let sample = &samples[row];
        Member {
            id: sample.id.clone(),
            path: Some(sample.path.clone()),
            split: sample.split,
            group: sample.group.clone(),
            labels: sample.label.present().map(|class| dataset.classes[class].clone()).collect(),
        }
    };
    for duplicate in &inspection.duplicates {
        let set: Vec<usize> =
            duplicate.members.iter().filter_map(|member| rows.get(member.id.as_str()).copied()).collect();
        audit.count_equal(&set, (&splits, &labels), |a, b| {
            let (a, b) = if splits[a] >= splits[b] { (a, b) } else { (b, a) };
            Pair { a: member(a), b: member(b), similarity: 1.0 }
        });
    }
    audit
}
