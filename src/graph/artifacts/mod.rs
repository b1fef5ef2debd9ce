//! Artifacts of ONNX Runtime's training API: a model of gradients as the four files that it trains
//! from, `training_model.onnx`, `eval_model.onnx`, `optimizer_model.onnx` and `checkpoint`.
//!
//! In: a model with the outputs `loss`, `grad/P` for every trained parameter `P` and `next/S` for
//! every running statistic `S`, and one of the same network without its backward pass. The training
//! model adds each gradient to a buffer of the session in place; the optimizer's model updates all
//! parameters at once. Parameters are told apart from other inputs by name, and the session feeds
//! the evaluation model by the training model's order: [`Artifacts`] holds the two equal.
//!
//! The session has one rate and one decay for all parameters. Parts of a network that are trained
//! otherwise are trained so in the training graph: a share of the rate by storing
//! the parameter divided by it, decays and clipping by updates of their own.
//!
//! Written for ONNX Runtime 1.19, the last one with the API in a public wheel: operator set 21 and
//! file format 10 at most. Reference: <https://onnxruntime.ai/docs/get-started/training-on-device.html>.

mod checkpoint;
mod optimizer;
mod training;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use checkpoint::Checkpoint;

use crate::error::{GraphError, Result};
use crate::graph::autodiff::{Differentiated, GRADIENT};
use crate::graph::{ElementType, Model, ValueInfo, rewrite};
use crate::support::fs;
use crate::tensor::HostTensor;
use crate::tensor::safetensors::Tensors;

/// The domain of ONNX Runtime's own operators.
const DOMAIN: &str = "com.microsoft";
/// What precedes the name of a running statistic in that of its next value.
pub const NEXT: &str = "next/";
/// Name of the user input that is the decay of this step, rate times weight decay, a scalar; 0 in
/// all parts of a batch but the last.
pub const DECAY: &str = "decay";
/// Name of the user input that is the largest norm of the gradient, a scalar; infinite in all parts
/// of a batch but the last.
pub const CLIP: &str = "clip";
/// Name of the user output that is the Euclidean norm of the summed gradients.
pub const GRADIENT_NORM: &str = "gradient_norm";

/// Name of the training model's file, as the Python package's generator has it.
pub const TRAINING_MODEL: &str = "training_model.onnx";
/// Names of the models' files.
const FILES: [&str; 3] = [TRAINING_MODEL, "eval_model.onnx", "optimizer_model.onnx"];
/// Name of the checkpoint's file.
const CHECKPOINT: &str = "checkpoint";
/// The standard operator sets that the graphs may have.
const OPSETS: std::ops::RangeInclusive<i64> = 17..=21;
/// The newest file format that ONNX Runtime 1.19 reads.
const MAX_IR_VERSION: i64 = 10;

/// How the parameters are updated.
#[derive(Clone, Debug, Default)]
pub struct ArtifactOptions {
    /// Who clips and decays.
    pub update: Update,
    /// Parameters that learn by a share of the rate, > 0; others by all of it.
    pub shares: BTreeMap<String, f64>,
}

/// Who clips gradients by their norm and lets parameters decay, decoupled from the gradient.
#[derive(Clone, Debug)]
pub enum Update {
    /// The optimizer's model, for all parameters alike.
    Uniform {
        /// Largest norm of the gradient, > 0.
        clip: Option<f64>,
        /// The share of the rate that is taken off at each step.
        weight_decay: f64,
    },
    /// The training model, which then has the output [`GRADIENT_NORM`], by scalars that are fed. The
    /// optimizer's model adds up the norm in an order that changes from session to session; this
    /// one always gives the same.
    Fed {
        /// Whether gradients are clipped, at the norm [`CLIP`].
        clips: bool,
        /// Parameters that decay, by [`DECAY`].
        decaying: BTreeSet<String>,
    },
}

impl Default for Update {
    fn default() -> Self {
        Update::Uniform { clip: None, weight_decay: 0.0 }
    }
}

/// The three models, and how parameters are stored.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Images and targets to loss and gradients, which are summed up in the session.
    pub training: Model,
    /// The network without its backward pass, on the same parameters.
    pub eval: Model,
    /// Gradients to updates.
    pub optimizer: Model,
    /// Names of what is trained, in the models' order.
    pub trained: Vec<String>,
    /// Names of running statistics, behind the former in the models' order.
    pub statistics: Vec<String>,
    shares: BTreeMap<String, f64>,
}

