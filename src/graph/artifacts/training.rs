//! The training model: what a model of gradients hands over as outputs is added up and assigned in
//! place, in memory of the session.
//!
//! ```text
//! buffer of P += gradient of P      (= at the first part of a batch, by `lazy_reset_grad`)
//! buffer of P  = buffer of P min(1, clip / (|g| + 1e-6))   where gradients are clipped
//! P           += P (0 |g| - s decay)                       where P decays, s its share of the rate
//! S            = next/S                                    running statistics
//! ```
//!
//! The norm |g| reads every sum; with 0 |g| in it a decay waits until nothing reads `P` any more.
//!
//! A share `s` of the rate: stored is `U = P / s`, the graph computes `P = s U`, and the gradient of
//! P goes to U's buffer. Adam's steps do not depend on the gradient's scale but for epsilon, so U
//! moves by the whole rate as P would, and P by `s` times it, moments included as PyTorch has them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use crate::error::{FinetuneError, GraphError, Result};
use crate::graph::artifacts::{
    ArtifactOptions, CLIP, DECAY, DOMAIN, GRADIENT_NORM, NEXT, Update, check_element, input,
};
use crate::graph::autodiff::{GRADIENT, last_first};
use crate::graph::rewrite::{constants_to_inputs, keep_outputs, rename};
use crate::graph::{
    Builder, Dim, ElementType, Model, Node, OperatorSet, Patch, Tensor, Type, Value, ValueInfo, needed_nodes,
};
use crate::support::names;
use crate::tensor::{DType, HostTensor};

/// Names that the session knows by their ends: a gradient's buffer and what tells that it was
/// written, which the session keeps to itself.
const BUFFER: &str = "_grad.accumulation.buffer";
const WRITTEN: &str = "_grad.accumulation.out";
/// Whether buffers are overwritten, bool `[1]`.
const RESET: &str = "lazy_reset_grad";
/// PyTorch adds this to the norm that it divides by.
const NORM_EPSILON: f64 = 1e-6;
/// Adds its second input to its first one in place, or writes it over it where a third one is true.
const ACCUMULATOR: &str = "InPlaceAccumulatorV2";

/// A training model with the names of what it trains and keeps.
pub(super) struct TrainingModel {
    pub(super) model: Model,
    pub(super) trained: Vec<String>,
    pub(super) statistics: Vec<String>,
}

/// Whether an input or output is the session's own.
pub(super) fn is_control(name: &str) -> bool {
    name == RESET || name.ends_with(BUFFER) || name.ends_with(WRITTEN)
}

