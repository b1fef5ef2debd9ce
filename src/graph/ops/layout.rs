//! Operators that keep all elements and change the axes; backwards the change is taken back.
//! <https://onnx.ai/onnx/operators/onnx__Reshape.html>

use crate::graph::ops::vjp::unary;
use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult, size};
use crate::graph::{Builder, Dim, Fact, Node, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Reshape", 7, infer_reshape).vjp(reshape).half(Half::Moved),
    OpDef::new("Flatten", 7, infer_flatten).vjp(reshape).half(Half::Moved),
    OpDef::new("Transpose", 7, infer_transpose).vjp(transpose).half(Half::Moved),
    OpDef::new("Squeeze", 7, infer_squeeze).vjp(reshape).half(Half::Moved),
    OpDef::new("Unsqueeze", 7, infer_unsqueeze).vjp(reshape).half(Half::Moved),
    OpDef::new("Expand", 8, infer_expand).vjp(expand).half(Half::Moved),
    OpDef::new("Tile", 7, infer_tile).vjp(tile),
    OpDef::new("DepthToSpace", 7, infer_depth_to_space).vjp(depth_to_space).half(Half::Moved),
    OpDef::new("SpaceToDepth", 7, infer_space_to_depth).vjp(space_to_depth).half(Half::Moved),
];

/// Axes of unknown size, as many as the vector `shape` has entries.
fn axes_of(shape: &Fact) -> Option<Vec<Dim>> {
    let count = shape.shape.as_ref()?.first()?.fixed()?;
    Some(vec![Dim::Unknown; usize::try_from(count).ok()?])
}

fn infer_reshape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_flatten(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; 2]))]) };
    let axis = site.axis(site.int("axis").unwrap_or(1), shape.len() + 1)?;
    let axis = if site.int("axis").unwrap_or(1) < 0 { axis - 1 } else { axis };
    let result = vec![size::product(&shape[..axis]), size::product(&shape[axis..])];
    Ok(vec![Fact::new(x.element, Some(result))])
}

fn infer_transpose(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_squeeze(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_unsqueeze(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_expand(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, target) = (site.input(0)?, site.input(1)?);
    let shape = match (&x.shape, target.as_integers()) {
        (Some(shape), Some(target)) => Some(site.broadcast(shape, target)?),
        (Some(shape), None) => axes_of(target).map(|unknown| vec![Dim::Unknown; shape.len().max(unknown.len())]),
        (None, _) => None,
    };
    Ok(vec![Fact::new(x.element, shape)])
}

fn infer_tile(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_depth_to_space(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    blocks(site, size::divide, size::multiply)
}

fn infer_space_to_depth(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    blocks(site, size::multiply, size::divide)
}

/// `dx` is `dy` in the shape of `x`.
fn reshape(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| b.reshape_like(dy, x))
}

/// `dx` is `dy` in the inverse order.
fn transpose(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let order: Vec<i64> = match a.site.ints("perm") {
        Some(order) => order.to_vec(),
        None => (0..a.rank(0)? as i64).rev().collect(),
    };
    let mut inverse = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        inverse[a.site.axis(axis, order.len())?] = place as i64;
    }
    unary(a, b, |b, _, _, dy| b.transpose(dy, &inverse))
}

/// `dx` is `dy` summed over the axes along which `x` was broadcast.
fn expand(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    unary(a, b, |b, x, _, dy| b.sum_to(dy, x))
}

/// `dx` is the sum of the repetitions in `dy`.
fn tile(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let rank = a.rank(0)?;
    let repeats = a.site.input(1)?.as_fixed();
    let mut target = Vec::with_capacity(2 * rank);
    for axis in 0..rank {
        target.push(match repeats.as_ref().and_then(|repeats| repeats.get(axis)) {
            Some(count) => b.integers(&[*count]),
            None => b.narrow(a.input(1)?, 0, axis as i64..axis as i64 + 1),
        });
        target.push(b.size_of(a.input(0)?, axis));
    }
    let sums: Vec<i64> = (0..rank as i64).map(|axis| 2 * axis).collect();
    unary(a, b, |b, x, _, dy| {
        if rank == 0 {
            return dy.clone();
        }
        let target = b.concat(&target.iter().collect::<Vec<_>>(), 0);
        let apart = b.reshape_to(dy, &target);
        let sum = b.reduce_sum(&apart, &sums, false);
        b.reshape_like(&sum, x)
    })
}

/// Blocks of channels taken back from where [`depth_to_space`] put them.
fn depth_to_space(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let size = a.site.int("blocksize").ok_or_else(|| a.site.error("`blocksize`", "none"))?;
    let channels_first = a.site.text("mode") == Some("CRD");
    let channels = a.shape(0)?.get(1).and_then(Dim::fixed);
    if channels_first && channels.is_none() {
        return Err(a.site.error("a known number of channels", "none"));
    }
    unary(a, b, |b, x, _, dy| {
        let deep = b.node(Node::new("SpaceToDepth", &[dy.name()], &[]).with("blocksize", size));
        let Some(channels) = channels.filter(|_| channels_first) else { return deep };
        // It puts the places within a block before the channels, this mode wants them behind.
        let apart = b.reshape(&deep, &[0, size * size, channels / (size * size), -1]);
        let turned = b.transpose(&apart, &[0, 2, 1, 3]);
        b.reshape_like(&turned, x)
    })
}

/// Blocks of positions taken back from the channels.
fn space_to_depth(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let size = a.site.int("blocksize").ok_or_else(|| a.site.error("`blocksize`", "none"))?;
    unary(a, b, |b, _, _, dy| b.node(Node::new("DepthToSpace", &[dy.name()], &[]).with("blocksize", size)))
}
