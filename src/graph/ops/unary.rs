//! Operators whose output has the shape of their first input: activations, element-wise functions,
//! normalisations.
//!
//! <https://onnx.ai/onnx/operators/>; softmax before operator set 13 and batch normalisation before
//! 9 have the same shapes.

use crate::graph::ops::vjp::{activation, channels, index, normalization, piecewise};
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{ElementType, Fact};

const fn like_input(name: &'static str, vjp: Vjp) -> OpDef {
    OpDef { name, since: 7, infer: same, vjp }
}

pub(super) const OPERATORS: &[OpDef] = &[
    like_input("Abs", Vjp::Rule(activation::abs)),
    like_input("BitwiseNot", Vjp::Zero),
    like_input("Ceil", Vjp::Zero),
    like_input("Celu", Vjp::Rule(piecewise::celu)),
    like_input("Clip", Vjp::Rule(piecewise::clip)),
    like_input("Cos", Vjp::Rule(activation::cos)),
    like_input("CumSum", Vjp::Rule(index::cum_sum)),
    like_input("Elu", Vjp::Rule(piecewise::elu)),
    like_input("Erf", Vjp::Rule(activation::erf)),
    like_input("Exp", Vjp::Rule(activation::exp)),
    like_input("Floor", Vjp::Zero),
    like_input("Gelu", Vjp::Rule(activation::gelu)),
    like_input("GroupNormalization", Vjp::Rule(channels::group_normalization)),
    like_input("HardSigmoid", Vjp::Rule(piecewise::hard_sigmoid)),
    like_input("HardSwish", Vjp::Rule(piecewise::hard_swish)),
    like_input("Hardmax", Vjp::Zero),
    like_input("InstanceNormalization", Vjp::Rule(channels::instance_normalization)),
    like_input("LRN", Vjp::Rule(normalization::local_response)),
    like_input("LeakyRelu", Vjp::Rule(piecewise::leaky_relu)),
    like_input("Log", Vjp::Rule(activation::log)),
    like_input("LogSoftmax", Vjp::Rule(normalization::log_softmax)),
    like_input("LpNormalization", Vjp::Rule(normalization::lp_normalization)),
    like_input("MeanVarianceNormalization", Vjp::Rule(normalization::mean_variance_normalization)),
    like_input("Mish", Vjp::Rule(activation::mish)),
    like_input("Neg", Vjp::Rule(activation::neg)),
    like_input("Not", Vjp::Zero),
    like_input("PRelu", Vjp::Rule(piecewise::prelu)),
    like_input("Reciprocal", Vjp::Rule(activation::reciprocal)),
    like_input("Relu", Vjp::Rule(piecewise::relu)),
    like_input("Round", Vjp::Zero),
    like_input("ScatterElements", Vjp::Rule(index::scatter_elements)),
    like_input("ScatterND", Vjp::Rule(index::scatter_nd)),
    like_input("Selu", Vjp::Rule(piecewise::selu)),
    like_input("Sigmoid", Vjp::Rule(activation::sigmoid)),
    like_input("Sign", Vjp::Zero),
    like_input("Sin", Vjp::Rule(activation::sin)),
    like_input("Softmax", Vjp::Rule(normalization::softmax)),
    like_input("Softplus", Vjp::Rule(activation::softplus)),
    like_input("Softsign", Vjp::Rule(activation::softsign)),
    like_input("Sqrt", Vjp::Rule(activation::sqrt)),
    like_input("Tanh", Vjp::Rule(activation::tanh)),
    like_input("ThresholdedRelu", Vjp::Rule(piecewise::thresholded_relu)),
    like_input("Trilu", Vjp::Rule(index::trilu)),
    OpDef { name: "Identity", since: 7, infer: identity, vjp: Vjp::Rule(activation::identity) },
    OpDef { name: "Cast", since: 7, infer: cast, vjp: Vjp::Rule(activation::cast) },
    OpDef { name: "CastLike", since: 15, infer: cast_like, vjp: Vjp::Rule(activation::cast) },
    OpDef { name: "IsNaN", since: 9, infer: is_something, vjp: Vjp::Zero },
    OpDef { name: "IsInf", since: 10, infer: is_something, vjp: Vjp::Zero },
    OpDef { name: "Dropout", since: 7, infer: dropout, vjp: Vjp::Rule(piecewise::dropout) },
    OpDef {
        name: "BatchNormalization",
        since: 7,
        infer: batch_normalization,
        vjp: Vjp::Rule(channels::batch_normalization),
    },
    OpDef {
        name: "LayerNormalization",
        since: 17,
        infer: layer_normalization,
        vjp: Vjp::Rule(normalization::layer_normalization),
    },
];

fn same(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    Ok(vec![Fact::new(x.element, x.shape.clone())])
}

fn identity(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![site.input(0)?.clone()])
}

fn is_something(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(ElementType::Bool, site.input(0)?.shape.clone())])
}

/// Whole numbers stay what they are; others are not followed through a cast.
fn cast(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let element = site.element("to").ok_or_else(|| site.error("an element type in `to`", "none"))?;
    let is_whole = matches!(element, ElementType::I64 | ElementType::I32);
    let constant = if is_whole && x.as_integers().is_some() { x.constant.clone() } else { None };
    Ok(vec![Fact { element, shape: x.shape.clone(), constant }])
}

fn cast_like(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(site.input(1)?.element, site.input(0)?.shape.clone())])
}

fn dropout(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    // Before operator set 10 the mask has the type of the input.
    let mask = if site.opset < 10 { x.element } else { ElementType::Bool };
    Ok(vec![Fact::new(x.element, x.shape.clone()), Fact::new(mask, x.shape.clone())])
}

/// The outputs behind the first are statistics, [C].
fn batch_normalization(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    if let Some(channels) = x.shape.as_ref().and_then(|shape| shape.get(1)) {
        for index in 1..5 {
            if let Some([size]) = site.input(index)?.shape.as_deref() {
                site.same_size(&format!("input {index} of size"), channels, size)?;
            }
        }
    }
    let mut outputs = vec![Fact::new(x.element, x.shape.clone())];
    for _ in 0..4 {
        let statistic = site.input(3)?;
        outputs.push(Fact::new(statistic.element, statistic.shape.clone()));
    }
    Ok(outputs)
}

/// Outputs: the normalised input; mean and inverse deviation with the normalised axes of size 1.
fn layer_normalization(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let statistics = match &x.shape {
        None => None,
        Some(shape) => {
            let axis = site.axis(site.int("axis").unwrap_or(-1), shape.len())?;
            for (input, what) in [(1, "a scale of shape"), (2, "a bias of shape")] {
                if let Some(given) = site.optional(input).and_then(|fact| fact.shape.as_ref()) {
                    let normal = site.broadcast(&shape[axis..], given)?;
                    normal.iter().zip(&shape[axis..]).try_for_each(|(a, b)| site.same_size(what, b, a))?;
                }
            }
            let dim = |(index, dim): (usize, &crate::graph::Dim)| if index < axis { dim.clone() } else { 1i64.into() };
            Some(shape.iter().enumerate().map(dim).collect())
        }
    };
    let statistic = Fact::new(site.element("stash_type").unwrap_or(ElementType::F32), statistics);
    Ok(vec![Fact::new(x.element, x.shape.clone()), statistic.clone(), statistic])
}
