//! The training graph: forward, loss, backward, and either the update of every parameter or the sum
//! of its gradients.
//!
//! Plain ONNX. Inputs are the images, what the loss is compared with, the scalars of the optimiser,
//! and for every trained parameter `P` its value `P` and its moments `exp_avg/P` and
//! `exp_avg_sq/P`; outputs are `loss`, `gradient_norm` and `next/...` of each of them. Running
//! statistics of batch norms that are updated are inputs and outputs alike. Everything else is a
//! constant: a frozen part of the network is computed as in inference, and no gradient goes through
//! it.
//!
//! Where a batch is divided into parts, the gradients are summed up in `grad/P` over the runs
//! of one graph, and a second one updates the parameters.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::{FinetuneError, Result};
use crate::finetune::batch_norm::Target;
use crate::finetune::classifier::LOGITS;
use crate::finetune::engine_kind::EngineKind;
use crate::finetune::loss_scale::LOSS_SCALE;
use crate::finetune::optimizer::{AdamW, FIRST_MOMENT, SECOND_MOMENT, Update};
use crate::finetune::{Classifier, Loss, batch_norm, drop_path, optimizer};
use crate::graph::{Builder, Dim, Model, Value, artifacts, autodiff, needed_nodes, rewrite};
use crate::tensor::DType;

/// Name of the output that is the loss.
pub(super) const LOSS: &str = "loss";
/// What precedes the name of something that a run gives a new value.
pub(super) const NEXT: &str = artifacts::NEXT;
/// What precedes the name of a parameter in that of the sum of its gradients.
pub(super) const GRADIENT: &str = autodiff::GRADIENT;
/// Name of the input that the sum of gradients so far is multiplied by: 0 at the first part of a
/// batch, then 1.
pub(super) const KEEP: &str = "keep";

/// What happens to batch norms whose scale and bias are trained; those of frozen parts normalise as
/// in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNorm {
    /// They normalise with the statistics they came with, as in evaluation; only their scale and
    /// bias are trained.
    #[default]
    Frozen,
    /// Trained ones normalise with the statistics of the batch and keep running ones, with
    /// PyTorch's momentum of 0.1.
    Updated,
}

/// How a network is trained.
#[derive(Clone, Debug)]
pub struct StepPlan {
    /// Who trains.
    pub engine: EngineKind,
    /// The parameters that are trained, with each one's share of the learning rate.
    pub trained: BTreeMap<String, f64>,
    /// What is minimised.
    pub loss: Loss,
    /// What happens to batch norms.
    pub batch_norm: BatchNorm,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Whether a batch is divided into parts.
    pub accumulate: bool,
    /// Largest norm of the gradient.
    pub clip: Option<f64>,
    /// Whether residual branches are left out at random.
    pub drop_path: bool,
    /// Whether activations are computed again in the backward pass instead of kept, where that
    /// saves memory.
    pub recompute: bool,
    /// Whether products and convolutions are computed in f16, with parameters in f32 and a scaled
    /// loss.
    pub mixed_precision: bool,
}

impl StepPlan {
    /// Trains every parameter in batches of a size, gradients clipped at norm 1.
    pub fn full(classifier: &Classifier, loss: Loss, batch: usize) -> Self {
        StepPlan {
            engine: EngineKind::Graph,
            trained: classifier.parameters.iter().map(|name| (name.clone(), 1.0)).collect(),
            loss,
            batch_norm: BatchNorm::Frozen,
            batch,
            accumulate: false,
            clip: Some(1.0),
            drop_path: false,
            recompute: false,
            mixed_precision: false,
        }
    }
}

/// The graphs of a step.
#[derive(Debug)]
pub(super) struct StepGraphs {
    /// Images to loss, and to updated parameters, summed gradients, or the gradients alone where
    /// the engine updates by itself.
    pub(super) model: Model,
    /// Gradients to updated parameters, where they are summed up first.
    pub(super) update: Option<Model>,
    /// Trained parameters, in order of name, with their shapes.
    pub(super) trained: BTreeMap<String, Vec<usize>>,
    /// Running statistics that are updated.
    pub(super) statistics: Vec<String>,
    /// Residual branches that may be left out.
    pub(super) branches: usize,
}

