//! A network in training, whichever engine trains it.

use crate::error::{FinetuneError, Result};
use crate::finetune::batch_norm::Target;
use crate::finetune::engine::{Engine, GraphEngine, MicroBatch, OrtEngine, StepHyperparams, StepOutcome};
use crate::finetune::engine_kind::EngineKind;
use crate::finetune::step::{StepGraphs, StepPlan};
use crate::finetune::{Classifier, memory};
use crate::runtime::{Device, Runtime, SessionOptions};
use crate::tensor::safetensors::Tensors;

/// A network in training.
#[derive(Debug)]
pub struct Trainer {
    engine: Box<dyn Engine>,
    branches: usize,
    /// Parameters that were to be trained and that the loss does not depend on.
    unreached: Vec<String>,
    classes: usize,
    fixed_batch: Option<usize>,
}

impl Trainer {
    /// Opens the graphs and takes over the weights of the classifier; moments start at zero.
    ///
    /// # Errors
    /// [`FinetuneError::Engine`] for what the engine does not do, `GraphError` for an operator
    /// without gradient, [`FinetuneError::Memory`] for a batch that does not fit, `RuntimeError`
    /// where the runtime refuses.
    pub fn open(
        runtime: &Runtime,
        classifier: &Classifier,
        plan: &StepPlan,
        options: &SessionOptions,
    ) -> Result<Trainer> {
        plan.engine.check(options.device, plan.mixed_precision)?;
        let target = match (plan.engine, options.device) {
            (EngineKind::Graph, Device::Cuda(_)) => Target::Cuda,
            (EngineKind::Graph, Device::Auto) if runtime.offers_cuda() => Target::Cuda,
            _ => Target::Cpu,
        };
        let graphs = StepGraphs::build(classifier, plan, target)?;
        memory::check(&graphs, plan.batch, options)?;
        let branches = graphs.branches;
        let unreached = plan.trained.keys().filter(|name| !graphs.trained.contains_key(*name)).cloned().collect();
        let engine: Box<dyn Engine> = match plan.engine {
            EngineKind::Graph => Box::new(GraphEngine::open(runtime, classifier, plan, graphs, options)?),
            EngineKind::Ort => {
                runtime.check_can_train()?;
                Box::new(OrtEngine::open(runtime, classifier, plan, graphs, options)?)
            }
        };
        Ok(Trainer { engine, branches, unreached, classes: classifier.classes, fixed_batch: classifier.fixed_batch })
    }

    /// The device that the network is trained on.
    pub fn device(&self) -> Device {
        self.engine.device()
    }

    /// Why it is trained there.
    pub fn device_reason(&self) -> &str {
        self.engine.device_reason()
    }

    /// Parameters that were to be trained and that the loss does not depend on.
    pub fn unreached(&self) -> &[String] {
        &self.unreached
    }

    /// Residual branches that masks are needed for.
    pub fn branches(&self) -> usize {
        self.branches
    }

    /// Takes over weights, and moments as they were after `steps` steps; moments that `state` does
    /// not have become zero.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn reset(&mut self, state: &Tensors, steps: u64) -> Result<()> {
        self.engine.reset(state, steps)
    }

    /// Everything that moves: parameters and statistics under their names, moments and the factor
    /// on the loss under theirs.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn state(&self) -> Result<Tensors> {
        self.engine.state()
    }

    /// Parameters and statistics that move, under their names.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn weights(&self) -> Result<Tensors> {
        self.engine.weights()
    }

    /// One step over a batch in parts that the plan's number of images fits.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn step(&mut self, parts: &[MicroBatch<'_>], rates: StepHyperparams) -> Result<StepOutcome> {
        self.engine.step(parts, rates)
    }

    /// Makes ready for [`Trainer::logits`], so that what does not work is told before training.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn open_evaluation(&mut self) -> Result<()> {
        self.engine.open_evaluation()
    }

    /// Logits `[N, K]` of images `[N, C, H, W]` in `shape`, as in evaluation; where the network
    /// takes a fixed number of images, up to so many, the rest of which are zeros.
    ///
    /// # Errors
    /// [`FinetuneError::Logits`] where the network gives another number of them, `RuntimeError`
    /// where the runtime refuses.
    pub fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.first().copied().unwrap_or(0);
        let taken = self.fixed_batch.unwrap_or(count).max(count);
        let mut filled = images.to_vec();
        filled.resize(taken * shape[1..].iter().product::<usize>(), 0.0);
        let shape: Vec<usize> = std::iter::once(taken).chain(shape[1..].iter().copied()).collect();
        let logits = self.engine.logits(&filled, &shape)?;
        let values = logits.to_f32().map(|values| values.to_vec());
        let Some(mut values) = values.filter(|values| values.len() == taken * self.classes) else {
            let found = logits.shape().to_vec();
            return Err(FinetuneError::Logits { expected: [taken, self.classes], found }.into());
        };
        values.truncate(count * self.classes);
        Ok(values)
    }
}
