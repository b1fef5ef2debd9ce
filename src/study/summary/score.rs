//! The figure of one dataset, backbone and setting over the repeats.

use crate::metrics::Metric;
use crate::records;
use crate::study::{CellResult, CellState};

/// A metric over repeats, and what is missing of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Mean and standard deviation over the repeats that are computed; `None` without any.
    pub summary: Option<records::Summary>,
    /// Repeats that the study has.
    pub planned: usize,
    /// Why repeats are missing, each reason once.
    pub missing: Vec<String>,
}

impl Score {
    /// Of the cells of all seeds.
    pub fn new(cells: &[&CellResult], metric: Metric) -> Score {
        let mut values = Vec::new();
        let mut missing: Vec<String> = Vec::new();
        for cell in cells {
            let estimate = cell.record().and_then(|record| record.metrics.get(&metric));
            let reason = match (&cell.state, estimate.map(|estimate| (estimate.value, &estimate.undefined))) {
                (CellState::Done(_), Some((Some(value), _))) => {
                    values.push(value);
                    continue;
                }
                (CellState::Done(_), Some((None, Some(reason)))) => reason.clone(),
                (CellState::Done(_), _) => format!("it has no {metric}"),
                (CellState::Failed { reason }, _) => reason.clone(),
                (CellState::Open, _) => "not computed yet".to_owned(),
            };
            if !missing.contains(&reason) {
                missing.push(reason);
            }
        }
        Score { summary: records::Summary::of(&values), planned: cells.len(), missing }
    }

    /// The mean over repeats.
    pub fn mean(&self) -> Option<f64> {
        self.summary.map(|summary| summary.mean)
    }

    /// Whether every repeat is there.
    pub fn is_complete(&self) -> bool {
        self.planned > 0 && self.summary.is_some_and(|summary| summary.repeats == self.planned)
    }
}
