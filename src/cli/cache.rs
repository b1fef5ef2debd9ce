//! `defrost cache`: show what a cache holds, check that it is whole.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::embed::{Manifest, Unfinished, unfinished, verify};
use crate::error::{CacheError, Result};
use crate::support::numbers::counted;

/// Show or check an embedding cache.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Show(Show),
    Verify(Verify),
}

impl Arguments {
    /// Runs the verb below `cache`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Show(arguments) => arguments.run(printer),
            Verb::Verify(arguments) => arguments.run(printer),
        }
    }
}

/// Show what a cache holds and what produced it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost cache show cache/photos\n  defrost cache show cache/photos --json")]
struct Show {
    /// Directory of the cache.
    cache: PathBuf,
}

impl Show {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let left = unfinished(&self.cache)?;
        let Some(manifest) = Manifest::read(&self.cache)? else {
            let left = left.ok_or_else(|| CacheError::NotACache {
                path: self.cache.clone(),
                problem: "it has no `cache.json`".into(),
            })?;
            printer.result(&left, kept)?;
            return Ok(Outcome::Incomplete);
        };
        printer.result(&manifest, describe)?;
        if let Some(left) = left {
            printer.say(&kept(&left));
        }
        Ok(Outcome::Done)
    }
}

fn kept(left: &Unfinished) -> String {
    format!(
        "an interrupted run with {} has left {} and {}: the same `defrost embed` command goes on from there",
        left.model,
        counted(left.rows, "row"),
        counted(left.failed, "failed file"),
    )
}

fn describe(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.parts.iter().map(|part| part.bytes).sum();
    let columns: Vec<String> = manifest.columns.iter().map(ToString::to_string).collect();
    let producers: Vec<String> = manifest
        .producers
        .iter()
        .map(|one| format!("defrost {}, ONNX Runtime {}, {}", one.defrost, one.runtime, one.device))
        .collect();
    let lines = [
        ("rows", manifest.rows.to_string()),
        ("failed", manifest.quarantine.rows.to_string()),
        ("model", format!("{} (weights {})", manifest.model.name, &manifest.model.weights)),
        ("columns", format!("{} {}", columns.join(", "), manifest.dtype.name())),
        ("dataset", manifest.dataset.root.clone()),
        ("classes", manifest.dataset.classes.join(", ")),
        ("parts", format!("{} ({:.1} MB)", manifest.parts.len(), bytes as f64 / 1e6)),
        ("produced by", producers.join("; ")),
    ];
    lines.map(|(name, value)| format!("{name:<12} {value}")).join("\n")
}

/// Check every file of a cache against its digest and every row for what it must be.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost cache verify cache/photos\n\n\
    Exit code 1 tells that something is wrong; the same `defrost embed` command repairs it.")]
struct Verify {
    /// Directory of the cache.
    cache: PathBuf,
}

#[derive(Serialize)]
struct Verification {
    whole: bool,
    problems: Vec<String>,
}

impl Verify {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let problems = verify(&self.cache)?;
        let verification = Verification { whole: problems.is_empty(), problems };
        printer.result(&verification, |found| match found.whole {
            true => format!("{} is whole", self.cache.display()),
            false => found.problems.join("\n"),
        })?;
        Ok(if verification.whole { Outcome::Done } else { Outcome::Incomplete })
    }
}
