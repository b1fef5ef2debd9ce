//! Probe records and their predictions: figures, curves, mistakes, and the paired difference of two
//! probes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Axis;

use crate::data::{Label, Task};
use crate::embed::Features;
use crate::error::Result;
use crate::metrics::{Bootstrap, Decision, Difference, Metric};
use crate::probe::{self, Chosen, PredictionTable};
use crate::records::compare;
use crate::report::charts::shortest;
use crate::report::record::{Curve, Mistake, Picture, ProbeResult, Spread};

/// Mistakes that are shown of each probe.
const MAX_MISTAKES: usize = 12;

type Rows<'a> = BTreeMap<&'a str, usize>;

/// The probes, and the difference of the last from the first where there are two on the same test
/// samples.
pub(super) fn results(
    cache: &Path,
    records: &[(PathBuf, probe::Record)],
    features: &Features,
    rows: &Rows<'_>,
) -> Result<(Vec<ProbeResult>, BTreeMap<Metric, Difference>)> {
    let mut tables = Vec::new();
    let mut results = Vec::new();
    for (path, record) in records {
        let table = match &record.predictions {
            Some(name) => Some(PredictionTable::read(&path.parent().unwrap_or(cache).join(name))?),
            None => None,
        };
        let pictures = |ids: &[&str]| pictures(ids, features, rows);
        let mistakes = table.as_ref().map(|table| mistakes(table, pictures)).unwrap_or_default();
        results.push(result(record, mistakes));
        tables.extend(table);
    }
    let compared = match tables.as_slice() {
        [first, second]
            if first.classes == second.classes && first.ids == second.ids && first.truth == second.truth =>
        {
            let resamples = records[0].1.settings.bootstrap;
            compare(first, second, &Bootstrap { resamples, ..Bootstrap::default() })?.differences
        }
        _ => BTreeMap::new(),
    };
    Ok((results, compared))
}

/// The figures of a record.
pub(in crate::report) fn result(record: &probe::Record, mistakes: Vec<Mistake>) -> ProbeResult {
    let (title, chosen, at) = match &record.chosen {
        Chosen::Linear { c, scale } => {
            ("Linear", format!("C = {}, {} features", shortest(*c), scale_in_words(*scale)), *c)
        }
        Chosen::Knn { k, temperature } => ("k-NN", format!("k = {k}, temperature {temperature}"), *k as f64),
        Chosen::Finetune { learning_rate, epoch } => {
            ("Fine-tuned", format!("learning rate {}, epoch {epoch}", shortest(*learning_rate)), *learning_rate)
        }
    };
    let mut points: Vec<(f64, Option<f64>)> =
        record.selection.candidates.iter().map(|candidate| (candidate.value, candidate.score)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let parameter = match record.selection.parameter.as_str() {
        "c" => "C".to_owned(),
        "learning_rate" => "learning rate".to_owned(),
        other => other.to_owned(),
    };
    // Records of earlier versions hold it for classes without order, too.
    let is_told = |metric: &Metric| *metric != Metric::QuadraticKappa || record.task == Task::Ordinal;
    let held_out = if record.selection.folds.is_some() { "cross-validation" } else { "validation" };
    let score = format!("{}, {held_out}", record.selection.metric.title());
    ProbeResult {
        title: title.into(),
        chosen,
        metrics: record.metrics.clone().into_iter().filter(|(metric, _)| is_told(metric)).collect(),
        repeats: record
            .summary
            .iter()
            .filter(|(metric, summary)| summary.repeats > 1 && is_told(metric))
            .map(|(metric, summary)| {
                let probe::Summary { mean, standard_deviation, repeats } = *summary;
                (*metric, Spread { mean, standard_deviation, repeats })
            })
            .collect(),
        curve: (points.len() > 1).then_some(Curve { parameter, score, points, chosen: at }),
        confusion: record.confusion.clone(),
        per_class: record.per_class.clone(),
        reliability: record.reliability.clone(),
        adjustment: record.adjustment.clone(),
        mistakes,
        warnings: record.warnings.clone(),
        leaks: record.leaks.clone(),
    }
}

fn scale_in_words(scale: probe::Scale) -> &'static str {
    match scale {
        probe::Scale::None => "unscaled",
        probe::Scale::Standard => "standardised",
        probe::Scale::L2 => "L2-normalised",
    }
}

/// Small pictures of samples by id; of those that the features lack, nothing but the id.
fn pictures(ids: &[&str], features: &Features, rows: &Rows<'_>) -> Vec<Picture> {
    let found: Vec<Option<usize>> = ids.iter().map(|id| rows.get(id).copied()).collect();
    let known: Vec<usize> = found.iter().copied().flatten().collect();
    let mut pictures = super::pictures(features, &known).into_iter();
    let own = |(id, found): (&&str, Option<usize>)| {
        let picture = found.and_then(|_| pictures.next());
        picture.unwrap_or_else(|| Picture { id: (*id).to_owned(), data: None })
    };
    ids.iter().zip(found).map(own).collect()
}

/// The wrong statements of a probe, the most confident first: of classes, or of single labels.
pub(super) fn mistakes(table: &PredictionTable, pictures: impl Fn(&[&str]) -> Vec<Picture>) -> Vec<Mistake> {
    let decided = table.decided();
    let mut wrong: Vec<(f64, usize, String, String)> = Vec::new();
    for (row, (label, probabilities)) in table.truth.iter().zip(table.probabilities.axis_iter(Axis(0))).enumerate() {
        match label {
            Label::Class(class) if decided[row] != *class => {
                let name = |class: usize| table.classes.get(class).cloned().unwrap_or_default();
                wrong.push((probabilities[decided[row]], row, name(*class), name(decided[row])));
            }
            Label::Classes(known) => {
                let labels = table.classes.iter().zip(known).zip(probabilities).enumerate();
                for (label, ((name, known), &probability)) in labels {
                    let said = probability > Decision::threshold(table.decision.as_ref(), label);
                    if known.is_some_and(|known| known != said) {
                        let words = |present: bool| if present { name.clone() } else { format!("no {name}") };
                        let stated = if said { probability } else { 1.0 - probability };
                        wrong.push((stated, row, words(!said), words(said)));
                    }
                }
            }
            Label::Class(_) | Label::Unknown => {}
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    wrong.truncate(MAX_MISTAKES);
    let ids: Vec<&str> = wrong.iter().map(|(_, row, ..)| table.ids[*row].as_str()).collect();
    pictures(&ids)
        .into_iter()
        .zip(wrong)
        .map(|(picture, (probability, _, truth, predicted))| Mistake { picture, truth, predicted, probability })
        .collect()
}
