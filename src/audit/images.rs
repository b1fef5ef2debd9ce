//! The audit of a dataset's files: what an inspection found, as pairs.

use std::collections::BTreeMap;

use crate::audit::Audit;
use crate::data::Dataset;
use crate::data::inspect::Inspection;

/// Audits a dataset: its groups, and, where its images were inspected, those of equal pixels.
pub fn of_images(dataset: &Dataset, inspection: Option<&Inspection>) -> Audit {
    let mut audit = Audit::of_splits(dataset);
    let Some(inspection) = inspection else { return audit };
    audit.broken = inspection.broken.len();
    let rows: BTreeMap<&str, usize> =
        dataset.samples.iter().enumerate().map(|(row, sample)| (sample.id.as_str(), row)).collect();
    for duplicate in &inspection.duplicates {
        let set: Vec<usize> =
            duplicate.members.iter().filter_map(|member| rows.get(member.id.as_str()).copied()).collect();
        audit.count_equal(dataset, &set);
    }
    audit
}
