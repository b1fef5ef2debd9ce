//! Training steps on random images, for their time and memory.

use std::time::Instant;

use rand::Rng;
use serde::Serialize;

use crate::data::Label;
use crate::error::{DataError, FinetuneError, Result};
use crate::finetune::engine::{MicroBatch, StepHyperparams};
use crate::finetune::engine_kind::EngineKind;
use crate::finetune::loss::Targets;
use crate::finetune::step::StepPlan;
use crate::finetune::trainer::Trainer;
use crate::finetune::{BatchNorm, Classifier, Freeze, Loss};
use crate::preprocess::Preprocess;
use crate::runtime::{Runtime, SessionOptions};
use crate::support::memory;
use crate::support::progress::Progress;
use crate::support::seed::Seed;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    /// The model's name, for the result.
    pub model: &'a str,
    /// Who trains.
    pub engine: EngineKind,
    /// What tells the size of its input.
    pub preprocess: &'a Preprocess,
    /// How much of it is not trained.
    pub freeze: Freeze,
    /// What happens to batch norms.
    pub batch_norm: BatchNorm,
    /// Whether activations are computed again.
    pub recompute: bool,
    /// Whether products are computed in f16.
    pub mixed_precision: bool,
    /// Images of one step.
    pub batch: usize,
    /// Steps to measure, behind the first one.
    pub steps: usize,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The model's name.
    pub model: String,
    /// Who trained.
    pub engine: EngineKind,
    /// Images of one step.
    pub batch: usize,
    /// Steps that were measured.
    pub steps: usize,
    /// Threads that computed.
    pub threads: usize,
    /// The device.
    pub device: String,
    /// Median time of a step.
    pub seconds_per_step: f64,
    /// Shortest time of a step.
    pub fastest: f64,
    /// Longest time of a step.
    pub slowest: f64,
    /// Peak memory of the process, where the system tells.
    pub peak_rss_mib: Option<f64>,
    /// The loss of the first and of the last step, which must be numbers.
    pub losses: [f32; 2],
}

/// Measures steps.
///
/// # Errors
/// [`FinetuneError::Setting`] without a step or an image, and those of training.
pub fn train(
    classifier: Classifier,
    bench: &Bench<'_>,
    options: &SessionOptions,
    runtime: &Runtime,
    progress: &dyn Progress,
) -> Result<Measured> {
    for (name, found) in [("steps", bench.steps), ("batch", bench.batch)] {
        if found == 0 {
            return Err(FinetuneError::Setting { name, found: "0".into(), expected: "at least 1" }.into());
        }
    }
    if let Some(count) = classifier.fixed_batch.filter(|count| *count != bench.batch) {
        let problem = format!("steps of {} images are asked for", bench.batch);
        return Err(FinetuneError::FixedBatch { count, problem }.into());
    }
    let shape = bench.preprocess.clone().check()?.output_shape().ok_or(DataError::OpenSize)?;
    let trained = bench.freeze.trained(&classifier)?.into_iter().map(|name| (name, 1.0)).collect();
    let plan = StepPlan {
        engine: bench.engine,
        trained,
        loss: Loss::CrossEntropy,
        batch_norm: bench.batch_norm,
        batch: bench.batch,
        accumulate: false,
        clip: Some(1.0),
        drop_path: false,
        recompute: bench.recompute,
        mixed_precision: bench.mixed_precision,
    };
    let classes = classifier.classes;
    let mut trainer = Trainer::open(runtime, &classifier, &plan, options)?;
    drop(classifier);
    let mut random = Seed::new(0).named("bench").random();
    let images: Vec<f32> =
        (0..bench.batch * shape.iter().product::<usize>()).map(|_| random.gen_range(-2.0..2.0)).collect();
    let labels: Vec<Label> = (0..bench.batch).map(|image| Label::Class(image % classes)).collect();
    let targets = Targets { loss: Loss::CrossEntropy, classes, smoothing: 0.0, class_weights: vec![1.0; classes] };
    let fed = targets.feed(&labels.iter().map(|label| (label, 1.0)).collect::<Vec<_>>());
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    progress.begin("steps", bench.steps as u64 + 1, 0);
    for step in 0..=bench.steps {
        let start = Instant::now();
        let part = MicroBatch { images: &images, fed: &fed, masks: &[] };
        let rates = StepHyperparams { step: step as u64 + 1, learning_rate: 1e-4, weight_decay: 0.01 };
        losses.push(trainer.step(&[part], rates)?.loss);
        if step > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
        progress.advance(1);
    }
    progress.end();
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        model: bench.model.to_owned(),
        engine: bench.engine,
        batch: bench.batch,
        steps: bench.steps,
        threads: options.effective_threads(),
        device: trainer.device().to_string(),
        seconds_per_step: times[times.len() / 2],
        fastest: times[0],
        slowest: times[times.len() - 1],
        peak_rss_mib: memory::peak_resident_mib(),
        losses: [losses[0], losses[losses.len() - 1]],
    })
}
