//! Parts put together along an axis, and taken apart; each is the other backwards.
//! <https://onnx.ai/onnx/operators/onnx__Concat.html>,
//! <https://onnx.ai/onnx/operators/onnx__Split.html>
//!
//! Parts of shapes are followed: concatenations of small whole numbers are computed.

use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult, size};
use crate::graph::{Builder, Dim, Fact, Node, Value, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Concat", 7, infer_concat).vjp(concat).half(Half::Joined),
    OpDef::new("Split", 7, infer_split).vjp(split).half(Half::Moved),
];

fn infer_concat(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_split(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

/// Each part's cotangent is that part of `dy`.
fn concat(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let dy = a.cotangent()?;
    let axis = a.axis(1)?;
    let count = a.inputs.len();
    let sizes: Option<Vec<i64>> = (0..count).map(|index| a.shape(index).ok()?.get(axis)?.fixed()).collect();
    let wanted: Vec<usize> = (0..count).filter(|&index| a.wants(index)).collect();
    if let (Some(sizes), [single]) = (&sizes, wanted.as_slice()) {
        let start: i64 = sizes[..*single].iter().sum();
        let mut passed = vec![None; *single];
        passed.push(Some(b.narrow(dy, axis as i64, start..start + sizes[*single]).into()));
        return Ok(passed);
    }
    let sizes = match sizes {
        Some(sizes) => b.integers(&sizes),
        None => {
            let sizes = (0..count).map(|index| Ok(b.size_of(a.input(index)?, axis))).collect::<Result<Vec<Value>>>()?;
            b.concat(&sizes.iter().collect::<Vec<_>>(), 0)
        }
    };
    let node = Node::new("Split", &[dy.name(), sizes.name()], &[]).with("axis", axis as i64);
    Ok(b.many(node, count).into_iter().map(|part| Some(part.into())).collect())
}

/// `dx` is the parts' cotangents behind each other, zeros for parts that the loss does not depend
/// on.
fn split(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = a.axis(0)?;
    let mut parts = Vec::with_capacity(a.outputs.len());
    for (index, cotangent) in a.cotangents.iter().enumerate() {
        parts.push(match cotangent {
            Some(part) => part.clone(),
            None => b.filled_like(a.output(index)?, 0.0),
        });
    }
    Ok(vec![Some(b.concat(&parts.iter().collect::<Vec<_>>(), axis as i64).into())])
}
