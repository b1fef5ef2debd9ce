//! Reductions over axes. <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>
//!
//! The axes are an attribute before operator set 18 (13 for `ReduceSum`), an input since.

use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Dim, ElementType, Fact, Value};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("ReduceL1", 7, infer_reduce).vjp(l1),
    OpDef::new("ReduceL2", 7, infer_reduce).vjp(l2),
    OpDef::new("ReduceLogSum", 7, infer_reduce).vjp(log_sum),
    OpDef::new("ReduceLogSumExp", 7, infer_reduce).vjp(log_sum_exp),
    OpDef::new("ReduceMax", 7, infer_reduce).vjp(extreme),
    OpDef::new("ReduceMean", 7, infer_reduce).vjp(mean),
    OpDef::new("ReduceMin", 7, infer_reduce).vjp(extreme),
    OpDef::new("ReduceProd", 7, infer_reduce).vjp(product),
    OpDef::new("ReduceSum", 7, infer_reduce).vjp(sum),
    OpDef::new("ReduceSumSquare", 7, infer_reduce).vjp(sum_square),
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

/// The axes that a reduction goes over, from the first; `None` when it is told to do nothing.
fn axes(a: &VjpContext<'_>) -> Result<Option<Vec<i64>>> {
    let rank = a.rank(0)?;
    let listed = match a.site.list("axes", 1) {
        Some(None) => return Err(a.site.error("axes that are constant", "computed ones")),
        Some(Some(axes)) => axes,
        None => Vec::new(),
    };
    if listed.is_empty() {
        let idle = a.site.int("noop_with_empty_axes").unwrap_or(0) != 0;
        return Ok((!idle).then(|| (0..rank as i64).collect()));
    }
    let mut axes = listed.iter().map(|&axis| Ok(a.site.axis(axis, rank)? as i64)).collect::<Result<Vec<i64>>>()?;
    axes.sort_unstable();
    Ok(Some(axes))
}

/// A value in the shape of the reduced output, with the reduced axes of size 1.
fn kept(a: &VjpContext<'_>, b: &mut Builder, value: &Value, axes: &[i64]) -> Value {
    let keeps = a.site.int("keepdims").unwrap_or(1) != 0;
    if keeps || axes.is_empty() { value.clone() } else { b.unsqueeze(value, axes) }
}

/// `dx = dy`, broadcast.
fn sum(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, dy) = (a.input(0)?, a.cotangent()?);
    let Some(axes) = axes(a)? else { return Ok(vec![Some(dy.clone().into())]) };
    let dy = kept(a, b, dy, &axes);
    Ok(vec![Some(b.expand_like(&dy, x).into())])
}

/// `dx = dy / count`, broadcast.
fn mean(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, dy) = (a.input(0)?, a.cotangent()?);
    let Some(axes) = axes(a)? else { return Ok(vec![Some(dy.clone().into())]) };
    let share = share(a, b, &axes)?;
    let dy = b.mul(dy, &share);
    let dy = kept(a, b, &dy, &axes);
    Ok(vec![Some(b.expand_like(&dy, x).into())])
}

/// One divided by the number of elements that are reduced to one.
fn share(a: &VjpContext<'_>, b: &mut Builder, axes: &[i64]) -> Result<Value> {
    let (x, y) = (a.input(0)?, a.output(0)?);
    let sizes: Option<Vec<i64>> = axes.iter().map(|&axis| a.shape(0).ok()?.get(axis as usize)?.fixed()).collect();
    if let Some(sizes) = sizes {
        let count: f64 = sizes.iter().map(|&size| size as f64).product();
        return Ok(b.scalar_like(y, 1.0 / count));
    }
    let element = a.site.input(0)?.element;
    let dtype = element.dtype().ok_or_else(|| a.site.error("an input of a known type", element.to_string()))?;
    let counts = [y, x].map(|value| b.apply("Size", &[value]));
    let [parts, all] = counts.map(|count| b.cast(&count, dtype));
    Ok(b.div(&parts, &all))
}

