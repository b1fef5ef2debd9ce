//! `defrost evaluate`: the figures of stored predictions, in all or for each part of the test
//! samples.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::compare::predictions;
use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::data;
use crate::error::{ProbeError, Result};
use crate::metrics::{Bootstrap, Decision, Metric};
use crate::records::{PredictionTable, Subgroup, by_subgroup};
use crate::support::numbers::counted;

/// Evaluate stored predictions, for each value of a column of the dataset's table: by sex, site,
/// device.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost evaluate cache/probes/linear.json\n  \
    defrost evaluate cache/probes/linear.json --table chexpert.parquet --by Sex\n  \
    defrost evaluate predictions.parquet --table patients.csv --id-column image --by scanner --json\n\n\
    The column stays in the table: neither caches nor reports carry it.")]
pub(crate) struct Arguments {
    /// Record of a probe or run (.json), or its predictions (.parquet).
    #[arg(value_name = "PREDICTIONS")]
    predictions: PathBuf,
    /// Table with a row per sample.
    #[arg(long, value_name = "TABLE", requires = "by")]
    table: Option<PathBuf>,
    /// Column of the table whose values divide the samples.
    #[arg(long, value_name = "COLUMN", requires = "table")]
    by: Option<String>,
    /// Column of the table with the samples' ids [default: `id`, otherwise `path`].
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Resamples behind the intervals of losses; 0 gives no intervals.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    bootstrap: usize,
}

#[derive(Serialize)]
struct Evaluated {
    by: Option<String>,
    samples: usize,
    /// Samples that the table does not name.
    not_in_table: usize,
    parts: Vec<Subgroup>,
}

impl Arguments {
    /// Evaluates and prints.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let table = predictions(&self.predictions)?;
        let bootstrap = Bootstrap { resamples: self.bootstrap, ..Bootstrap::default() };
        let (values, not_in_table) = self.values(&table)?;
        if not_in_table == table.ids.len() {
            let problem = "the table names none of the samples; name its column of ids with `--id-column`".to_owned();
            return Err(ProbeError::Incomparable { problem }.into());
        }
        let parts = by_subgroup(&table, &values, &bootstrap)?;
        let evaluated = Evaluated { by: self.by.clone(), samples: table.ids.len(), not_in_table, parts };
        if not_in_table > 0 {
            printer.say(&format!("note: the table does not name {not_in_table} of {} samples", table.ids.len()));
        }
        if let Some(decision) = &table.decision {
            printer.say(&format!("note: decided by {}, as chosen on validation data", in_words(decision)));
        }
        if evaluated.parts.iter().any(|part| part.evaluation.groups.is_some()) {
            printer.say("note: whole groups (patients, lesions) are the units of the intervals");
        }
        for part in &evaluated.parts {
            let of = if self.by.is_some() { format!(" ({})", part.name(self.by.as_deref())) } else { String::new() };
            for warning in &part.evaluation.warnings {
                printer.say(&format!("warning{of}: {warning}"));
            }
        }
        printer.result(&evaluated, describe)?;
        Ok(Outcome::Done)
    }

    /// The value of each sample, and how many samples the table does not name.
    fn values(&self, table: &PredictionTable) -> Result<(Vec<Option<String>>, usize)> {
        let (Some(path), Some(by)) = (&self.table, &self.by) else { return Ok((vec![None; table.ids.len()], 0)) };
        let known: HashMap<String, Option<String>> = data::column_by_id(path, self.id_column.as_deref(), by)?;
        let values: Vec<Option<Option<String>>> = table.ids.iter().map(|id| known.get(id).cloned()).collect();
        let missing = values.iter().filter(|value| value.is_none()).count();
        Ok((values.into_iter().map(Option::flatten).collect(), missing))
    }
}

/// Thresholds or cut-points.
fn in_words(decision: &Decision) -> String {
    let (what, values) = match decision {
        Decision::Thresholds(values) => ("threshold", values),
        Decision::CutPoints(values) => ("cut-point", values),
    };
    let plural = if values.len() == 1 { "" } else { "s" };
    let values: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
    format!("{what}{plural} {}", values.join(", "))
}

/// A line per metric, a column per part; then why metrics are undefined.
fn describe(evaluated: &Evaluated) -> String {
    let name = |part: &Subgroup| part.name(evaluated.by.as_deref());
    let mut rows = vec![vec!["metric".to_owned()]];
    rows[0].extend(evaluated.parts.iter().map(|part| match part.evaluation.groups {
        Some(groups) => format!("{} ({} in {})", name(part), part.evaluation.samples, counted(groups, "group")),
        None => format!("{} ({})", name(part), part.evaluation.samples),
    }));
    let metrics: std::collections::BTreeSet<Metric> =
        evaluated.parts.iter().flat_map(|part| part.evaluation.metrics.keys().copied()).collect();
    for metric in metrics {
        let cell = |part: &Subgroup| match part.evaluation.metrics.get(&metric) {
            Some(estimate) => match (estimate.value, estimate.low, estimate.high) {
                (Some(value), Some(low), Some(high)) => format!("{value:.3} ({low:.3} .. {high:.3})"),
                (Some(value), ..) => format!("{value:.3}"),
                _ => "undefined".to_owned(),
            },
            None => "-".to_owned(),
        };
        rows.push(std::iter::once(metric.title().to_owned()).chain(evaluated.parts.iter().map(cell)).collect());
    }
    let mut text = columns(&rows);
    for part in &evaluated.parts {
        for (metric, estimate) in &part.evaluation.metrics {
            if let Some(reason) = &estimate.undefined {
                text.push_str(&format!("\n{}, {}: undefined, {reason}", name(part), metric.title()));
            }
        }
    }
    text
}
