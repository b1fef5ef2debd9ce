//! Functions of one number, applied element by element: smooth ones and steps; casts.
//! <https://onnx.ai/onnx/operators/onnx__Gelu.html> and so on.
//!
//! A rule is written with `y` where it saves computing the function again: `dx = dy y` for the
//! exponential. Those that are made of pieces are in `piecewise.rs`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use crate::graph::ops::rows::elementwise_rows;
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{Builder, ElementType, Fact, Node, Value};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Abs", 7, same_shape).vjp(abs).half(Half::Computed),
    OpDef::new("BitwiseNot", 7, same_shape).no_gradient(),
    OpDef::new("Cast", 7, infer_cast).vjp(cast),
    OpDef::new("CastLike", 15, infer_cast_like).vjp(cast),
    OpDef::new("Ceil", 7, same_shape).no_gradient(),
    OpDef::new("Cos", 7, same_shape).vjp(cos),
    OpDef::new("Erf", 7, same_shape).vjp(erf).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Exp", 7, same_shape).vjp(exp).by_row(elementwise_rows),
    OpDef::new("Floor", 7, same_shape).no_gradient(),
    OpDef::new("Gelu", 7, same_shape).vjp(gelu).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Identity", 7, infer_identity).vjp(identity).half(Half::Moved).by_row(elementwise_rows),
    OpDef::new("IsInf", 10, infer_is_something).no_gradient(),
    OpDef::new("IsNaN", 9, infer_is_something).no_gradient(),
    OpDef::new("Log", 7, same_shape).vjp(log),
    OpDef::new("Mish", 7, same_shape).vjp(mish),
    OpDef::new("Neg", 7, same_shape).vjp(neg).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Not", 7, same_shape).no_gradient(),
    OpDef::new("Reciprocal", 7, same_shape).vjp(reciprocal),
    OpDef::new("Round", 7, same_shape).no_gradient(),
    OpDef::new("Sigmoid", 7, same_shape).vjp(sigmoid).half(Half::Computed).by_row(elementwise_rows),
    OpDef::new("Sign", 7, same_shape).no_gradient(),
    OpDef::new("Sin", 7, same_shape).vjp(sin),
    OpDef::new("Softplus", 7, same_shape).vjp(softplus).by_row(elementwise_rows),
    OpDef::new("Softsign", 7, same_shape).vjp(softsign),
    OpDef::new("Sqrt", 7, same_shape).vjp(sqrt).by_row(elementwise_rows),
    OpDef::new("Tanh", 7, same_shape).vjp(tanh).half(Half::Computed).by_row(elementwise_rows),
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
    let is_whole = matches!(element, ElementType::I64 | ElementType::I32);
    let constant = if is_whole && x.as_integers().is_some() { x.constant.clone() } else { None };
    Ok(vec![Fact { element, shape: x.shape.clone(), constant }])
}

fn infer_cast_like(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(site.input(1)?.element, site.input(0)?.shape.clone())])
}

/// `dx = dy`.
fn identity(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |_, _, _, dy| dy.clone())
}

/// `dx = dy` in the type of `x`; nothing for the value whose type is taken over.
fn cast(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    if !a.wants(0) {
        return Ok(Vec::new());
    }
    let from = a.site.input(0)?.element;
    let Some(dtype) = from.dtype().filter(|_| from.is_float()) else {
        return Err(a.site.error("an input of a known floating-point type", from.to_string()));
    };
    unary(a, b, |b, _, _, dy| if b.dtype(dy) == Some(dtype) { dy.clone() } else { b.cast(dy, dtype) })
}

/// `dx = dy * 2 / sqrt(pi) * exp(-x^2)`.
fn erf(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let bell = bell(b, x, 1.0, FRAC_2_SQRT_PI);
        b.mul(dy, &bell)
    })
}

/// `height * exp(-width x^2)`.
fn bell(b: &mut Builder, x: &Value, width: f64, height: f64) -> Value {
    let square = b.mul(x, x);
    let exponent = if width == 1.0 {
        b.neg(&square)
    } else {
        let width = b.scalar_like(x, -width);
        b.mul(&square, &width)
    };
    let bell = b.exp(&exponent);
    let height = b.scalar_like(x, height);
    b.mul(&bell, &height)
}

/// `(1 + x) / 2` of what lies between -1 and 1; of f32 in one go.
fn share(b: &mut Builder, x: &Value) -> Value {
    if b.dtype(x) == Some(DType::F32) {
        return b.node(Node::new("HardSigmoid", &[x.name()], &[]).with("alpha", 0.5f32).with("beta", 0.5f32));
    }
    let [half, one] = [0.5, 1.0].map(|number| b.scalar_like(x, number));
    let sum = b.add(x, &one);
    b.mul(&sum, &half)
}

