//! Functions with pieces: rectifiers, bounds, and dropout.
//! <https://onnx.ai/onnx/operators/onnx__Clip.html> and so on.
//!
//! At a bend a rule takes one of the two slopes, as PyTorch does.

use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{Builder, ElementType, Fact, Node, Value};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Celu", 7, same_shape).vjp(celu),
    OpDef::new("Clip", 7, same_shape).vjp(clip).half(Half::Computed),
    OpDef::new("Dropout", 7, infer_dropout).vjp(dropout).random(),
    OpDef::new("Elu", 7, same_shape).vjp(elu),
    OpDef::new("HardSigmoid", 7, same_shape).vjp(hard_sigmoid),
    OpDef::new("HardSwish", 7, same_shape).vjp(hard_swish).half(Half::Computed),
    OpDef::new("LeakyRelu", 7, same_shape).vjp(leaky_relu).half(Half::Computed),
    OpDef::new("PRelu", 7, same_shape).vjp(prelu).half(Half::Computed),
    OpDef::new("Relu", 7, same_shape).vjp(relu).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Selu", 7, same_shape).vjp(selu),
    OpDef::new("ThresholdedRelu", 7, same_shape).vjp(thresholded_relu),
];

fn infer_dropout(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    // Before operator set 10 the mask has the type of the input.
    let mask = if site.opset < 10 { x.element } else { ElementType::Bool };
    Ok(vec![Fact::new(x.element, x.shape.clone()), Fact::new(mask, x.shape.clone())])
}

/// `dx = dy` where `x > 0`, else 0.
fn relu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| {
        let open = sign(b, y);
        b.mul(dy, &open)
    })
}

/// 1 where `x` is positive, 0 where it is zero, and nothing that is negative comes.
///
/// In f32 as `min(1, alpha x)` with the largest `alpha` there is, which ONNX Runtime computes on
/// all cores, unlike `Sign`; exact for all normal numbers.
fn sign(b: &mut Builder, x: &Value) -> Value {
    match b.dtype(x) {
        Some(DType::F32) => {
            b.node(Node::new("HardSigmoid", &[x.name()], &[]).with("alpha", f32::MAX).with("beta", 0.0f32))
        }
        _ => b.apply("Sign", &[x]),
    }
}

/// `dx = dy` where `y` is not at a bound (as `hardtanh` and `relu6` of PyTorch), else 0; of a
/// bound, the sum of `dy` where `x` lies beyond it.
fn clip(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, y, dy) = (a.input(0)?, a.output(0)?, a.cotangent()?);
    let dtype = b.dtype(y).unwrap_or(DType::F32);
    let (least, most) = (a.optional(1), a.optional(2));
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        let above = least.map(|least| b.greater(y, least));
        let below = most.map(|most| b.less(y, most));
        let open = match (above, below) {
            (Some(above), Some(below)) => Some(b.apply("And", &[&above, &below])),
            (above, below) => above.or(below),
        };
        passed[0] = Some(match open {
            Some(open) => {
                let open = b.cast(&open, dtype);
                b.mul(dy, &open).into()
            }
            None => dy.clone().into(),
        });
    }
    for (index, bound) in [(1, least), (2, most)] {
        let Some(bound) = bound.filter(|_| a.wants(index)) else { continue };
        let is_beyond = if index == 1 { b.less(x, bound) } else { b.greater(x, bound) };
        let beyond = b.cast(&is_beyond, dtype);
        let product = b.mul(dy, &beyond);
        passed[index] = Some(b.sum_to(&product, bound).into());
    }
    Ok(passed)
}

/// `dx = dy above` where `x > 0`, else `dy below`; each a number or a value.
fn bent(
    a: &VjpContext<'_>,
    b: &mut Builder,
    above: f64,
    below: impl FnOnce(&mut Builder, &Value, &Value) -> Value,
) -> VjpResult {
    unary(a, b, |b, x, y, dy| {
        let zero = b.scalar_like(x, 0.0);
        let is_above = b.greater(x, &zero);
        let above = b.scalar_like(x, above);
        let below = below(b, x, y);
        let slope = b.select(&is_above, &above, &below);
        b.mul(dy, &slope)
    })
}

/// `y = alpha x` below 0: `dx = alpha dy` there.
fn leaky_relu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let alpha = a.float("alpha", 0.01);
    bent(a, b, 1.0, |b, x, _| b.scalar_like(x, alpha))
}

/// `y = alpha (exp(x) - 1)` below 0: `dx = dy (y + alpha)` there.
fn elu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let alpha = a.float("alpha", 1.0);
    bent(a, b, 1.0, |b, _, y| {
        let alpha = b.scalar_like(y, alpha);
        b.add(y, &alpha)
    })
}

