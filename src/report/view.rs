//! A record as the page's templates want it: figures as text, charts as SVG, colours by class name.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::{Estimate, Metric};
use crate::report::calibration::AdjustmentView;
use crate::report::charts;
use crate::report::charts::ReliabilityLine;
use crate::report::layers::LayersView;
use crate::report::record::{Fact, Mistake, Picture, ProbeResult, Record};
use crate::report::tables::{ClassRow, ConfusionTable, MetricGroup, class_rows, metric_groups};
use crate::report::training::TrainingView;
use crate::support::numbers::thousands;

/// Classes whose counts and images are shown; the others are only counted.
const MAX_CLASSES: usize = 40;

/// What the templates see.
#[derive(Serialize)]
pub(super) struct View<'a> {
    title: &'a str,
    version: &'static str,
    summary: Vec<String>,
    verdict: Option<String>,
    tiles: Vec<Tile>,
    data: DataView<'a>,
    embedding: Option<EmbeddingView<'a>>,
    probes: Vec<ProbeView<'a>>,
    training: Option<TrainingView<'a>>,
    layers: Option<LayersView>,
    baseline: Option<String>,
    groups: Vec<MetricGroup>,
    compared: bool,
    /// Whether there is a confusion matrix.
    confused: bool,
    repeats: Option<usize>,
    coverage: &'static str,
    /// Whether something was fitted on validation predictions.
    adjusted: bool,
    reliability: Vec<ReliabilityView>,
    plane: Option<PlaneView>,
    commands: &'a [String],
    provenance: &'a [Fact],
}

/// A figure at the head of the page.
#[derive(Serialize)]
struct Tile {
    value: String,
    caption: String,
    note: String,
}

#[derive(Serialize)]
struct DataView<'a> {
    samples: String,
    unlabelled: usize,
    multi_label: bool,
    splits: Vec<&'a str>,
    /// Images of each split.
    totals: Vec<String>,
    /// Groups of each split; empty where there are no groups.
    groups: Vec<String>,
    classes: Vec<ClassView<'a>>,
    left_out: usize,
    pictures: bool,
    notes: &'a [String],
}

#[derive(Serialize)]
struct ClassView<'a> {
    name: &'a str,
    colour: String,
    shape: &'static str,
    counts: Vec<String>,
    total: String,
    /// Percent of the largest class.
    percent: f64,
    pictures: &'a [Picture],
}

#[derive(Serialize)]
struct EmbeddingView<'a> {
    model: &'a str,
    facts: Vec<Fact>,
    failed: usize,
    failures: &'a [Fact],
}

#[derive(Serialize)]
struct ProbeView<'a> {
    title: &'a str,
    chosen: &'a str,
    series: usize,
    curve: Option<String>,
    curve_caption: Option<String>,
    confusion: Option<ConfusionTable>,
    per_class: Vec<ClassRow>,
    mistakes: Vec<MistakeView<'a>>,
    adjustment: Option<AdjustmentView>,
    warnings: &'a [String],
    leaks: &'a [String],
}

#[derive(Serialize)]
struct MistakeView<'a> {
    mistake: &'a Mistake,
    percent: String,
}

/// A reliability diagram; its colour is that of a probe where it is of one only.
#[derive(Serialize)]
struct ReliabilityView {
    caption: String,
    series: Option<usize>,
    chart: String,
}

#[derive(Serialize)]
struct PlaneView {
    chart: String,
    shown: String,
    samples: String,
    percent: String,
}

impl<'a> View<'a> {
    pub(super) fn new(record: &'a Record) -> Self {
        let compared = !record.difference.is_empty() && record.probes.len() == 2;
        View {
            title: &record.title,
            version: env!("CARGO_PKG_VERSION"),
            summary: summary(record),
            verdict: compared.then(|| verdict(record)).flatten(),
            tiles: tiles(record),
            data: data(record),
            embedding: record.embedding.as_ref().map(|facts| {
                let mut all =
                    vec![Fact::new("Model", &facts.model), Fact::new("Dimensions", thousands(facts.dimension))];
                all.extend(
                    facts.images_per_second.map(|speed| Fact::new("Speed", format!("{} images/s", rate(speed)))),
                );
                all.extend(facts.facts.iter().cloned());
                EmbeddingView { model: &facts.model, facts: all, failed: facts.failed, failures: &facts.failures }
            }),
            probes: record.probes.iter().enumerate().map(|(series, probe)| probe_view(record, probe, series)).collect(),
            training: record.training.as_ref().map(TrainingView::new),
            layers: LayersView::new(&record.layers),
            baseline: record.probes.first().and_then(|probe| baseline(record, probe)),
            groups: metric_groups(record, compared),
            compared,
            confused: record.probes.iter().any(|probe| probe.confusion.is_some()),
            repeats: record.probes.iter().flat_map(|probe| probe.repeats.values()).map(|spread| spread.repeats).max(),
            coverage: "95 %",
            adjusted: record.probes.iter().any(|probe| probe.adjustment.is_some()),
            reliability: reliability(record),
            plane: record.projection.as_ref().map(|plane| PlaneView {
                chart: charts::plane(plane, &record.classes),
                shown: thousands(plane.points.len()),
                samples: thousands(plane.samples),
                percent: format!("{:.0} %", 100.0 * (plane.explained[0] + plane.explained[1])),
            }),
            commands: &record.commands,
            provenance: &record.provenance,
        }
    }
}

