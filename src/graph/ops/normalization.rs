//! Softmax and normalisations along axes.
//! <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html>
//!
//! Softmax before operator set 13 has the same shapes, but another meaning. Normalisations by
//! channel are in `channel_normalization.rs`.

use crate::graph::ops::rows::has_rows;
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{Builder, Dim, ElementType, Fact, Node, Value};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Hardmax", 7, same_shape).no_gradient(),
    OpDef::new("LayerNormalization", 17, infer_layer_normalization)
        .vjp(layer_normalization)
        .by_row(layer_normalization_rows),
    OpDef::new("LogSoftmax", 7, same_shape).vjp(log_softmax),
    OpDef::new("LpNormalization", 7, same_shape).vjp(lp_normalization),
    OpDef::new("LRN", 7, same_shape).vjp(local_response),
    OpDef::new("MeanVarianceNormalization", 7, same_shape).vjp(mean_variance_normalization),
    OpDef::new("Softmax", 7, same_shape).vjp(softmax),
];

/// Outputs: the normalised input; mean and inverse deviation with the normalised axes of size 1.
fn infer_layer_normalization(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
            let dim = |(index, dim): (usize, &Dim)| if index < axis { dim.clone() } else { 1i64.into() };
            Some(shape.iter().enumerate().map(dim).collect())
        }
    };
    let statistic = Fact::new(site.element("stash_type").unwrap_or(ElementType::F32), statistics);
    Ok(vec![Fact::new(x.element, x.shape.clone()), statistic.clone(), statistic])
}

/// A row of `x` makes a row of `y` where it is normalised as a whole.
fn layer_normalization_rows(site: &OpContext<'_>, rows: &Dim) -> Option<Vec<usize>> {
    let axis = site.int("axis").unwrap_or(-1);
    (has_rows(site, 0, rows) && matches!(axis, -1 | 1)).then(|| vec![0])
}

/// The axis of a softmax, which before operator set 13 was another operator: over all axes from it
/// on.
fn softmax_axis(a: &VjpContext<'_>) -> Result<i64> {
    match a.site.opset {
        13.. => Ok(a.site.int("axis").unwrap_or(-1)),
        older => Err(a.site.error("operator set 13 or later", older.to_string())),
    }
}

/// `dx = y (dy - sum(dy y))`.
fn softmax(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = softmax_axis(a)?;
    unary(a, b, |b, _, y, dy| {
        let product = b.mul(dy, y);
        let sum = b.reduce_sum(&product, &[axis], true);
        let weighted = b.mul(y, &sum);
        b.sub(&product, &weighted)
    })
}

/// `dx = dy - exp(y) sum(dy)`.
fn log_softmax(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = softmax_axis(a)?;
    unary(a, b, |b, _, y, dy| {
        let sum = b.reduce_sum(dy, &[axis], true);
        let probability = b.exp(y);
        let weighted = b.mul(&probability, &sum);
        b.sub(dy, &weighted)
    })
}

/// With `n = (x - mean) r`, the normalised input, and `g = dy scale`, over the normalised axes:
/// `dx = r (g - mean(g) - n mean(g n))`, `dscale = sum(dy n)`, `dbias = sum(dy)`.
///
/// Mean and inverse deviation `r` are the operator's own further outputs.
fn layer_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, scale, y, dy) = (a.input(0)?, a.input(1)?, a.output(0)?, a.cotangent()?);
    let statistic = |b: &mut Builder, index: usize| {
        let value = b.extra_output(y, index).ok_or_else(|| a.site.error("a node of the graph", "none"))?;
        Ok(match b.dtype(x) {
            Some(dtype) if b.dtype(&value) != Some(dtype) => b.cast(&value, dtype),
            _ => value,
        })
    };
    let (mean, inverse) = (statistic(b, 1)?, statistic(b, 2)?);
    let axes: Vec<i64> = (a.axis(-1)? as i64..a.rank(0)? as i64).collect();
    let mut passed = vec![None, None, None];
    if a.wants(0) || a.wants(1) {
        let centred = b.sub(x, &mean);
        let normal = b.mul(&centred, &inverse);
        if a.wants(0) {
            let scaled = b.mul(dy, scale);
            passed[0] = Some(normalized_backwards(b, &scaled, &normal, &inverse, &axes).into());
        }
        if a.wants(1) {
            let product = b.mul(dy, &normal);
            passed[1] = Some(b.sum_to(&product, scale).into());
        }
    }
    if let (true, Some(bias)) = (a.wants(2), a.optional(2)) {
        passed[2] = Some(b.sum_to(dy, bias).into());
    }
    Ok(passed)
}

