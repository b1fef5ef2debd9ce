//! Tables of a report: metrics side by side, confusion matrices, scores per class.

use serde::Serialize;

use crate::metrics::{ClassScores, Difference, Estimate, Metric};
use crate::report::charts;
use crate::report::record::Record;
use crate::report::scale::Axis;
use crate::support::numbers::thousands;

/// Classes up to which each cell of a confusion matrix states its numbers.
const MAX_NUMBERED: usize = 12;
/// Classes up to which a confusion matrix is drawn; beyond, the most frequent confusions are
/// listed.
const MAX_DRAWN: usize = 40;
const MAX_LISTED: usize = 15;

/// Metrics that share an axis.
#[derive(Serialize)]
pub(super) struct MetricGroup {
    title: &'static str,
    rows: Vec<MetricRow>,
    axis: Option<String>,
}

/// One metric of all probes.
#[derive(Serialize)]
pub(super) struct MetricRow {
    title: &'static str,
    cells: Vec<MetricCell>,
    chart: String,
    difference: Option<MetricCell>,
}

/// A figure, its interval, and where there is none the reason.
#[derive(Default, Serialize)]
pub(super) struct MetricCell {
    value: String,
    interval: String,
    repeats: Option<String>,
    undefined: Option<String>,
}

/// The metrics that are better when large, and those that are better when small.
pub(super) fn metric_groups(record: &Record, compared: bool) -> Vec<MetricGroup> {
    let mut metrics: Vec<Metric> = record.probes.iter().flat_map(|probe| probe.metrics.keys().copied()).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let group = |title: &'static str, larger: bool| {
        let members: Vec<Metric> =
            metrics.iter().copied().filter(|metric| metric.larger_is_better() == larger).collect();
        let estimates =
            || record.probes.iter().flat_map(|probe| members.iter().filter_map(|metric| probe.metrics.get(metric)));
        let ends = estimates().flat_map(|estimate| [estimate.value, estimate.low, estimate.high]).flatten();
        // Losses start at 0, so that their size can be seen.
        let axis = Axis::linear(ends.chain((!larger).then_some(0.0)));
        let drawn = estimates().any(|estimate| estimate.value.is_some());
        MetricGroup {
            title,
            rows: members.iter().map(|metric| metric_row(record, *metric, &axis, compared)).collect(),
            axis: drawn.then(|| charts::interval_axis(&axis)),
        }
    };
    let groups = [group("Larger is better", true), group("Smaller is better", false)];
    groups.into_iter().filter(|group| !group.rows.is_empty()).collect()
}

fn metric_row(record: &Record, metric: Metric, axis: &Axis, compared: bool) -> MetricRow {
    let estimates: Vec<Option<&Estimate>> = record.probes.iter().map(|probe| probe.metrics.get(&metric)).collect();
    let cells = record.probes.iter().map(|probe| {
        let mut cell = probe.metrics.get(&metric).map(estimate_cell).unwrap_or_default();
        cell.repeats = probe.repeats.get(&metric).map(|spread| match spread.standard_deviation {
            Some(deviation) => format!("{:.3} ± {deviation:.3}", spread.mean),
            None => format!("{:.3}", spread.mean),
        });
        cell
    });
    MetricRow {
        title: metric.title(),
        cells: cells.collect(),
        chart: charts::intervals(axis, &estimates, metric.title()),
        difference: if compared { record.difference.get(&metric).map(difference_cell) } else { None },
    }
}

fn estimate_cell(estimate: &Estimate) -> MetricCell {
    match estimate.value {
        Some(value) => MetricCell {
            value: format!("{value:.3}"),
            interval: interval(estimate.low, estimate.high, false),
            ..Default::default()
        },
        None => MetricCell {
            value: "undefined".into(),
            undefined: Some(estimate.undefined.clone().unwrap_or_default()),
            ..Default::default()
        },
    }
}

fn difference_cell(difference: &Difference) -> MetricCell {
    let value = difference.value.map_or_else(|| "–".into(), signed);
    MetricCell { value, interval: interval(difference.low, difference.high, true), ..Default::default() }
}