fn summary(record: &Record) -> Vec<String> {
    let mut parts = vec![format!("{} images", thousands(record.dataset.samples))];
    if !record.classes.is_empty() {
        let kind = if record.dataset.multi_label { "labels" } else { "classes" };
        parts.push(format!("{} {kind}", record.classes.len()));
    }
    if let Some(embedding) = &record.embedding {
        parts.push(embedding.model.clone());
        parts.push(format!("{} dimensions", thousands(embedding.dimension)));
    }
    parts
}

/// Images per second; a slow run keeps a decimal.
fn rate(speed: f64) -> String {
    if speed < 10.0 { format!("{speed:.1}") } else { format!("{speed:.0}") }
}

/// The metric that stands for a probe at the head of the page.
pub(super) fn headline(metrics: &BTreeMap<Metric, Estimate>) -> Option<(Metric, &Estimate, f64)> {
    // Only ordered classes have a quadratic kappa.
    let order =
        [Metric::QuadraticKappa, Metric::RocAuc, Metric::RocAucMacro, Metric::RocAucMacroPresent, Metric::Accuracy];
    order.into_iter().find_map(|metric| {
        let estimate = metrics.get(&metric)?;
        Some((metric, estimate, estimate.value?))
    })
}

fn tiles(record: &Record) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for probe in &record.probes {
        let Some((metric, estimate, value)) = headline(&probe.metrics) else { continue };
        let interval = match (estimate.low, estimate.high) {
            (Some(low), Some(high)) => {
                format!("95 % interval {low:.3} to {high:.3}, {} test images", thousands(estimate.n))
            }
            _ => format!("{} test images", thousands(estimate.n)),
        };
        let caption = format!("{}, {}", probe.title, in_sentence(metric.title()));
        tiles.push(Tile { value: format!("{value:.3}"), caption, note: interval });
    }
    if let Some(embedding) = &record.embedding {
        if let Some(speed) = embedding.images_per_second {
            let note = format!("{} images embedded", thousands(record.dataset.samples));
            tiles.push(Tile { value: rate(speed), caption: "images per second".into(), note });
        }
        if embedding.failed > 0 {
            let caption = if embedding.failed == 1 { "file in quarantine" } else { "files in quarantine" };
            let note = "listed below with the reasons".into();
            tiles.push(Tile { value: thousands(embedding.failed), caption: caption.into(), note });
        }
    }
    tiles
}

/// A title inside a sentence: `Balanced accuracy` becomes `balanced accuracy`, `ROC-AUC` stays.
pub(super) fn in_sentence(title: &str) -> String {
    let mut characters = title.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(title.chars().skip(1)).collect()
        }
        _ => title.to_owned(),
    }
}

/// Whether one of two probes is better on the same samples, in a sentence.
fn verdict(record: &Record) -> Option<String> {
    let [first, second] = record.probes.as_slice() else { return None };
    let (metric, _, _) = headline(&first.metrics)?;
    let difference = record.difference.get(&metric)?;
    let (value, low, high, p) = (difference.value?, difference.low?, difference.high?, difference.p?);
    let (better, worse) = if value >= 0.0 { (second, first) } else { (first, second) };
    let (low, high) = if value >= 0.0 { (low, high) } else { (-high, -low) };
    let p = if p < 0.005 { "p < 0.005".to_owned() } else { format!("p = {p:.2}") };
    let interval = format!("{low:.3} to {high:.3}").replace('-', "−");
    let size = format!("{:.3} {} (95 % interval {interval}, {p})", value.abs(), in_sentence(metric.title()));
    Some(if low > 0.0 {
        format!("{} is better than {} by {size}, compared on the same images.", better.title, worse.title)
    } else {
        format!("{} and {} cannot be told apart: they differ by {size} on the same images.", first.title, second.title)
    })
}