/// `r (g - mean(g) - n mean(g n))` over `axes`.
fn normalized_backwards(b: &mut Builder, g: &Value, normal: &Value, inverse: &Value, axes: &[i64]) -> Value {
    let mean = b.reduce_mean(g, axes, true);
    let product = b.mul(g, normal);
    let along = b.reduce_mean(&product, axes, true);
    let turned = b.mul(normal, &along);
    let rest = b.sub(g, &turned);
    let rest = b.sub(&rest, &mean);
    b.mul(&rest, inverse)
}

/// `y = x / m` with the norm `m`: `dx = (dy - g sum(dy y)) / m`, where `g` is `y` for the Euclidean
/// norm and the sign of `x` for the sum of magnitudes.
fn lp_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = a.axis(-1)? as i64;
    let is_euclidean = match a.site.int("p").unwrap_or(2) {
        2 => true,
        1 => false,
        other => return Err(a.site.error("`p` 1 or 2", other.to_string())),
    };
    unary(a, b, |b, x, y, dy| {
        let norm = b.reduce(if is_euclidean { "ReduceL2" } else { "ReduceL1" }, x, &[axis], true);
        let product = b.mul(dy, y);
        let along = b.reduce_sum(&product, &[axis], true);
        let direction = if is_euclidean { y.clone() } else { b.apply("Sign", &[x]) };
        let turned = b.mul(&direction, &along);
        let rest = b.sub(dy, &turned);
        b.div(&rest, &norm)
    })
}

/// `y = (x - mean) / deviation`: `dx = (dy - mean(dy) - y mean(dy y)) / deviation`.
fn mean_variance_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axes = a.site.ints("axes").unwrap_or(&[0, 2, 3]).to_vec();
    unary(a, b, |b, x, y, dy| {
        let mean = b.reduce_mean(x, &axes, true);
        let centred = b.sub(x, &mean);
        let square = b.mul(&centred, &centred);
        let variance = b.reduce_mean(&square, &axes, true);
        let deviation = b.sqrt(&variance);
        let inverse = b.reciprocal(&deviation);
        normalized_backwards(b, dy, y, &inverse, &axes)
    })
}

/// `y = x s^-beta` with `s = bias + alpha m`, where `m` is the mean of `x^2` over a window of
/// `size` channels, zeros beyond the first and last: `dx = dy s^-beta - 2 alpha beta x m'(dy y /
/// s)`, where `m'` is the mean over the window turned around.
fn local_response(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let size = a.site.int("size").ok_or_else(|| a.site.error("`size`", "none"))?;
    let (alpha, beta, bias) = (a.float("alpha", 1e-4), a.float("beta", 0.75), a.float("bias", 1.0));
    let (less, more) = ((size - 1) / 2, size / 2);
    // [N, C, ...] as [N, 1, C, positions]: channels become heights.
    let mean = |b: &mut Builder, value: &Value, [before, behind]: [i64; 2]| {
        let flat = b.reshape(value, &[0, 0, -1]);
        let image = b.unsqueeze(&flat, &[1]);
        let pool = Node::new("AveragePool", &[image.name()], &[]).with("kernel_shape", vec![size, 1]);
        let means = b.node(pool.with("pads", vec![before, 0, behind, 0]).with("count_include_pad", 1));
        let flat = b.squeeze(&means, &[1]);
        b.reshape_like(&flat, value)
    };
    unary(a, b, |b, x, y, dy| {
        let square = b.mul(x, x);
        let [alpha_value, bias, power] = [alpha, bias, -beta].map(|number| b.scalar_like(x, number));
        let means = mean(b, &square, [less, more]);
        let scaled = b.mul(&means, &alpha_value);
        let s = b.add(&scaled, &bias);
        let factor = b.pow(&s, &power);
        let own = b.mul(dy, &factor);
        let product = b.mul(dy, y);
        let share = b.div(&product, &s);
        let shared = mean(b, &share, [more, less]);
        let twice = b.scalar_like(x, 2.0 * alpha * beta);
        let slope = b.mul(x, &twice);
        let others = b.mul(&slope, &shared);
        b.sub(&own, &others)
    })
}
