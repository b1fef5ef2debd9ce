//! `defrost models build`: a model as an ONNX file.

use std::path::PathBuf;

use crate::cli::Outcome;
use crate::cli::Printer;
use crate::cli::model_flags::ModelFlags;
use crate::cli::models::built::Built;
use crate::cli::models::built::fingerprint_of;
use crate::error::Result;

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
    /// Do not run the model once and store what it gives for `defrost models check`.
    #[arg(long)]
    no_fingerprint: bool,
    #[command(flatten)]
    model: ModelFlags,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let mut backbone = self.model.open(&self.name, printer)?;
        let fingerprint = if self.no_fingerprint { None } else { fingerprint_of(&backbone, printer)? };
        if let Some(fingerprint) = &fingerprint {
            fingerprint.store(&mut backbone.graph)?;
        }
        backbone.graph.save(&self.out)?;
        Built::new(backbone, self.out.display().to_string(), fingerprint.is_some()).print(printer);
        Ok(Outcome::Done)
    }
}
