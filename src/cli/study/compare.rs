//! `defrost study compare`: published numbers beside those of a study.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::text_table::columns;
use crate::cli::{Outcome, Printer};
use crate::error::{Result, StudyError};
use crate::study::StudyResults;
use crate::study::summary::{Published, SideBySide, StudySummary, Unmatched};

/// Set published numbers beside those of a study, with their difference in standard deviations.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost study compare studies/paper\n  \
    defrost study compare studies/paper --published other.csv --json\n\n\
    The table has the columns table, setting, head, model, dataset, metric, mean, std. Settings are frozen, unfrozen, \
    either with the size of the images (unfrozen_1024), linear_probe and knn; heads are linear and deit_b. Names are \
    compared by their letters and digits; those that the study does not have are told.\n\
    The difference in standard deviations is own minus published, over the root of the sum of both variances.")]
pub(crate) struct Arguments {
    /// The folder of the study.
    #[arg(value_name = "DIR")]
    study: PathBuf,
    /// The published numbers; those of the study's paper (WACV 2024) unless given.
    #[arg(long, value_name = "FILE")]
    published: Option<PathBuf>,
}

#[derive(Serialize)]
struct Compared {
    source: String,
    rows: Vec<SideBySide>,
    unmatched: Vec<Unmatched>,
}

impl Arguments {
    /// Reads both and prints.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let results = StudyResults::read(&self.study)?;
        let published = match &self.published {
            Some(path) => Published::read(path)?,
            None => Published::wacv_2024()?,
        };
        let summary = StudySummary::without_predictions(&results);
        let (rows, unmatched) = published.compare(&summary);
        for Unmatched { kind, name, rows } in &unmatched {
            printer.say(&format!("the study has no {kind} `{name}` ({rows} published)"));
        }
        if rows.is_empty() {
            return Err(StudyError::NothingPublished { path: self.study.clone(), published: published.source }.into());
        }
        let compared = Compared { source: published.source, rows, unmatched };
        printer.result(&compared, describe)?;
        Ok(Outcome::Done)
    }
}

fn describe(compared: &Compared) -> String {
    let head = ["table", "setting", "head", "model", "dataset", "metric", "published", "own", "difference", "in sd"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let spread = |mean: f64, deviation: Option<f64>| match deviation {
        Some(deviation) => format!("{mean:.3} ± {deviation:.3}"),
        None => format!("{mean:.3}"),
    };
    for row in &compared.rows {
        let published = &row.published;
        let own = row.own_mean.map_or_else(|| row.missing.join("; "), |mean| spread(mean, row.own_std));
        lines.push(vec![
            published.table.clone(),
            published.setting.clone(),
            published.head.clone(),
            row.backbone.clone(),
            published.dataset.clone(),
            published.metric.clone(),
            spread(published.mean, published.std),
            own,
            row.difference.map_or_else(|| "-".to_owned(), |difference| format!("{difference:+.3}")),
            row.deviations.map_or_else(|| "-".to_owned(), |deviations| format!("{deviations:+.1}")),
        ]);
    }
    format!("published: {}\n\n{}", compared.source, columns(&lines))
}
