//! `defrost finetune`: images with labels and a backbone in, a trained classifier out.

mod config;
mod recipe_flags;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cli::dataset::ReadingArguments;
use crate::cli::finetune::config::Config;
use crate::cli::finetune::recipe_flags::RecipeFlags;
use crate::cli::model_flags::ModelFlags;
use crate::cli::probe::table;
use crate::cli::{Outcome, Printer, dataset, model_flags};
use crate::data;
use crate::error::{FinetuneError, Result};
use crate::finetune;
use crate::finetune::{CONFIG, Job, Options, RECORD};
use crate::runtime::{Device, Runtime};

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
    /// Where to train: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Device,
    #[command(flatten)]
    flags: ModelFlags,
}

/// The files of a run's dataset by the samples' ids; none where the dataset is not where it was.
pub(crate) fn images(run: &Path) -> Result<HashMap<String, PathBuf>> {
    let config = Config::read(&run.join(CONFIG))?;
    let opened = data::open(&config.data.path, &config.data.reading);
    let samples = opened.map(|dataset| dataset.samples).unwrap_or_default();
    Ok(samples.into_iter().map(|sample| (sample.id, sample.path)).collect())
}

impl Arguments {
    /// Trains, evaluates, and prints the record.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let config = match &self.config {
            Some(path) => Config::read(path)?,
            None => self.config()?,
        };
        let dataset = dataset::open(&config.data.path, &config.data.reading, printer)?;
        let mut options = config.model.options.clone();
        if let Some(tap) = config.recipe.head.tap() {
            options.taps = tap.parse().unwrap_or_default();
        }
        let backbone = model_flags::open(&config.model.name, &options, printer)?;
        let source = config.data.path.display().to_string();
        let job = Job {
            dataset: &dataset,
            backbone: &backbone,
            recipe: &config.recipe,
            head_weights: config.model.head_weights.as_deref(),
            out: &self.out,
            config: &config.text()?,
            source: &source,
        };
        let options = Options {
            device: self.device,
            threads: self.threads.map_or(0, usize::from),
            checkpoint_steps: self.checkpoint_every,
            ..Options::default()
        };
        let runtime = Runtime::ensure(None, printer)?;
        let (record, failed) = finetune::finetune(&job, &options, &runtime, printer)?;
        for warning in &record.warnings {
            printer.say(&format!("warning: {warning}"));
        }
        printer.result(&record, table::describe);
        printer.say(&format!("saved `{}`", self.out.join(RECORD).display()));
        Ok(if failed == 0 { Outcome::Done } else { Outcome::Incomplete })
    }

    /// The configuration that the flags stand for; paths in it hold from anywhere.
    fn config(&self) -> Result<Config> {
        let missing = |name| FinetuneError::Setting { name, found: "missing".into(), expected: "a value" };
        let mut reading = self.reading.options();
        reading.root = reading.root.as_deref().map(absolute);
        let mut options = self.flags.options();
        options.weights = options.weights.as_deref().map(absolute);
        options.preprocess = options.preprocess.as_deref().map(absolute);
        let model = self.model.clone().ok_or_else(|| missing("model"))?;
        let name = if Path::new(&model).exists() { absolute(Path::new(&model)).display().to_string() } else { model };
        let data = self.data.clone().ok_or_else(|| missing("data"))?;
        Ok(Config {
            data: config::Data { path: if data.exists() { absolute(&data) } else { data }, reading },
            model: config::Model { name, options, head_weights: self.recipe.head_weights.as_deref().map(absolute) },
            recipe: self.recipe.recipe()?,
        })
    }
}

/// The path from the root; as given where the system does not tell.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