/// The training model of a model of gradients.
pub(super) fn build(mut model: Model, options: &ArtifactOptions) -> Result<TrainingModel> {
    let named = |prefix: &str| -> Vec<String> {
        let outputs = model.graph.outputs.iter();
        outputs.filter_map(|output| output.name.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let (trained, statistics) = (named(GRADIENT), named(NEXT));
    check_names(&trained, options)?;
    let is_user = |name: &str| !name.starts_with(GRADIENT) && !name.starts_with(NEXT);
    let user: Vec<String> =
        model.graph.outputs.iter().map(|output| output.name.clone()).filter(|name| is_user(name)).collect();
    keep_outputs(&model, &user.iter().map(String::as_str).collect::<Vec<_>>()).apply(&mut model)?;
    let parameters: Vec<&String> = trained.iter().chain(&statistics).collect();
    let stored: HashSet<String> = model.graph.constant_names().map(str::to_owned).collect();
    constants_to_inputs(&model, parameters.iter().copied().filter(|name| stored.contains(*name)))?.apply(&mut model)?;
    for name in parameters {
        let known = input(&model, name).and_then(ValueInfo::tensor_type).map(|known| known.element);
        check_element(name, known.unwrap_or(ElementType::Undefined))?;
    }
    scale(&mut model, &options.shares)?;
    if model.opset(DOMAIN).is_none() {
        model.opset_imports.push(OperatorSet { domain: DOMAIN.into(), version: 1 });
    }
    let mut b = Builder::extend(model)?;
    let always = always(&mut b);
    let sums = accumulate(&mut b, &trained)?;
    if let Update::Fed { clips, decaying } = &options.update {
        let norm = b.norm(&sums.iter().map(|sum| &sum.value).collect::<Vec<_>>());
        b.output(GRADIENT_NORM, &norm);
        if *clips {
            clip(&mut b, &norm, &sums, &always);
        }
        if !decaying.is_empty() {
            decay(&mut b, &norm, decaying, &options.shares)?;
        }
    }
    for name in &statistics {
        let [statistic, next] = [b.value(name)?, b.value(&format!("{NEXT}{name}"))?];
        write(&mut b, &[&statistic, &next, &always], name);
    }
    let mut model = b.finish()?;
    for output in &mut model.graph.outputs {
        if output.name.ends_with(WRITTEN) {
            output.r#type = Some(Type::tensor(DType::Bool, Some(vec![Dim::Fixed(1)])));
        } else if output.name == GRADIENT_NORM {
            output.r#type = Some(Type::tensor(DType::F32, Some(Vec::new())));
        }
    }
    check_in_place(&model)?;
    Ok(TrainingModel { model, trained, statistics })
}

/// Refuses shares and decays of what is not trained.
fn check_names(trained: &[String], options: &ArtifactOptions) -> Result<(), GraphError> {
    let decaying: Vec<&String> = match &options.update {
        Update::Uniform { .. } => Vec::new(),
        Update::Fed { decaying, .. } => decaying.iter().collect(),
    };
    match options.shares.keys().chain(decaying).find(|name| !trained.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let nearest = names::nearest(name, trained.iter().map(String::as_str));
            Err(GraphError::UnknownValue { name: name.clone(), nearest })
        }
    }
}

/// Lets inputs be what is stored, the parameters divided by their shares.
pub(super) fn scale(model: &mut Model, shares: &BTreeMap<String, f64>) -> Result<()> {
    let read: Vec<(&String, &f64)> = shares.iter().filter(|(name, _)| input(model, name).is_some()).collect();
    let value_of = |name: &str| format!("{name}.value");
    rename(model, &read.iter().map(|(name, _)| ((*name).clone(), value_of(name))).collect::<HashMap<_, _>>())?;
    let mut patch = Patch::new("shares of the rate");
    let mut inputs = model.graph.inputs.clone();
    for (name, share) in read {
        let (value, factor) = (value_of(name), format!("{name}.share"));
        inputs.iter_mut().filter(|input| input.name == value).for_each(|input| input.name.clone_from(name));
        let node = Node::new("Mul", &[name, &factor], &[&value]);
        patch.add_nodes.push(Node { name: value, ..node });
        patch.add_constants.push(Tensor::new(&factor, &HostTensor::scalar(*share as f32)));
    }
    patch.inputs = Some(inputs);
    patch.apply(model)
}

/// The sum of a parameter's gradients.
struct Sum {
    /// The parameter.
    name: String,
    buffer: Value,
    /// The buffer's content once the gradient is in it.
    value: Value,
}

/// Adds gradients to their buffers; gives the sums.
///
/// They stand in the opposite order of the backward pass, so that ONNX Runtime computes the last
/// layers' gradients first and gives their activations back.
fn accumulate(b: &mut Builder, trained: &[String]) -> Result<Vec<Sum>> {
    let reset = b.input(RESET, DType::Bool, &[Dim::Fixed(1)]);
    let mut gradients: Vec<(&String, Value)> =
        trained.iter().map(|name| Ok((name, b.value(&format!("{GRADIENT}{name}"))?))).collect::<Result<_>>()?;
    last_first(b, &mut gradients, |(_, gradient)| gradient);
    let mut sums = Vec::new();
    for (name, gradient) in gradients {
        let dims = b.dims(&b.value(name)?).map_or_else(Vec::new, <[Dim]>::to_vec);
        let buffer = b.input(&format!("{name}{BUFFER}"), DType::F32, &dims);
        let inputs = [&buffer, &gradient, &reset].map(Value::name);
        let node = Node { domain: DOMAIN.into(), ..Node::new(ACCUMULATOR, &inputs, &[]) };
        let [written, value] = b.scope(&format!("{name}.gradient"), |b| b.nodes(node));
        b.output(&format!("{name}{WRITTEN}"), &written);
        sums.push(Sum { name: name.clone(), buffer, value });
    }
    Ok(sums)
}

/// The constant true, bool `[1]`.
fn always(b: &mut Builder) -> Value {
    #[expect(clippy::expect_used, reason = "one byte is what one boolean takes")]
    let always = HostTensor::new(DType::Bool, vec![1], Bytes::from_static(&[1])).expect("a boolean");
    b.constant(&always)
}

/// Scales the sums down to a norm that is fed.
fn clip(b: &mut Builder, norm: &Value, sums: &[Sum], always: &Value) {
    let most = b.input(CLIP, DType::F32, &[]);
    let factor = b.scope("clip", |b| {
        b.express([&most, norm], |[most, norm]| (most / (norm + NORM_EPSILON)).min(norm.scalar(1.0)))
    });
    for Sum { name, buffer, value } in sums {
        let clipped = b.scope(&format!("{name}.clip"), |b| {
            b.express([value, &factor, buffer], |[value, factor, buffer]| value * factor.repeated_for(buffer))
        });
        write(b, &[buffer, &clipped, always], &format!("{name}.clip"));
    }
}

/// Lets parameters decay by a factor that is fed.
fn decay(b: &mut Builder, norm: &Value, decaying: &BTreeSet<String>, shares: &BTreeMap<String, f64>) -> Result<()> {
    let decay = b.input(DECAY, DType::F32, &[]);
    for name in decaying {
        let parameter = b.value(name)?;
        let share = shares.get(name).copied().unwrap_or(1.0);
        let change = b.scope(&format!("{name}.decay"), |b| {
            b.express([&parameter, &decay, norm], |[parameter, decay, norm]| {
                let factor = norm * 0.0 - decay * share;
                parameter * factor.repeated_for(parameter)
            })
        });
        write(b, &[&parameter, &change], &format!("{name}.decay"));
    }
    Ok(())
}

/// Adds an accumulator that writes over its first input; its flag is an output that the session
/// keeps to itself.
fn write(b: &mut Builder, inputs: &[&Value], name: &str) {
    let inputs: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
    let node = Node { domain: DOMAIN.into(), ..Node::new(ACCUMULATOR, &inputs, &[]) };
    let written = b.scope(name, |b| b.node(node));
    b.output(&format!("{name}{WRITTEN}"), &written);
}

/// Checks that whoever reads what an accumulator writes over does so before, in whatever order the
/// runtime takes the nodes.
fn check_in_place(model: &Model) -> Result<()> {
    let graph = &model.graph;
    let writers = graph.nodes.iter().enumerate().filter(|(_, node)| node.operator == ACCUMULATOR);
    for (own, writer) in writers.filter(|(_, writer)| !writer.inputs[0].ends_with(BUFFER)) {
        let before = needed_nodes(graph, [writer.outputs[0].as_str()], &HashSet::new());
        for (index, node) in graph.nodes.iter().enumerate() {
            if index != own && !before[index] && node.inputs.contains(&writer.inputs[0]) {
                let (parameter, node) = (writer.inputs[0].clone(), node.label().to_owned());
                return Err(FinetuneError::Aliased { parameter, node }.into());
            }
        }
    }
    Ok(())
}
