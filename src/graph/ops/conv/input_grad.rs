//! The gradient of the image that a kernel moved over.
//!
//! It is the transposed convolution of `dy` with `w`; where steps are 1, an ordinary one with the
//! kernel turned around, which runs faster.

use crate::graph::ops::conv::geometry::ConvGeometry;
use crate::graph::{Builder, Node, Slice, Value};

/// How the loss changes with the image `x` that `w` moved over.
pub(super) fn input_gradient(b: &mut Builder, geometry: &ConvGeometry, dy: &Value, w: &Value, x: &Value) -> Value {
    let borders = |axis: usize| geometry.extent(axis) - 1;
    let fits = (0..geometry.axes())
        .all(|axis| geometry.before[axis] <= borders(axis) && geometry.behind[axis] <= borders(axis));
    if let Some(gradient) = strided_pointwise(b, geometry, dy, w, x) {
        return gradient;
    }
    match turned_around(b, geometry, w).filter(|_| geometry.is_dense() && fits) {
        Some(turned) => {
            let back = ConvGeometry {
                kernel: geometry.kernel.clone(),
                strides: geometry.ones(),
                dilations: geometry.dilations.clone(),
                before: (0..geometry.axes()).map(|axis| borders(axis) - geometry.before[axis]).collect(),
                behind: (0..geometry.axes()).map(|axis| borders(axis) - geometry.behind[axis]).collect(),
                groups: geometry.groups,
            };
            b.node(back.node("Conv", [dy, &turned]))
        }
        None => conv_transpose(b, geometry, dy, w, x),
    }
}

/// The image gradient of a kernel of one tap that skips positions, of known sizes: a dense
/// convolution with the kernel transposed, its positions laid a step apart.
fn strided_pointwise(b: &mut Builder, geometry: &ConvGeometry, dy: &Value, w: &Value, x: &Value) -> Option<Value> {
    if !geometry.is_pointwise() || geometry.is_dense() {
        return None;
    }
    let (steps, whole, axes) = (b.sizes(dy)?, b.sizes(x)?, geometry.axes());
    let turned = turned_around(b, geometry, w)?;
    let dense = b.node(Node::new("Conv", &[dy.name(), turned.name()], &[]));
    // [N, C, H, 1, W, 1] with zeros behind: a step's positions as the axis behind each.
    let apart: Vec<i64> = (0..axes as i64).map(|axis| 3 + 2 * axis).collect();
    let wide = b.unsqueeze(&dense, &apart);
    let rank = 2 + 2 * axes;
    let mut pads = vec![0; 2 * rank];
    (0..axes).for_each(|axis| pads[rank + 3 + 2 * axis] = geometry.strides[axis] - 1);
    let spread = b.pad(&wide, &pads, 0.0);
    let mut target = vec![steps[0], whole[1]];
    target.extend((0..axes).map(|axis| steps[axis + 2] * geometry.strides[axis]));
    let spread = b.reshape(&spread, &target);
    let mut around = vec![0; 2 * (axes + 2)];
    for axis in 2..axes + 2 {
        around[axes + 2 + axis] = whole[axis] - target[axis];
    }
    Some(if around.iter().all(|pad| *pad == 0) { spread } else { b.pad(&spread, &around, 0.0) })
}

/// The kernel [O, C / groups, ...] of a convolution as that of the convolution back, [C, O /
/// groups, ...]: inputs and outputs swapped, every axis turned around.
fn turned_around(b: &mut Builder, geometry: &ConvGeometry, w: &Value) -> Option<Value> {
    let sizes = b.sizes(w)?;
    let (outputs, inputs, groups) = (sizes[0], sizes[1], geometry.groups);
    let axes = geometry.axes();
    let mut turned = w.clone();
    if groups == 1 {
        let order: Vec<i64> = [1, 0].into_iter().chain(2..axes as i64 + 2).collect();
        turned = b.transpose(&turned, &order);
    } else if inputs > 1 || outputs != groups {
        let mut apart = vec![groups, outputs / groups, inputs];
        apart.extend(&geometry.kernel);
        turned = b.reshape(&turned, &apart);
        let order: Vec<i64> = [0, 2, 1].into_iter().chain(3..axes as i64 + 3).collect();
        turned = b.transpose(&turned, &order);
        let mut together = vec![groups * inputs, outputs / groups];
        together.extend(&geometry.kernel);
        turned = b.reshape(&turned, &together);
    }
    let flips: Vec<Slice> = (0..axes)
        .filter(|&axis| geometry.kernel[axis] > 1)
        .map(|axis| Slice { axis: axis as i64 + 2, start: -1, end: i64::MIN + 1, step: -1 })
        .collect();
    Some(if flips.is_empty() { turned } else { b.slice(&turned, &flips) })
}

/// The transposed convolution of `dy` with `w`, in the shape of the image `x`.
pub(in crate::graph::ops) fn conv_transpose(
    b: &mut Builder,
    geometry: &ConvGeometry,
    dy: &Value,
    w: &Value,
    x: &Value,
) -> Value {
    let axes = geometry.axes();
    let sizes = |b: &Builder, value: &Value| -> Option<Vec<i64>> {
        b.dims(value)?.iter().skip(2).map(|dim| dim.fixed()).collect()
    };
    let known = sizes(b, dy).zip(sizes(b, x)).filter(|(steps, whole)| steps.len() == axes && whole.len() == axes);
    let mut back = ConvGeometry {
        kernel: geometry.kernel.clone(),
        strides: geometry.strides.clone(),
        dilations: geometry.dilations.clone(),
        before: geometry.before.clone(),
        behind: vec![0; axes],
        groups: geometry.groups,
    };
    let Some((steps, whole)) = known else {
        // All of what the windows covered and more behind it than they can have left over, cut to
        // the size of `x`.
        let node = back.node("ConvTranspose", [dy, w]);
        let all = b.node(node);
        let mut pads = vec![0; 2 * (axes + 2)];
        (0..axes).for_each(|axis| pads[axes + 4 + axis] = geometry.strides[axis] + geometry.behind[axis]);
        let padded = b.pad(&all, &pads, 0.0);
        return cut_to(b, &padded, x, axes);
    };
    let mut missing = vec![0; axes];
    for axis in 0..axes {
        // What the windows covered, less the border in front.
        let covered = (steps[axis] - 1) * geometry.strides[axis] + geometry.extent(axis) - geometry.before[axis];
        back.behind[axis] = (covered - whole[axis]).max(0);
        missing[axis] = (whole[axis] - covered).max(0);
    }
    b.node(back.node("ConvTranspose", [dy, w]).with("output_padding", missing))
}

/// The first positions of the spatial axes of `x`, as many as `like` has.
pub(in crate::graph::ops) fn cut_to(b: &mut Builder, x: &Value, like: &Value, axes: usize) -> Value {
    let shape = b.shape_of(like);
    let ends = b.narrow(&shape, 0, 2..axes as i64 + 2);
    let starts = b.integers(&vec![0; axes]);
    let places = b.integers(&(2..axes as i64 + 2).collect::<Vec<i64>>());
    let cut = b.apply("Slice", &[x, &starts, &ends, &places]);
    b.reshape_like(&cut, like)
}
