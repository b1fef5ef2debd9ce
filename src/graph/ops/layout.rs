//! Operators that keep all elements and change the axes.
//! <https://onnx.ai/onnx/operators/onnx__Reshape.html>

use crate::graph::ops::vjp::layout as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp, size};
use crate::graph::{Dim, Fact, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Reshape", since: 7, infer: reshape, vjp: Vjp::Rule(vjp::reshape) },
    OpDef { name: "Flatten", since: 7, infer: flatten, vjp: Vjp::Rule(vjp::reshape) },
    OpDef { name: "Transpose", since: 7, infer: transpose, vjp: Vjp::Rule(vjp::transpose) },
    OpDef { name: "Squeeze", since: 7, infer: squeeze, vjp: Vjp::Rule(vjp::reshape) },
    OpDef { name: "Unsqueeze", since: 7, infer: unsqueeze, vjp: Vjp::Rule(vjp::reshape) },
    OpDef { name: "Expand", since: 8, infer: expand, vjp: Vjp::Rule(vjp::expand) },
    OpDef { name: "Tile", since: 7, infer: tile, vjp: Vjp::Rule(vjp::tile) },
    OpDef { name: "DepthToSpace", since: 7, infer: depth_to_space, vjp: Vjp::Rule(vjp::depth_to_space) },
    OpDef { name: "SpaceToDepth", since: 7, infer: space_to_depth, vjp: Vjp::Rule(vjp::space_to_depth) },
];

/// Axes of unknown size, as many as the vector `shape` has entries.
fn axes_of(shape: &Fact) -> Option<Vec<Dim>> {
    let count = shape.shape.as_ref()?.first()?.fixed()?;
    Some(vec![Dim::Unknown; usize::try_from(count).ok()?])
}

fn reshape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, target) = (site.input(0)?, site.input(1)?);
    let Some(target) = target.as_integers() else { return Ok(vec![Fact::new(x.element, axes_of(target))]) };
    let keeps_zero = site.int("allowzero") == Some(1);
    let mut shape = Vec::new();
    let mut open = None;
    for (axis, entry) in target.iter().enumerate() {
        match entry {
            Dim::Fixed(-1) if open.is_some() => return Err(site.error("at most one -1", shape_text(target))),
            Dim::Fixed(-1) => {
                open = Some(axis);
                shape.push(Dim::Unknown);
            }
            Dim::Fixed(size) if *size < -1 => return Err(site.error("sizes of at least -1", shape_text(target))),
            Dim::Fixed(0) if !keeps_zero => shape.push(match &x.shape {
                None => Dim::Unknown,
                Some(known) => known
                    .get(axis)
                    .cloned()
                    .ok_or_else(|| site.error(format!("an axis {axis} to keep"), shape_text(known)))?,
            }),
            other => shape.push(other.clone()),
        }
    }
    if let Some(known) = &x.shape {
        match open {
            Some(axis) => {
                let rest: Vec<Dim> =
                    shape.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, dim)| dim.clone()).collect();
                shape[axis] = size::remaining(known, &rest);
                if let (Dim::Fixed(all), Dim::Fixed(rest)) = (size::product(known), size::product(&rest))
                    && rest != 0
                    && all % rest != 0
                {
                    return Err(site.error(format!("a divisor of {all} elements"), shape_text(target)));
                }
            }
            None => site.same_size("elements:", &size::product(known), &size::product(&shape))?,
        }
    }
    // The vector stays a vector, or loses its only axis: its elements are the same.
    let constant = x.constant.clone().filter(|_| shape.len() <= 1);
    Ok(vec![Fact { element: x.element, shape: Some(shape), constant }])
}

fn flatten(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; 2]))]) };
    let axis = site.axis(site.int("axis").unwrap_or(1), shape.len() + 1)?;
    let axis = if site.int("axis").unwrap_or(1) < 0 { axis - 1 } else { axis };
    let result = vec![size::product(&shape[..axis]), size::product(&shape[axis..])];
    Ok(vec![Fact::new(x.element, Some(result))])
}

