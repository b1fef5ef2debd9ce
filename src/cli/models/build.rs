//! `defrost models build`: a model as an ONNX file.

use std::path::PathBuf;

use serde::Serialize;

use crate::backbones::Output;
use crate::backbones::Provenance;
use crate::cli::Outcome;
use crate::cli::Printer;
use crate::cli::model_flags::ModelFlags;
use crate::cli::models::table;
use crate::error::Result;
use crate::preprocess::Preprocess;

/// Build a model into an ONNX file, or write a user's ONNX file as `defrost` runs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models build efficientnet-lite0 --out lite0.onnx\n  \
    defrost models build resnet50 --weights model.safetensors --taps all --out resnet50.onnx\n  \
    defrost models build efficientnet-lite4 --random-weights 0 --size any --out lite4.onnx\n  \
    defrost models build ~/models/dinov2-base --out dinov2.onnx\n  \
    defrost models build dinov2-small --weights model.safetensors --keep-blocks 6 --channels 1 --out six-grey.onnx\n  \
    defrost models build tower.onnx --output pooler_output --out tower-as-run.onnx\n\n\
    A folder is a snapshot as the Hugging Face hub has it: `config.json` as timm or transformers write it, or \
    `open_clip_config.json`; weights as safetensors, shards with an index, `.bin`, `.pth` or `.pt`; and, for transformers, \
    `preprocessor_config.json`.\n\n\
    The file's input is `input`, its outputs `embedding` and the taps asked for; `defrost graph show` prints it.")]
pub(super) struct Arguments {
    /// Name of a model of the catalog, folder with a model's `config.json` and weights, or ONNX file.
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

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
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
            if !built.provenance.changes.is_empty() {
                lines.push(["changes".to_owned(), built.provenance.changes.join(", ")]);
            }
            if let Some(batch) = built.fixed_batch {
                lines.push(["batch".to_owned(), format!("always {batch}")]);
            }
            table(&lines)
        });
        Ok(Outcome::Done)
    }
}