fn interval(low: Option<f64>, high: Option<f64>, sign: bool) -> String {
    match (low, high) {
        (Some(low), Some(high)) if sign => format!("{} to {}", signed(low), signed(high)),
        (Some(low), Some(high)) => format!("{low:.3} to {high:.3}"),
        _ => String::new(),
    }
}

/// With a real minus sign.
pub(super) fn signed(value: f64) -> String {
    let text = format!("{:.3}", value.abs());
    match (text == "0.000", value > 0.0) {
        (true, _) => text,
        (false, true) => format!("+{text}"),
        (false, false) => format!("−{text}"),
    }
}

/// A confusion matrix with shares of the true class.
#[derive(Serialize)]
pub(super) struct ConfusionTable {
    names: Vec<String>,
    /// Empty for very many classes.
    rows: Vec<ConfusionRow>,
    /// Whether cells state their numbers.
    numbered: bool,
    /// The most frequent confusions, for very many classes.
    listed: Vec<Confused>,
}

#[derive(Serialize)]
struct ConfusionRow {
    name: String,
    total: String,
    cells: Vec<ConfusionCell>,
}

#[derive(Serialize)]
struct ConfusionCell {
    count: u64,
    percent: String,
    /// Share of the row in percent.
    share: f64,
    right: bool,
}

#[derive(Serialize)]
struct Confused {
    truth: String,
    predicted: String,
    count: u64,
}

impl ConfusionTable {
    pub(super) fn new(counts: &[Vec<u64>], classes: &[String]) -> Self {
        let name = |class: usize| classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        let row = |(truth, row): (usize, &Vec<u64>)| {
            let total: u64 = row.iter().sum();
            let cell = |(predicted, &count): (usize, &u64)| {
                let share = if total > 0 { 100.0 * count as f64 / total as f64 } else { 0.0 };
                ConfusionCell { count, percent: format!("{share:.0} %"), share, right: truth == predicted }
            };
            ConfusionRow {
                name: name(truth),
                total: thousands(total as usize),
                cells: row.iter().enumerate().map(cell).collect(),
            }
        };
        let drawn = counts.len() <= MAX_DRAWN;
        let mut listed: Vec<Confused> = Vec::new();
        if !drawn {
            let mut wrong: Vec<(u64, usize, usize)> = counts
                .iter()
                .enumerate()
                .flat_map(|(truth, row)| {
                    row.iter().enumerate().map(move |(predicted, &count)| (count, truth, predicted))
                })
                .filter(|(count, truth, predicted)| *count > 0 && truth != predicted)
                .collect();
            wrong.sort_by_key(|&(count, truth, predicted)| (std::cmp::Reverse(count), truth, predicted));
            let describe =
                |(count, truth, predicted)| Confused { truth: name(truth), predicted: name(predicted), count };
            listed = wrong.into_iter().take(MAX_LISTED).map(describe).collect();
        }
        ConfusionTable {
            names: (0..counts.len()).map(name).collect(),
            rows: if drawn { counts.iter().enumerate().map(row).collect() } else { Vec::new() },
            numbered: counts.len() <= MAX_NUMBERED,
            listed,
        }
    }
}

/// Scores of one class as text.
#[derive(Serialize)]
pub(super) struct ClassRow {
    name: String,
    support: String,
    figures: [String; 6],
}

/// Recall, specificity, precision, F1, ROC-AUC and average precision of each class; a dash where
/// undefined.
pub(super) fn class_rows(classes: &[ClassScores]) -> Vec<ClassRow> {
    let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    let row = |class: &ClassScores| ClassRow {
        name: class.name.clone(),
        support: thousands(class.support),
        figures: [class.recall, class.specificity, class.precision, class.f1, class.roc_auc, class.average_precision]
            .map(text),
    };
    classes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_carry_their_sign_and_zero_none() {
        assert_eq!([0.01, -0.01, -0.0001].map(signed), ["+0.010", "−0.010", "0.000"]);
    }

    #[test]
    fn very_many_classes_are_listed_by_confusion() {
        let mut counts = vec![vec![0; 50]; 50];
        counts[3][4] = 7;
        counts[9][9] = 100;
        let table = ConfusionTable::new(&counts, &[]);
        assert!(table.rows.is_empty());
        assert_eq!((table.listed.len(), table.listed[0].count, table.listed[0].truth.as_str()), (1, 7, "3"));
    }
}
