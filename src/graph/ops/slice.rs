//! Ranges of positions along axes. <https://onnx.ai/onnx/operators/onnx__Slice.html>
//!
//! Parts of shapes are followed: slices of small whole numbers are computed. Backwards `dx` is `dy`
//! at the positions taken, zeros elsewhere.

use crate::graph::fact::Constant;
use crate::graph::ops::gather::scattered;
use crate::graph::ops::{Cotangent, Half, OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Dim, Fact, Slice, Value};
use crate::tensor::HostTensor;

pub(super) const OPERATORS: &[OpDef] = &[OpDef::new("Slice", 7, infer_slice).vjp(slice).half(Half::Moved)];

/// Start, end and step of a slice of an axis of `size`, cut to the axis as ONNX defines it; and how
/// many positions it has.
fn positions(size: i64, start: i64, end: i64, step: i64) -> (i64, i64) {
    let from_first = |position: i64| if position < 0 { position.saturating_add(size) } else { position };
    let (start, end) = match step > 0 {
        true => (from_first(start).clamp(0, size), from_first(end).clamp(0, size)),
        false => (from_first(start).clamp(0, size - 1), from_first(end).clamp(-1, size - 1)),
    };
    let count = if step > 0 { (end - start + step - 1) / step } else { (start - end - step - 1) / -step };
    (start, count.max(0))
}

fn infer_slice(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
fn slice(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
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
    b.slice(x, &[Slice { axis: axis as i64, start: -1, end: i64::MIN, step: -1 }])
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
fn sliced_by_index(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
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
