//! Gradients of reductions.

use crate::graph::Builder;
use crate::graph::Value;
use crate::graph::ops::Adjoint;
use crate::graph::ops::Result;
use crate::graph::ops::vjp::Passed;

/// The axes that a reduction goes over, from the first; `None` when it is told to do nothing.
fn axes(a: &Adjoint<'_>) -> Result<Option<Vec<i64>>> {
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
fn kept(a: &Adjoint<'_>, b: &mut Builder, value: &Value, axes: &[i64]) -> Value {
    let keeps = a.site.int("keepdims").unwrap_or(1) != 0;
    if keeps || axes.is_empty() { value.clone() } else { b.unsqueeze(value, axes) }
}

/// `dx = dy`, broadcast.
pub(in crate::graph::ops) fn sum(a: &Adjoint<'_>, b: &mut Builder) -> Passed {
    let (x, dy) = (a.input(0)?, a.cotangent()?);
    let Some(axes) = axes(a)? else { return Ok(vec![Some(dy.clone().into())]) };
    let dy = kept(a, b, dy, &axes);
    Ok(vec![Some(b.expand_like(&dy, x).into())])
}

/// `dx = dy / count`, broadcast.
pub(in crate::graph::ops) fn mean(a: &Adjoint<'_>, b: &mut Builder) -> Passed {
    let (x, dy) = (a.input(0)?, a.cotangent()?);
    let Some(axes) = axes(a)? else { return Ok(vec![Some(dy.clone().into())]) };
    let share = share(a, b, &axes)?;
    let dy = b.mul(dy, &share);
    let dy = kept(a, b, &dy, &axes);
    Ok(vec![Some(b.expand_like(&dy, x).into())])
}

/// One divided by the number of elements that are reduced to one.
fn share(a: &Adjoint<'_>, b: &mut Builder, axes: &[i64]) -> Result<Value> {
    let (x, y) = (a.input(0)?, a.output(0)?);
    let sizes: Option<Vec<i64>> = axes.iter().map(|&axis| a.shape(0).ok()?.get(axis as usize)?.fixed()).collect();
    if let Some(sizes) = sizes {
        let count: f64 = sizes.iter().map(|&size| size as f64).product();
        return Ok(b.number_like(y, 1.0 / count));
    }
    let element = a.site.input(0)?.element;
    let dtype = element.dtype().ok_or_else(|| a.site.error("an input of a known type", element.to_string()))?;
    let counts = [y, x].map(|value| b.apply("Size", &[value]));
    let [parts, all] = counts.map(|count| b.cast(&count, dtype));
    Ok(b.div(&parts, &all))
}
