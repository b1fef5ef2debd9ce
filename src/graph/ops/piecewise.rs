//! Functions with pieces: rectifiers, bounds, and dropout.
//! <https://onnx.ai/onnx/operators/onnx__Clip.html> and so on.
//!
//! At a bend a rule takes one of the two slopes, as PyTorch does.

use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::{Half, OpContext, OpDef, Result, Terms, VjpResult, same_shape};
use crate::graph::{ElementType, Expr, Fact, Node};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Celu", 7, same_shape).formula(celu),
    OpDef::new("Clip", 7, same_shape).formula(clip).half(Half::Computed),
    OpDef::new("Dropout", 7, infer_dropout).formula(dropout).random(),
    OpDef::new("Elu", 7, same_shape).formula(elu),
    OpDef::new("HardSigmoid", 7, same_shape).formula(hard_sigmoid),
    OpDef::new("HardSwish", 7, same_shape).formula(hard_swish).half(Half::Computed),
    OpDef::new("LeakyRelu", 7, same_shape).formula(leaky_relu).half(Half::Computed),
    OpDef::new("PRelu", 7, same_shape).formula(prelu).half(Half::Computed),
    OpDef::new("Relu", 7, same_shape).formula(relu).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Selu", 7, same_shape).formula(selu),
    OpDef::new("ThresholdedRelu", 7, same_shape).formula(thresholded_relu),
];

fn infer_dropout(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    // Before operator set 10 the mask has the type of the input.
    let mask = if site.opset < 10 { x.element } else { ElementType::Bool };
    Ok(vec![Fact::new(x.element, x.shape.clone()), Fact::new(mask, x.shape.clone())])
}

/// `dx = dy` where `y` is positive, else 0.
fn relu(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| dy * is_positive(y))
}

/// 1 where `x` is positive, 0 where it is zero, and nothing that is negative comes.
///
/// In f32 as `min(1, alpha x)` with the largest `alpha` there is, which ONNX Runtime computes on
/// all cores, unlike `Sign`; exact for all normal numbers.
fn is_positive(x: Expr<'_>) -> Expr<'_> {
    match x.dtype() {
        Some(DType::F32) => {
            x.node(Node::new("HardSigmoid", &[], &[]).with("alpha", f32::MAX).with("beta", 0.0f32), &[])
        }
        _ => x.apply("Sign", &[]),
    }
}

/// `dx = dy` where `y` is not at a bound (as `hardtanh` and `relu6` of PyTorch), else 0; of a
/// bound, the sum of `dy` where `x` lies beyond it.
fn clip(t: &Terms<'_>) -> VjpResult {
    let (x, y, dy) = (t.input(0)?, t.output(0)?, t.cotangent()?);
    let (least, most) = (t.optional(1), t.optional(2));
    let mut cotangents = vec![None, None, None];
    if t.context.wants(0) {
        let above = least.map(|least| y.greater(least));
        let below = most.map(|most| y.less(most));
        let inside = match (above, below) {
            (Some(above), Some(below)) => Some(above.apply("And", &[below])),
            (above, below) => above.or(below),
        };
        cotangents[0] = Some(inside.map_or(dy, |inside| dy * inside.cast(y.dtype_or_f32())).into());
    }
    for (index, bound) in [(1, least), (2, most)] {
        let Some(bound) = bound else { continue };
        cotangents[index] = t.wanted(index, || {
            let is_beyond = if index == 1 { x.less(bound) } else { x.greater(bound) };
            dy * is_beyond.cast(y.dtype_or_f32())
        })?;
    }
    Ok(cotangents)
}

/// `dx = dy above` where `x > 0`, else `dy below(x, y)`.
fn two_slopes<'f>(t: &Terms<'f>, above: f64, below: impl FnOnce(Expr<'f>, Expr<'f>) -> Expr<'f>) -> VjpResult {
    t.unary(|x, y, dy| {
        let is_above = x.greater(x.scalar(0.0));
        let above = x.scalar(above);
        dy * is_above.select(above, below(x, y))
    })
}

