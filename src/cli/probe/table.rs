//! The record of a probe as text.

use std::fmt::Write as _;

use crate::data::Split;
use crate::metrics::{Estimate, Temperature};
use crate::probe::{Calibration, Chosen, Record};

/// Classes up to which the confusion matrix is shown.
const MAX_CLASSES: usize = 12;
/// Characters of a class name in the confusion matrix.
const NAME: usize = 16;
/// Temperatures, thresholds and cut-points that are shown.
const MAX_FITTED: usize = 8;

/// What was probed, what was chosen, how it does.
pub(crate) fn describe(record: &Record) -> String {
    let source = &record.source;
    let model = source.model.as_deref();
    let mut text = match record.chosen {
        Chosen::Finetune { .. } => format!("{} fine-tuned on `{}`", model.unwrap_or("network"), source.path),
        _ => format!("{} probe of `{}`", record.chosen.name(), source.path),
    };
    if let Some(model) = model.filter(|_| !matches!(record.chosen, Chosen::Finetune { .. })) {
        let _ = write!(text, ", model {model}");
    }
    let counts: Vec<String> =
        record.splits.iter().map(|(split, counts)| format!("{split} {}", counts.samples)).collect();
    let _ = writeln!(text, "\nfeatures    `{}`, {} values", source.column, source.dimension);
    let _ = writeln!(text, "samples     {} ({})", counts.join(", "), record.settings.splits);
    let _ = writeln!(text, "chosen      {}", chosen(record));
    if let Some(adjustment) = &record.adjustment {
        let _ = writeln!(text, "fitted      on {} validation samples: {}", adjustment.samples, fitted(adjustment));
    }
    let _ = writeln!(text, "\n{}", metrics(record));
    if let Some(confusion) = record.confusion.as_ref().filter(|rows| rows.len() <= MAX_CLASSES) {
        let _ = writeln!(text, "\n{}", matrix(confusion, &record.classes));
    }
    text
}

/// The same probe of several columns, a line each.
pub(super) fn describe_layers(records: &[Record]) -> String {
    let Some(first) = records.first() else { return "no column of embeddings".to_owned() };
    let metric = first.selection.metric;
    let mut text = format!("{} probe of {} columns of `{}`", first.chosen.name(), records.len(), first.source.path);
    if let Some(model) = &first.source.model {
        let _ = write!(text, ", model {model}");
    }
    let counts: Vec<String> =
        first.splits.iter().map(|(split, counts)| format!("{split} {}", counts.samples)).collect();
    let _ = writeln!(text, "\nsamples     {} ({})", counts.join(", "), first.settings.splits);
    let width = records.iter().map(|record| record.source.column.chars().count()).max().unwrap_or_default().max(6);
    let level = format!("{:.0} % interval", 100.0 * first.settings.level);
    let _ = write!(text, "\n{:width$}  values  {:16}  validation    test  {level}", "column", "chosen");
    for record in records {
        let what = match record.chosen {
            Chosen::Linear { c, .. } => format!("C = {}", short(c)),
            Chosen::Knn { k, .. } => format!("k = {k}"),
            Chosen::Finetune { epoch, .. } => format!("epoch {epoch}"),
        };
        let score = record.validation_score().map_or_else(|| "-".to_owned(), |score| format!("{score:.3}"));
        let test = record.metrics.get(&metric).map_or_else(|| "not computed".to_owned(), figures);
        let _ = write!(
            text,
            "\n{:width$}  {:6}  {what:16}  {score:>10}  {test}",
            record.source.column, record.source.dimension
        );
    }
    let scored = records.iter().filter_map(|record| Some((record.validation_score()?, record)));
    let best = scored.reduce(|best, other| {
        let better = if metric.larger_is_better() { other.0 > best.0 } else { other.0 < best.0 };
        if better { other } else { best }
    });
    if let Some((score, record)) = best {
        let _ = write!(
            text,
            "\n\n`{}` has the best {} on validation data ({score:.3})",
            record.source.column,
            metric.title()
        );
    }
    text
}

