//! `defrost finetune`: images with labels and a backbone in, a trained classifier out.

mod recipe_flags;

use std::path::PathBuf;

use crate::cli::choice::{ENGINES, choice};
use crate::cli::dataset::ReadingArguments;
use crate::cli::finetune::recipe_flags::RecipeFlags;
use crate::cli::model_flags::ModelFlags;
use crate::cli::probe::table;
use crate::cli::{Outcome, Printer, dataset};
use crate::data::DatasetSource;
use crate::error::{FinetuneError, Result};
use crate::finetune::{EngineKind, FineTune, FinetuneResult, ModelConfig, RECORD, RunConfig, TrainOptions};
use crate::runtime::Device;

/// Train a backbone further on labelled images: interruptible, reproducible, ends in one ONNX file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost finetune photos/ --model efficientnet-lite0 --out runs/lite0\n  \
    defrost finetune photos/ --model dinov2-small --weights dinov2.safetensors --freeze blocks:8 --out runs/dino\n  \
    defrost finetune table.csv --model efficientnet-lite0 --recipe study --repeats 5 --out runs/study\n  \
    defrost finetune lesions.csv --model efficientnet-lite0 --calibrate --threshold sensitivity=0.95 --out runs/lesions\n  \
    defrost finetune --config runs/lite0/config.toml --out runs/again\n\n\
    Run the same command again after an interruption: it goes on from the last checkpoint and gives the same numbers. The \
    splits are those of `defrost probe` with the same seed, so that both can be compared on the same test images.")]
pub(crate) struct Arguments {
    /// Folder of class folders, or table (.csv, .tsv, .parquet) with a column `path`.
    #[arg(value_name = "DATA", required_unless_present = "config")]
    data: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArguments,
    /// Model of the catalog (`defrost models list`), or an ONNX file.
    #[arg(long, short, value_name = "MODEL", required_unless_present = "config")]
    model: Option<String>,
    /// Folder of the run.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Data, model and recipe from the `config.toml` of a run; flags for these are then not looked
    /// at.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "model"])]
    config: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeFlags,
    /// Steps after which a checkpoint is written within an epoch; at the end of every epoch there
    /// is one.
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    checkpoint_every: usize,
    /// Threads that compute, and as many that prepare images [default: one per core].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Who trains: gradients and updates as standard operators, or ONNX Runtime's training API
    /// (CPU; installed once where no library is named).
    #[arg(long, value_parser = choice::<EngineKind>(ENGINES), default_value = "graph")]
    engine: EngineKind,
    /// Where to train: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Device,
    #[command(flatten)]
    flags: ModelFlags,
}

impl Arguments {
    /// Trains, evaluates, and prints the record.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let config = match &self.config {
            Some(path) => RunConfig::read(path)?,
            None => self.config()?,
        };
        let dataset = dataset::open(&config.data.path, &config.data.reading, printer)?;
        let options = TrainOptions {
            engine: self.engine,
            device: self.device,
            threads: self.threads.map_or(0, usize::from),
            checkpoint_steps: self.checkpoint_every,
            ..TrainOptions::default()
        };
        let run = FineTune::from_config(config).options(options).progress(printer);
        let FinetuneResult { record, unreadable } = run.run(&dataset, &self.out)?;
        for warning in &record.warnings {
            printer.say(&format!("warning: {warning}"));
        }
        printer.result(&record, table::describe)?;
        printer.say(&format!("saved `{}`", self.out.join(RECORD).display()));
        Ok(if unreadable == 0 && dataset.unread() == 0 { Outcome::Done } else { Outcome::Incomplete })
    }

    /// The configuration that the flags stand for; paths in it hold from anywhere.
    fn config(&self) -> Result<RunConfig> {
        let missing = |name| FinetuneError::Setting { name, found: "missing".into(), expected: "a value" };
        let config = RunConfig {
            data: DatasetSource {
                path: self.data.clone().ok_or_else(|| missing("data"))?,
                reading: self.reading.options(),
            },
            model: ModelConfig {
                name: self.model.clone().ok_or_else(|| missing("model"))?,
                options: self.flags.options(),
                head_weights: self.recipe.head_weights.clone(),
            },
            recipe: self.recipe.recipe()?,
        };
        config.absolute()
    }
}