/// One diagram of all probes; where probabilities were calibrated, one of each with what it was
/// before.
fn reliability(record: &Record) -> Vec<ReliabilityView> {
    let line = |series: usize| {
        let probe = &record.probes[series];
        ReliabilityLine { title: &probe.title, series, bins: &probe.reliability, is_before: false }
    };
    let before = |series: usize| {
        let probe = &record.probes[series];
        let adjustment = probe.adjustment.as_ref().filter(|adjustment| !adjustment.temperatures.is_empty())?;
        Some(ReliabilityLine { bins: &adjustment.reliability_without, is_before: true, ..line(series) })
    };
    let all = 0..record.probes.len();
    if all.clone().all(|series| before(series).is_none()) {
        let lines: Vec<ReliabilityLine<'_>> = all.map(line).collect();
        let caption = "Reliability, dots sized by samples".to_owned();
        return charts::reliability(&lines)
            .map(|chart| ReliabilityView { caption, series: None, chart })
            .into_iter()
            .collect();
    }
    let view = |series: usize| {
        let lines: Vec<ReliabilityLine<'_>> = before(series).into_iter().chain([line(series)]).collect();
        let caption = format!("{}: reliability", record.probes[series].title);
        Some(ReliabilityView { caption, series: Some(series), chart: charts::reliability(&lines)? })
    };
    all.filter_map(view).collect()
}

/// What saying the most frequent class always would reach.
fn baseline(record: &Record, probe: &ProbeResult) -> Option<String> {
    let supports: Vec<u64> = probe.confusion.as_ref()?.iter().map(|row| row.iter().sum()).collect();
    let total: u64 = supports.iter().sum();
    let (class, &support) =
        supports.iter().enumerate().max_by_key(|(class, support)| (**support, usize::MAX - class))?;
    let name = record.classes.get(class)?;
    let share = support as f64 / total as f64;
    (total > 0).then(|| format!("Always answering “{name}” would reach an accuracy of {share:.3}."))
}

fn data(record: &Record) -> DataView<'_> {
    let dataset = &record.dataset;
    let total = |class: usize| dataset.splits.iter().filter_map(|split| split.per_class.get(class)).sum::<usize>();
    let largest = (0..record.classes.len()).map(total).max().unwrap_or(0).max(1);
    let classes: Vec<ClassView<'_>> = record
        .classes
        .iter()
        .enumerate()
        .take(MAX_CLASSES)
        .map(|(class, name)| {
            let (colour, shape) = charts::class_mark(class);
            let counts = dataset.splits.iter().map(|split| split.per_class.get(class).copied().unwrap_or(0));
            ClassView {
                name,
                colour,
                shape,
                counts: counts.map(thousands).collect(),
                total: thousands(total(class)),
                percent: 100.0 * total(class) as f64 / largest as f64,
                pictures: dataset.gallery.get(class).map_or(&[], Vec::as_slice),
            }
        })
        .collect();
    DataView {
        samples: thousands(dataset.samples),
        unlabelled: dataset.unlabelled,
        multi_label: dataset.multi_label,
        splits: dataset.splits.iter().map(|split| split.name.as_str()).collect(),
        totals: dataset.splits.iter().map(|split| thousands(split.samples)).collect(),
        groups: if dataset.splits.iter().any(|split| split.groups.is_some()) {
            dataset.splits.iter().map(|split| split.groups.map_or_else(|| "–".into(), thousands)).collect()
        } else {
            Vec::new()
        },
        left_out: record.classes.len().saturating_sub(MAX_CLASSES),
        pictures: classes.iter().any(|class| !class.pictures.is_empty()),
        classes,
        notes: &dataset.notes,
    }
}

fn probe_view<'a>(record: &Record, probe: &'a ProbeResult, series: usize) -> ProbeView<'a> {
    let caption = |curve: &crate::report::record::Curve| {
        let scored = curve.points.iter().filter(|point| point.1.is_some()).count();
        format!(
            "{}: {} candidates, chosen {} = {}",
            probe.title,
            scored,
            curve.parameter,
            charts::shortest(curve.chosen)
        )
    };
    ProbeView {
        title: &probe.title,
        chosen: &probe.chosen,
        series,
        curve: probe.curve.as_ref().and_then(|curve| charts::curve(curve, series)),
        curve_caption: probe.curve.as_ref().map(caption),
        confusion: probe.confusion.as_ref().map(|counts| ConfusionTable::new(counts, &record.classes)),
        per_class: class_rows(&probe.per_class),
        mistakes: probe
            .mistakes
            .iter()
            .map(|mistake| MistakeView { mistake, percent: format!("{:.0} %", 100.0 * mistake.probability) })
            .collect(),
        adjustment: AdjustmentView::new(probe, &record.classes),
        warnings: &probe.warnings,
        leaks: &probe.leaks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_join_sentences_and_abbreviations_stay() {
        assert_eq!(in_sentence("Balanced accuracy"), "balanced accuracy");
        assert_eq!(in_sentence("ROC-AUC, one-vs-one"), "ROC-AUC, one-vs-one");
        assert_eq!(in_sentence("F1, macro"), "F1, macro");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