fn chosen(record: &Record) -> String {
    let what = match record.chosen {
        Chosen::Linear { c, .. } => format!("C = {}", short(c)),
        Chosen::Knn { k, temperature } => format!("k = {k}, temperature {temperature}"),
        Chosen::Finetune { learning_rate, epoch } => format!("learning rate {}, epoch {epoch}", short(learning_rate)),
    };
    let selection = &record.selection;
    if selection.candidates.len() < 2 {
        return format!("{what} (fixed)");
    }
    let score = record.validation_score();
    let validation = record.splits.get(&Split::Validation).map_or(0, |counts| counts.samples);
    if let Some(folds) = selection.folds {
        let samples = validation + record.splits.get(&Split::Train).map_or(0, |counts| counts.samples);
        return format!(
            "{what}, of {} by log loss in {folds}-fold cross-validation of {samples} samples ({} {})",
            selection.candidates.len(),
            selection.metric.title(),
            score.map_or_else(|| "undefined".into(), |score| format!("{score:.3}"))
        );
    }
    format!(
        "{what}, best of {} by {} on {validation} validation samples ({})",
        selection.candidates.len(),
        selection.metric.title(),
        score.map_or_else(|| "undefined".into(), |score| format!("{score:.3}"))
    )
}

/// Temperatures, thresholds and cut-points.
fn fitted(adjustment: &Calibration) -> String {
    let number = |value: &f64| format!("{value:.3}");
    let named = |name: &str, value: &f64| format!("`{name}` {value:.3}");
    let list = |parts: Vec<String>| match parts.get(..MAX_FITTED) {
        Some(first) if parts.len() > MAX_FITTED => {
            format!("{} and {} more", first.join(", "), parts.len() - MAX_FITTED)
        }
        _ => parts.join(", "),
    };
    let mut parts = Vec::new();
    let temperature = |fitted: &Temperature| match &fitted.label {
        Some(label) => named(label, &fitted.value),
        None => number(&fitted.value),
    };
    if !adjustment.temperatures.is_empty() {
        parts.push(format!("temperature {}", list(adjustment.temperatures.iter().map(temperature).collect())));
    }
    if let Some(rule) = adjustment.rule {
        let thresholds = adjustment.thresholds.iter().map(|chosen| named(&chosen.name, &chosen.value));
        parts.push(format!("threshold {} {}", rule.in_words(), list(thresholds.collect())));
    }
    if let Some(points) = adjustment.cut_points.as_ref().filter(|points| points.undefined.is_none()) {
        parts.push(format!("cut-points {}", list(points.values.iter().map(number).collect())));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

/// A number in as few digits as tell its place in a grid.
fn short(value: f64) -> String {
    if (1e-3..1e4).contains(&value) { format!("{value:.3}") } else { format!("{value:.2e}") }
}

fn metrics(record: &Record) -> String {
    let titles = record.metrics.keys().map(|metric| metric.title().chars().count());
    let width = titles.max().unwrap_or_default().max(12);
    let level = format!("{:.0} % interval", 100.0 * record.settings.level);
    let repeats = record.repeats.len();
    let mut text = format!("{:width$}   value  {level:15}", "test split");
    let without = record.adjustment.as_ref().map(|adjustment| &adjustment.without);
    if without.is_some() {
        text.push_str("  without");
    }
    if !record.summary.is_empty() {
        let _ = write!(text, "  mean and deviation over {repeats} repeats");
    }
    for (metric, estimate) in &record.metrics {
        let _ = write!(text, "\n{:width$}  {}", metric.title(), figures(estimate));
        if let Some(without) = without {
            let value = without.get(metric).and_then(|estimate| estimate.value);
            let _ = write!(text, "  {:>7}", value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")));
        }
        if let Some(summary) = record.summary.get(metric) {
            let deviation = summary.standard_deviation.map_or(String::new(), |value| format!(" +- {value:.3}"));
            let _ = write!(text, "  {:.3}{deviation}", summary.mean);
        }
    }
    text
}

fn figures(estimate: &Estimate) -> String {
    let Some(value) = estimate.value else {
        return format!("undefined: {}", estimate.undefined.as_deref().unwrap_or("no reason given"));
    };
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{value:6.3}  {low:.3} .. {high:.3} "),
        _ => format!("{value:6.3}  {:15}", "none"),
    }
}

fn matrix(confusion: &[Vec<u64>], classes: &[String]) -> String {
    let short: Vec<String> = classes.iter().map(|name| name.chars().take(NAME).collect()).collect();
    let widest = short.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let largest = confusion.iter().flatten().max().copied().unwrap_or_default();
    let cell = widest.max(largest.to_string().len());
    let mut text = format!("{:widest$}", "");
    for name in &short {
        let _ = write!(text, "  {name:>cell$}");
    }
    text.push_str("   <- predicted");
    for (name, row) in short.iter().zip(confusion) {
        let _ = write!(text, "\n{name:widest$}");
        for count in row {
            let _ = write!(text, "  {count:>cell$}");
        }
    }
    text
}
