//! The curve along the layers: a metric with its interval for every column that was probed, as
//! chart and as table.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::record::{LayerCurve, LayerPoint};
use crate::report::scale::Axis;
use crate::report::svg::{At, Svg};
use crate::support::numbers::thousands;

/// What the template sees.
#[derive(Serialize)]
pub(super) struct LayersView {
    metric: String,
    series: Vec<Series>,
    chart: String,
    rows: Vec<LayerRow>,
}

#[derive(Serialize)]
struct Series {
    title: String,
    number: usize,
}

#[derive(Serialize)]
struct LayerRow {
    column: String,
    values: String,
    cells: Vec<LayerCell>,
}

#[derive(Serialize)]
struct LayerCell {
    validation: String,
    value: String,
    interval: String,
}

impl LayersView {
    /// The curves that share the first one's metric; `None` without any.
    pub(super) fn new(curves: &[LayerCurve]) -> Option<Self> {
        let metric = curves.first()?.metric.clone();
        let shown: Vec<&LayerCurve> = curves.iter().filter(|curve| curve.metric == metric).collect();
        let mut columns: BTreeMap<usize, (&str, usize)> = BTreeMap::new();
        for point in shown.iter().flat_map(|curve| &curve.points) {
            columns.insert(point.place, (&point.column, point.dimension));
        }
        let cell = |curve: &LayerCurve, place: usize| {
            let point = curve.points.iter().find(|point| point.place == place);
            point.map_or_else(
                || LayerCell::of(None, None, None),
                |point| {
                    let interval = point.estimate.low.zip(point.estimate.high);
                    LayerCell::of(point.validation, point.estimate.value, interval)
                },
            )
        };
        let rows = columns.iter().map(|(&place, &(column, dimension))| LayerRow {
            column: column.to_owned(),
            values: thousands(dimension),
            cells: shown.iter().map(|curve| cell(curve, place)).collect(),
        });
        let series = |(number, curve): (usize, &&LayerCurve)| Series { title: curve.title.clone(), number };
        Some(LayersView {
            rows: rows.collect(),
            series: shown.iter().enumerate().map(series).collect(),
            chart: chart(&shown, &columns, &metric),
            metric,
        })
    }
}

impl LayerCell {
    fn of(validation: Option<f64>, value: Option<f64>, interval: Option<(f64, f64)>) -> Self {
        let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
        let interval = interval.map(|(low, high)| format!("{low:.3} to {high:.3}")).unwrap_or_default();
        LayerCell { validation: text(validation), value: text(value), interval }
    }
}

/// A line per probe from layer to layer, with the interval of every point.
fn chart(curves: &[&LayerCurve], columns: &BTreeMap<usize, (&str, usize)>, metric: &str) -> String {
    let position: BTreeMap<usize, usize> = columns.keys().enumerate().map(|(at, &place)| (place, at)).collect();
    let names: Vec<String> = columns.values().map(|(column, _)| tick(column)).collect();
    let ends = curves
        .iter()
        .flat_map(|curve| &curve.points)
        .flat_map(|point| [point.estimate.value, point.estimate.low, point.estimate.high].into_iter().flatten());
    let (x, y) = (Axis::places(&names), Axis::linear(ends));
    let mut svg = Svg::new("plot", &format!("{metric} along the layers"));
    svg.frame(&x, &y, ["Layer", metric]);
    for (series, curve) in curves.iter().enumerate() {
        // Intervals of several probes stand side by side.
        let shift = 0.16 * (series as f64 - (curves.len() as f64 - 1.0) / 2.0);
        let at = |point: &LayerPoint, value: f64| {
            let place = position.get(&point.place).copied().unwrap_or_default() as f64;
            At { x: x.percent(place + shift), y: 100.0 - y.percent(value) }
        };
        let known: Vec<(&LayerPoint, f64)> =
            curve.points.iter().filter_map(|point| Some((point, point.estimate.value?))).collect();
        for pair in known.windows(2) {
            svg.line(&format!("curve s{series}"), at(pair[0].0, pair[0].1), at(pair[1].0, pair[1].1));
        }
        for (point, value) in known {
            if let (Some(low), Some(high)) = (point.estimate.low, point.estimate.high) {
                svg.line(&format!("interval s{series}"), at(point, low), at(point, high));
            }
            let title = format!("{} on {}: {value:.4}", curve.title, point.column);
            svg.circle(&format!("value s{series}"), at(point, value), 3.5, &title);
        }
    }
    svg.finish()
}

/// A column under its place: blocks by their number.
fn tick(column: &str) -> String {
    match column.strip_prefix("block_").and_then(|number| number.parse::<usize>().ok()) {
        Some(number) => number.to_string(),
        None => column.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Estimate;

    fn point(column: &str, place: usize, value: Option<f64>) -> LayerPoint {
        let low = value.map(|value| value - 0.1);
        let estimate = Estimate { value, low, high: value.map(|value| value + 0.1), ..Estimate::default() };
        LayerPoint { column: column.into(), place, dimension: 384, validation: value, estimate }
    }

    #[test]
    fn every_probed_layer_has_a_row_and_blocks_are_numbered() {
        let linear = LayerCurve {
            title: "Linear".into(),
            metric: "Accuracy".into(),
            points: vec![point("block_03", 3, Some(0.5)), point("embedding", 12, Some(0.7))],
        };
        let knn = LayerCurve { title: "k-NN".into(), points: vec![point("block_11", 11, None)], ..linear.clone() };
        let view = LayersView::new(&[linear, knn]).unwrap();
        let rows: Vec<(&str, &str, &str)> = view
            .rows
            .iter()
            .map(|row| (row.column.as_str(), row.cells[0].value.as_str(), row.cells[1].value.as_str()))
            .collect();
        assert_eq!(rows, [("block_03", "0.500", "–"), ("block_11", "–", "–"), ("embedding", "0.700", "–")]);
        assert!(view.chart.contains(">11<") && view.chart.contains(">embedding<"), "{}", view.chart);
        assert_eq!(view.chart.matches("interval s0").count(), 2);
        assert!(LayersView::new(&[]).is_none());
    }
}
