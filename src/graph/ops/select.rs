//! Operators that put parts together or take them out.
//! <https://onnx.ai/onnx/operators/onnx__Slice.html>
//!
//! Parts of shapes are followed: slices, gathers and concatenations of small whole numbers are
//! computed.

use crate::graph::fact::Constant;
use crate::graph::ops::vjp::{index, resample, select as vjp};
use crate::graph::ops::{OpContext, OpDef, Result, Vjp, size};
use crate::graph::{Dim, ElementType, Fact, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Concat", since: 7, infer: concat, vjp: Vjp::Rule(vjp::concat) },
    OpDef { name: "Split", since: 7, infer: split, vjp: Vjp::Rule(vjp::split) },
    OpDef { name: "Slice", since: 7, infer: slice, vjp: Vjp::Rule(vjp::slice) },
    OpDef { name: "Gather", since: 7, infer: gather, vjp: Vjp::Rule(vjp::gather) },
    OpDef { name: "GatherElements", since: 11, infer: gather_elements, vjp: Vjp::Rule(index::gather_elements) },
    OpDef { name: "GatherND", since: 11, infer: gather_nd, vjp: Vjp::Rule(index::gather_nd) },
    OpDef { name: "Pad", since: 7, infer: pad, vjp: Vjp::Rule(resample::pad) },
    OpDef { name: "TopK", since: 7, infer: top_k, vjp: Vjp::Rule(index::top_k) },
];

fn concat(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let first = site.input(0)?;
    let mut parts = Vec::new();
    let mut numbers = Some(Vec::new());
    for index in 0..site.inputs.len() {
        let part = site.input(index)?;
        numbers = numbers.zip(part.as_integers()).map(|(mut all, more)| {
            all.extend_from_slice(more);
            all
        });
        parts.push(part.shape.as_ref());
    }
    let known: Option<Vec<&Vec<Dim>>> = parts.into_iter().collect();
    let Some(known) = known else { return Ok(vec![Fact::new(first.element, None)]) };
    let mut shape = known[0].clone();
    let axis = site.axis(site.int("axis").unwrap_or(1), shape.len())?;
    for part in &known[1..] {
        if part.len() != shape.len() {
            return Err(site.error(format!("parts with {} axes", shape.len()), shape_text(part)));
        }
        for (index, (dim, other)) in shape.iter_mut().zip(part.iter()).enumerate() {
            if index == axis {
                *dim = size::add(dim, other);
            } else {
                site.same_size(&format!("parts with axis {index} of size"), dim, other)?;
                if dim.fixed().is_none() && (other.fixed().is_some() || *dim == Dim::Unknown) {
                    dim.clone_from(other);
                }
            }
        }
    }
    match numbers.filter(|_| shape.len() == 1) {
        Some(numbers) => Ok(vec![Fact { element: first.element, ..Fact::integers(numbers, true) }]),
        None => Ok(vec![Fact::new(first.element, Some(shape))]),
    }
}

fn split(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let count = site.node.outputs.len();
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None); count]) };
    let axis = site.axis(site.int("axis").unwrap_or(0), shape.len())?;
    let sizes: Vec<Dim> = match (site.list("split", 1), shape[axis].fixed()) {
        (Some(Some(sizes)), total) => {
            if sizes.len() != count {
                return Err(site.error(format!("{count} sizes"), format!("{sizes:?}")));
            }
            if total.is_some_and(|total| sizes.iter().sum::<i64>() != total) {
                return Err(site.error(format!("sizes of {} in all", shape[axis]), format!("{sizes:?}")));
            }
            sizes.into_iter().map(Dim::Fixed).collect()
        }
        (None, Some(total)) if count > 0 => {
            // The last part may be smaller.
            let whole = (total + count as i64 - 1) / count as i64;
            (0..count as i64).map(|index| Dim::Fixed(whole.min(total - index * whole).max(0))).collect()
        }
        _ => vec![Dim::Unknown; count],
    };
    let part = |size: Dim| {
        let mut part = shape.clone();
        part[axis] = size;
        Fact::new(x.element, Some(part))
    };
    Ok(sizes.into_iter().map(part).collect())
}

/// Start, end and step of a slice of an axis of `size`, cut to the axis as ONNX defines it; and how
/// many positions it has.
pub(super) fn positions(size: i64, start: i64, end: i64, step: i64) -> (i64, i64) {
    let from_first = |position: i64| if position < 0 { position.saturating_add(size) } else { position };
    let (start, end) = match step > 0 {
        true => (from_first(start).clamp(0, size), from_first(end).clamp(0, size)),
        false => (from_first(start).clamp(0, size - 1), from_first(end).clamp(-1, size - 1)),
    };
    let count = if step > 0 { (end - start + step - 1) / step } else { (start - end - step - 1) / -step };
    (start, count.max(0))
}