/// `y = alpha (exp(x / alpha) - 1)` below 0: `dx = dy (y / alpha + 1)` there.
fn celu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let alpha = a.float("alpha", 1.0);
    bent(a, b, 1.0, |b, _, y| {
        let (scale, one) = (b.scalar_like(y, 1.0 / alpha), b.scalar_like(y, 1.0));
        let scaled = b.mul(y, &scale);
        b.add(&scaled, &one)
    })
}

/// `y = gamma alpha (exp(x) - 1)` below 0, `gamma x` above: `dx = dy (y + gamma alpha)` and `dy
/// gamma`.
fn selu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (alpha, gamma) = (a.float("alpha", 1.673_263_2), a.float("gamma", 1.050_701));
    bent(a, b, gamma, |b, _, y| {
        let least = b.scalar_like(y, gamma * alpha);
        b.add(y, &least)
    })
}

/// `dx = dy` where `x > alpha`, else 0.
fn thresholded_relu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let alpha = a.float("alpha", 1.0);
    unary(a, b, |b, x, _, dy| {
        let alpha = b.scalar_like(x, alpha);
        let is_above = b.greater(x, &alpha);
        let slope = b.cast(&is_above, b.dtype(x).unwrap_or(DType::F32));
        b.mul(dy, &slope)
    })
}

/// One where `y` is between 0 and 1, else 0.
fn between_bounds(b: &mut Builder, y: &Value) -> Value {
    let (zero, one) = (b.scalar_like(y, 0.0), b.scalar_like(y, 1.0));
    let (above, below) = (b.greater(y, &zero), b.less(y, &one));
    let inside = b.apply("And", &[&above, &below]);
    b.cast(&inside, b.dtype(y).unwrap_or(DType::F32))
}

/// `y = clip(alpha x + beta, 0, 1)`: `dx = alpha dy` where `y` is not at a bound, else 0.
fn hard_sigmoid(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let alpha = a.float("alpha", 0.2);
    unary(a, b, |b, _, y, dy| {
        let inside = between_bounds(b, y);
        let alpha = b.scalar_like(y, alpha);
        let slope = b.mul(&inside, &alpha);
        b.mul(dy, &slope)
    })
}

/// `y = x h`, `h = clip(x / 6 + 1/2, 0, 1)`: `dx = dy (h + x / 6)` where `h` is not at a bound,
/// else `dy h`.
fn hard_swish(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        // Built of steps that have kernels in every floating-point type.
        let (sixth, half) = (b.scalar_like(x, 1.0 / 6.0), b.scalar_like(x, 0.5));
        let scaled = b.mul(x, &sixth);
        let line = b.add(&scaled, &half);
        let gate = b.clip(&line, 0.0, 1.0);
        let inside = between_bounds(b, &gate);
        let rest = b.mul(&inside, &scaled);
        let slope = b.add(&gate, &rest);
        b.mul(dy, &slope)
    })
}

/// `y = slope x` below 0: `dx = dy slope` there, `dslope = sum(dy min(x, 0))`.
fn prelu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, slope, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let zero = b.scalar_like(x, 0.0);
    let mut passed = vec![None, None];
    if a.wants(0) {
        let (is_above, one) = (b.greater(x, &zero), b.scalar_like(x, 1.0));
        let factor = b.select(&is_above, &one, slope);
        passed[0] = Some(b.mul(dy, &factor).into());
    }
    if a.wants(1) {
        let below = b.min(x, &zero);
        let product = b.mul(dy, &below);
        passed[1] = Some(b.sum_to(&product, slope).into());
    }
    Ok(passed)
}

/// In training `y = x mask / (1 - ratio)`: `dx = dy mask / (1 - ratio)` with the operator's own
/// mask; else `dx = dy`.
fn dropout(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let training = match a.site.optional(2) {
        None => Some(0),
        Some(fact) => fact.as_fixed().and_then(|values| values.first().copied()),
    };
    if training == Some(0) {
        return unary(a, b, |_, _, _, dy| dy.clone());
    }
    let dy = a.cotangent()?;
    let mask = b.extra_output(a.output(0)?, 1).ok_or_else(|| a.site.error("a node of the graph", "none"))?;
    let dtype = b.dtype(dy).unwrap_or(DType::F32);
    let mask = b.cast(&mask, dtype);
    let one = b.scalar_like(dy, 1.0);
    let kept = match a.optional(1) {
        Some(ratio) => {
            let ratio = b.cast(ratio, dtype);
            b.sub(&one, &ratio)
        }
        None => b.scalar_like(dy, 0.5),
    };
    let scale = b.reciprocal(&kept);
    let scale = match (training, a.optional(2)) {
        // Outside of training everything is in the mask and nothing is scaled.
        (None, Some(training)) => b.select(training, &scale, &one),
        _ => scale,
    };
    let factor = b.mul(&mask, &scale);
    Ok(vec![Some(b.mul(dy, &factor).into())])
}
