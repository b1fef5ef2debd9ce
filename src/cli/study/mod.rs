//! `defrost study`: tables, figures and a page of a study, and published numbers beside its own.

mod compare;
mod report;

use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// Read the results of a study; no verb computes one yet.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Report(report::Arguments),
    Compare(compare::Arguments),
}

impl Arguments {
    /// Runs the verb below `study`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Report(arguments) => arguments.run(printer),
            Verb::Compare(arguments) => arguments.run(printer),
        }
    }
}
