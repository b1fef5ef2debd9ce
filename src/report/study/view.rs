//! The results of a study as the page's template wants them.

use serde::Serialize;

use crate::error::Result;
use crate::report::record::Fact;
use crate::report::sheet::{Figure, LegendEntry, PanelShape, shape_of};
use crate::report::study::plot::magnitude;
use crate::report::study::table::Table;
use crate::report::style::SERIES;
use crate::study::summary::StudySummary;
use crate::study::{CellState, StudyResults};
use crate::support::numbers::{counted, thousands};

/// Rows up to which a table is shown unfolded.
const MAX_UNFOLDED: usize = 16;
/// Cells that are named for one reason of failing.
const MAX_NAMED: usize = 8;

/// What the template sees.
#[derive(Serialize)]
pub(super) struct View<'a> {
    title: &'a str,
    version: &'static str,
    summary: Vec<String>,
    advice: Option<&'a [String; 2]>,
    leaderboard: Option<TableView<'a>>,
    tables: Vec<TableView<'a>>,
    figures: Vec<FigureView>,
    absent: Vec<String>,
    errata: Vec<Fact>,
    open: usize,
    failures: Vec<Failures>,
    provenance: Vec<Fact>,
    file: String,
}

#[derive(Serialize)]
struct TableView<'a> {
    table: &'a Table,
    folded: bool,
}

#[derive(Serialize)]
struct FigureView {
    name: String,
    title: String,
    caption: String,
    columns: usize,
    legend: Vec<LegendView>,
    panels: Vec<PanelView>,
}

#[derive(Serialize)]
struct LegendView {
    text: String,
    colour: usize,
    shape: &'static str,
}

#[derive(Serialize)]
struct PanelView {
    title: String,
    chart: String,
    square: bool,
}

/// Cells that failed for one reason.
#[derive(Serialize)]
struct Failures {
    reason: String,
    count: usize,
    cells: Vec<String>,
    rest: usize,
}

impl<'a> View<'a> {
    pub(super) fn new(summary: &'a StudySummary<'a>, tables: &'a [Table], figures: Vec<Figure>) -> Result<Self> {
        let results = summary.results;
        let view = |table: &'a Table| TableView { table, folded: table.rows.len() > MAX_UNFOLDED };
        let is_leaderboard = |table: &&Table| table.name == "leaderboard";
        let (drawn, absent): (Vec<Figure>, Vec<Figure>) =
            figures.into_iter().partition(|figure| !figure.panels.is_empty());
        Ok(View {
            title: &results.study.title,
            version: env!("CARGO_PKG_VERSION"),
            summary: counts(results),
            advice: summary.advice.as_ref().map(|advice| &advice.sentences),
            leaderboard: tables.iter().find(is_leaderboard).map(view),
            tables: tables.iter().filter(|table| !is_leaderboard(table)).map(view).collect(),
            figures: drawn.into_iter().map(FigureView::new).collect(),
            absent: absent.into_iter().map(|figure| format!("{}. {}", figure.title, figure.caption)).collect(),
            errata: results
                .study
                .errata
                .iter()
                .map(|erratum| Fact::new(&erratum.to_string(), erratum.about()))
                .collect(),
            open: results.cells.iter().filter(|cell| cell.state == CellState::Open).count(),
            failures: failures(results),
            provenance: provenance(results),
            file: results.study.text()?,
        })
    }

    /// Cells that failed.
    pub(super) fn failed(&self) -> usize {
        self.failures.iter().map(|failures| failures.count).sum()
    }
}

impl FigureView {
    fn new(figure: Figure) -> Self {
        let legend = |LegendEntry { text, series }: LegendEntry| LegendView {
            text,
            colour: series % SERIES.len(),
            shape: shape_of(series),
        };
        FigureView {
            name: figure.name,
            title: figure.title,
            caption: figure.caption,
            columns: figure.columns,
            legend: figure.legend.into_iter().map(legend).collect(),
            panels: figure
                .panels
                .into_iter()
                .map(|panel| PanelView {
                    title: panel.title,
                    square: panel.shape == PanelShape::Square,
                    chart: panel.svg.finish(),
                })
                .collect(),
        }
    }
}

fn counts(results: &StudyResults) -> Vec<String> {
    let targets = results.datasets.iter().filter(|dataset| dataset.target).count();
    let done = results.cells.iter().filter(|cell| cell.done().is_some()).count();
    vec![
        counted(targets, "dataset"),
        counted(results.backbones.len(), "backbone"),
        counted(results.study.experiments.len(), "experiment"),
        counted(results.study.repeats, "seed"),
        format!("{} of {} computed", thousands(done), counted(results.cells.len(), "cell")),
    ]
}

fn failures(results: &StudyResults) -> Vec<Failures> {
    let mut found: Vec<Failures> = Vec::new();
    for cell in &results.cells {
        let CellState::Failed { reason } = &cell.state else { continue };
        let at = found.iter().position(|failures| failures.reason == *reason).unwrap_or_else(|| {
            found.push(Failures { reason: reason.clone(), count: 0, cells: Vec::new(), rest: 0 });
            found.len() - 1
        });
        let failures = &mut found[at];
        failures.count += 1;
        if failures.cells.len() < MAX_NAMED {
            failures.cells.push(cell.cell.to_string());
        } else {
            failures.rest += 1;
        }
    }
    found
}

fn provenance(results: &StudyResults) -> Vec<Fact> {
    let study = &results.study;
    let mut facts = vec![Fact::new("Folder", results.folder.display())];
    let seeds: Vec<String> = study.seeds().map(|seed| seed.to_string()).collect();
    facts.push(Fact::new("Seeds", seeds.join(", ")));
    facts.push(Fact::new("Baseline", study.baseline.as_deref().unwrap_or("none")));
    for dataset in &results.datasets {
        let [train, validation, test] = dataset.splits.map(thousands);
        let cut = study.dataset(&dataset.name).and_then(|entry| entry.images);
        let cut = cut.map_or(String::new(), |images| format!(", cut to {}", counted(images, "image")));
        let groups = if dataset.grouped { ", by group" } else { "" };
        let text = format!(
            "{}{cut}; {} classes; {train} train, {validation} validation, {test} test, first seed{groups}; {}",
            counted(dataset.images, "image"),
            dataset.classes.len(),
            dataset.metric.title()
        );
        let text = dataset.problem.as_ref().map_or(text, |problem| format!("cannot be used: {problem}"));
        facts.push(Fact::new(&format!("Dataset {}", dataset.name), text));
    }
    for backbone in &results.backbones {
        let mut parts = vec![backbone.model.clone()];
        parts.extend(backbone.parameters.map(|count| format!("{} parameters", magnitude(count as f64))));
        parts.extend(backbone.source_images.map(|count| format!("trained on {} images", magnitude(count as f64))));
        parts.extend(backbone.random.then(|| "random weights".to_owned()));
        parts.extend(backbone.problem.as_ref().map(|problem| format!("cannot be used: {problem}")));
        facts.push(Fact::new(&format!("Backbone {}", backbone.name), parts.join("; ")));
    }
    let seconds: f64 = results.cells.iter().filter_map(|cell| cell.done()).map(|done| done.seconds).sum();
    facts.push(Fact::new("Time of all cells", format!("{:.1} min", seconds / 60.0)));
    facts
}
