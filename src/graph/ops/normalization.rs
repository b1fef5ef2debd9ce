//! Softmax and normalisations along axes.
//! <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>,
//! <https://onnx.ai/onnx/operators/onnx__Softmax.html>
//!
//! Softmax before operator set 13 has the same shapes, but another meaning. Normalisations by
//! channel are in `channel_normalization.rs`.

use crate::graph::ops::rows::has_rows;
use crate::graph::ops::{OpContext, OpDef, Result, Terms, VjpContext, VjpResult, same_shape};
use crate::graph::{Dim, ElementType, Expr, Fact, Node};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Hardmax", 7, same_shape).no_gradient(),
    OpDef::new("LayerNormalization", 17, infer_layer_normalization)
        .formula(layer_normalization)
        .by_row(layer_normalization_rows),
    OpDef::new("LogSoftmax", 7, same_shape).formula(log_softmax),
    OpDef::new("LpNormalization", 7, same_shape).formula(lp_normalization),
    OpDef::new("LRN", 7, same_shape).formula(local_response),
    OpDef::new("MeanVarianceNormalization", 7, same_shape).formula(mean_variance_normalization),
    OpDef::new("RMSNormalization", 23, infer_rms_normalization)
        .formula(rms_normalization)
        .by_row(layer_normalization_rows),
    OpDef::new("Softmax", 7, same_shape).formula(softmax),
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

/// The normalised input; the scale is broadcast to it.
fn infer_rms_normalization(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    if let Some(shape) = &x.shape {
        site.axis(site.int("axis").unwrap_or(-1), shape.len())?;
        if let Some(given) = site.optional(1).and_then(|fact| fact.shape.as_ref()) {
            let whole = site.broadcast(shape, given)?;
            if whole.len() > shape.len() {
                return Err(site.error("a scale of no more axes than the input", given.len().to_string()));
            }
            whole.iter().zip(shape).try_for_each(|(a, b)| site.same_size("a scale of shape", b, a))?;
        }
    }
    Ok(vec![Fact::new(x.element, x.shape.clone())])
}

/// A row of `x` makes a row of `y` where it is normalised as a whole.
fn layer_normalization_rows(site: &OpContext<'_>, rows: &Dim) -> Option<Vec<usize>> {
    let axis = site.int("axis").unwrap_or(-1);
    (has_rows(site, 0, rows) && matches!(axis, -1 | 1)).then(|| vec![0])
}

/// The axis of a softmax, which before operator set 13 was another operator: over all axes from it
/// on.
fn softmax_axis(context: &VjpContext<'_>) -> Result<i64> {
    match context.site.opset {
        13.. => Ok(context.site.int("axis").unwrap_or(-1)),
        older => Err(context.site.error("operator set 13 or later", older.to_string())),
    }
}

/// `dx = y (dy - sum(dy y)) = dy y - y sum(dy y)`.
fn softmax(t: &Terms<'_>) -> VjpResult {
    let axis = softmax_axis(t.context)?;
    t.unary(|_, y, dy| {
        let product = dy * y;
        let weighted = y * product.reduce_sum(&[axis], true);
        product - weighted
    })
}

/// `dx = dy - exp(y) sum(dy)`.
fn log_softmax(t: &Terms<'_>) -> VjpResult {
    let axis = softmax_axis(t.context)?;
    t.unary(|_, y, dy| {
        let sum = dy.reduce_sum(&[axis], true);
        dy - y.exp() * sum
    })
}

/// With `n = (x - mean) r`, the normalised input, and `g = dy scale`, over the normalised axes:
/// `dx = r (g - mean(g) - n mean(g n))`, `dscale = sum(dy n)`, `dbias = sum(dy)`.
///
/// Mean and inverse deviation `r` are the operator's own further outputs.
fn layer_normalization(t: &Terms<'_>) -> VjpResult {
    let (x, scale, dy) = (t.input(0)?, t.input(1)?, t.cotangent()?);
    let (mean, r) = (t.extra_output(1)?.cast_like(x), t.extra_output(2)?.cast_like(x));
    let axes: Vec<i64> = (t.context.axis(-1)? as i64..t.context.rank(0)? as i64).collect();
    let mut cotangents = vec![None, None, None];
    if t.context.wants(0) || t.context.wants(1) {
        let n = (x - mean) * r;
        cotangents[0] = t.context.wants(0).then(|| normalized_backwards(dy * scale, n, r, &axes).into());
        cotangents[1] = t.wanted(1, || dy * n)?;
    }
    if t.optional(2).is_some() {
        cotangents[2] = t.wanted(2, || dy)?;
    }
    Ok(cotangents)
}

