//! The leaderboard of embedding caches and fine-tuning runs, without a study: every probe and
//! network with its figure, the best first, and how much better the best is on the same test
//! images.
//!
//! Classifiers of other classes are another leaderboard. Differences are those of the first repeat
//! (`records::compare`), their p-values adjusted by Holm over a leaderboard.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{ReportError, Result};
use crate::finetune::RECORD;
use crate::metrics::{Bootstrap, Difference, Metric, holm};
use crate::records::{PredictionTable, Record, compare};
use crate::report::gather::{is_cache, is_run, probe_records, probe_result};
use crate::report::pages;
use crate::report::record::ProbeResult;
use crate::report::study::table::{Entry, Table};
use crate::report::tables::signed;
use crate::report::view::{headline, in_sentence};
use crate::support::fs;

/// Level of intervals and tests.
const LEVEL: f64 = 0.05;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassifiersReport {
    /// The page.
    pub report: PathBuf,
    /// Probes and networks on it.
    pub classifiers: usize,
    /// Caches on which no probe was run.
    pub without_probes: Vec<PathBuf>,
    /// What to take and how sure that is, for each set of classes.
    pub advice: Vec<[String; 2]>,
}

/// A probe or network.
struct Classifier {
    /// The cache or run.
    place: String,
    title: String,
    record: Record,
    table: Option<PredictionTable>,
    metric: Metric,
    value: f64,
}

/// What the template sees.
#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    version: &'static str,
    boards: Vec<Board>,
}

/// Classifiers of the same classes.
#[derive(Serialize)]
struct Board {
    advice: [String; 2],
    table: Table,
}

/// Writes the leaderboard of caches and runs.
///
/// # Errors
/// [`ReportError::NothingThere`] for a folder that is neither, `FileError` for records and
/// predictions that cannot be read and for a page that cannot be written.
pub fn write_classifiers(places: &[PathBuf], title: &str, out: &Path) -> Result<ClassifiersReport> {
    let mut classifiers = Vec::new();
    let mut without_probes = Vec::new();
    for place in places {
        let found = classifiers_of(place)?;
        if found.is_empty() {
            without_probes.push(place.clone());
        }
        classifiers.extend(found);
    }
    let count = classifiers.len();
    let mut boards: Vec<Vec<Classifier>> = Vec::new();
    for classifier in classifiers {
        let key = |other: &Classifier| (other.record.classes.clone(), other.metric);
        match boards.iter_mut().find(|board| key(&board[0]) == key(&classifier)) {
            Some(board) => board.push(classifier),
            None => boards.push(vec![classifier]),
        }
    }
    let boards: Vec<Board> = boards.into_iter().map(Board::new).collect::<Result<_>>()?;
    let advice = boards.iter().map(|board| board.advice.clone()).collect();
    let view = View { title, version: env!("CARGO_PKG_VERSION"), boards };
    fs::replace(out, pages::render("classifiers.html", &view)?.as_bytes())?;
    Ok(ClassifiersReport { report: out.to_path_buf(), classifiers: count, without_probes, advice })
}

/// The probes of a cache, or the network of a run; those whose metric is undefined are left out.
fn classifiers_of(place: &Path) -> Result<Vec<Classifier>> {
    let records = if is_run(place) {
        let path = place.join(RECORD);
        vec![(path.clone(), Record::read(&path)?)]
    } else if is_cache(place) {
        probe_records(place)?
    } else {
        return Err(ReportError::NothingThere { path: place.to_path_buf() }.into());
    };
    let mut found = Vec::new();
    for (path, record) in records {
        let beside = path.parent().unwrap_or(place);
        let table = record.predictions.as_ref().map(|name| PredictionTable::read(&beside.join(name))).transpose()?;
        let Some((metric, _, value)) = headline(&record.metrics) else { continue };
        let ProbeResult { title, chosen, .. } = probe_result(&record, Vec::new());
        let value = record.summary.get(&metric).map_or(value, |summary| summary.mean);
        let of = if record.source.column == "embedding" || record.source.column == "pixels" {
            String::new()
        } else {
            format!(" of {}", record.source.column)
        };
        let title = format!("{title}{of}, {chosen}");
        let place = place.display().to_string();
        found.push(Classifier { place, title, record, table, metric, value });
    }
    Ok(found)
}

impl Classifier {
    fn model(&self) -> &str {
        self.record.source.model.as_deref().unwrap_or("a model that is not known")
    }

    fn name(&self) -> String {
        format!("{}: {} ({})", self.model(), self.title, self.place)
    }