impl Differentiated {
    /// The model as artifacts of ONNX Runtime's training API; its evaluation model gives `loss` and
    /// the output.
    ///
    /// # Errors
    /// As [`Artifacts::new`].
    pub fn artifacts(&self, options: &ArtifactOptions) -> Result<Artifacts> {
        let mut eval = self.model.clone();
        eval.graph.outputs.retain(|output| !output.name.starts_with(GRADIENT));
        eval.graph.outputs.push(ValueInfo::untyped(&self.output));
        rewrite::dead(&eval).apply(&mut eval)?;
        Artifacts::new(self.model.clone(), eval, options)
    }
}

impl Artifacts {
    /// The artifacts of a model of gradients, `gradients`, and of the same network without them,
    /// `eval`. Parameters and statistics may be inputs or initializers of either; what else is an
    /// initializer stays one.
    ///
    /// # Errors
    /// [`GraphError::Opset`] for operator sets outside of 17 to 21, [`GraphError::Artifact`] for
    /// parameters that are not f32, [`GraphError::UnknownValue`] for a share or decay of something
    /// that is not trained.
    pub fn new(gradients: Model, eval: Model, options: &ArtifactOptions) -> Result<Artifacts> {
        let [gradients, mut eval] = [readable(gradients)?, readable(eval)?];
        let training::TrainingModel { model: training, trained, statistics } = training::build(gradients, options)?;
        let parameters: Vec<ValueInfo> =
            trained.iter().chain(&statistics).filter_map(|name| input(&training, name)).cloned().collect();
        let is_parameter = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
        let constants: Vec<String> =
            eval.graph.constant_names().filter(|name| is_parameter(name)).map(str::to_owned).collect();
        rewrite::constants_to_inputs(&eval, &constants)?.apply(&mut eval)?;
        training::scale(&mut eval, &options.shares)?;
        eval.graph.inputs.retain(|input| !is_parameter(&input.name));
        eval.graph.inputs.extend(parameters);
        let shares = options.shares.clone();
        let optimizer = optimizer::model(options);
        let artifacts = Artifacts { training, eval, optimizer, trained, statistics, shares };
        artifacts.check_order()?;
        Ok(artifacts)
    }

    /// Checks that both models have the parameters in one order.
    fn check_order(&self) -> Result<(), GraphError> {
        let known: BTreeSet<&String> = self.trained.iter().chain(&self.statistics).collect();
        let [training, eval] = [&self.training, &self.eval].map(|model| {
            let names = model.graph.inputs.iter().map(|input| &input.name);
            names.filter(|name| known.contains(name)).collect::<Vec<_>>()
        });
        match training == eval && training.len() == known.len() {
            true => Ok(()),
            false => Err(GraphError::Artifact {
                what: "the evaluation model".into(),
                expected: format!("the inputs {training:?} in this order"),
                found: format!("{eval:?}"),
            }),
        }
    }

    /// What a caller feeds to the training model, in its order.
    pub fn user_inputs(&self) -> impl Iterator<Item = &ValueInfo> {
        let is_parameter = |name: &String| self.trained.contains(name) || self.statistics.contains(name);
        let inputs = self.training.graph.inputs.iter();
        inputs.filter(move |input| !is_parameter(&input.name) && !training::is_control(&input.name))
    }

    /// What the training model hands to its caller, in its order.
    pub fn user_outputs(&self) -> impl Iterator<Item = &str> {
        let outputs = self.training.graph.outputs.iter().map(|output| output.name.as_str());
        outputs.filter(|name| !training::is_control(name))
    }

    /// The checkpoint of a network that starts from these values; what is neither trained nor a
    /// statistic is left out.
    pub fn checkpoint(&self, values: &Tensors) -> Checkpoint {
        let stored = |name: &String| Some((name.clone(), self.stored(name, values.get(name)?)));
        let [trained, frozen] =
            [&self.trained, &self.statistics].map(|names| names.iter().filter_map(stored).collect());
        Checkpoint { trained, frozen, ..Checkpoint::default() }
    }

    /// What a checkpoint holds as the value of a parameter: divided by its share of the rate.
    pub fn stored(&self, name: &str, value: &HostTensor) -> HostTensor {
        self.scaled(name, value, |value, share| value / share)
    }