impl StepGraphs {
    /// Builds the graphs.
    ///
    /// # Errors
    /// `GraphError` for an operator without gradient on the way to a trained parameter, naming it
    /// and the way.
    pub(super) fn build(classifier: &Classifier, plan: &StepPlan, target: Target) -> Result<StepGraphs> {
        let batch = Dim::from(plan.batch);
        let mut model = classifier.model.clone();
        rewrite::keep_outputs(&model, &[LOGITS]).apply(&mut model)?;
        rewrite::set_batch(&model, &classifier.input, &batch).apply(&mut model)?;
        let mut branches = 0;
        if plan.drop_path {
            (model, branches) = drop_path::insert(model, &batch)?;
        }
        rewrite::dead_nodes(&model).apply(&mut model)?;
        let mut model = rewrite::fuse_gelu(rewrite::slice_pushdown(model)?)?;
        let shapes = shapes(&model, plan.trained.keys())?;
        rewrite::constants_to_inputs(&model, plan.trained.keys())?.apply(&mut model)?;
        if plan.mixed_precision {
            rewrite::half(&model)?.apply(&mut model)?;
        }
        let mut statistics = Vec::new();
        if plan.batch_norm == BatchNorm::Updated {
            (model, statistics) =
                batch_norm::update_statistics(model, target, |scale| plan.trained.contains_key(scale))?;
        }
        rewrite::constants_to_inputs(&model, &statistics)?.apply(&mut model)?;
        let parameters: BTreeSet<String> = shapes.keys().chain(&statistics).cloned().collect();
        let borders = if plan.recompute { autodiff::borders(&model.graph, &parameters) } else { Vec::new() };
        let mut b = Builder::extend(model)?;
        let logits = b.value(LOGITS)?;
        let loss = plan.loss.add(&mut b, &logits, &batch, classifier.classes);
        let (gradients, cotangents) = gradients(&mut b, &loss, plan, &borders)?;
        b.output(LOSS, &loss);
        let update = match (plan.engine, plan.accumulate) {
            (EngineKind::Ort, _) => {
                for (name, gradient) in &gradients {
                    b.output(&format!("{GRADIENT}{name}"), gradient);
                }
                None
            }
            (EngineKind::Graph, true) => {
                accumulate(&mut b, &gradients, &shapes);
                let shapes = shapes.iter().filter(|(name, _)| gradients.contains_key(name));
                Some(update_graph(
                    b.opset(),
                    plan,
                    &shapes.map(|(name, shape)| (name.clone(), shape.clone())).collect(),
                )?)
            }
            (EngineKind::Graph, false) => {
                update(&mut b, plan, &gradients, &shapes)?;
                None
            }
        };
        let mut model = b.finish()?;
        rewrite::drop_outputs(&model, &[LOGITS]).apply(&mut model)?;
        if plan.recompute {
            autodiff::recompute(&mut model, LOSS, &parameters, &cotangents)?;
        }
        rewrite::dead(&model).apply(&mut model)?;
        if target == Target::Cpu {
            rewrite::transpose_lhs(&model)?.apply(&mut model)?;
            rewrite::sum_rows_by_products(&model)?.apply(&mut model)?;
        }
        // A parameter that does not reach the loss is no input any more.
        rewrite::drop_unread_inputs(&model).apply(&mut model)?;
        for model in [Some(&model), update.as_ref()].into_iter().flatten() {
            check_in_place(model)?;
        }
        let trained = shapes.into_iter().filter(|(name, _)| gradients.contains_key(name)).collect();
        Ok(StepGraphs { model, update, trained, statistics, branches })
    }
}

/// Gradients by the names of parameters, and the names of cotangents by those of values.
type Found<'a> = (BTreeMap<&'a String, Value>, BTreeMap<String, String>);

/// The gradients of the loss with respect to every trained parameter, and the cotangents of
/// `borders`.
fn gradients<'a>(b: &mut Builder, loss: &Value, plan: &'a StepPlan, borders: &[String]) -> Result<Found<'a>> {
    let names = plan.trained.keys();
    let values: Vec<Value> = names.clone().chain(borders).map(|name| b.value(name)).collect::<Result<_>>()?;
    let scale = plan.mixed_precision.then(|| b.input(LOSS_SCALE, DType::F32, &[]));
    let scaled = scale.as_ref().map_or_else(|| loss.clone(), |scale| b.mul(loss, scale));
    let mut found = autodiff::gradients(b, &scaled, &values)?;
    let cotangents = borders.iter().zip(found.split_off(names.len()));
    let cotangents = cotangents.filter_map(|(name, found)| Some((name.clone(), found?.name().to_owned()))).collect();
    let mut gradients = BTreeMap::new();
    for (name, gradient) in names.zip(found) {
        let Some(gradient) = gradient else { continue };
        gradients.insert(name, scale.as_ref().map_or(gradient.clone(), |scale| b.div(&gradient, scale)));
    }
    Ok((gradients, cotangents))
}

