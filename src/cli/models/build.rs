//! `defrost models build`: a model as an ONNX file.

use std::path::PathBuf;

use crate::backbones::{Backbone, ComputeDType};
use crate::cli::model_flags::ModelFlags;
use crate::cli::models::built::{Built, fingerprint_of};
use crate::cli::{Outcome, Printer};
use crate::data::Dataset;
use crate::embed::{EmbedSpec, EmbeddingModel, Fidelity, fidelity};
use crate::error::{CacheError, Result};
use crate::runtime::{Device, Runtime};

/// Build a model into an ONNX file, or write a user's ONNX file as `defrost` runs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  defrost models build efficientnet-lite0 --out lite0.onnx\n  \
    defrost models build resnet50 --weights model.safetensors --taps all --out resnet50.onnx\n  \
    defrost models build efficientnet-lite4 --random-weights 0 --size any --out lite4.onnx\n  \
    defrost models build ~/models/dinov2-base --out dinov2.onnx\n  \
    defrost models build dinov2-small --weights model.safetensors --keep-blocks 6 --channels 1 --out six-grey.onnx\n  \
    defrost models build deit-base --weights model.safetensors --dtype int8 --images photos/ --out deit-int8.onnx\n  \
    defrost models build tower.onnx --output pooler_output --out tower-as-run.onnx\n\n\
    A folder is a snapshot as the Hugging Face hub has it: `config.json` as timm or transformers write it, or \
    `open_clip_config.json`; weights as safetensors, shards with an index, `.bin`, `.pth` or `.pt`; and, for transformers, \
    `preprocessor_config.json`.\n\n\
    The file's input is `input`, its outputs `embedding` and the taps asked for; `defrost graph show` prints it.")]
pub(super) struct Arguments {
    /// Name of a model of the catalog, folder with a model's `config.json` and weights, or ONNX
    /// file.
    name: String,
    /// The ONNX file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Do not run the model once and store what it gives for `defrost models check`.
    #[arg(long)]
    no_fingerprint: bool,
    /// What the network computes with: `f32`, `f16` (for GPUs), or `int8` (matrix products of
    /// transformers on CPUs).
    #[arg(long, visible_alias = "compute", value_name = "NUMBERS", default_value = "f32")]
    dtype: ComputeDType,
    /// Images, a dataset as for `defrost embed`, that tell how close `--dtype` comes to f32.
    #[arg(long, value_name = "DATA")]
    images: Option<PathBuf>,
    /// Write the file although `--dtype` does not come close to f32.
    #[arg(long)]
    allow_low_fidelity: bool,
    #[command(flatten)]
    model: ModelFlags,
}

impl Arguments {
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let mut backbone = self.model.open(&self.name, printer)?;
        let fidelity = self.convert(&mut backbone, printer)?;
        let fingerprint = if self.no_fingerprint { None } else { fingerprint_of(&backbone, printer)? };
        if let Some(fingerprint) = &fingerprint {
            fingerprint.store(&mut backbone.graph)?;
        }
        backbone.graph.save(&self.out)?;
        let mut built = Built::new(backbone, self.out.display().to_string(), fingerprint.is_some());
        built.fidelity = fidelity;
        built.print(printer)?;
        Ok(Outcome::Done)
    }

    /// Rewrites the network as `--dtype` says; measures what that costs where there are images.
    fn convert(&self, backbone: &mut Backbone, printer: &Printer) -> Result<Option<Fidelity>> {
        if self.dtype == ComputeDType::F32 {
            return Ok(None);
        }
        let original = backbone.clone();
        backbone.compute_in(self.dtype)?;
        let Some(images) = &self.images else {
            printer.say("note: how close it comes to f32 was not measured; `--images DATA` does that");
            return Ok(None);
        };
        let dataset = Dataset::open(images)?;
        // What is compared are vectors, as a cache holds them.
        let EmbeddingModel { network, .. } =
            EmbedSpec { compute: self.dtype, ..EmbedSpec::default() }.prepare(original)?;
        let Some(exact) = network.exact.as_deref() else { return Ok(None) };
        let paths = dataset.samples.iter().map(|sample| sample.path.as_path());
        let runtime = Runtime::ensure(None, printer)?;
        let found = fidelity(exact, &network, paths, &runtime, Device::Auto)?;
        match found.holds() || self.allow_low_fidelity {
            true => Ok(Some(found)),
            false => Err(CacheError::LowFidelity { found: found.to_string() }.into()),
        }
    }
}