    /// The value of a parameter as a checkpoint stores it, see [`Artifacts::stored`].
    pub fn restored(&self, name: &str, stored: &HostTensor) -> HostTensor {
        self.scaled(name, stored, |value, share| value * share)
    }

    fn scaled(&self, name: &str, value: &HostTensor, scale: impl Fn(f32, f32) -> f32) -> HostTensor {
        match (self.shares.get(name), value.values::<f32>()) {
            (Some(&share), Some(values)) => HostTensor::from_fn(value.shape(), |at| scale(values[at], share as f32)),
            _ => value.clone(),
        }
    }

    /// Writes the four files into a directory, which is made where it is not there.
    ///
    /// # Errors
    /// `FileError` where a file cannot be written, [`GraphError::TooLarge`].
    pub fn save(&self, directory: &Path, checkpoint: &Checkpoint) -> Result<()> {
        fs::create_directory(directory)?;
        for (model, name) in [&self.training, &self.eval, &self.optimizer].into_iter().zip(FILES) {
            fs::replace(&directory.join(name), &model.to_bytes()?)?;
        }
        fs::replace(&directory.join(CHECKPOINT), &checkpoint.to_bytes()?)?;
        Ok(())
    }
}

/// The input of that name.
fn input<'a>(model: &'a Model, name: &str) -> Option<&'a ValueInfo> {
    model.graph.inputs.iter().find(|input| input.name == name)
}

/// A model in a form that ONNX Runtime 1.19 reads.
fn readable(mut model: Model) -> Result<Model, GraphError> {
    let version = model.opset("").unwrap_or(0);
    if !OPSETS.contains(&version) {
        let (lowest, highest) = (*OPSETS.start(), *OPSETS.end());
        return Err(GraphError::Opset { domain: "ai.onnx".into(), version, lowest, highest });
    }
    model.ir_version = model.ir_version.min(MAX_IR_VERSION);
    Ok(model)
}

