//! Pooling over windows and over whole images. <https://onnx.ai/onnx/operators/onnx__MaxPool.html>
//!
//! Backwards, means are spread over their windows, and largest elements get what came of them.

use crate::graph::ops::conv::geometry::{ConvGeometry, window};
use crate::graph::ops::conv::infer::{moved_over, windows};
use crate::graph::ops::conv::input_grad::{conv_transpose, cut_to};
use crate::graph::ops::gather::scatter_add;
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Dim, ElementType, Fact, Node, Value, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("AveragePool", 7, infer_pool).vjp(average),
    OpDef::new("LpPool", 7, infer_pool).vjp(lp),
    OpDef::new("MaxPool", 7, infer_pool).vjp(max).half(Half::Computed),
    OpDef::new("GlobalAveragePool", 7, infer_global).vjp(global_average),
    OpDef::new("GlobalLpPool", 7, infer_global).vjp(global_lp),
    OpDef::new("GlobalMaxPool", 7, infer_global).vjp(global_max),
];

/// The second output, of `MaxPool` only, holds indices.
fn infer_pool(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let kernel = site.ints("kernel_shape").ok_or_else(|| site.error("`kernel_shape`", "none"))?;
    let Some(shape) = &x.shape else {
        return Ok(vec![Fact::new(x.element, None), Fact::new(ElementType::I64, None)]);
    };
    if shape.len() != kernel.len() + 2 {
        return Err(site.error(format!("an input with {} axes", kernel.len() + 2), shape_text(shape)));
    }
    let mut result = shape[..2].to_vec();
    for (window, dim) in windows(site, kernel)?.into_iter().zip(&shape[2..]) {
        result.push(moved_over(site, window, dim, site.int("ceil_mode") == Some(1))?);
    }
    Ok(vec![Fact::new(x.element, Some(result.clone())), Fact::new(ElementType::I64, Some(result))])
}

fn infer_global(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let shape = x.shape.as_ref().map(|shape| {
        let dim = |(axis, dim): (usize, &Dim)| if axis < 2 { dim.clone() } else { Dim::Fixed(1) };
        shape.iter().enumerate().map(dim).collect()
    });
    Ok(vec![Fact::new(x.element, shape)])
}

/// The spatial axes.
fn spatial(a: &VjpContext<'_>) -> Result<Vec<i64>> {
    Ok((2..a.rank(0)? as i64).collect())
}

/// `dx = dy / count`, spread over the image.
fn global_average(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axes = spatial(a)?;
    unary(a, b, |b, x, _, dy| {
        let mut count = None;
        for &axis in &axes {
            let size = b.size_of(x, axis as usize);
            count = Some(match count {
                None => size,
                Some(before) => b.mul(&before, &size),
            });
        }
        let scaled = match (count, b.dtype(x)) {
            (Some(count), Some(dtype)) => {
                let count = b.cast(&count, dtype);
                b.div(dy, &count)
            }
            _ => dy.clone(),
        };
        b.expand_like(&scaled, x)
    })
}

/// The largest elements of an image share `dy` evenly.
fn global_max(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axes = spatial(a)?;
    unary(a, b, |b, x, y, dy| {
        let is_largest = b.equal(x, y);
        let largest = match b.dtype(x) {
            Some(dtype) => b.cast(&is_largest, dtype),
            None => is_largest,
        };
        let count = b.reduce_sum(&largest, &axes, true);
        let share = b.div(dy, &count);
        b.mul(&largest, &share)
    })
}

/// Channels as samples, so that one kernel of ones serves all: `[N C, 1, ...]`.
fn one_channel(b: &mut Builder, value: &Value, axes: usize) -> Value {
    let shape = b.shape_of(value);
    let sizes = b.narrow(&shape, 0, 2..axes as i64 + 2);
    let front = b.integers(&[-1, 1]);
    let shape = b.concat(&[&front, &sizes], 0);
    b.reshape_to(value, &shape)
}

/// A kernel of ones, in the element type of `like`.
fn ones(b: &mut Builder, geometry: &ConvGeometry, like: &Value) -> Value {
    let shape: Vec<i64> = [1, 1].into_iter().chain(geometry.kernel.iter().copied()).collect();
    let shape = b.integers(&shape);
    let dtype = b.dtype(like);
    b.filled(&shape, dtype, 1.0)
}

/// The exponent `p` of a norm.
fn exponent(a: &VjpContext<'_>) -> Result<i64> {
    match a.site.int("p").unwrap_or(2) {
        p if p >= 1 => Ok(p),
        other => Err(a.site.error("`p` of at least 1", other.to_string())),
    }
}

/// `share * x |x|^(p - 2)`, where `share` is `dy y^(1 - p)` at each element.
fn by_magnitude(b: &mut Builder, x: &Value, share: &Value, p: i64) -> Value {
    let slope = match p {
        1 => b.apply("Sign", &[x]),
        2 => x.clone(),
        _ => {
            let magnitude = b.abs(x);
            let exponent = b.scalar_like(x, (p - 2) as f64);
            let power = b.pow(&magnitude, &exponent);
            b.mul(x, &power)
        }
    };
    b.mul(share, &slope)
}