/// The output and its cotangent with the reduced axes of size 1; `None` when nothing is reduced.
fn both_kept(a: &VjpContext<'_>, b: &mut Builder) -> Result<Option<[Value; 2]>> {
    let Some(axes) = axes(a)? else { return Ok(None) };
    Ok(Some([a.output(0)?, a.cotangent()?].map(|value| kept(a, b, value, &axes))))
}

/// The rule of a reduction of each element's function `f`, given `f'(x)` times `dy` by `body` of
/// `x`, `y` and `dy`; the latter two with the reduced axes of size 1, or as they are when nothing
/// is reduced.
fn elementwise(
    a: &VjpContext<'_>,
    b: &mut Builder,
    body: impl FnOnce(&mut Builder, &Value, &Value, &Value) -> Value,
) -> VjpResult {
    let x = a.input(0)?;
    let [y, dy] = match both_kept(a, b)? {
        Some(both) => both,
        None => [a.output(0)?.clone(), a.cotangent()?.clone()],
    };
    let dx = body(b, x, &y, &dy);
    Ok(vec![Some(b.expand_like(&dx, x).into())])
}

/// `y = sum |x|`: `dx = dy sign(x)`.
fn l1(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    elementwise(a, b, |b, x, _, dy| {
        let sign = b.apply("Sign", &[x]);
        b.mul(dy, &sign)
    })
}

/// `y = sqrt(sum x^2)`: `dx = dy x / y`, 0 where `y` is 0.
fn l2(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    elementwise(a, b, |b, x, y, dy| {
        let (zero, one) = (b.scalar_like(y, 0.0), b.scalar_like(y, 1.0));
        let is_zero = b.equal(y, &zero);
        let divisor = b.select(&is_zero, &one, y);
        let share = b.div(dy, &divisor);
        b.mul(x, &share)
    })
}

/// `y = ln sum x`: `dx = dy / exp(y)`.
fn log_sum(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    elementwise(a, b, |b, _, y, dy| {
        let sum = b.exp(y);
        b.div(dy, &sum)
    })
}

/// `y = ln sum exp(x)`: `dx = dy exp(x - y)`.
fn log_sum_exp(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    elementwise(a, b, |b, x, y, dy| {
        let distance = b.sub(x, y);
        let share = b.exp(&distance);
        b.mul(dy, &share)
    })
}

/// `y = sum x^2`: `dx = 2 dy x`.
fn sum_square(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    elementwise(a, b, |b, x, _, dy| {
        let two = b.scalar_like(dy, 2.0);
        let twice = b.mul(dy, &two);
        b.mul(x, &twice)
    })
}

/// Largest or smallest element: `dx = dy` at the elements that gave it, in equal shares where
/// several did.
fn extreme(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let Some(axes) = axes(a)? else { return Ok(vec![Some(a.cotangent()?.clone().into())]) };
    elementwise(a, b, |b, x, y, dy| {
        let is_hit = b.equal(x, y);
        let hits = b.cast(&is_hit, b.dtype(x).unwrap_or(DType::F32));
        let count = b.reduce_sum(&hits, &axes, true);
        let share = b.div(dy, &count);
        b.mul(&hits, &share)
    })
}

/// `dx = dy` times the product of the other elements, zeros among them allowed.
fn product(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let Some(axes) = axes(a)? else { return Ok(vec![Some(a.cotangent()?.clone().into())]) };
    elementwise(a, b, |b, x, _, dy| {
        let dtype = b.dtype(x).unwrap_or(DType::F32);
        let zero = b.scalar_like(x, 0.0);
        let is_zero = b.equal(x, &zero);
        let zeros = b.cast(&is_zero, dtype);
        // Ones in place of the zeros.
        let safe = b.add(x, &zeros);
        let whole = b.reduce("ReduceProd", &safe, &axes, true);
        let rest = b.div(&whole, &safe);
        let count = b.reduce_sum(&zeros, &axes, true);
        let others = b.sub(&count, &zeros);
        let is_alone = b.equal(&others, &zero);
        let alone = b.cast(&is_alone, dtype);
        let rest = b.mul(&rest, &alone);
        b.mul(dy, &rest)
    })
}