    /// Mean and deviation over repeats, or the value.
    fn figure(&self) -> Entry {
        match self.record.summary.get(&self.metric) {
            Some(summary) if summary.repeats > 1 => Entry::mean(summary.mean, summary.standard_deviation),
            _ => Entry::mean(self.value, None),
        }
    }
}

impl Board {
    fn new(mut classifiers: Vec<Classifier>) -> Result<Board> {
        let metric = classifiers[0].metric;
        let sign = if metric.larger_is_better() { -1.0 } else { 1.0 };
        classifiers.sort_by(|a, b| (sign * a.value).total_cmp(&(sign * b.value)));
        let mut differences = Vec::new();
        for other in &classifiers[1..] {
            differences.push(difference(other, &classifiers[0])?);
        }
        let p: Vec<f64> = differences.iter().flatten().filter_map(|difference| difference.p).collect();
        let mut adjusted = holm(&p).into_iter();
        let p: Vec<Option<f64>> =
            differences.iter().map(|difference| difference.as_ref()?.p.and_then(|_| adjusted.next())).collect();
        let header =
            ["Model", "Classifier", "Cache or run", metric.title(), "Best minus this", "Low", "High", "Verdict"];
        let mut table = Table {
            name: "leaderboard".to_owned(),
            title: format!("Classes {}", classifiers[0].record.classes.join(", ")),
            caption:
                "The best minus each other classifier on the test images that both predict, first repeat, with the \
                      95 % interval of the paired difference (whole groups are the units where there are groups); \
                      verdicts at the 5 % level after Holm. The best was chosen on these images, so that its own \
                      figure is a little too good."
                    .to_owned(),
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        };
        for (at, classifier) in classifiers.iter().enumerate() {
            let mut row = vec![Entry::text(classifier.model()), Entry::text(&classifier.title)];
            row.extend([Entry::text(&classifier.place), classifier.figure()]);
            let compared = at.checked_sub(1).and_then(|other| Some((differences[other].as_ref()?, p[other])));
            let number = |value: Option<f64>| value.map_or(Entry::missing("–"), |v| Entry::number(v, signed(v)));
            row.extend([
                number(compared.and_then(|(difference, _)| difference.value)),
                number(compared.and_then(|(difference, _)| difference.low)),
                number(compared.and_then(|(difference, _)| difference.high)),
                Entry::text(match compared {
                    _ if at == 0 => "the best",
                    Some((_, Some(p))) if p < LEVEL => "worse",
                    Some((_, Some(_))) => "not distinguishable",
                    _ => "not comparable",
                }),
            ]);
            table.rows.push(row);
            let warnings = classifier.record.leaks.iter().chain(&classifier.record.warnings);
            table.notes.extend(warnings.map(|warning| format!("{}: {warning}.", classifier.name())));
        }
        table.mark_best(3, metric.larger_is_better());
        let beside: Vec<&Classifier> = classifiers[1..]
            .iter()
            .zip(&p)
            .filter(|(_, p)| p.is_some_and(|p| p >= LEVEL))
            .map(|(classifier, _)| classifier)
            .collect();
        Ok(Board { advice: advice(&classifiers, &beside, p.iter().flatten().count()), table })
    }
}

/// Second minus first on common test images; `None` where there are none or truths differ.
fn difference(first: &Classifier, second: &Classifier) -> Result<Option<Difference>> {
    let (Some(a), Some(b)) = (&first.table, &second.table) else { return Ok(None) };
    match compare(a, b, &Bootstrap::default()) {
        Ok(mut comparison) => Ok(comparison.differences.remove(&first.metric)),
        Err(crate::Error::Probe(crate::error::ProbeError::Incomparable { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

fn advice(classifiers: &[Classifier], beside: &[&Classifier], compared: usize) -> [String; 2] {
    let first = &classifiers[0];
    let figure = format!("{} {:.3}", in_sentence(first.metric.title()), first.value);
    let take = format!("Take {}: {figure}.", first.name());
    let sure = match (classifiers.len(), compared, beside) {
        (1, _, _) => "There is nothing to compare it with.".to_owned(),
        (_, 0, _) => "How sure that is cannot be said: no other has test images in common with it.".to_owned(),
        (_, compared, []) => {
            format!("That is sure at the 5 % level: it is better than all {compared} it was compared with.")
        }
        (_, compared, [next, ..]) => format!(
            "That is not sure: {} of the {compared} it was compared with are not distinguishable from it, the first of \
             them {}.",
            beside.len(),
            next.name()
        ),
    };
    [take, sure]
}
