//! The flags that say which model, shared by the verbs that run one.

use std::path::PathBuf;

use crate::backbones;
use crate::backbones::{Backbone, ChannelRule, ModelOptions, Pool, Size, Taps};
use crate::cli::Printer;
use crate::error::Result;

/// What a user says about a model besides its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct ModelFlags {
    /// Weights of a model that is built here: a file (safetensors, .pth, .pt), an index of shards,
    /// or a folder with one of them.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Which network, in weights that hold several: what its names start with.
    #[arg(long, value_name = "PREFIX")]
    weights_prefix: Option<String>,
    /// Seeded random weights, for tests and benchmarks: the results mean nothing.
    #[arg(long, value_name = "SEED")]
    random_weights: Option<u64>,
    /// Input of an ONNX file that takes the images.
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// Output of an ONNX file that is the embedding.
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// How taps (and the embedding of an ONNX file) with several vectors per image become one:
    /// `cls`, `mean` (of the image's own positions: class token and registers are left out),
    /// `cls+mean`, or `none`: all values, flattened.
    #[arg(long, value_name = "HOW")]
    pool: Option<Pool>,
    /// Preprocessing from a TOML file or a `preprocessor_config.json` instead of the model's own.
    #[arg(long, value_name = "FILE")]
    preprocess: Option<PathBuf>,
    /// Height and width of the input of a model that is built here, as `HEIGHTxWIDTH`, or for a
    /// convolutional network `any`; those of its preprocessing if left out, which otherwise follows
    /// (unless given with `--preprocess`).
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Further outputs: `all`, or names such as `tokens,block_03`; of an ONNX file, any value of
    /// its graph.
    #[arg(long, value_name = "LIST", default_value = "none")]
    taps: Taps,
    /// Input channels of a model that is built, 3 if left out: its first convolution is adapted,
    /// its images are grey for 1.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    channels: Option<u16>,
    /// How the first convolution is adapted: `sum` (1 channel: as grey in all three), `red` (as the
    /// study), `repeat` (2 or more).
    #[arg(long, value_name = "RULE")]
    channel_rule: Option<ChannelRule>,
    /// Keep the first COUNT blocks (stages of a convolutional network) of a model that is built;
    /// the embedding is taken there.
    #[arg(long, value_name = "COUNT")]
    keep_blocks: Option<usize>,
}

impl ModelFlags {
    /// The options these flags stand for.
    pub(crate) fn options(&self) -> ModelOptions {
        ModelOptions {
            weights: self.weights.clone(),
            weights_prefix: self.weights_prefix.clone(),
            random_weights: self.random_weights,
            input: self.input.clone(),
            output: self.output.clone(),
            pool: self.pool,
            preprocess: self.preprocess.clone(),
            size: self.size,
            taps: self.taps.clone(),
            channels: self.channels.map(usize::from),
            channel_rule: self.channel_rule,
            keep_blocks: self.keep_blocks,
        }
    }

    /// Opens the model `name`; says so on stderr where its weights are random.
    pub(crate) fn open(&self, name: &str, printer: &Printer) -> Result<Backbone> {
        open(name, &self.options(), printer)
    }
}

/// Opens a model, see [`ModelFlags::open`].
pub(crate) fn open(name: &str, options: &ModelOptions, printer: &Printer) -> Result<Backbone> {
    let backbone = backbones::open(name, options, printer)?;
    backbone.note_random_weights(printer);
    Ok(backbone)
}
