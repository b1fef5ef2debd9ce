//! Operators that draw numbers: what they draw does not change with what goes in.
//! <https://onnx.ai/onnx/operators/onnx__RandomUniformLike.html>

use crate::graph::ops::constant::like_shape;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, ElementType, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Bernoulli", since: 15, infer: like_shape, vjp: Vjp::Zero },
    OpDef { name: "RandomNormal", since: 7, infer: random, vjp: Vjp::Zero },
    OpDef { name: "RandomNormalLike", since: 7, infer: like_shape, vjp: Vjp::Zero },
    OpDef { name: "RandomUniform", since: 7, infer: random, vjp: Vjp::Zero },
    OpDef { name: "RandomUniformLike", since: 7, infer: like_shape, vjp: Vjp::Zero },
];

/// A shape that is an attribute.
fn random(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let shape = site.ints("shape").map(|shape| shape.iter().copied().map(Dim::Fixed).collect());
    Ok(vec![Fact::new(site.element("dtype").unwrap_or(ElementType::F32), shape)])
}