/// 16-bit floats in f32, others as they are.
fn wide(term: Expr<'_>) -> Expr<'_> {
    if term.dtype() == Some(DType::F16) { term.cast(DType::F32) } else { term }
}

/// With `r = 1 / sqrt(mean(x^2) + epsilon)`, `n = x r` and `g = dy scale`, over the normalised
/// axes: `dx = r (g - n mean(g n))`, `dscale = sum(dy n)`. In f32 for 16-bit floats, as
/// `stash_type` asks.
fn rms_normalization(t: &Terms<'_>) -> VjpResult {
    let (x, scale, dy) = (t.input(0)?, t.input(1)?, t.cotangent()?);
    let axes: Vec<i64> = (t.context.axis(-1)? as i64..t.context.rank(0)? as i64).collect();
    let (wide_x, wide_dy) = (wide(x), wide(dy));
    let square = (wide_x * wide_x).reduce_mean(&axes, true) + t.context.float("epsilon", 1e-5);
    let r = square.sqrt().reciprocal();
    let n = wide_x * r;
    let mut cotangents = vec![None, None];
    if t.context.wants(0) {
        let g = wide_dy * wide(scale);
        let along = (g * n).reduce_mean(&axes, true);
        cotangents[0] = Some(((g - n * along) * r).cast_like(x).into());
    }
    cotangents[1] = t.wanted(1, || (wide_dy * n).cast_like(scale))?;
    Ok(cotangents)
}

/// `r (g - mean(g) - n mean(g n))` over `axes`.
pub(super) fn normalized_backwards<'f>(g: Expr<'f>, n: Expr<'f>, r: Expr<'f>, axes: &[i64]) -> Expr<'f> {
    let mean = g.reduce_mean(axes, true);
    let along = (g * n).reduce_mean(axes, true);
    (g - n * along - mean) * r
}

/// `y = x / m` with the norm `m`: `dx = (dy - g sum(dy y)) / m`, where `g` is `y` for the Euclidean
/// norm and the sign of `x` for the sum of magnitudes.
fn lp_normalization(t: &Terms<'_>) -> VjpResult {
    let axis = t.context.axis(-1)? as i64;
    let is_euclidean = match t.context.site.int("p").unwrap_or(2) {
        2 => true,
        1 => false,
        other => return Err(t.context.site.error("`p` 1 or 2", other.to_string())),
    };
    t.unary(|x, y, dy| {
        let norm = x.reduce(if is_euclidean { "ReduceL2" } else { "ReduceL1" }, &[axis], true);
        let along = (dy * y).reduce_sum(&[axis], true);
        let g = if is_euclidean { y } else { x.apply("Sign", &[]) };
        (dy - g * along) / norm
    })
}

/// `y = (x - mean) / deviation`: `dx = (dy - mean(dy) - y mean(dy y)) / deviation`.
fn mean_variance_normalization(t: &Terms<'_>) -> VjpResult {
    let axes = t.context.site.ints("axes").unwrap_or(&[0, 2, 3]);
    t.unary(|x, y, dy| {
        let centred = x - x.reduce_mean(axes, true);
        let variance = (centred * centred).reduce_mean(axes, true);
        normalized_backwards(dy, y, variance.sqrt().reciprocal(), axes)
    })
}

/// `y = x s^-beta` with `s = bias + alpha m`, where `m` is the mean of `x^2` over a window of
/// `size` channels, zeros beyond the first and last: `dx = dy s^-beta - 2 alpha beta x m'(dy y /
/// s)`, where `m'` is the mean over the window turned around.
fn local_response(t: &Terms<'_>) -> VjpResult {
    let site = &t.context.site;
    let size = site.int("size").ok_or_else(|| site.error("`size`", "none"))?;
    let float = |name: &str, default: f32| t.context.float(name, default);
    let (alpha, beta, bias) = (float("alpha", 1e-4), float("beta", 0.75), float("bias", 1.0));
    let (before, behind) = ((size - 1) / 2, size / 2);
    t.unary(|x, y, dy| {
        let square = x * x;
        let [alpha_term, bias, power] = [alpha, bias, -beta].map(|number| x.scalar(number));
        let s = mean_over_channels(square, size, [before, behind]) * alpha_term + bias;
        let own = dy * s.pow(power);
        let others = mean_over_channels(dy * y / s, size, [behind, before]);
        own - x * (2.0 * alpha * beta) * others
    })
}

/// The mean over a window of `size` channels of [N, C, ...], zeros around them.
fn mean_over_channels(value: Expr<'_>, size: i64, [before, behind]: [i64; 2]) -> Expr<'_> {
    // [N, C, ...] as [N, 1, C, positions]: channels become heights.
    let image = value.reshape(&[0, 0, -1]).unsqueeze(&[1]);
    let pool = Node::new("AveragePool", &[], &[]).with("kernel_shape", vec![size, 1]);
    let pool = pool.with("pads", vec![before, 0, behind, 0]).with("count_include_pad", 1);
    image.node(pool, &[]).squeeze(&[1]).reshape_like(value)
}
