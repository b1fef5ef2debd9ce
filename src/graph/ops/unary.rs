//! Operators whose output has the shape of their first input: activations, element-wise functions, normalisations.
//!
//! <https://onnx.ai/onnx/operators/>; softmax before operator set 13 and batch normalisation before 9 have the same shapes.

use crate::graph::ElementType;
use crate::graph::Fact;
use crate::graph::ops::OpDef;
use crate::graph::ops::Result;
use crate::graph::ops::Site;

const fn like_input(name: &'static str) -> OpDef {
    OpDef { name, since: 7, infer: same }
}

pub(super) const OPERATORS: &[OpDef] = &[
    like_input("Abs"),
    like_input("BitwiseNot"),
    like_input("Ceil"),
    like_input("Celu"),
    like_input("Clip"),
    like_input("Cos"),
    like_input("CumSum"),
    like_input("Elu"),
    like_input("Erf"),
    like_input("Exp"),
    like_input("Floor"),
    like_input("Gelu"),
    like_input("GroupNormalization"),
    like_input("HardSigmoid"),
    like_input("HardSwish"),
    like_input("Hardmax"),
    like_input("InstanceNormalization"),
    like_input("LRN"),
    like_input("LeakyRelu"),
    like_input("Log"),
    like_input("LogSoftmax"),
    like_input("LpNormalization"),
    like_input("MeanVarianceNormalization"),
    like_input("Mish"),
    like_input("Neg"),
    like_input("Not"),
    like_input("PRelu"),
    like_input("Reciprocal"),
    like_input("Relu"),
    like_input("Round"),
    like_input("ScatterElements"),
    like_input("ScatterND"),
    like_input("Selu"),
    like_input("Sigmoid"),
    like_input("Sign"),
    like_input("Sin"),
    like_input("Softmax"),
    like_input("Softplus"),
    like_input("Softsign"),
    like_input("Sqrt"),
    like_input("Tanh"),
    like_input("ThresholdedRelu"),
    like_input("Trilu"),
    OpDef { name: "Identity", since: 7, infer: identity },
    OpDef { name: "Cast", since: 7, infer: cast },
    OpDef { name: "IsNaN", since: 9, infer: is_something },
    OpDef { name: "IsInf", since: 10, infer: is_something },
    OpDef { name: "Dropout", since: 7, infer: dropout },
    OpDef { name: "BatchNormalization", since: 7, infer: batch_normalization },
    OpDef { name: "LayerNormalization", since: 17, infer: layer_normalization },
];

fn same(site: &Site<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    Ok(vec![Fact::new(x.element, x.shape.clone())])
}

fn identity(site: &Site<'_>) -> Result<Vec<Fact>> {
    Ok(vec![site.input(0)?.clone()])
}

fn is_something(site: &Site<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(ElementType::Bool, site.input(0)?.shape.clone())])
}

/// Whole numbers stay what they are; others are not followed through a cast.
fn cast(site: &Site<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let element = site.element("to").ok_or_else(|| site.error("an element type in `to`", "none"))?;
    let is_whole = matches!(element, ElementType::I64 | ElementType::I32);
    let constant = if is_whole && x.as_integers().is_some() { x.constant.clone() } else { None };
    Ok(vec![Fact { element, shape: x.shape.clone(), constant }])
}

fn dropout(site: &Site<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    // Before operator set 10 the mask has the type of the input.
    let mask = if site.opset < 10 { x.element } else { ElementType::Bool };
    Ok(vec![Fact::new(x.element, x.shape.clone()), Fact::new(mask, x.shape.clone())])
}

/// The outputs behind the first are statistics, [C].
fn batch_normalization(site: &Site<'_>) -> Result<Vec<Fact>> {
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
fn layer_normalization(site: &Site<'_>) -> Result<Vec<Fact>> {
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
