//! `defrost runtime`: install the ONNX Runtime library, show which one is in use.

use serde::Serialize;

use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::runtime::Runtime;
use crate::runtime::install::Flavour;

/// Install the ONNX Runtime library, or show which one is in use.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Install(Install),
    Show(Show),
}

impl Arguments {
    /// Runs the verb below `runtime`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::Install(arguments) => arguments.run(printer),
            Verb::Show(arguments) => arguments.run(printer),
        }
    }
}

/// Fetch the ONNX Runtime library with pip into the cache directory, unless it is there already.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  defrost runtime install\n  defrost runtime install --cuda\n  defrost runtime install --training\n\n\
    Nothing of Python is used but `python3 -m pip download`; DEFROST_PYTHON names another interpreter. Files are checked \
    against known sha256 digests. The library with CUDA also runs on the CPU and is preferred once it is installed."
)]
struct Install {
    /// Fetch the library that also runs on NVIDIA devices, with the parts of CUDA 13 and cuDNN 9 it
    /// needs (1.3 GB).
    #[arg(long)]
    cuda: bool,
    /// Fetch the library with ONNX Runtime's training API (version 1.19.2, Linux on x86_64, 9 MB).
    /// It is used where `--runtime-library` or ORT_DYLIB_PATH name it.
    #[arg(long, conflicts_with = "cuda")]
    training: bool,
}

#[derive(Serialize)]
struct Installed {
    version: &'static str,
    cuda: bool,
    training: bool,
    directory: String,
    fetched: bool,
}

impl Install {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let flavour = match (self.cuda, self.training) {
            (true, _) => Flavour::Cuda,
            (_, true) => Flavour::Training,
            _ => Flavour::Cpu,
        };
        let fetched = !flavour.directory()?.is_dir();
        let directory = flavour.install(printer)?.display().to_string();
        printer.result(
            &Installed { version: flavour.version(), cuda: self.cuda, training: self.training, directory, fetched },
            |installed| {
                let state = if installed.fetched { "installed" } else { "is already installed" };
                format!("ONNX Runtime {} {state} in {}", installed.version, installed.directory)
            },
        )?;
        Ok(Outcome::Done)
    }
}

/// Show which ONNX Runtime library is used and what it was built with; installs nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost runtime show\n  defrost runtime show --json\n  \
    defrost --runtime-library /opt/onnxruntime/lib/libonnxruntime.so runtime show")]
struct Show {}

#[derive(Serialize)]
struct Shown {
    library: String,
    found_in: String,
    version: String,
    providers: Vec<String>,
    training: bool,
}

impl Show {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let runtime = Runtime::load(None)?;
        let shown = Shown {
            library: runtime.library().display().to_string(),
            found_in: runtime.origin().to_string(),
            version: runtime.version().to_owned(),
            providers: runtime.providers().to_vec(),
            training: runtime.can_train(),
        };
        printer.result(&shown, |shown| {
            format!(
                "library    {}\nfound in   {}\nversion    {}\nproviders  {}\ntraining   {}",
                shown.library,
                shown.found_in.replace('`', ""),
                shown.version,
                shown.providers.join(", "),
                if shown.training {
                    "has the training API"
                } else {
                    "has no training API (`defrost runtime install --training`)"
                }
            )
        })?;
        Ok(Outcome::Done)
    }
}
