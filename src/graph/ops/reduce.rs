//! Reductions over axes. <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>
//!
//! The axes are an attribute before operator set 18 (13 for `ReduceSum`), an input since.

use crate::graph::ops::{OpContext, OpDef, Result, Terms, VjpContext, VjpResult};
use crate::graph::{Dim, ElementType, Expr, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("ReduceL1", 7, infer_reduce).formula(l1),
    OpDef::new("ReduceL2", 7, infer_reduce).formula(l2),
    OpDef::new("ReduceLogSum", 7, infer_reduce).formula(log_sum),
    OpDef::new("ReduceLogSumExp", 7, infer_reduce).formula(log_sum_exp),
    OpDef::new("ReduceMax", 7, infer_reduce).formula(extreme),
    OpDef::new("ReduceMean", 7, infer_reduce).formula(mean),
    OpDef::new("ReduceMin", 7, infer_reduce).formula(extreme),
    OpDef::new("ReduceProd", 7, infer_reduce).formula(product),
    OpDef::new("ReduceSum", 7, infer_reduce).formula(sum),
    OpDef::new("ReduceSumSquare", 7, infer_reduce).formula(sum_square),
    OpDef::new("ArgMax", 7, infer_arg).no_gradient(),
    OpDef::new("ArgMin", 7, infer_arg).no_gradient(),
];

/// The shape without the axes in `reduced`, or with size 1 in their place.
fn without(shape: &[Dim], reduced: &[usize], keep: bool) -> Vec<Dim> {
    let axes = shape.iter().enumerate();
    let dims = axes.filter_map(|(axis, dim)| match (reduced.contains(&axis), keep) {
        (true, true) => Some(Dim::Fixed(1)),
        (true, false) => None,
        (false, _) => Some(dim.clone()),
    });
    dims.collect()
}

fn infer_reduce(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let keep = site.int("keepdims").unwrap_or(1) == 1;
    let axes = site.list("axes", 1);
    let shape = match (&x.shape, axes) {
        (None, _) => None,
        // Axes that are computed: their number is not known.
        (Some(shape), Some(None)) => keep.then(|| vec![Dim::Unknown; shape.len()]),
        (Some(shape), axes) => {
            let axes = axes.flatten().unwrap_or_default();
            let all = axes.is_empty() && site.int("noop_with_empty_axes").unwrap_or(0) == 0;
            let reduced = match all {
                true => (0..shape.len()).collect(),
                false => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<Vec<usize>>>()?,
            };
            Some(without(shape, &reduced, keep))
        }
    };
    Ok(vec![Fact::new(x.element, shape)])
}

fn infer_arg(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let keep = site.int("keepdims").unwrap_or(1) == 1;
    let shape = match &x.shape {
        Some(shape) => Some(without(shape, &[site.axis(site.int("axis").unwrap_or(0), shape.len())?], keep)),
        None => None,
    };
    Ok(vec![Fact::new(ElementType::I64, shape)])
}

/// The axes that a reduction goes over, from the first; none when it is told to do nothing.
fn reduced_axes(context: &VjpContext<'_>) -> Result<Vec<i64>> {
    let (site, rank) = (&context.site, context.rank(0)?);
    let listed = match site.list("axes", 1) {
        Some(None) => return Err(site.error("axes that are constant", "computed ones")),
        Some(Some(axes)) => axes,
        None => Vec::new(),
    };
    if listed.is_empty() {
        let is_idle = site.int("noop_with_empty_axes").unwrap_or(0) != 0;
        return Ok(if is_idle { Vec::new() } else { (0..rank as i64).collect() });
    }
    let mut axes = listed.iter().map(|&axis| Ok(site.axis(axis, rank)? as i64)).collect::<Result<Vec<i64>>>()?;
    axes.sort_unstable();
    Ok(axes)
}

/// A value in the shape of the reduced output, with the reduced axes of size 1.
fn with_reduced_axes<'f>(t: &Terms<'f>, value: Expr<'f>, axes: &[i64]) -> Expr<'f> {
    let keeps = t.context.site.int("keepdims").unwrap_or(1) != 0;
    if keeps || axes.is_empty() { value } else { value.unsqueeze(axes) }
}

