//! `defrost report`: an embedding cache with its probes, or a fine-tuning run, to one HTML file;
//! several of them to a leaderboard.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::embed::EmbedSummary;
use crate::error::{FileError, Result};
use crate::report;
use crate::report::{ReportOptions, write_classifiers};
use crate::support::fs;

/// Write a report about an embedding cache and its probes, or about a fine-tuning run: one HTML
/// file that needs nothing else.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  defrost report embeddings\n  defrost report embeddings --out textile.html --title \
    'Textile faults'\n  defrost report runs/lite0\n defrost report dinov2 deit runs/lite0 --out leaderboard.html\n\n\
    The report shows what is there: data and map of any cache, figures and mistakes of the probes that were run on it \
    (`defrost probe linear`, `defrost probe knn`). Of several caches and runs it says which to take and how sure that \
    is: the paired differences from the best on the test images that both predict."
)]
pub(crate) struct Arguments {
    /// The cache directory that `defrost embed` wrote, or the folder that `defrost finetune` wrote;
    /// of several, the page is the leaderboard of their probes and networks.
    #[arg(value_name = "CACHE", required = true)]
    caches: Vec<PathBuf>,
    /// The HTML file to write; `report.html` in that directory unless given, of several
    /// `leaderboard.html` in the working directory.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The headline; the name of the dataset's folder unless given.
    #[arg(long)]
    title: Option<String>,
    /// What `defrost embed --json` printed, for the speed of the run that computed the embeddings.
    #[arg(long, value_name = "FILE")]
    run: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written {
    report: PathBuf,
    bytes: usize,
    probes: usize,
}

impl Arguments {
    /// Gathers, renders and writes.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match self.caches.as_slice() {
            [cache] => self.of_one(cache, printer),
            several => self.of_several(several, printer),
        }
    }

    fn of_several(&self, places: &[PathBuf], printer: &Printer) -> Result<Outcome> {
        let out = self.out.clone().unwrap_or_else(|| "leaderboard.html".into());
        let title = self.title.as_deref().unwrap_or("Leaderboard");
        let written = write_classifiers(places, title, &out)?;
        for place in &written.without_probes {
            printer.say(&format!("no probe was run on `{}`: it is not on the leaderboard", place.display()));
        }
        if self.run.is_some() {
            printer.say("note: speeds are told of one cache alone; `--run` is not used");
        }
        printer.result(&written, |written| {
            let sentences = written.advice.iter().flatten().map(String::as_str).collect::<Vec<_>>().join("\n");
            format!("{}\n{sentences}", written.report.display())
        })?;
        Ok(Outcome::Done)
    }

    fn of_one(&self, cache: &Path, printer: &Printer) -> Result<Outcome> {
        let run = self.run.as_deref().map(read_run).transpose()?;
        let gathering = ReportOptions { title: self.title.clone(), out: self.out.clone(), run };
        let record = match report::is_run(cache) {
            true => report::gather_run(cache, &gathering)?,
            false => report::gather(cache, &gathering)?,
        };
        if record.probes.is_empty() {
            printer.say(
                "no probe was run on this cache; `defrost probe linear` and `defrost probe knn` add their figures",
            );
        }
        let page = report::render(&record)?;
        let path = self.out.clone().unwrap_or_else(|| cache.join("report.html"));
        fs::replace(&path, page.as_bytes())?;
        let written = Written { report: path, bytes: page.len(), probes: record.probes.len() };
        printer.result(&written, |written| format!("{}", written.report.display()))?;
        Ok(Outcome::Done)
    }
}

fn read_run(path: &Path) -> Result<EmbedSummary> {
    let text = fs::read_text(path)?;
    let parsed = serde_json::from_str(&text);
    Ok(parsed.map_err(|error| FileError::Parse {
        path: path.into(),
        format: "summary of `defrost embed`",
        source: error.into(),
    })?)
}
