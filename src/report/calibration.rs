//! What was fitted on validation predictions behind a probe, as tables: test figures without and
//! with it, temperatures, thresholds, cut-points.

use serde::Serialize;

use crate::metrics::{Estimate, Metric, ThresholdRule};
use crate::records::Calibration;
use crate::report::record::ProbeResult;
use crate::support::numbers::thousands;

/// Labels whose temperature or threshold is listed.
const MAX_LABELS: usize = 40;

/// What the template shows of one probe.
#[derive(Serialize)]
pub(super) struct AdjustmentView {
    samples: String,
    figures: Vec<FigureRow>,
    /// One temperature for all classes.
    temperature: Option<String>,
    /// Name, temperature, threshold, samples with the label, sensitivity, specificity, F1.
    labels: Vec<[String; 7]>,
    left_out: usize,
    has_temperatures: bool,
    has_thresholds: bool,
    /// Whether something could not be fitted.
    starred: bool,
    rule: Option<String>,
    /// Grades on either side of each cut, and where it is.
    cuts: Vec<Cut>,
}

/// A test figure without and with what was fitted.
#[derive(Serialize)]
struct FigureRow {
    title: &'static str,
    without: [String; 2],
    with: [String; 2],
    /// Whether it got better.
    better: bool,
}

#[derive(Serialize)]
struct Cut {
    lower: String,
    upper: String,
    at: String,
}

impl AdjustmentView {
    pub(super) fn new(probe: &ProbeResult, classes: &[String]) -> Option<Self> {
        let adjustment = probe.adjustment.as_ref()?;
        let by_label = adjustment.temperatures.iter().any(|fitted| fitted.label.is_some());
        let shared = adjustment.temperatures.first().filter(|_| !by_label);
        let labels = labels(adjustment, by_label);
        let left_out = labels.len().saturating_sub(MAX_LABELS);
        Some(AdjustmentView {
            samples: thousands(adjustment.samples),
            figures: figures(adjustment, probe),
            temperature: shared.map(|fitted| number(fitted.value)),
            left_out,
            labels: labels.into_iter().take(MAX_LABELS).collect(),
            has_temperatures: by_label,
            has_thresholds: !adjustment.thresholds.is_empty(),
            starred: !adjustment.gaps().is_empty(),
            rule: adjustment.rule.map(ThresholdRule::in_words),
            cuts: cuts(adjustment, classes),
        })
    }
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}

/// The figures that what was fitted is about.
fn figures(adjustment: &Calibration, probe: &ProbeResult) -> Vec<FigureRow> {
    let mut metrics = Vec::new();
    if !adjustment.temperatures.is_empty() {
        metrics.extend([Metric::Ece, Metric::LogLoss, Metric::Brier]);
    }
    if !adjustment.thresholds.is_empty() {
        metrics.extend([Metric::Sensitivity, Metric::Specificity, Metric::MacroRecall, Metric::MacroF1]);
        metrics.extend([Metric::Accuracy, Metric::SubsetAccuracy]);
    }
    if adjustment.cut_points.is_some() {
        metrics.extend([Metric::QuadraticKappa, Metric::Accuracy, Metric::BalancedAccuracy]);
    }
    let row = |metric: Metric| {
        let (without, with) = (adjustment.without.get(&metric)?, probe.metrics.get(&metric)?);
        let gain = with.value.zip(without.value).map_or(0.0, |(with, without)| with - without);
        let gain = if metric.larger_is_better() { gain } else { -gain };
        // What looks equal is no better.
        let better = gain > 0.0 && cell(with)[0] != cell(without)[0];
        Some(FigureRow { title: metric.title(), without: cell(without), with: cell(with), better })
    };
    metrics.into_iter().filter_map(row).collect()
}

fn cell(estimate: &Estimate) -> [String; 2] {
    let value = estimate.value.map_or_else(|| "–".to_owned(), number);
    let interval = estimate.low.zip(estimate.high).map(|(low, high)| format!("{low:.3} to {high:.3}"));
    [value, interval.unwrap_or_default()]
}

fn labels(adjustment: &Calibration, by_label: bool) -> Vec<[String; 7]> {
    let figure = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    let temperature = |at: usize| {
        let fitted = adjustment.temperatures.get(at).filter(|_| by_label);
        fitted.map_or_else(String::new, |fitted| marked(fitted.value, fitted.undefined.as_ref()))
    };
    if adjustment.thresholds.is_empty() {
        let names = adjustment.temperatures.iter().filter_map(|fitted| fitted.label.clone()).enumerate();
        let row = |(at, name): (usize, String)| {
            let mut row: [String; 7] = Default::default();
            (row[0], row[1]) = (name, temperature(at));
            row
        };
        return names.map(row).collect();
    }
    let row = |(at, chosen): (usize, &crate::metrics::ClassThreshold)| {
        [
            chosen.name.clone(),
            temperature(at),
            marked(chosen.value, chosen.undefined.as_ref()),
            thousands(chosen.positives),
            figure(chosen.sensitivity),
            figure(chosen.specificity),
            figure(chosen.f1),
        ]
    };
    adjustment.thresholds.iter().enumerate().map(row).collect()
}

/// The number; where it could not be fitted, with a mark (the reason is among the warnings).
fn marked(value: f64, undefined: Option<&String>) -> String {
    let mark = if undefined.is_some() { "*" } else { "" };
    format!("{value:.3}{mark}")
}

fn cuts(adjustment: &Calibration, classes: &[String]) -> Vec<Cut> {
    let points = adjustment.cut_points.iter().flat_map(|points| points.values.iter());
    let pairs = points.zip(classes.windows(2));
    pairs.map(|(&at, pair)| Cut { lower: pair[0].clone(), upper: pair[1].clone(), at: number(at) }).collect()
}