/// `dy y^(1 - p)`; 0 where `y` is.
fn by_norm(b: &mut Builder, y: &Value, dy: &Value, p: i64) -> Value {
    if p == 1 {
        return dy.clone();
    }
    let exponent = b.scalar_like(y, (p - 1) as f64);
    let divisor = b.pow(y, &exponent);
    let ratio = b.div(dy, &divisor);
    let zero = b.scalar_like(y, 0.0);
    let is_zero = b.equal(y, &zero);
    b.select(&is_zero, &zero, &ratio)
}

/// `y = (sum |x|^p)^(1/p)` over an image: `dx = dy y^(1 - p) x |x|^(p - 2)`, 0 where `y` is.
fn global_lp(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let p = exponent(a)?;
    unary(a, b, |b, x, y, dy| {
        let share = by_norm(b, y, dy, p);
        by_magnitude(b, x, &share, p)
    })
}

/// As [`global_lp`] over windows: `dy y^(1 - p)` is spread over the elements of each window.
fn lp(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let geometry = ConvGeometry::new(a, window(a)?, 0)?;
    let (p, axes) = (exponent(a)?, geometry.axes());
    unary(a, b, |b, x, y, dy| {
        let ones = ones(b, &geometry, x);
        let share = by_norm(b, y, dy, p);
        let (share, image) = (one_channel(b, &share, axes), one_channel(b, x, axes));
        let spread = conv_transpose(b, &geometry, &share, &ones, &image);
        let share = b.reshape_like(&spread, x);
        by_magnitude(b, x, &share, p)
    })
}

/// `dx` is what each window's `dy` gives its elements: `dy / count`, where the border counts or
/// not.
fn average(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let kernel = window(a)?;
    let geometry = ConvGeometry::new(a, kernel, 0)?;
    let counts_border = a.site.int("count_include_pad").unwrap_or(0) != 0;
    let rounds_up = a.site.int("ceil_mode").unwrap_or(0) != 0;
    let is_padded = geometry.before.iter().chain(&geometry.behind).any(|pad| *pad != 0);
    let axes = geometry.axes();
    let taps: i64 = geometry.kernel.iter().product();
    if rounds_up && counts_border {
        return Err(a.site.error("`ceil_mode` or `count_include_pad`", "both"));
    }
    unary(a, b, |b, x, _, dy| {
        let ones = ones(b, &geometry, x);
        let (steps, image) = (one_channel(b, dy, axes), one_channel(b, x, axes));
        let scaled = if (is_padded && !counts_border) || rounds_up {
            // How many elements each window covers: the sum of its ones.
            let first = b.narrow(&image, 0, 0..1);
            let whole = b.filled_like(&first, 1.0);
            let mut pads = vec![0; 2 * (axes + 2)];
            for axis in 0..axes {
                pads[2 + axis] = geometry.before[axis];
                pads[axes + 4 + axis] = geometry.behind[axis] + if rounds_up { geometry.strides[axis] } else { 0 };
            }
            let padded = b.pad(&whole, &pads, 0.0);
            let node = Node::new("Conv", &[padded.name(), ones.name()], &[])
                .with("strides", geometry.strides.clone())
                .with("dilations", geometry.dilations.clone());
            let counts = b.node(node);
            let first = b.narrow(&steps, 0, 0..1);
            let counts = cut_to(b, &counts, &first, axes);
            b.div(&steps, &counts)
        } else {
            let count = b.scalar_like(&steps, taps as f64);
            b.div(&steps, &count)
        };
        let spread = conv_transpose(b, &geometry, &scaled, &ones, &image);
        b.reshape_like(&spread, x)
    })
}

/// Each window's `dy` goes to its largest element, which the operator's second output names by its
/// place in the whole tensor.
fn max(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    if a.site.int("storage_order").unwrap_or(0) != 0 {
        return Err(a.site.error("`storage_order` 0", "another"));
    }
    let (x, y, dy) = (a.input(0)?, a.output(0)?, a.cotangent()?);
    let places = b.extra_output(y, 1).ok_or_else(|| a.site.error("a node of the graph", "none"))?;
    let flat_places = b.reshape(&places, &[-1]);
    let flat = b.reshape(dy, &[-1]);
    let shape = b.shape_of(x);
    let node = Node::new("ReduceProd", &[shape.name()], &[]).with("keepdims", 1);
    let count = b.node(node);
    let dtype = b.dtype(x);
    let zeros = b.filled(&count, dtype, 0.0);
    let scatter = Node::new("ScatterElements", &[], &[]).with("axis", 0);
    let sums = scatter_add(b, scatter, [&zeros, &flat_places, &flat]);
    Ok(vec![Some(b.reshape_like(&sums, x).into())])
}
