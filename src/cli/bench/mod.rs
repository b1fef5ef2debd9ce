//! `defrost bench`: how fast this machine computes, and how much memory it takes.

mod train;

use crate::cli::{Outcome, Printer};
use crate::error::Result;

/// Measure speed and memory on made-up data.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Train(train::Arguments),
}

impl Arguments {
    /// Runs the verb below `bench`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Train(arguments) => arguments.run(printer),
        }
    }
}
