//! Cheap scores of embeddings, and how well they foretell what unfrozen training reaches.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::spearman;
use crate::records;
use crate::report::charts::shortest;
use crate::report::study::table::{Entry, Table, score_entry};
use crate::report::tables::signed;
use crate::study::index::DatasetFacts;
use crate::study::summary::StudySummary;
use crate::study::{Measurement, TrainingWork, Work};
use crate::support::numbers::counted;

/// A backbone with the scores of its seeds.
struct Scored<'a> {
    backbone: &'a str,
    scores: Vec<&'a BTreeMap<String, f64>>,
}

/// A score of several backbones, and what training reached, larger is better in both.
#[derive(Clone, Default)]
struct Paired {
    scores: Vec<f64>,
    reached: Vec<f64>,
}

/// The backbones that have scores on a dataset.
fn scored<'a>(summary: &StudySummary<'a>, dataset: &DatasetFacts) -> Vec<Scored<'a>> {
    let results = summary.results;
    let of = |backbone: &'a str| {
        let cells = results.repeats(&dataset.name, backbone, &Work::Transferability);
        let scores = cells.into_iter().filter_map(|cell| match cell.measurement()? {
            Measurement::Transferability { scores, .. } => Some(scores),
            _ => None,
        });
        Scored { backbone, scores: scores.collect() }
    };
    let all = results.backbones.iter().map(|backbone| of(&backbone.name));
    all.filter(|scored| !scored.scores.is_empty()).collect()
}

/// Cheap scores of embeddings beside what unfrozen training reached, with their rank correlation.
pub(super) fn table(summary: &StudySummary<'_>) -> Option<Table> {
    let mut table = Table {
        name: "transferability".to_owned(),
        title: "Transferability scores".to_owned(),
        caption:
            "Scores of the embeddings of the training split, larger is better, mean over seeds, beside the figure \
                  of unfrozen training with a linear head. Below, Spearman's rank correlation over the backbones."
                .to_owned(),
        header: vec!["Dataset".to_owned(), "Backbone".to_owned()],
        rows: Vec::new(),
        notes: Vec::new(),
    };
    let names: BTreeSet<&String> = summary
        .targets()
        .flat_map(|dataset| scored(summary, dataset))
        .flat_map(|scored| scored.scores.into_iter().flat_map(BTreeMap::keys))
        .collect();
    if names.is_empty() {
        return None;
    }
    table.header.extend(names.iter().map(|name| (*name).clone()));
    table.header.push("Unfrozen, linear head".to_owned());
    let unfrozen = Work::Training(TrainingWork::UNFROZEN_LINEAR);
    for dataset in summary.targets() {
        let mut columns = vec![Paired::default(); names.len()];
        for Scored { backbone, scores } in scored(summary, dataset) {
            let reached = summary.score_of(&unfrozen, dataset, backbone);
            let mut row = vec![Entry::text(&dataset.name), Entry::text(backbone)];
            for (name, column) in names.iter().zip(&mut columns) {
                let values: Vec<f64> = scores.iter().filter_map(|scores| scores.get(*name).copied()).collect();
                let mean = records::Summary::of(&values).map(|summary| summary.mean);
                if let (Some(mean), Some(reached)) = (mean, reached.mean()) {
                    column.scores.push(mean);
                    column.reached.push(if dataset.metric.larger_is_better() { reached } else { -reached });
                }
                row.push(mean.map_or(Entry::missing("–"), |mean| Entry::number(mean, shortest(mean))));
            }
            row.push(score_entry(&reached));
            table.rows.push(row);
        }
        let correlations: Vec<String> = names
            .iter()
            .zip(&columns)
            .filter_map(|(name, column)| Some(format!("{name} {}", signed(spearman(&column.scores, &column.reached)?))))
            .collect();
        let count = columns.iter().map(|column| column.scores.len()).max().unwrap_or(0);
        if !correlations.is_empty() {
            let backbones = counted(count, "backbone");
            table.notes.push(format!("{}, {backbones}: {}.", dataset.name, correlations.join(", ")));
        }
    }
    Some(table)
}
