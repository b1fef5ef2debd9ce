//! Functions of one number, applied element by element: smooth ones and steps; casts.
//! <https://onnx.ai/onnx/operators/onnx__Gelu.html> and so on.
//!
//! A rule is written with `y` where it saves computing the function again: `dx = dy y` for the
//! exponential. Those that are made of pieces are in `piecewise.rs`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use crate::graph::fact::Constant;
use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::{Half, OpContext, OpDef, Result, Terms, VjpResult, same_shape};
use crate::graph::{Dim, ElementType, Expr, Fact, Node};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Abs", 7, same_shape).formula(abs).half(Half::Computed),
    OpDef::new("BitwiseNot", 7, same_shape).no_gradient(),
    OpDef::new("Cast", 7, infer_cast).formula(cast),
    OpDef::new("CastLike", 15, infer_cast_like).formula(cast),
    OpDef::new("Ceil", 7, |site| computed(site, f32::ceil)).no_gradient(),
    OpDef::new("Cos", 7, same_shape).formula(cos),
    OpDef::new("Erf", 7, same_shape).formula(erf).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Exp", 7, same_shape).formula(exp).by_row(elementwise_rows),
    OpDef::new("Floor", 7, |site| computed(site, f32::floor)).no_gradient(),
    OpDef::new("Gelu", 7, same_shape).formula(gelu).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Identity", 7, infer_identity).formula(identity).half(Half::Moved).by_row(elementwise_rows),
    OpDef::new("IsInf", 10, infer_is_something).no_gradient(),
    OpDef::new("IsNaN", 9, infer_is_something).no_gradient(),
    OpDef::new("Log", 7, same_shape).formula(log),
    OpDef::new("Mish", 7, same_shape).formula(mish),
    OpDef::new("Neg", 7, same_shape).formula(neg).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Not", 7, same_shape).no_gradient(),
    OpDef::new("Reciprocal", 7, same_shape).formula(reciprocal),
    OpDef::new("Round", 7, |site| computed(site, f32::round_ties_even)).no_gradient(),
    OpDef::new("Sigmoid", 7, same_shape).formula(sigmoid).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Sign", 7, same_shape).no_gradient(),
    OpDef::new("Sin", 7, same_shape).formula(sin),
    OpDef::new("Softplus", 7, same_shape).formula(softplus).by_row(elementwise_rows),
    OpDef::new("Softsign", 7, same_shape).formula(softsign),
    OpDef::new("Sqrt", 7, |site| computed(site, f32::sqrt)).formula(sqrt).by_row(elementwise_rows),
    OpDef::new("Swish", 24, same_shape).formula(swish).by_row(elementwise_rows),
    OpDef::new("Tanh", 7, same_shape).formula(tanh).half(Half::Computed).by_row(elementwise_rows),
];

fn infer_identity(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![site.input(0)?.clone()])
}

fn infer_is_something(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(ElementType::Bool, site.input(0)?.shape.clone())])
}

/// Whole numbers stay what they are; others are not followed through a cast.
fn infer_cast(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let element = site.element("to").ok_or_else(|| site.error("an element type in `to`", "none"))?;
    let constant = match (element, &x.constant) {
        (ElementType::I64 | ElementType::I32, Some(Constant::Floats(values))) => {
            Some(Constant::Integers(values.iter().map(|&value| Dim::Fixed(value as i64)).collect()))
        }
        (ElementType::I64 | ElementType::I32, whole) => whole.clone(),
        (ElementType::F32 | ElementType::F64, Some(Constant::Integers(_))) => {
            x.as_fixed().map(|values| Constant::Floats(values.into_iter().map(|value| value as f32).collect()))
        }
        (ElementType::F32 | ElementType::F64, real) => real.clone(),
        _ => None,
    };
    Ok(vec![Fact { element, shape: x.shape.clone(), constant }])
}

/// Computes a function of floating-point numbers that are known: sizes are made of some.
fn computed(site: &OpContext<'_>, function: fn(f32) -> f32) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let values = x.as_floats().map(|values| values.iter().map(|&value| function(value)).collect());
    Ok(vec![Fact { constant: values.map(Constant::Floats), ..Fact::new(x.element, x.shape.clone()) }])
}

fn infer_cast_like(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(site.input(1)?.element, site.input(0)?.shape.clone())])
}

/// `dx = dy`.
fn identity(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, _, dy| dy)
}

/// `dx = dy` in the type of `x`; nothing for the value whose type is taken over.
fn cast(t: &Terms<'_>) -> VjpResult {
    if !t.context.wants(0) {
        return Ok(Vec::new());
    }
    let site = &t.context.site;
    let from = site.input(0)?.element;
    let Some(dtype) = from.dtype().filter(|_| from.is_float()) else {
        return Err(site.error("an input of a known floating-point type", from.to_string()));
    };
    t.unary(|_, _, dy| if dy.dtype() == Some(dtype) { dy } else { dy.cast(dtype) })
}

