//! Gradients of operators that put parts together or take them out: the parts taken out or put
//! together again.

use crate::graph::ops::select::positions;
use crate::graph::ops::vjp::Cotangents;
use crate::graph::ops::vjp::index::scatter_add;
use crate::graph::ops::{Cotangent, Result, VjpContext};
use crate::graph::{Builder, Dim, Node, Value};
use crate::tensor::HostTensor;

/// Each part's cotangent is that part of `dy`.
pub(in crate::graph::ops) fn concat(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn split(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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

/// One axis of a slice with its known size, first position, number of positions, and their
/// distance.
struct Cut {
    axis: usize,
    size: i64,
    start: i64,
    count: i64,
    step: i64,
}

/// The cuts of a slice, where all is known; `None` else.
fn cuts(a: &VjpContext<'_>) -> Result<Option<Vec<Cut>>> {
    let shape = a.shape(0)?;
    let (Some(Some(starts)), Some(Some(ends))) = (a.site.list("starts", 1), a.site.list("ends", 2)) else {
        return Ok(None);
    };
    let axes = match a.site.list("axes", 3) {
        Some(Some(axes)) => axes,
        Some(None) => return Ok(None),
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match a.site.optional(4).map(|fact| fact.as_fixed()) {
        Some(Some(steps)) => steps,
        Some(None) => return Ok(None),
        None => vec![1; axes.len()],
    };
    let mut cuts = Vec::new();
    for (index, &axis) in axes.iter().enumerate() {
        let axis = a.site.axis(axis, shape.len())?;
        let (start, end, step) = (starts[index], ends[index], steps[index]);
        let Some(size) = shape[axis].fixed() else {
            if start == 0 && step == 1 && end >= i64::from(i32::MAX) {
                continue;
            }
            return Ok(None);
        };
        let (start, count) = positions(size, start, end, step);
        cuts.push(Cut { axis, size, start, count, step });
    }
    Ok(Some(cuts))
}

/// `dx` is `dy` at the positions taken, zeros elsewhere.
pub(in crate::graph::ops) fn slice(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let dy = a.cotangent()?;
    let Some(mut cuts) = cuts(a)? else { return sliced_by_index(a, b) };
    cuts.retain(|cut| cut.count != cut.size || cut.step != 1);
    if let [Cut { axis, start, step: 1, .. }] = cuts.as_slice() {
        return Ok(vec![Some(Cotangent::Part { axis: *axis, start: *start, value: dy.clone() })]);
    }
    let rank = a.rank(0)?;
    let mut dx = dy.clone();
    for cut in cuts.iter().filter(|cut| cut.step < 0) {
        dx = reversed(b, &dx, cut.axis);
    }
    let spread: Vec<&Cut> = cuts.iter().filter(|cut| cut.step.abs() != 1).collect();
    if !spread.is_empty() {
        dx = spread_out(b, &dx, &spread, rank);
    }
    let mut pads = vec![0; 2 * rank];
    for cut in &cuts {
        let first = if cut.step < 0 { cut.start + (cut.count - 1) * cut.step } else { cut.start };
        pads[cut.axis] = first;
        // A position's zeros behind it may reach beyond the end: negative padding takes them away.
        pads[rank + cut.axis] = cut.size - first - cut.count * cut.step.abs();
    }
    Ok(vec![Some(b.pad(&dx, &pads, 0.0).into())])
}

/// `x` backwards along an axis.
fn reversed(b: &mut Builder, x: &Value, axis: usize) -> Value {
    b.slice(x, &[crate::graph::Slice { axis: axis as i64, start: -1, end: i64::MIN, step: -1 }])
}

/// `x` with zeros behind each position of some axes, so that they lie a step apart.
fn spread_out(b: &mut Builder, x: &Value, cuts: &[&Cut], rank: usize) -> Value {
    let mut axes: Vec<usize> = cuts.iter().map(|cut| cut.axis).collect();
    axes.sort_unstable();
    let added: Vec<i64> = axes.iter().enumerate().map(|(before, axis)| (axis + before + 1) as i64).collect();
    let wide = b.unsqueeze(x, &added);
    let wide_rank = rank + cuts.len();
    let mut pads = vec![0; 2 * wide_rank];
    for (place, axis) in added.iter().zip(&axes) {
        let step = cuts.iter().find(|cut| cut.axis == *axis).map_or(1, |cut| cut.step.abs());
        pads[wide_rank + *place as usize] = step - 1;
    }
    let padded = b.pad(&wide, &pads, 0.0);
    // Axes before the first spread one are kept by 0, the others are known or there is one that is
    // not.
    let mut dims: Vec<Dim> = b.dims(x).map(<[Dim]>::to_vec).unwrap_or_default();
    for cut in cuts {
        dims[cut.axis] = Dim::Fixed(cut.count * cut.step.abs());
    }
    let open = dims.iter().filter(|dim| dim.fixed().is_none()).count();
    if open <= 1 {
        let target: Vec<i64> = dims.iter().map(|dim| dim.fixed().unwrap_or(-1)).collect();
        return b.reshape(&padded, &target);
    }
    let parts: Vec<Value> = dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim.fixed() {
            Some(size) => b.integers(&[size]),
            None => b.size_of(x, axis),
        })
        .collect();
    let target = b.concat(&parts.iter().collect::<Vec<_>>(), 0);
    b.reshape_to(&padded, &target)
}

/// As [`slice`] where positions or sizes are computed: along each axis, the same slice of the
/// positions tells where `dy` goes.
fn sliced_by_index(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (x, dy) = (a.input(0)?, a.cotangent()?);
    let [starts, ends] = [a.input(1)?, a.input(2)?];
    let count = match a.site.input(1)?.shape.as_deref() {
        Some([Dim::Fixed(count)]) => *count,
        _ => return Err(a.site.error("a known number of sliced axes", "none")),
    };
    let axes = match a.site.list("axes", 3) {
        Some(None) => return Err(a.site.error("axes that are constant", "computed ones")),
        Some(Some(axes)) => axes,
        None => (0..count).collect(),
    };
    let mut dx = dy.clone();
    for (index, &axis) in axes.iter().enumerate() {
        let axis = a.site.axis(axis, a.rank(0)?)?;
        let entry = |b: &mut Builder, list: &Value| b.narrow(list, 0, index as i64..index as i64 + 1);
        let size = b.size_of(x, axis);
        let places = places(b, &size);
        let (start, end) = (entry(b, starts), entry(b, ends));
        let zero = b.integers(&[0]);
        let taken = match a.optional(4) {
            Some(steps) => {
                let step = entry(b, steps);
                b.apply("Slice", &[&places, &start, &end, &zero, &step])
            }
            None => b.apply("Slice", &[&places, &start, &end, &zero]),
        };
        dx = scattered(b, &dx, &taken, axis, &size);
    }
    Ok(vec![Some(b.reshape_like(&dx, x).into())])
}

/// `0, 1, ..` up to, not including, `size` (i64 of one element).
fn places(b: &mut Builder, size: &Value) -> Value {
    let (zero, one) = (b.constant(&HostTensor::scalar(0i64)), b.constant(&HostTensor::scalar(1i64)));
    let size = b.squeeze(size, &[0]);
    b.apply("Range", &[&zero, &size, &one])
}

/// Zeros of `size` along `axis`, to which the entries of `dy` along it are added at `indices` (one
/// axis).
fn scattered(b: &mut Builder, dy: &Value, indices: &Value, axis: usize, size: &Value) -> Value {
    let rank = b.rank(dy).unwrap_or(axis + 1);
    let order: Vec<i64> =
        std::iter::once(axis).chain((0..rank).filter(|&other| other != axis)).map(|axis| axis as i64).collect();
    let updates = if axis == 0 { dy.clone() } else { b.transpose(dy, &order) };
    let shape = b.shape(&updates);
    let rest = b.narrow(&shape, 0, 1..i64::MAX);
    let shape = b.concat(&[size, &rest], 0);
    let zeros = b.filled(&shape, b.dtype(dy), 0.0);
    let rows = b.unsqueeze(indices, &[-1]);
    let sum = scatter_add(b, Node::new("ScatterND", &[], &[]), [&zeros, &rows, &updates]);
    if axis == 0 {
        return sum;
    }
    let mut inverse = vec![0; rank];
    for (place, &axis) in order.iter().enumerate() {
        inverse[axis as usize] = place as i64;
    }
    b.transpose(&sum, &inverse)
}

/// `dx` is zero but for the entries taken, each of which receives the sum of its cotangents.
pub(in crate::graph::ops) fn gather(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (x, indices, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let axis = a.axis(0)?;
    let places = a.site.input(1)?;
    let size = a.shape(0)?[axis].fixed();
    if let (Some([index]), Some(0), Some(size)) = (places.as_fixed().as_deref(), places.rank(), size) {
        let start = a.site.axis(*index, size as usize)? as i64;
        let value = b.unsqueeze(dy, &[axis as i64]);
        return Ok(vec![Some(Cotangent::Part { axis, start, value })]);
    }
    let Some(count) = places.rank() else { return Err(a.site.error("a known number of axes of the indices", "none")) };
    // The axes of the indices become one.
    let flat = if count == 1 { indices.clone() } else { b.reshape(indices, &[-1]) };
    let joined = match count {
        1 => dy.clone(),
        0 => b.unsqueeze(dy, &[axis as i64]),
        _ => {
            let shape = b.shape(dy);
            let (front, back) =
                (b.narrow(&shape, 0, 0..axis as i64), b.narrow(&shape, 0, (axis + count) as i64..i64::MAX));
            let open = b.integers(&[-1]);
            let target = b.concat(&[&front, &open, &back], 0);
            b.reshape_to(dy, &target)
        }
    };
    // Negative indices count from the end.
    let size = b.size_of(x, axis);
    let zero = b.integers(&[0]);
    let is_negative = b.less(&flat, &zero);
    let wrapped = b.add(&flat, &size);
    let flat = b.select(&is_negative, &wrapped, &flat);
    let dx = scattered(b, &joined, &flat, axis, &size);
    Ok(vec![Some(b.reshape_like(&dx, x).into())])
}
