//! `defrost compare`: two classifiers on the same test samples.

use std::path::{Path, PathBuf};

use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::metrics::Bootstrap;
use crate::records::{Comparison, PredictionTable, Record, compare};

/// Compare two classifiers on the test samples that both predict: the paired difference of
/// every metric with its interval, DeLong's test of the areas under the ROC curves.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost compare cache/probes/linear.json cache/probes/knn.json\n  \
    defrost compare dinov2/probes/linear.json deit/probes/linear.json --json\n  \
    defrost compare cache/probes/linear.json run/record.json\n\n\
    Samples are paired by id; where they have groups (patients), whole groups are the units of intervals and tests. Splits drawn with the same seed \
    from the same data are the same.")]
pub(crate) struct Arguments {
    /// Record of a probe or run (.json), or its predictions (.parquet).
    #[arg(value_name = "FIRST")]
    first: PathBuf,
    /// The same of the other classifier; differences are this one minus the first.
    #[arg(value_name = "SECOND")]
    second: PathBuf,
    /// Resamples behind the intervals of losses; 0 gives no intervals.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
}

impl Arguments {
    /// Compares and prints.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let bootstrap = Bootstrap { resamples: self.bootstrap, ..Bootstrap::default() };
        let comparison = compare(&predictions(&self.first)?, &predictions(&self.second)?, &bootstrap)?;
        if comparison.only_first + comparison.only_second > 0 {
            printer.say(&format!(
                "note: {} samples are in the first only and {} in the second only; they are left out",
                comparison.only_first, comparison.only_second
            ));
        }
        for warning in &comparison.warnings {
            printer.say(&format!("warning: {warning}"));
        }
        printer.result(&comparison, |comparison| self.describe(comparison))?;
        Ok(Outcome::Done)
    }

    fn describe(&self, comparison: &Comparison) -> String {
        let how = if comparison.by_group { ", whole groups are the units" } else { "" };
        let mut text = format!(
            "first   {}\nsecond  {}\n{} samples{how}\n\n",
            self.first.display(),
            self.second.display(),
            comparison.samples
        );
        let figure = |value: Option<f64>| value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.3}"));
        let mut rows =
            vec![["metric", "first", "second", "difference", "95 % interval", "p"].map(str::to_owned).to_vec()];
        for (metric, difference) in &comparison.differences {
            let of = |side: &std::collections::BTreeMap<_, crate::metrics::Estimate>| {
                figure(side.get(metric).and_then(|estimate| estimate.value))
            };
            let interval = match (difference.low, difference.high) {
                (Some(low), Some(high)) => format!("{low:+.3} .. {high:+.3}"),
                _ => "-".to_owned(),
            };
            rows.push(vec![
                metric.title().to_owned(),
                of(&comparison.first),
                of(&comparison.second),
                difference.value.map_or_else(|| "-".to_owned(), |value| format!("{value:+.3}")),
                interval,
                difference.p.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}")),
            ]);
        }
        text.push_str(&columns(&rows));
        if !comparison.delong.is_empty() {
            let mut rows = vec![
                ["DeLong, ROC-AUC", "first", "second", "difference", "95 % interval", "p"].map(str::to_owned).to_vec(),
            ];
            for (class, test) in &comparison.delong {
                rows.push(vec![
                    class.clone(),
                    format!("{:.3}", test.first),
                    format!("{:.3}", test.second),
                    format!("{:+.3}", test.difference),
                    format!("{:+.3} .. {:+.3}", test.low, test.high),
                    format!("{:.3}", test.p),
                ]);
            }
            text.push_str(&format!("\n\n{}", columns(&rows)));
        }
        text
    }
}

/// The predictions of a record, or those in a table.
pub(super) fn predictions(path: &Path) -> Result<PredictionTable> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return PredictionTable::read(path);
    }
    let record = Record::read(path)?;
    let file = record.predictions.unwrap_or_else(|| "predictions.parquet".to_owned());
    PredictionTable::read(&path.parent().unwrap_or(Path::new("")).join(file))
}
