//! Gradients of smooth functions of one number.
//!
//! Written with `y` where it saves computing the function again: `dx = dy y` for the exponential.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use crate::graph::ops::VjpContext;
use crate::graph::ops::vjp::{Cotangents, unary};
use crate::graph::{Builder, Node, Value};
use crate::tensor::DType;

/// `dx = dy`.
pub(in crate::graph::ops) fn identity(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |_, _, _, dy| dy.clone())
}

/// `dx = dy` in the type of `x`; nothing for the value whose type is taken over.
pub(in crate::graph::ops) fn cast(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn erf(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn gelu(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn tanh(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, y, dy| {
        let one = b.scalar_like(y, 1.0);
        let square = b.mul(y, y);
        let slope = b.sub(&one, &square);
        b.mul(dy, &slope)
    })
}

/// `dx = dy y (1 - y)`.
pub(in crate::graph::ops) fn sigmoid(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, y, dy| {
        let one = b.scalar_like(y, 1.0);
        let rest = b.sub(&one, y);
        let slope = b.mul(y, &rest);
        b.mul(dy, &slope)
    })
}

/// `dx = dy / (2 y)`.
pub(in crate::graph::ops) fn sqrt(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, y, dy| {
        let half = b.scalar_like(y, 0.5);
        let halved = b.mul(dy, &half);
        b.div(&halved, y)
    })
}

/// `dx = dy y`.
pub(in crate::graph::ops) fn exp(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, y, dy| b.mul(dy, y))
}

/// `dx = dy / x`.
pub(in crate::graph::ops) fn log(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| b.div(dy, x))
}

/// `dx = -dy`.
pub(in crate::graph::ops) fn neg(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, _, dy| b.neg(dy))
}

/// `dx = dy sigmoid(x)`.
pub(in crate::graph::ops) fn softplus(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| {
        let slope = b.sigmoid(x);
        b.mul(dy, &slope)
    })
}

/// `dx = dy sign(x)`.
pub(in crate::graph::ops) fn abs(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| {
        let sign = b.apply("Sign", &[x]);
        b.mul(dy, &sign)
    })
}

/// `dx = -dy y^2`.
pub(in crate::graph::ops) fn reciprocal(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, _, y, dy| {
        let product = b.mul(dy, y);
        let product = b.mul(&product, y);
        b.neg(&product)
    })
}

/// `dx = dy cos(x)`.
pub(in crate::graph::ops) fn sin(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| {
        let slope = b.apply("Cos", &[x]);
        b.mul(dy, &slope)
    })
}

/// `dx = -dy sin(x)`.
pub(in crate::graph::ops) fn cos(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| {
        let slope = b.apply("Sin", &[x]);
        let product = b.mul(dy, &slope);
        b.neg(&product)
    })
}

/// `y = x t`, `t = tanh(softplus(x))`: `dx = dy (t + x (1 - t^2) sigmoid(x))`.
pub(in crate::graph::ops) fn mish(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn softsign(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| {
        let (one, size) = (b.scalar_like(x, 1.0), b.abs(x));
        let root = b.add(&one, &size);
        let square = b.mul(&root, &root);
        b.div(dy, &square)
    })
}
