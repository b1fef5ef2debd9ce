//! Who computes a training step: the same network, loss and recipe by one of two engines.
//!
//! | engine | what computes | where |
//! |---|---|---|
//! | `graph` | one graph of standard operators, updates included | any ONNX Runtime, every device |
//! | `ort` | ONNX Runtime's training API, from artifacts of the same graph | a library with the API, CPU |
//!
//! Both keep parameters and moments under the same names and compute the same formulas, so that a
//! run can be gone on with by the other one; losses differ by roundings only.

mod graph;
mod ort;

use std::fmt;

pub(super) use graph::GraphEngine;
pub(super) use ort::OrtEngine;

use crate::error::Result;
use crate::finetune::Classifier;
use crate::finetune::classifier::LOGITS;
use crate::finetune::loss::TargetBatch;
use crate::graph::{Model, rewrite};
use crate::runtime::Device;
use crate::tensor::HostTensor;
use crate::tensor::safetensors::Tensors;

/// Some images of a batch with what they are to become.
pub struct MicroBatch<'a> {
    /// `[N, C, H, W]`.
    pub images: &'a [f32],
    /// Targets and weights.
    pub fed: &'a TargetBatch,
    /// Masks of residual branches, `[branches, N]`; empty where none are left out.
    pub masks: &'a [f32],
}

/// The scalars of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepHyperparams {
    /// From 1, one more than that of the step before.
    pub step: u64,
    /// Of this step.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// What a step tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The loss before the update.
    pub loss: f32,
    /// The norm of the gradient before clipping.
    pub norm: f32,
}

/// A network in training. State has the names of [`StepGraphs`](super::step::StepGraphs)'s inputs:
/// parameters and statistics by their own, moments behind `exp_avg/` and `exp_avg_sq/`.
pub(super) trait Engine: fmt::Debug {
    /// Where it computes.
    fn device(&self) -> Device;

    /// Why there.
    fn device_reason(&self) -> &str;

    /// Takes over weights, and moments as they were after `steps` steps; moments that are not there
    /// become zero.
    fn reset(&mut self, state: &Tensors, steps: u64) -> Result<()>;

    /// Weights and moments.
    fn state(&self) -> Result<Tensors>;

    /// Parameters and statistics that move.
    fn weights(&self) -> Result<Tensors>;

    /// One step over a batch in parts.
    fn step(&mut self, parts: &[MicroBatch<'_>], rates: StepHyperparams) -> Result<StepOutcome>;

    /// Makes ready for [`Engine::logits`], so that what does not work is told early.
    fn open_evaluation(&mut self) -> Result<()>;

    /// Logits `[N, K]` of images `[N, C, H, W]` in `shape`, as in evaluation.
    fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<HostTensor>;
}

/// The network in evaluation: images to logits, with moving weights as inputs.
fn evaluation_model(classifier: &Classifier, moving: &[String]) -> Result<Model> {
    let mut model = classifier.model.clone();
    rewrite::keep_outputs(&model, &[LOGITS]).apply(&mut model)?;
    rewrite::constants_to_inputs(&model, moving)?.apply(&mut model)?;
    rewrite::dead(&model).apply(&mut model)?;
    rewrite::slice_pushdown(model)
}