/// Refuses a parameter of another type than f32.
fn check_element(name: &str, element: ElementType) -> Result<(), GraphError> {
    match element {
        ElementType::F32 => Ok(()),
        found => Err(GraphError::Artifact {
            what: format!("parameter `{name}`"),
            expected: "f32".into(),
            found: found.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::autodiff::{Differentiated, Differentiation, LossKind, differentiate};
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    fn differentiated() -> Differentiated {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let weight = b.parameter("w", &HostTensor::from_fn(&[2, 2], |at| at as f32));
        let y = b.matmul(&x, &weight);
        b.output("y", &y);
        let wanted = Differentiation { output: "y", loss: LossKind::SquaredError, head: None };
        differentiate(b.finish().unwrap(), &wanted).unwrap()
    }

    fn fed(decaying: &[&str], shares: &[(&str, f64)]) -> ArtifactOptions {
        ArtifactOptions {
            update: Update::Fed { clips: true, decaying: decaying.iter().map(|&name| name.to_owned()).collect() },
            shares: shares.iter().map(|&(name, share)| (name.to_owned(), share)).collect(),
        }
    }

    /// The lines of a model's text that name no node of loss or gradient.
    fn outline(model: &Model) -> String {
        let is_shown = |line: &&str| {
            let words = ["input", "output", "Accumulator", "Adam", "Clip", "w.", "norm"];
            words.iter().any(|word| line.contains(word))
        };
        text(model).lines().filter(is_shown).map(|line| format!("{}\n", line.trim())).collect()
    }

    #[test]
    fn gradients_are_summed_up_clipped_and_decays_wait_for_their_norm() {
        let made = differentiated().artifacts(&fed(&["w"], &[("w", 0.5)])).unwrap();
        insta::assert_snapshot!(outline(&made.training), @r"
        input x: f32[batch, 2]
        input labels: f32[batch, 2]
        input w: f32[2, 2]
        input lazy_reset_grad: bool[1]
        input w_grad.accumulation.buffer: f32[2, 2]
        input clip: f32[]
        input decay: f32[]
        constant w.share: f32[] = 0.5
        constant w.decay.constant: f32[] = 0.0
        constant w.decay.constant_1: f32[] = 0.5
        w.value = Mul(w, w.share)
        y = MatMul(x, w.value)
        w_grad.accumulation.out, w.gradient.in_place_accumulator_v2.1 = com.microsoft.InPlaceAccumulatorV2(w_grad.accumulation.buffer, grad/w, lazy_reset_grad)
        norm.reduce_sum_square = ReduceSumSquare(w.gradient.in_place_accumulator_v2.1) {keepdims: 0}
        gradient_norm = Sqrt(norm.reduce_sum_square)
        clip.add = Add(gradient_norm, clip.constant)
        w.clip.mul = Mul(w.gradient.in_place_accumulator_v2.1, clip.min)
        w.clip_grad.accumulation.out = com.microsoft.InPlaceAccumulatorV2(w_grad.accumulation.buffer, w.clip.mul, constant)
        w.decay.mul = Mul(gradient_norm, w.decay.constant)
        w.decay.mul_1 = Mul(decay, w.decay.constant_1)
        w.decay.sub = Sub(w.decay.mul, w.decay.mul_1)
        w.decay.mul_2 = Mul(w, w.decay.sub)
        w.decay_grad.accumulation.out = com.microsoft.InPlaceAccumulatorV2(w, w.decay.mul_2)
        output loss: f32[]
        output w_grad.accumulation.out: bool[1]
        output gradient_norm: f32[]
        output w.clip_grad.accumulation.out: bool[1]
        output w.decay_grad.accumulation.out: bool[1]
        ");
        assert!(made.user_inputs().map(|input| input.name.as_str()).eq(["x", "labels", "clip", "decay"]));
        assert!(made.user_outputs().eq(["loss", "gradient_norm"]));
        let checkpoint = made.checkpoint(&differentiated().weights());
        assert_eq!(checkpoint.trained["w"].values::<f32>().unwrap().as_ref(), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(made.restored("w", &checkpoint.trained["w"]), differentiated().weights()["w"]);
    }

    #[test]
    fn the_evaluation_model_has_the_parameters_of_the_training_model() {
        let made = differentiated().artifacts(&fed(&["w"], &[("w", 0.5)])).unwrap();
        insta::assert_snapshot!(outline(&made.eval), @r"
        input x: f32[batch, 2]
        input labels: f32[batch, 2]
        input w: f32[2, 2]
        constant w.share: f32[] = 0.5
        w.value = Mul(w, w.share)
        y = MatMul(x, w.value)
        output loss: f32[]
        output y
        ");
        let mut other = made.clone();
        other.eval.graph.inputs.retain(|input| input.name != "w");
        let error = other.check_order().unwrap_err().to_string();
        assert!(error.contains("needs the inputs [\"w\"] in this order"), "{error}");
    }

    #[test]
    fn the_optimizer_clips_and_decays_where_the_training_model_does_not() {
        let update = Update::Uniform { clip: Some(1.0), weight_decay: 0.01 };
        let made = differentiated().artifacts(&ArtifactOptions { update, ..ArtifactOptions::default() }).unwrap();
        insta::assert_snapshot!(outline(&made.optimizer), @r#"
        input learning_rate: f32[1]
        input step: i64[1]
        input params: sequence(f32[...])
        input gradients: sequence(f32[...])
        input first_order_moments: sequence(f32[...])
        input second_order_moments: sequence(f32[...])
        clipped = com.microsoft.InplaceClipGradNorm(gradients) {max_norm: 1.0, norm_type: "fro"}
        updated_flag = com.microsoft.AdamWOptimizer(learning_rate, step, params, clipped, first_order_moments, second_order_moments) {adam_mode: 0, alpha: 0.9, beta: 0.999, correct_bias: 1, epsilon: 1e-8, weight_decay: 0.01}
        output updated_flag: bool[1]
        "#);
        assert!(made.user_inputs().map(|input| input.name.as_str()).eq(["x", "labels"]));
    }

    #[test]
    fn newer_operator_sets_and_unknown_parameters_are_refused() {
        let found = differentiated();
        let error = found.artifacts(&fed(&[], &[("v", 0.5)])).unwrap_err();
        assert_eq!(error.to_string(), "the graph has no value `v`");
        let mut newer = found.clone();
        newer.model.opset_imports[0].version = 22;
        let error = newer.artifacts(&ArtifactOptions::default()).unwrap_err().to_string();
        assert!(error.contains("version 22 of the operator set `ai.onnx`, expected 17 to 21"), "{error}");
    }
}
