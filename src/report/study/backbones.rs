//! Figures whose series are the backbones of a study, and the points of these.

use crate::report::sheet::{Figure, LegendEntry, Panel};
use crate::report::study::plot::Point;
use crate::study::Work;
use crate::study::index::{BackboneFacts, DatasetFacts};
use crate::study::summary::StudySummary;

/// A figure whose series are the backbones.
pub(super) fn figure(summary: &StudySummary<'_>, name: &str, title: &str) -> Figure {
    let entry = |(series, backbone): (usize, &BackboneFacts)| LegendEntry { text: backbone.name.clone(), series };
    Figure {
        name: name.to_owned(),
        title: title.to_owned(),
        caption: String::new(),
        panels: Vec::new(),
        columns: 3,
        legend: summary.results.backbones.iter().enumerate().map(entry).collect(),
    }
}

impl Figure {
    /// A figure with panels and what they show, or with what they would need.
    pub(super) fn showing(self, panels: Vec<Panel>, caption: &str, needs: &str) -> Figure {
        let caption = if panels.is_empty() { format!("It needs {needs}.") } else { caption.to_owned() };
        Figure { columns: self.columns.min(panels.len()).max(1), caption, panels, ..self }
    }
}

/// The mean of a backbone's cells of one work, as a point at `x`.
pub(super) fn point(
    summary: &StudySummary<'_>,
    dataset: &DatasetFacts,
    backbone: &BackboneFacts,
    work: &Work,
    x: f64,
) -> Option<Point> {
    let found = summary.score_of(work, dataset, &backbone.name).summary?;
    let title = format!("{}, {work} on {}: {:.3}", backbone.name, dataset.name, found.mean);
    Some(Point { x, y: found.mean, deviation: found.standard_deviation, title })
}
