//! `defrost doctor`: what this machine offers, and what to do about each problem.

use serde::Serialize;

use crate::cli::Outcome;
use crate::cli::Printer;
use crate::error::Result;
use crate::support::env;

/// Show what was found on this machine: CPU, cache directory.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost doctor\n  defrost doctor --json")]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Findings {
    cores: usize,
    cache_directory: Option<String>,
}

impl Arguments {
    /// Looks around and prints the findings.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let findings = Findings {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cache_directory: env::cache_directory().map(|path| path.display().to_string()),
        };
        printer.result(&findings, |found| {
            format!(
                "cores            {}\ncache directory  {}",
                found.cores,
                found.cache_directory.as_deref().unwrap_or("none")
            )
        });
        Ok(if findings.cache_directory.is_some() { Outcome::Done } else { Outcome::Incomplete })
    }
}