fn slice(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let (starts, ends) = (site.list("starts", 1).flatten(), site.list("ends", 2).flatten());
    let axes = match site.list("axes", 3) {
        Some(axes) => axes,
        None => starts.as_ref().map(|starts| (0..starts.len() as i64).collect()),
    };
    let Some(axes) = axes else {
        return Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; shape.len()]))]);
    };
    let steps = match site.optional(4) {
        Some(steps) => steps.as_fixed(),
        None => Some(vec![1; axes.len()]),
    };
    let mut result = shape.clone();
    let mut constant = x.constant.clone().filter(|_| shape.len() == 1);
    for (index, &axis) in axes.iter().enumerate() {
        let axis = site.axis(axis, shape.len())?;
        let entry = |list: &Option<Vec<i64>>| list.as_ref().and_then(|list| list.get(index).copied());
        let (Some(start), Some(end), Some(step)) = (entry(&starts), entry(&ends), entry(&steps)) else {
            result[axis] = Dim::Unknown;
            constant = None;
            continue;
        };
        if step == 0 {
            return Err(site.error("steps other than 0", "0"));
        }
        let whole = start == 0 && step == 1 && end >= i64::from(i32::MAX);
        let Some(size) = result[axis].fixed() else {
            if !whole {
                result[axis] = Dim::Unknown;
                constant = None;
            }
            continue;
        };
        let (start, count) = positions(size, start, end, step);
        result[axis] = Dim::Fixed(count);
        let chosen = |at: i64| usize::try_from(start + at * step).ok();
        constant = match constant {
            Some(Constant::Integers(values)) => {
                let taken: Option<Vec<Dim>> = (0..count).map(|at| values.get(chosen(at)?).cloned()).collect();
                taken.map(Constant::Integers)
            }
            Some(Constant::Floats(values)) => {
                let taken: Option<Vec<f32>> = (0..count).map(|at| values.get(chosen(at)?).copied()).collect();
                taken.map(Constant::Floats)
            }
            None => None,
        };
    }
    Ok(vec![Fact { element: x.element, shape: Some(result), constant }])
}

fn gather(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, indices) = (site.input(0)?, site.input(1)?);
    let (Some(shape), Some(places)) = (&x.shape, &indices.shape) else { return Ok(vec![Fact::new(x.element, None)]) };
    let axis = site.axis(site.int("axis").unwrap_or(0), shape.len())?;
    let result: Vec<Dim> = [&shape[..axis], places, &shape[axis + 1..]].concat();
    let constant = match (x.as_integers(), indices.as_fixed()) {
        (Some(values), Some(wanted)) if result.len() <= 1 => {
            let pick = |&index: &i64| Ok(values[site.axis(index, values.len())?].clone());
            Some(Constant::Integers(wanted.iter().map(pick).collect::<Result<_>>()?))
        }
        _ => None,
    };
    Ok(vec![Fact { element: x.element, shape: Some(result), constant }])
}

fn gather_elements(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(site.input(0)?.element, site.input(1)?.shape.clone())])
}

/// The last axis of the indices holds places in as many axes behind the batch axes.
fn gather_nd(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, indices) = (site.input(0)?, site.input(1)?);
    let (Some(shape), Some([places @ .., length])) = (&x.shape, indices.shape.as_deref()) else {
        return Ok(vec![Fact::new(x.element, None)]);
    };
    let Some(length) = length.fixed().and_then(|length| usize::try_from(length).ok()) else {
        return Ok(vec![Fact::new(x.element, None)]);
    };
    let batch = site.int("batch_dims").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    match shape.get(batch + length..) {
        Some(rest) => Ok(vec![Fact::new(x.element, Some([places, rest].concat()))]),
        None => Err(site.error(format!("indices of at most {} axes", shape.len()), (batch + length).to_string())),
    }
}

fn pad(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let unknown = || Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; shape.len()]))]);
    let Some(Some(pads)) = site.list("pads", 1) else { return unknown() };
    let axes: Vec<usize> = match site.optional(3) {
        None => (0..shape.len()).collect(),
        Some(axes) => match axes.as_fixed() {
            Some(axes) => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<_>>()?,
            None => return unknown(),
        },
    };
    if pads.len() != 2 * axes.len() {
        return Err(site.error(format!("{} pads", 2 * axes.len()), pads.len().to_string()));
    }
    let mut result = shape.clone();
    for (index, &axis) in axes.iter().enumerate() {
        result[axis] = size::add(&result[axis], &Dim::Fixed(pads[index] + pads[index + axes.len()]));
    }
    Ok(vec![Fact::new(x.element, Some(result))])
}

/// Values, then their indices; `k` is an attribute before operator set 10.
fn top_k(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let shape = match &x.shape {
        None => None,
        Some(shape) => {
            let axis = site.axis(site.int("axis").unwrap_or(-1), shape.len())?;
            let count = site.int("k").or_else(|| site.optional(1)?.as_fixed()?.first().copied());
            let mut shape = shape.clone();
            shape[axis] = count.map_or(Dim::Unknown, Dim::Fixed);
            Some(shape)
        }
    };
    Ok(vec![Fact::new(x.element, shape.clone()), Fact::new(ElementType::I64, shape)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_cut_to_the_axis_as_numpy_does() {
        assert_eq!(positions(5, 1, 4, 2), (1, 2));
        assert_eq!(positions(5, -2, i64::MAX, 1), (3, 2));
        assert_eq!(positions(5, 4, i64::MIN, -2), (4, 3));
        assert_eq!(positions(5, 3, 1, 1), (3, 0));
        assert_eq!(positions(5, 9, 99, 1), (5, 0));
    }
}
