//! A whole model as a model of its gradients: the model's inputs and `labels` in, `loss` and
//! `grad/<parameter>` out.

use std::collections::HashSet;

use crate::error::{GraphError, Result};
use crate::graph::autodiff::loss::LossOptions;
use crate::graph::autodiff::{GRADIENT, gradients, loss};
use crate::graph::rewrite::{dead, expose_weights, lift, slice_sequences};
use crate::graph::{Builder, Dim, Graph, Model, Value, fixed_weights, inline_functions, shape_text};
use crate::support::seed::Seed;
use crate::tensor::safetensors::Tensors;
use crate::tensor::{DType, HostTensor};

/// Which loss stands on the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Mean cross-entropy of logits `[N, C]`; `labels` i64 `[N]`, others than `0..C` are not known.
    CrossEntropy,
    /// Mean binary cross-entropy of logits `[N, C]`; `labels` `[N, C]` of the output's type, NaN is
    /// not known.
    BinaryCrossEntropy,
    /// Mean squared difference; `labels` in shape and type of the output, NaN is not known.
    SquaredError,
}

/// What is differentiated.
#[derive(Clone, Debug)]
pub struct Differentiation<'a> {
    /// The output that the loss, or the head, stands on.
    pub output: &'a str,
    /// The loss.
    pub loss: LossKind,
    /// Classes of a linear head put on the output, `[N, D]`: `head.weight` `[C, D]` drawn from the
    /// seed, evenly between `-1 / sqrt(D)` and `1 / sqrt(D)`, and `head.bias` of zeros.
    pub head: Option<(usize, u64)>,
}

/// A model of gradients.
#[derive(Clone, Debug)]
pub struct Differentiated {
    /// The model's inputs and `labels` in, `loss` and the gradients out.
    pub model: Model,
    /// Weights of the model without a gradient, each with the reason, see [`fixed_weights`].
    pub fixed: Vec<String>,
    /// The value that the loss stands on: the output asked for, or what a head makes of it.
    pub output: String,
}

impl Differentiated {
    /// The values of all weights that have a gradient.
    pub fn weights(&self) -> Tensors {
        let outputs = self.model.graph.outputs.iter();
        let names = outputs.filter_map(|output| output.name.strip_prefix(GRADIENT));
        let stored = |name: &str| Some((name.to_owned(), self.model.graph.initializer(name)?.to_host()?));
        names.filter_map(stored).collect()
    }
}

