//! Probe records of several columns to curves along the layers.

use std::path::PathBuf;

use crate::embed::Features;
use crate::probe;
use crate::report::record::{LayerCurve, LayerPoint};

/// One curve per kind of probe, of the records that share its metric with the first; none where
/// fewer than two columns were probed.
pub(super) fn curves(features: &Features, records: &[(PathBuf, probe::Record)]) -> Vec<LayerCurve> {
    let columns: Vec<(&str, usize)> = match &features.manifest {
        Some(manifest) => manifest.layers().map(|column| (column.name.as_str(), column.dimension)).collect(),
        None => Vec::new(),
    };
    let mut curves = Vec::new();
    for (name, title) in [("linear", "Linear"), ("knn", "k-NN")] {
        let of_kind = || records.iter().map(|(_, record)| record).filter(|record| record.chosen.name() == name);
        let Some(metric) = of_kind().next().map(|record| record.selection.metric) else { continue };
        let point = |(place, &(column, dimension)): (usize, &(&str, usize))| {
            let record =
                of_kind().find(|record| record.source.column == column && record.selection.metric == metric)?;
            let estimate = record.metrics.get(&metric)?.clone();
            let validation = record.validation_score();
            Some(LayerPoint { column: column.to_owned(), place, dimension, validation, estimate })
        };
        let points: Vec<LayerPoint> = columns.iter().enumerate().filter_map(point).collect();
        if points.len() > 1 {
            curves.push(LayerCurve { title: title.into(), metric: metric.title().into(), points });
        }
    }
    curves
}