/// Exact: `dx = dy (Phi(x) + x phi(x))` with the normal distribution function and its density;
/// `tanh` kind, `y = x/2 (1 + t)`, `t = tanh(u)`, `u = sqrt(2/pi) (x + 0.044715 x^3)`:
/// `dx = dy (1 + t + x (1 - t^2) u') / 2`.
fn gelu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let is_exact = a.site.text("approximate").unwrap_or("none") == "none";
    unary(a, b, |b, x, _, dy| {
        if is_exact {
            // With s = x / sqrt 2: Phi(x) + x phi(x) = (1 + erf(s)) / 2 + s / exp(s^2) / sqrt(pi).
            let [root, height] = [FRAC_1_SQRT_2, FRAC_2_SQRT_PI / 2.0].map(|number| b.scalar_like(x, number));
            let scaled = b.mul(x, &root);
            let square = b.mul(&scaled, &scaled);
            let growth = b.exp(&square);
            let bell = b.div(&scaled, &growth);
            let bell = b.mul(&bell, &height);
            let error = b.erf(&scaled);
            let share = share(b, &error);
            let slope = b.add(&share, &bell);
            return b.mul(dy, &slope);
        }
        let half = b.scalar_like(x, 0.5);
        let root = (2.0 / PI).sqrt();
        let square = b.mul(x, x);
        let line = |b: &mut Builder, factor: f64, offset: f64| {
            let (factor, offset) = (b.scalar_like(x, factor), b.scalar_like(x, offset));
            let scaled = b.mul(&square, &factor);
            b.add(&scaled, &offset)
        };
        let inner = line(b, root * 0.044_715, root);
        let inner = b.mul(x, &inner);
        let bent = b.tanh(&inner);
        let steepness = line(b, 3.0 * root * 0.044_715, root);
        let steepness = b.mul(x, &steepness);
        let one = b.scalar_like(x, 1.0);
        let shifted = b.add(&bent, &one);
        let rest = b.sub(&one, &bent);
        let curve = b.mul(&rest, &steepness);
        // 1 + t + (1 - t)(1 + t) x u' = (1 + t) (1 + (1 - t) x u')
        let curve = b.add(&curve, &one);
        let slope = b.mul(&shifted, &curve);
        let slope = b.mul(&slope, &half);
        b.mul(dy, &slope)
    })
}

/// `dx = dy (1 - y^2)`.
fn tanh(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| {
        let one = b.scalar_like(y, 1.0);
        let square = b.mul(y, y);
        let slope = b.sub(&one, &square);
        b.mul(dy, &slope)
    })
}

/// `dx = dy y (1 - y)`.
fn sigmoid(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| {
        let one = b.scalar_like(y, 1.0);
        let rest = b.sub(&one, y);
        let slope = b.mul(y, &rest);
        b.mul(dy, &slope)
    })
}

/// `dx = dy / (2 y)`.
fn sqrt(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| {
        let half = b.scalar_like(y, 0.5);
        let halved = b.mul(dy, &half);
        b.div(&halved, y)
    })
}

/// `dx = dy y`.
fn exp(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| b.mul(dy, y))
}

/// `dx = dy / x`.
fn log(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| b.div(dy, x))
}

/// `dx = -dy`.
fn neg(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, _, dy| b.neg(dy))
}

/// `dx = dy sigmoid(x)`.
fn softplus(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let slope = b.sigmoid(x);
        b.mul(dy, &slope)
    })
}

/// `dx = dy sign(x)`.
fn abs(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let sign = b.apply("Sign", &[x]);
        b.mul(dy, &sign)
    })
}

/// `dx = -dy y^2`.
fn reciprocal(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, _, y, dy| {
        let product = b.mul(dy, y);
        let product = b.mul(&product, y);
        b.neg(&product)
    })
}

/// `dx = dy cos(x)`.
fn sin(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let slope = b.apply("Cos", &[x]);
        b.mul(dy, &slope)
    })
}

/// `dx = -dy sin(x)`.
fn cos(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let slope = b.apply("Sin", &[x]);
        let product = b.mul(dy, &slope);
        b.neg(&product)
    })
}

/// `y = x t`, `t = tanh(softplus(x))`: `dx = dy (t + x (1 - t^2) sigmoid(x))`.
fn mish(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let soft = b.apply("Softplus", &[x]);
        let bent = b.tanh(&soft);
        let (one, square) = (b.scalar_like(x, 1.0), b.mul(&bent, &bent));
        let flat = b.sub(&one, &square);
        let gate = b.sigmoid(x);
        let steep = b.mul(&flat, &gate);
        let steep = b.mul(&steep, x);
        let slope = b.add(&bent, &steep);
        b.mul(dy, &slope)
    })
}

/// `dx = dy / (1 + |x|)^2`.
fn softsign(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| {
        let (one, size) = (b.scalar_like(x, 1.0), b.abs(x));
        let root = b.add(&one, &size);
        let square = b.mul(&root, &root);
        b.div(dy, &square)
    })
}
