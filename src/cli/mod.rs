//! The command line: one file per verb; the only place that prints.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 finished, but some items
//! failed or a check did not hold; 2 bad flags or input; 3 environment (ONNX Runtime, device,
//! disk).

mod adjust_flags;
mod bench;
mod cache;
mod choice;
mod compare;
mod data;
mod dataset;
mod doctor;
mod embed;
mod evaluate;
mod export;
mod finetune;
mod flag_names;
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
mod study;
mod text_table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use crate::cli::flag_names::FlagNames;
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

/// One row per verb: its variant and its module, where `Arguments` has `fn run(&self, printer:
/// &Printer) -> Result<Outcome>`.
macro_rules! verbs {
    ($($variant:ident($module:ident)),+ $(,)?) => {
        /// The verbs.
        #[derive(Debug, clap::Subcommand)]
        enum Command {
            $($variant(Box<$module::Arguments>)),+
        }

        impl Command {
            fn run(&self, printer: &Printer) -> Result<Outcome> {
                match self {
                    $(Command::$variant(arguments) => arguments.run(printer)),+
                }
            }
        }
    };
}

verbs! {
    Bench(bench),
    Cache(cache),
    Compare(compare),
    Data(data),
    Doctor(doctor),
    Embed(embed),
    Evaluate(evaluate),
    Finetune(finetune),
    Export(export),
    Graph(graph),
    Models(models),
    Predict(predict),
    Probe(probe),
    Quickstart(quickstart),
    Report(report),
    Runtime(runtime),
    Study(study),
}

/// Reads the arguments, runs the verb, prints what it has to say, and gives the exit code.
pub fn run() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(said) => return usage(&said),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(said) => return usage(&said),
    };
    let filter = env::text(env::LOG).unwrap_or_else(|| "off".to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
    let flags = FlagNames::new(Cli::command(), &matches);
    let printer = Printer::new(cli.json, cli.quiet).with_flags(flags);
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
