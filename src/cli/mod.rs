//! The command line: one file per verb; the only place that prints.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 finished, but some items
//! failed or a check did not hold; 2 bad flags or input; 3 environment (ONNX Runtime, device,
//! disk).

mod adjust_flags;
mod bench;
mod cache;
mod compare;
mod data;
mod dataset;
mod doctor;
mod embed;
mod evaluate;
mod export;
mod finetune;
mod graph;
mod model_flags;
mod models;
mod pixel_flags;
mod predict;
mod printer;
mod probe;
mod quickstart;
mod report;
mod runtime;
mod text_table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::error::{Kind, Result};
use crate::runtime::Runtime;
use crate::support::env;

pub use printer::Printer;

/// How a verb ended that did not fail as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done: exit code 0.
    Done,
    /// Some items failed or a check did not hold: exit code 1.
    Incomplete,
}

/// Freeze, probe, thaw: embeddings, probes and fine-tuning of vision foundation models on ONNX
/// Runtime.
#[derive(Debug, Parser)]
#[command(name = "defrost", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// Show no progress and no notes.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// The ONNX Runtime library to use, instead of the one `defrost runtime show` shows.
    #[arg(long, global = true, value_name = "FILE")]
    runtime_library: Option<PathBuf>,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 finished, but some items failed or a check did not hold; \
                          2 bad flags or input; 3 environment (ONNX Runtime, device, disk).";

/// One verb per variant; each lives in its own file as `Arguments` with `fn run(&self, printer:
/// &Printer) -> Result<Outcome>`.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Bench(Box<bench::Arguments>),
    Cache(cache::Arguments),
    Compare(compare::Arguments),
    Data(Box<data::Arguments>),
    Doctor(doctor::Arguments),
    Embed(Box<embed::Arguments>),
    Evaluate(evaluate::Arguments),
    Finetune(Box<finetune::Arguments>),
    Export(Box<export::Arguments>),
    Graph(graph::Arguments),
    Models(models::Arguments),
    Predict(predict::Arguments),
    Probe(Box<probe::Arguments>),
    Quickstart(quickstart::Arguments),
    Report(report::Arguments),
    Runtime(runtime::Arguments),
}

impl Command {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        match self {
            Command::Bench(arguments) => arguments.run(printer),
            Command::Cache(arguments) => arguments.run(printer),
            Command::Compare(arguments) => arguments.run(printer),
            Command::Data(arguments) => arguments.run(printer),
            Command::Doctor(arguments) => arguments.run(printer),
            Command::Embed(arguments) => arguments.run(printer),
            Command::Evaluate(arguments) => arguments.run(printer),
            Command::Finetune(arguments) => arguments.run(printer),
            Command::Export(arguments) => arguments.run(printer),
            Command::Graph(arguments) => arguments.run(printer),
            Command::Models(arguments) => arguments.run(printer),
            Command::Predict(arguments) => arguments.run(printer),
            Command::Probe(arguments) => arguments.run(printer),
            Command::Quickstart(arguments) => arguments.run(printer),
            Command::Report(arguments) => arguments.run(printer),
            Command::Runtime(arguments) => arguments.run(printer),
        }
    }
}

/// Reads the arguments, runs the verb, prints what it has to say, and gives the exit code.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return usage(&said),
    };
    let filter = env::text(env::LOG).unwrap_or_else(|| "off".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
    let printer = Printer::new(cli.json, cli.quiet);
    if let Some(library) = &cli.runtime_library {
        Runtime::name_library(library);
    }
    let outcome = cli.command.run(&printer);
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(1),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Prints what clap has to say: help and version on stdout, what is wrong with the arguments on
/// stderr.
fn usage(said: &clap::Error) -> ExitCode {
    let printer = Printer::new(false, false);
    let text = said.render().to_string();
    if said.use_stderr() {
        printer.say(text.trim_end());
        return ExitCode::from(Kind::Input.exit_code());
    }
    match printer.out(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
