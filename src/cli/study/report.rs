//! `defrost study report`: the page, tables and figures of a study.

use std::path::PathBuf;

use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::report::{StudyReport, write_study};
use crate::study::StudyResults;
use crate::support::numbers::counted;

/// Write the report of a study: one HTML file that needs nothing else, the tables as Markdown, CSV
/// and LaTeX, the figures as SVG and PNG.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost study report studies/quick\n  defrost study report studies/paper --out \
    report\n\nWhat is not computed yet is said to be missing.")]
pub(crate) struct Arguments {
    /// The folder of the study.
    #[arg(value_name = "DIR")]
    study: PathBuf,
    /// The folder to write `report.html`, `tables/` and `figures/` into; that of the study unless
    /// given.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Arguments {
    /// Reads, renders and writes.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let results = StudyResults::read(&self.study)?;
        let report = write_study(&results, self.out.as_ref().unwrap_or(&self.study))?;
        for absent in &report.absent {
            printer.say(&format!("not drawn: {absent}"));
        }
        if report.without_png {
            printer.say("note: no PNG files: this system has none of the fonts that their text is written in, such as DejaVu Sans");
        }
        let open = report.cells - report.done - report.failed;
        if report.failed + open > 0 {
            printer.say(&format!(
                "{} of {} are computed, {} failed, {open} are missing",
                report.done,
                counted(report.cells, "cell"),
                report.failed
            ));
        }
        printer.result(&report, describe)?;
        Ok(Outcome::Done)
    }
}

fn describe(report: &StudyReport) -> String {
    let files = report.tables.iter().chain(&report.figures);
    let lines = std::iter::once(&report.page).chain(files).map(|path| path.display().to_string());
    lines.collect::<Vec<_>>().join("\n")
}
