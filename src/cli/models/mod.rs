//! `defrost models`: what there is, one model in detail, weights fetched, models built, imported
//! and checked. One file per verb.

mod build;
mod built;
mod check;
mod import;
mod list;
mod pull;
mod show;

use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// List the models known by name, show one, fetch its weights, build it into an ONNX file, import
/// one, or check it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Arguments),
    Show(show::Arguments),
    Pull(pull::Arguments),
    Build(Box<build::Arguments>),
    Import(import::Arguments),
    Check(Box<check::Arguments>),
}

impl Arguments {
    /// Runs the verb below `models`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::List(arguments) => arguments.run(printer),
            Verb::Show(arguments) => arguments.run(printer),
            Verb::Pull(arguments) => arguments.run(printer),
            Verb::Build(arguments) => arguments.run(printer),
            Verb::Import(arguments) => arguments.run(printer),
            Verb::Check(arguments) => arguments.run(printer),
        }
    }
}

/// Columns as wide as their widest cell, two spaces apart.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