/// Adds loss and gradients to a model; one of an operator set from 9 on is lifted to 17 first.
///
/// Functions are inlined first. Parameters are the floating-point initializers with axes,
/// `Constant` nodes with more than one number, and weights that are dequantised, as far as they
/// reach the loss. Constants stay single numbers (bounds, factors) and running statistics of batch
/// normalisations. Only `loss` and the gradients remain outputs.
///
/// # Errors
/// As [`gradients`]; [`GraphError::UnknownValue`] for the output, [`GraphError::Operator`] for a
/// head or cross-entropy on something else than vectors, [`GraphError::Opset`] for operator sets
/// that cannot be lifted, [`GraphError::NothingTrained`] when no weight has a gradient.
pub fn differentiate(model: Model, wanted: &Differentiation<'_>) -> Result<Differentiated> {
    let mut model = lift(inline_functions(model)?)?;
    expose_weights(&model).0.apply(&mut model)?;
    slice_sequences(&model)?.apply(&mut model)?;
    let constants: HashSet<String> = model.graph.constant_names().map(str::to_owned).collect();
    let statistics = running_statistics(&model.graph);
    let parameters: Vec<String> = (model.graph.initializers.iter())
        .filter(|tensor| {
            tensor.element.is_float() && !tensor.shape.is_empty() && !statistics.contains(tensor.name.as_str())
        })
        .map(|tensor| tensor.name.clone())
        .collect();
    let mut b = Builder::extend(model.clone())?;
    let mut output = b.value(wanted.output)?;
    let mut parameters: Vec<Value> = parameters.iter().map(|name| b.value(name)).collect::<Result<_>>()?;
    if let Some((classes, seed)) = wanted.head {
        let (weight, bias) = head(&mut b, &output, classes, seed, &constants)?;
        output = b.scope("head", |b| b.linear(&output, &weight, Some(&bias)));
        parameters.extend([weight, bias]);
    }
    match (wanted.loss, b.dims(&output).map(<[Dim]>::len)) {
        (LossKind::CrossEntropy, Some(2)) | (LossKind::BinaryCrossEntropy | LossKind::SquaredError, Some(_)) => {}
        (LossKind::CrossEntropy, _) => {
            return Err(unsuitable(&b, &output, "loss", "an output of vectors, [N, C]").into());
        }
        (_, None) => return Err(unsuitable(&b, &output, "loss", "an output of a known number of axes").into()),
    }
    let dtype = b.dtype(&output).unwrap_or(DType::F32);
    let dims: Vec<Dim> = b.dims(&output).map(<[Dim]>::to_vec).unwrap_or_default();
    let options = LossOptions::default();
    let batch = dims.first().cloned().unwrap_or(Dim::symbol("batch"));
    let value = match wanted.loss {
        LossKind::CrossEntropy => {
            let labels = b.input("labels", DType::I64, &[batch]);
            loss::cross_entropy(&mut b, &output, &labels, &options)
        }
        LossKind::BinaryCrossEntropy => {
            let labels = b.input("labels", dtype, &dims);
            loss::binary_cross_entropy(&mut b, &output, &labels, &options)
        }
        LossKind::SquaredError => {
            let labels = b.input("labels", dtype, &dims);
            loss::squared(&mut b, &output, &labels, &options)
        }
    };
    let found = gradients(&mut b, &value, &parameters)?;
    let trained: HashSet<&str> = parameters
        .iter()
        .zip(&found)
        .filter(|(_, gradient)| gradient.is_some())
        .map(|(value, _)| value.name())
        .collect();
    let fixed = fixed_weights(&model, |name| trained.contains(name));
    if trained.is_empty() {
        return Err(GraphError::NothingTrained { output: wanted.output.to_owned(), fixed }.into());
    }
    b.drop_outputs();
    b.output("loss", &value);
    for (parameter, gradient) in parameters.iter().zip(found) {
        if let Some(gradient) = gradient {
            b.output(&format!("{GRADIENT}{}", parameter.name()), &gradient);
        }
    }
    let mut model = b.finish()?;
    dead(&model).apply(&mut model)?;
    Ok(Differentiated { model, fixed, output: output.name().to_owned() })
}

/// Values that batch normalisations take as their statistics, and nothing else does.
fn running_statistics(graph: &Graph) -> HashSet<&str> {
    let (mut statistics, mut others) = (HashSet::new(), HashSet::new());
    for node in &graph.nodes {
        for (index, input) in node.inputs.iter().enumerate() {
            let is_statistic = node.operator == "BatchNormalization" && index >= 3;
            if is_statistic { &mut statistics } else { &mut others }.insert(input.as_str());
        }
    }
    statistics.difference(&others).copied().collect()
}

/// The error that a head or loss does not fit the output.
fn unsuitable(b: &Builder, output: &Value, what: &str, expected: &str) -> GraphError {
    GraphError::Operator {
        node: output.name().to_owned(),
        operator: what.to_owned(),
        expected: expected.to_owned(),
        found: b.dims(output).map_or_else(|| "an unknown shape".to_owned(), shape_text),
    }
}

/// Weight and bias of a linear head.
fn head(b: &mut Builder, output: &Value, classes: usize, seed: u64, taken: &HashSet<String>) -> Result<(Value, Value)> {
    use rand::Rng;

    let width = b.dims(output).filter(|dims| dims.len() == 2).and_then(|dims| dims[1].fixed());
    let Some(width) = width.and_then(|width| usize::try_from(width).ok()).filter(|width| *width > 0) else {
        return Err(unsuitable(b, output, "head", "an output of vectors of known length, [N, D]").into());
    };
    let name = |name: &str| if taken.contains(name) { format!("{name}.new") } else { name.to_owned() };
    let bound = 1.0 / (width as f32).sqrt();
    let mut random = Seed::new(seed).named("head").random();
    let weight = HostTensor::from_fn(&[classes, width], |_| random.gen_range(-bound..bound));
    let weight = b.parameter(&name("head.weight"), &weight);
    let bias = b.parameter(&name("head.bias"), &HostTensor::from_fn(&[classes], |_| 0.0f32));
    Ok((weight, bias))
}