/// `y = alpha x` below 0: `dx = alpha dy` there.
fn leaky_relu(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 0.01);
    two_slopes(t, 1.0, |x, _| x.scalar(alpha))
}

/// `y = alpha (exp(x) - 1)` below 0: `dx = dy (y + alpha)` there.
fn elu(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 1.0);
    two_slopes(t, 1.0, |_, y| y + alpha)
}

/// `y = alpha (exp(x / alpha) - 1)` below 0: `dx = dy (y / alpha + 1)` there.
fn celu(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 1.0);
    two_slopes(t, 1.0, |_, y| y * (1.0 / alpha) + 1.0)
}

/// `y = gamma alpha (exp(x) - 1)` below 0, `gamma x` above: `dx = dy (y + gamma alpha)` and `dy
/// gamma`.
fn selu(t: &Terms<'_>) -> VjpResult {
    let (alpha, gamma) = (t.context.float("alpha", 1.673_263_2), t.context.float("gamma", 1.050_701));
    two_slopes(t, gamma, |_, y| y + gamma * alpha)
}

/// `dx = dy` where `x > alpha`, else 0.
fn thresholded_relu(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 1.0);
    t.unary(|x, _, dy| dy * x.greater(x.scalar(alpha)).cast(x.dtype_or_f32()))
}

/// One where `y` is between 0 and 1, else 0.
fn is_between_bounds(y: Expr<'_>) -> Expr<'_> {
    let (zero, one) = (y.scalar(0.0), y.scalar(1.0));
    let (above, below) = (y.greater(zero), y.less(one));
    above.apply("And", &[below]).cast(y.dtype_or_f32())
}

/// `y = clip(alpha x + beta, 0, 1)`: `dx = alpha dy` where `y` is not at a bound, else 0.
fn hard_sigmoid(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 0.2);
    t.unary(|_, y, dy| dy * (is_between_bounds(y) * alpha))
}

/// `y = x h`, `h = clip(x / 6 + 1/2, 0, 1)`: `dx = dy (h + x / 6)` where `h` is not at a bound,
/// else `dy h`.
fn hard_swish(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| {
        // Built of steps that have kernels in every floating-point type.
        let sixth = x * (1.0 / 6.0);
        let h = (sixth + 0.5).clip(0.0, 1.0);
        dy * (h + is_between_bounds(h) * sixth)
    })
}

/// `y = slope x` below 0: `dx = dy slope` there, `dslope = sum(dy min(x, 0))`.
fn prelu(t: &Terms<'_>) -> VjpResult {
    let (x, slope, dy) = (t.input(0)?, t.input(1)?, t.cotangent()?);
    let zero = x.scalar(0.0);
    let dx = t.context.wants(0).then(|| (dy * x.greater(zero).select(x.scalar(1.0), slope)).into());
    Ok(vec![dx, t.wanted(1, || dy * x.min(zero))?])
}

/// In training `y = x mask / (1 - ratio)`: `dx = dy mask / (1 - ratio)` with the operator's own
/// mask; else `dx = dy`.
fn dropout(t: &Terms<'_>) -> VjpResult {
    let training = match t.context.site.optional(2) {
        None => Some(0),
        Some(fact) => fact.as_fixed().and_then(|values| values.first().copied()),
    };
    if training == Some(0) {
        return t.unary(|_, _, dy| dy);
    }
    let dy = t.cotangent()?;
    let mask = t.extra_output(1)?.cast(dy.dtype_or_f32());
    let one = dy.scalar(1.0);
    let kept = match t.optional(1) {
        Some(ratio) => one - ratio.cast(dy.dtype_or_f32()),
        None => dy.scalar(0.5),
    };
    let scale = kept.reciprocal();
    let scale = match (training, t.optional(2)) {
        // Outside of training everything is in the mask and nothing is scaled.
        (None, Some(training)) => training.select(scale, one),
        _ => scale,
    };
    Ok(vec![Some((dy * (mask * scale)).into())])
}
