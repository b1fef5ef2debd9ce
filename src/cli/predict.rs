//! `defrost predict`: an exported classifier on image files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::dataset::describe_skipped;
use crate::cli::export::deciding;
use crate::cli::{Outcome, Printer};
use crate::data;
use crate::data::OpenOptions;
use crate::deploy;
use crate::deploy::{Classifier, ModelCard, PredictOptions, Prediction};
use crate::error::Result;
use crate::pixels::DecodeLimits;
use crate::runtime::{Device, Runtime};
use crate::support::numbers::counted;
use crate::support::progress::Progress as _;

/// Extensions of tables of images.
const TABLES: [&str; 3] = ["csv", "tsv", "parquet"];

/// Run an exported classifier on images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost predict classifier.onnx photo.jpg another.png\n  \
    defrost predict classifier.onnx photos/ --csv > predictions.csv\n  \
    defrost predict classifier.onnx table.csv --parquet predictions.parquet\n  \
    defrost predict classifier.onnx photos/ --json\n\n\
    A file that cannot be read or decoded is told in its row; the others go on, and the exit code is 1.")]
pub(crate) struct Arguments {
    /// The file that `defrost export` wrote.
    #[arg(value_name = "CLASSIFIER")]
    classifier: PathBuf,
    /// Image files, folders of images, tables (.csv, .tsv, .parquet) with a column `path`.
    #[arg(value_name = "IMAGES", required = true)]
    images: Vec<PathBuf>,
    /// Print the predictions as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Write the predictions as a Parquet table.
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// Folder that the paths of a table are relative to [default: the folder of the table].
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Device,
    /// Images of one size that are run at once [default: chosen for the device].
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,
    /// Threads that compute, and as many that decode [default: one per core].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// What is to be classified.
#[derive(Default)]
struct Inputs {
    files: Vec<PathBuf>,
    /// Entries of folders that could not be read.
    unread: usize,
}

/// A row as JSON.
#[derive(Serialize)]
struct Row {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probabilities: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Arguments {
    /// Predicts, prints or writes the table, and tells how it went.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let Inputs { files, unread } = self.files(printer)?;
        let options = PredictOptions {
            device: self.device,
            batch: self.batch.map_or(0, usize::from),
            threads: self.threads.map_or(0, usize::from),
            images: files.len(),
            limits: DecodeLimits::default(),
        };
        let runtime = Runtime::ensure(None, printer)?;
        let mut classifier = Classifier::open_with(&runtime, &self.classifier, &options)?;
        printer.note(&format!("computing on {}: {}", classifier.device(), classifier.device_reason()));
        for (name, text) in deciding(classifier.card()) {
            printer.note(&format!("{name}: {text}"));
        }
        let start = Instant::now();
        let predictions = classifier.predict_with(&files, printer);
        let seconds = start.elapsed().as_secs_f64();
        let card = classifier.card();
        if let Some(path) = &self.parquet {
            deploy::write_parquet(path, card, &predictions)?;
        }
        if self.csv {
            printer.out(&deploy::csv(card, &predictions)?)?;
        } else if printer.json() || self.parquet.is_none() {
            let rows: Vec<Row> = predictions.iter().map(|prediction| row(card, prediction)).collect();
            printer.result(&rows, |_| describe(card, &predictions))?;
        }
        let failed = predictions.iter().filter(|prediction| prediction.outcome.is_err()).count();
        let rate = predictions.len() as f64 / seconds.max(1e-9);
        let mut told = format!("{}, {seconds:.1} s, {rate:.1} images/s", counted(predictions.len(), "image"));
        if failed > 0 {
            told.push_str(&format!("; {failed} failed"));
        }
        printer.say(&told);
        Ok(if failed == 0 && unread == 0 { Outcome::Done } else { Outcome::Incomplete })
    }

    /// All files, in the order given; those of folders and tables by their ids.
    fn files(&self, printer: &Printer) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        for path in &self.images {
            if !path.is_dir() && !is_table(path) {
                inputs.files.push(path.clone());
                continue;
            }
            let options = OpenOptions { root: self.root.clone(), keep_missing: true, ..OpenOptions::default() };
            let dataset = data::open(path, &options)?;
            if let Some(skipped) = describe_skipped(&dataset) {
                printer.say(&skipped);
            }
            inputs.unread += dataset.unread();
            inputs.files.extend(dataset.samples.into_iter().map(|sample| sample.path));
        }
        Ok(inputs)
    }
}

fn is_table(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    extension.is_some_and(|extension| TABLES.contains(&extension.as_str()))
}

fn row(card: &ModelCard, Prediction { path, outcome }: &Prediction) -> Row {
    let path = path.display().to_string();
    match outcome {
        Ok(answer) => {
            let names = card.names(answer);
            let label = match card.decides_one_by_one() {
                true => Value::from(names),
                false => names.first().copied().map_or(Value::Null, Value::from),
            };
            let probabilities = card.classes.iter().zip(&answer.probabilities);
            let probabilities = probabilities.map(|(class, &value)| (class.clone(), Value::from(value))).collect();
            Row { path, label: Some(label), probabilities: Some(probabilities), error: None }
        }
        Err(reason) => Row { path, label: None, probabilities: None, error: Some(reason.clone()) },
    }
}

/// A line per file: path, decision, its probability.
fn describe(card: &ModelCard, predictions: &[Prediction]) -> String {
    let width = predictions.iter().map(|prediction| prediction.path.display().to_string().chars().count()).max();
    let line = |Prediction { path, outcome }: &Prediction| {
        let decided = match outcome {
            Err(reason) => format!("error: {reason}"),
            Ok(answer) if answer.labels.is_empty() => "none".to_owned(),
            Ok(answer) => {
                let probability = |&class: &usize| answer.probabilities.get(class).copied().unwrap_or(f32::NAN);
                let pairs = card.names(answer).into_iter().zip(answer.labels.iter().map(probability));
                pairs.map(|(name, probability)| format!("{name} {probability:.3}")).collect::<Vec<_>>().join(", ")
            }
        };
        format!("{:width$}  {decided}", path.display().to_string(), width = width.unwrap_or(0))
    };
    predictions.iter().map(line).collect::<Vec<_>>().join("\n")
}