/// `dx = dy 2 / sqrt(pi) exp(-x^2)`.
fn erf(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| dy * ((-(x * x)).exp() * FRAC_2_SQRT_PI))
}

/// The normal distribution function `Phi = (1 + e) / 2` of `e = erf(x / sqrt 2)`; of f32 in one go.
fn normal_cdf(error: Expr<'_>) -> Expr<'_> {
    if error.dtype() == Some(DType::F32) {
        return error.node(Node::new("HardSigmoid", &[], &[]).with("alpha", 0.5f32).with("beta", 0.5f32), &[]);
    }
    let half = error.scalar(0.5);
    (error + 1.0) * half
}

fn gelu(t: &Terms<'_>) -> VjpResult {
    match t.context.site.text("approximate").unwrap_or("none") {
        "none" => t.unary(exact_gelu),
        _ => t.unary(gelu_by_tanh),
    }
}

/// `y = x Phi(x)`: `dx = dy (Phi(x) + x phi(x))` with the normal distribution function and its
/// density.
///
/// With `s = x / sqrt 2`: `Phi(x) + x phi(x) = (1 + erf(s)) / 2 + s / exp(s^2) / sqrt(pi)`.
fn exact_gelu<'f>(x: Expr<'f>, _: Expr<'f>, dy: Expr<'f>) -> Expr<'f> {
    let s = x * FRAC_1_SQRT_2;
    let x_density = s / (s * s).exp() * (FRAC_2_SQRT_PI / 2.0);
    dy * (normal_cdf(s.erf()) + x_density)
}

/// `y = x/2 (1 + t)`, `t = tanh(u)`, `u = r (x + c x^3)` with `r = sqrt(2/pi)`, `c = 0.044715`:
/// `dx = dy (1 + t + x (1 - t^2) du/dx) / 2`, `du/dx = r (1 + 3 c x^2)`.
fn gelu_by_tanh<'f>(x: Expr<'f>, _: Expr<'f>, dy: Expr<'f>) -> Expr<'f> {
    let (half, r, c) = (x.scalar(0.5), (2.0 / PI).sqrt(), 0.044_715);
    let square = x * x;
    let tanh = (x * (square * (r * c) + r)).tanh();
    let x_du_dx = x * (square * (3.0 * r * c) + r);
    // 1 + t + (1 - t)(1 + t) x u' = (1 + t) (1 + (1 - t) x u')
    dy * ((tanh + 1.0) * ((1.0 - tanh) * x_du_dx + 1.0) * half)
}

/// `dx = dy (1 - y^2)`.
fn tanh(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| dy * (1.0 - y * y))
}

/// `dx = dy y (1 - y)`.
fn sigmoid(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| dy * (y * (1.0 - y)))
}

/// `dx = dy / (2 y)`.
fn sqrt(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| dy * 0.5 / y)
}

/// `dx = dy y`.
fn exp(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| dy * y)
}

/// `dx = dy / x`.
fn log(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| dy / x)
}

/// `dx = -dy`.
fn neg(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, _, dy| -dy)
}

/// `dx = dy sigmoid(x)`.
fn softplus(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| dy * x.sigmoid())
}

/// `dx = dy sign(x)`.
fn abs(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| dy * x.apply("Sign", &[]))
}

/// `dx = -dy y^2`.
fn reciprocal(t: &Terms<'_>) -> VjpResult {
    t.unary(|_, y, dy| -(dy * y * y))
}

/// `dx = dy cos(x)`.
fn sin(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| dy * x.apply("Cos", &[]))
}

/// `dx = -dy sin(x)`.
fn cos(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| -(dy * x.apply("Sin", &[])))
}

/// `y = x t`, `t = tanh(softplus(x))`: `dx = dy (t + x (1 - t^2) sigmoid(x))`.
fn mish(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| {
        let t = x.apply("Softplus", &[]).tanh();
        dy * (t + (1.0 - t * t) * x.sigmoid() * x)
    })
}

/// `y = x s`, `s = sigmoid(alpha x)`: `dx = dy s (1 + alpha x (1 - s))`.
fn swish(t: &Terms<'_>) -> VjpResult {
    let alpha = t.context.float("alpha", 1.0);
    t.unary(|x, _, dy| {
        let scaled = x * alpha;
        let s = scaled.sigmoid();
        dy * s * (1.0 + scaled * (1.0 - s))
    })
}

/// `dx = dy / (1 + |x|)^2`.
fn softsign(t: &Terms<'_>) -> VjpResult {
    t.unary(|x, _, dy| {
        let root = 1.0 + x.abs();
        dy / (root * root)
    })
}