fn transpose(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let order = match site.ints("perm") {
        Some(order) => order.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<Vec<usize>>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return Err(site.error(format!("an order of {} axes", shape.len()), format!("{order:?}")));
    }
    Ok(vec![Fact::new(x.element, Some(order.into_iter().map(|axis| shape[axis].clone()).collect()))])
}

fn squeeze(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let removed: Vec<usize> = match site.list("axes", 1) {
        Some(None) => return Ok(vec![Fact::new(x.element, None)]),
        Some(Some(axes)) => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<_>>()?,
        None if shape.iter().any(|dim| dim.fixed().is_none()) => return Ok(vec![Fact::new(x.element, None)]),
        None => (0..shape.len()).filter(|&axis| shape[axis] == Dim::Fixed(1)).collect(),
    };
    removed.iter().try_for_each(|&axis| site.same_size("an axis of size", &Dim::Fixed(1), &shape[axis]))?;
    let rest = shape.iter().enumerate().filter(|(axis, _)| !removed.contains(axis)).map(|(_, dim)| dim.clone());
    Ok(vec![Fact { element: x.element, shape: Some(rest.collect()), constant: x.constant.clone() }])
}

fn unsqueeze(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let (Some(shape), Some(Some(axes))) = (&x.shape, site.list("axes", 1)) else {
        return Ok(vec![Fact::new(x.element, None)]);
    };
    let count = shape.len() + axes.len();
    let added: Vec<usize> = axes.iter().map(|&axis| site.axis(axis, count)).collect::<Result<_>>()?;
    let mut old = shape.iter();
    let dim = |axis: usize| match added.contains(&axis) {
        true => Dim::Fixed(1),
        false => old.next().cloned().unwrap_or(Dim::Unknown),
    };
    let shape: Vec<Dim> = (0..count).map(dim).collect();
    let constant = x.constant.clone().filter(|_| shape.len() <= 1);
    Ok(vec![Fact { element: x.element, shape: Some(shape), constant }])
}

fn expand(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, target) = (site.input(0)?, site.input(1)?);
    let shape = match (&x.shape, target.as_integers()) {
        (Some(shape), Some(target)) => Some(site.broadcast(shape, target)?),
        (Some(shape), None) => axes_of(target).map(|unknown| vec![Dim::Unknown; shape.len().max(unknown.len())]),
        (None, _) => None,
    };
    Ok(vec![Fact::new(x.element, shape)])
}

fn tile(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, repeats) = (site.input(0)?, site.input(1)?);
    let shape = match (&x.shape, repeats.as_integers()) {
        (Some(shape), Some(repeats)) if shape.len() == repeats.len() => {
            Some(shape.iter().zip(repeats).map(|(dim, count)| size::multiply(dim, count)).collect())
        }
        (Some(shape), Some(repeats)) => {
            return Err(site.error(format!("{} repeats", shape.len()), shape_text(repeats)));
        }
        (Some(shape), None) => Some(vec![Dim::Unknown; shape.len()]),
        (None, _) => None,
    };
    Ok(vec![Fact::new(x.element, shape)])
}

/// An image's [N, C, H, W] with channels divided and sides multiplied, or the other way round.
fn blocks(site: &OpContext<'_>, channels: fn(&Dim, &Dim) -> Dim, sides: fn(&Dim, &Dim) -> Dim) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let block = Dim::Fixed(site.int("blocksize").ok_or_else(|| site.error("`blocksize`", "none"))?);
    let shape = match x.shape.as_deref() {
        None => None,
        Some([n, c, h, w]) => {
            let area = size::multiply(&block, &block);
            Some(vec![n.clone(), channels(c, &area), sides(h, &block), sides(w, &block)])
        }
        Some(other) => return Err(site.error("an input with 4 axes", shape_text(other))),
    };
    Ok(vec![Fact::new(x.element, shape)])
}

fn depth_to_space(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    blocks(site, size::divide, size::multiply)
}

fn space_to_depth(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    blocks(site, size::multiply, size::divide)
}