/// The shapes of parameters by name.
fn shapes<'a>(model: &Model, names: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, Vec<usize>>> {
    let shape = |name: &String| {
        let tensor = model.graph.initializer(name).ok_or_else(|| FinetuneError::NotStored { name: name.clone() })?;
        Ok((name.clone(), tensor.shape.clone()))
    };
    names.map(shape).collect()
}

/// An input for something that belongs to a parameter.
fn input_like(b: &mut Builder, prefix: &str, name: &str, shape: &[usize]) -> Value {
    let shape: Vec<Dim> = shape.iter().map(|&size| Dim::from(size)).collect();
    b.input(&format!("{prefix}{name}"), DType::F32, &shape)
}

/// Adds the sums of gradients over the parts of a batch.
fn accumulate(b: &mut Builder, gradients: &BTreeMap<&String, Value>, shapes: &BTreeMap<String, Vec<usize>>) {
    let keep = b.input(KEEP, DType::F32, &[]);
    for (name, gradient) in last_first(b, gradients) {
        let Some(shape) = shapes.get(name) else { continue };
        let sum = input_like(b, GRADIENT, name, shape);
        let sum = b.express([&sum, &keep, gradient], |[sum, keep, gradient]| sum * keep.repeated_for(sum) + gradient);
        b.output(&format!("{NEXT}{GRADIENT}{name}"), &sum);
    }
}

/// The gradients in the order of [`autodiff::last_first`].
fn last_first<'a>(b: &Builder, gradients: &'a BTreeMap<&'a String, Value>) -> Vec<(&'a String, &'a Value)> {
    let mut ordered: Vec<(&String, &Value)> = gradients.iter().map(|(name, gradient)| (*name, gradient)).collect();
    autodiff::last_first(b, &mut ordered, |(_, gradient)| gradient);
    ordered
}

/// A graph from summed gradients to updated parameters.
fn update_graph(opset: i64, plan: &StepPlan, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Model> {
    let mut b = Builder::with_opset("update", opset);
    let mut gradients = BTreeMap::new();
    for (name, shape) in shapes {
        input_like(&mut b, "", name, shape);
        gradients.insert(name, input_like(&mut b, GRADIENT, name, shape));
    }
    update(&mut b, plan, &gradients, shapes)?;
    b.finish()
}

/// Adds the norm of the gradient and the update of every parameter.
fn update(
    b: &mut Builder,
    plan: &StepPlan,
    gradients: &BTreeMap<&String, Value>,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<()> {
    let all = last_first(b, gradients).into_iter().map(|(_, gradient)| gradient).collect::<Vec<_>>();
    let norm = b.norm(&all);
    let adamw = AdamW::new(b, &norm, plan.clip);
    let overflow = plan.mixed_precision.then(|| optimizer::overflow(b, &norm));
    b.output(optimizer::NORM, &norm);
    for (name, gradient) in gradients {
        let Some(shape) = shapes.get(*name) else { continue };
        let moments = [FIRST_MOMENT, SECOND_MOMENT].map(|prefix| input_like(b, prefix, name, shape));
        let parameter = b.value(name)?;
        let rate = plan.trained.get(*name).copied().unwrap_or(1.0);
        let decays = shape.len() > 1;
        let change = Update { name, parameter, gradient: gradient.clone(), moments, decays, rate };
        let mut updated = adamw.update(b, &change);
        if let Some(overflow) = &overflow {
            updated = updated.unless(b, overflow, &change);
        }
        b.output(&format!("{NEXT}{name}"), &updated.parameter);
        for (prefix, moment) in [FIRST_MOMENT, SECOND_MOMENT].into_iter().zip(&updated.moments) {
            b.output(&format!("{NEXT}{prefix}{name}"), moment);
        }
    }
    Ok(())
}

/// Checks that an output `next/X` may be written over the input `X`: whoever reads `X` does so
/// before the output is computed, in whatever order the runtime takes the nodes.
fn check_in_place(model: &Model) -> Result<()> {
    let graph = &model.graph;
    let producers = graph.producers();
    let before = |value: &str| needed_nodes(graph, [value], &HashSet::new());
    let norm = before(optimizer::NORM);
    for output in &graph.outputs {
        let Some(input) = output.name.strip_prefix(NEXT) else { continue };
        let own = before(&output.name);
        let waits_for_norm = producers.get(optimizer::NORM).is_some_and(|&index| own[index]);
        for (index, node) in graph.nodes.iter().enumerate() {
            let precedes = own[index] || (waits_for_norm && norm[index]);
            if !precedes && node.inputs.iter().any(|name| name == input) {
                let (parameter, node) = (input.to_owned(), node.label().to_owned());
                return Err(FinetuneError::Aliased { parameter, node }.into());
            }
        }
    }
    Ok(())
}
