//! `defrost embed`: images and a network in, an embedding cache out.

use std::path::PathBuf;
use std::time::Duration;

use crate::backbones::ComputeDType;
use crate::cli::dataset::DatasetArguments;
use crate::cli::model_flags::ModelFlags;
use crate::cli::pixel_flags::{PixelFlags, seconds};
use crate::cli::{Outcome, Printer};
use crate::embed::{EmbedOptions, EmbedSummary, Embedder, Precision};
use crate::error::Result;
use crate::runtime::Device;

/// Embed images into a cache that can be interrupted, continued and extended at any time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost embed photos/ --model efficientnet-lite0 --out cache/photos\n  \
    defrost embed table.csv --model efficientnet-lite0 --out cache/table --dtype f16\n  \
    defrost embed photos/ --model dinov2-small --weights dinov2.safetensors --taps all --pool cls+mean --out cache/layers\n  \
    defrost embed mammograms/ --model dinov2-small --weights dinov2.safetensors --window percentiles:1,99 --crop-border --out cache/breasts\n  \
    defrost embed photos/ --model deit-base --weights deit.safetensors --compute int8 --out cache/fast\n  \
    defrost embed photos/ --model mine.onnx --preprocess mine.toml --out cache/mine --device cuda:0\n\n\
    Every tap becomes a column of the cache, in one pass; `defrost probe linear CACHE --tap all` compares them. Unless `--pool` \
    says otherwise, a tap is cached as its class token, or as its mean where it has none.\n\n\
    Run the same command again after an interruption, or after images were added, renamed or removed: only what is \
    missing is computed. Files that cannot be embedded are listed in CACHE/quarantine.parquet and make the exit code 1.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    dataset: DatasetArguments,
    /// Model of the catalog (`defrost models list`), folder with a model's `config.json` and
    /// weights, or ONNX file.
    #[arg(long, short, value_name = "MODEL")]
    model: String,
    /// Directory of the cache.
    #[arg(long, value_name = "CACHE")]
    out: PathBuf,
    /// Element type of the stored embeddings.
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = ["f32", "f16"])]
    dtype: String,
    /// What the network computes with: `f32`, `f16` (for GPUs), or `int8` (matrix products of
    /// transformers on CPUs). How close it comes to f32 is measured on the first images.
    #[arg(long, value_name = "NUMBERS", default_value = "f32")]
    compute: ComputeDType,
    /// Go on although `--compute` does not come close to f32.
    #[arg(long)]
    allow_low_fidelity: bool,
    /// Images that the network embeds at once [default: chosen for the device]. It does not change
    /// the embeddings.
    #[arg(long, value_name = "IMAGES", value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: Option<u16>,
    /// Threads that compute, and as many that decode [default: one per core].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Where to compute: `auto`, `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: Device,
    /// Fail instead of waiting when another process writes the cache.
    #[arg(long)]
    no_wait: bool,
    /// Try files again that could not be embedded before, although they have not changed.
    #[arg(long)]
    retry: bool,
    /// Largest image that is decoded, in millions of pixels.
    #[arg(long, alias = "most-megapixels", default_value_t = 100, value_name = "MEGAPIXELS")]
    max_megapixels: u32,
    /// Longest time to decode an image, in seconds: a file that takes longer is set aside.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    max_seconds: Option<Duration>,
    #[command(flatten)]
    pixels: PixelFlags,
    #[command(flatten)]
    flags: ModelFlags,
}

impl Arguments {
    /// Embeds and prints the counts.
    pub(crate) fn run(&self, printer: &Printer) -> Result<Outcome> {
        let dataset = self.dataset.open(printer)?;
        let mut options = EmbedOptions {
            device: self.device,
            batch: self.batch.map_or(0, usize::from),
            threads: self.threads.map_or(0, usize::from),
            wait: !self.no_wait,
            retry: self.retry,
            allow_low_fidelity: self.allow_low_fidelity,
            ..EmbedOptions::default()
        };
        options.limits.max_pixels = u64::from(self.max_megapixels) * 1_000_000;
        options.limits.max_time = self.max_seconds;
        let embedder = Embedder::new(&self.model)?
            .model_options(self.flags.options())
            .compute(self.compute)
            .dtype(if self.dtype == "f16" { Precision::F16 } else { Precision::F32 })
            .options(options)
            .progress(printer);
        let summary = self.pixels.apply(embedder).run(&dataset, &self.out)?;
        printer.result(&summary, |summary| self.describe(summary))?;
        Ok(if summary.failed == 0 && dataset.unread() == 0 { Outcome::Done } else { Outcome::Incomplete })
    }

    fn describe(&self, summary: &EmbedSummary) -> String {
        let EmbedSummary { rows, computed, reused, failed, seconds, .. } = summary;
        let out = self.out.display();
        let mut text = match computed {
            0 if *rows == 0 => format!("{out}: no rows, {seconds:.1} s"),
            0 if *failed == 0 => format!("{out}: {rows} rows, everything reused, {seconds:.1} s"),
            0 => format!("{out}: {rows} rows, all of them reused, {seconds:.1} s"),
            _ => format!("{out}: {rows} rows, {computed} computed, {reused} reused, {seconds:.1} s"),
        };
        if let Some(rate) = summary.images_per_second {
            text.push_str(&format!(", {rate:.1} images/s"));
        }
        if let Some(peak) = summary.peak_rss_mib {
            text.push_str(&format!(", {peak:.0} MiB"));
        }
        if *failed > 0 {
            text.push_str(&format!("\n{failed} files failed, see {}", self.out.join("quarantine.parquet").display()));
        }
        text
    }
}
