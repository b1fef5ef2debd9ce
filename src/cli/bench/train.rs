//! `defrost bench train`: time and memory of training steps on random images.

use crate::cli::choice::{BATCH_NORMS, ENGINES, choice};
use crate::cli::model_flags::ModelFlags;
use crate::cli::{Outcome, Printer};
use crate::error::Result;
use crate::finetune::bench::{Bench, Measured};
use crate::finetune::{BatchNorm, Classifier, EngineKind, Freeze, bench};
use crate::runtime::{Device, SessionOptions};
use crate::support::seed::Seed;

/// Measure training steps: forward, backward, clipping and AdamW of all parameters, on random
/// images.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    defrost bench train --model deit-small --random-weights 0 --batch 8 --steps 10 --threads 2 --json\n  \
    defrost bench train --model efficientnet-lite0 --batch 16 --freeze blocks:5\n\n\
    The first step, which plans the memory, is not part of the times. The peak of the memory is that of the whole process.")]
pub(super) struct Arguments {
    /// Model of the catalog (`defrost models list`), or an ONNX file.
    #[arg(long, short, value_name = "MODEL")]
    model: String,
    /// Images of one step.
    #[arg(long, value_name = "IMAGES", default_value_t = 8)]
    batch: usize,
    /// Steps to measure.
    #[arg(long, value_name = "N", default_value_t = 10)]
    steps: usize,
    /// Classes of the linear head.
    #[arg(long, value_name = "N", default_value_t = 10)]
    classes: usize,
    /// How much of the backbone is not trained: `all`, `none`, or `blocks:K`.
    #[arg(long, value_name = "WHAT", default_value = "none")]
    freeze: Freeze,
    /// What happens to batch norms.
    #[arg(long, value_parser = choice::<BatchNorm>(BATCH_NORMS), default_value = "updated")]
    batch_norm: BatchNorm,
    /// Compute activations again in the backward pass instead of keeping them: less memory, more
    /// time.
    #[arg(long)]
    recompute: bool,
    /// Compute products and convolutions in f16: for GPUs; a CPU is slower so.
    #[arg(long)]
    mixed_precision: bool,
    /// Threads that compute [default: one per core].
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
    pub(super) fn run(&self, printer: &Printer) -> Result<Outcome> {
        self.engine.check(self.device, self.mixed_precision)?;
        let runtime = self.engine.runtime(printer)?;
        let backbone = self.flags.open(&self.model, printer)?;
        let classifier = Classifier::linear(&backbone, self.classes, Seed::new(0))?;
        let plan = Bench {
            model: &self.model,
            engine: self.engine,
            preprocess: &backbone.preprocess.clone(),
            freeze: self.freeze,
            batch_norm: self.batch_norm,
            recompute: self.recompute,
            mixed_precision: self.mixed_precision,
            batch: self.batch,
            steps: self.steps,
        };
        drop(backbone);
        let threads = self.threads.map_or(0, usize::from);
        let options = SessionOptions { device: self.device, threads, ..SessionOptions::default() };
        let measured = bench::train(classifier, &plan, &options, &runtime, printer)?;
        printer.result(&measured, describe)?;
        Ok(Outcome::Done)
    }
}

fn describe(measured: &Measured) -> String {
    let peak = measured.peak_rss_mib.map_or_else(|| "unknown".to_owned(), |peak| format!("{peak:.0} MiB"));
    format!(
        "{}, batch {}, {} threads, {}: {:.3} s per step ({:.1} images/s; {:.3} .. {:.3} s), peak memory {peak}",
        measured.model,
        measured.batch,
        measured.threads,
        measured.device,
        measured.seconds_per_step,
        measured.batch as f64 / measured.seconds_per_step,
        measured.fastest,
        measured.slowest,
    )
}