/// `dx = dy`, broadcast.
fn sum(t: &Terms<'_>) -> VjpResult {
    let (x, dy, axes) = (t.input(0)?, t.cotangent()?, reduced_axes(t.context)?);
    if axes.is_empty() {
        return Ok(vec![Some(dy.into())]);
    }
    Ok(vec![Some(with_reduced_axes(t, dy, &axes).expand_like(x).into())])
}

/// `dx = dy / count`, broadcast.
fn mean(t: &Terms<'_>) -> VjpResult {
    let (x, dy, axes) = (t.input(0)?, t.cotangent()?, reduced_axes(t.context)?);
    if axes.is_empty() {
        return Ok(vec![Some(dy.into())]);
    }
    let share = dy * one_over_count(t, &axes)?;
    Ok(vec![Some(with_reduced_axes(t, share, &axes).expand_like(x).into())])
}

/// One divided by the number of elements that are reduced to one.
fn one_over_count<'f>(t: &Terms<'f>, axes: &[i64]) -> Result<Expr<'f>> {
    let (x, y, site) = (t.input(0)?, t.output(0)?, &t.context.site);
    let shape = t.context.shape(0)?;
    let sizes: Option<Vec<i64>> = axes.iter().map(|&axis| shape.get(axis as usize)?.fixed()).collect();
    if let Some(sizes) = sizes {
        let count: f64 = sizes.iter().map(|&size| size as f64).product();
        return Ok(y.scalar(1.0 / count));
    }
    let element = site.input(0)?.element;
    let dtype = element.dtype().ok_or_else(|| site.error("an input of a known type", element.to_string()))?;
    let counts = [y, x].map(|value| value.apply("Size", &[]));
    let [parts, all] = counts.map(|count| count.cast(dtype));
    Ok(parts / all)
}

/// The rule of a reduction that is no plain sum: `dx` of `x`, `y` and `dy`, the latter two with the
/// reduced axes of size 1; broadcast.
fn broadcast<'f>(t: &Terms<'f>, dx: impl FnOnce(Expr<'f>, Expr<'f>, Expr<'f>, &[i64]) -> Expr<'f>) -> VjpResult {
    let (x, axes) = (t.input(0)?, reduced_axes(t.context)?);
    let [y, dy] = [t.output(0)?, t.cotangent()?].map(|value| with_reduced_axes(t, value, &axes));
    Ok(vec![Some(dx(x, y, dy, &axes).expand_like(x).into())])
}

/// `y = sum |x|`: `dx = dy sign(x)`.
fn l1(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, _, dy, _| dy * x.apply("Sign", &[]))
}

/// `y = sqrt(sum x^2)`: `dx = dy x / y`, 0 where `y` is 0.
fn l2(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, y, dy, _| {
        let (zero, one) = (y.scalar(0.0), y.scalar(1.0));
        x * (dy / y.equal(zero).select(one, y))
    })
}

/// `y = ln sum x`: `dx = dy / exp(y)`.
fn log_sum(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |_, y, dy, _| dy / y.exp())
}

/// `y = ln sum exp(x)`: `dx = dy exp(x - y)`.
fn log_sum_exp(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, y, dy, _| dy * (x - y).exp())
}

/// `y = sum x^2`: `dx = 2 dy x`.
fn sum_square(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, _, dy, _| x * (dy * 2.0))
}

/// Largest or smallest element: `dx = dy` at the elements that gave it, in equal shares where
/// several did.
fn extreme(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, y, dy, axes| match axes {
        [] => dy,
        _ => {
            let hits = x.equal(y).cast(x.dtype_or_f32());
            hits * (dy / hits.reduce_sum(axes, true))
        }
    })
}

/// `dx = dy` times the product of the other elements, zeros among them allowed.
fn product(t: &Terms<'_>) -> VjpResult {
    broadcast(t, |x, _, dy, axes| {
        if axes.is_empty() {
            return dy;
        }
        let zero = x.scalar(0.0);
        let zeros = x.equal(zero).cast(x.dtype_or_f32());
        // Ones in place of the zeros.
        let safe = x + zeros;
        let others = safe.reduce("ReduceProd", axes, true) / safe;
        let other_zeros = zeros.reduce_sum(axes, true) - zeros;
        dy * (others * other_zeros.equal(zero).cast(x.dtype_or_f32()))
    })
}
