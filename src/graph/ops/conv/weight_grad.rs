//! Gradients of the kernels of convolutions.
//!
//! Four ways, of which the fastest on a CPU is taken:
//! - products of matrices, one a tap, `[O, N P] x [N P, C]` with the P positions that the tap
//!   meets: for kernels of up to [`TAPS`] taps that all channels share, of known sizes;
//! - of a single tap on large images the same, image by image, summed;
//! - of few outputs to a group, as in depthwise convolutions, products of rows, see
//!   `row_products.rs`;
//! - else the convolution of `x` with `dy`, channels and samples swapped, stride and dilation
//!   swapped, cut to the size of the kernel.

use crate::graph::ops::conv::geometry::ConvGeometry;
use crate::graph::ops::conv::row_products::by_rows;
use crate::graph::{Builder, Node, Slice, Value};

/// The most taps that get a product of matrices each.
const TAPS: i64 = 9;

/// The fewest channels on either side for that.
const CHANNELS: i64 = 16;

/// How the loss changes with the kernel `w` that moved over `x` and gave what `dy` is the cotangent
/// of.
pub(super) fn weight_gradient(b: &mut Builder, geometry: &ConvGeometry, x: &Value, dy: &Value, w: &Value) -> Value {
    let pointwise = geometry.is_pointwise();
    if pointwise && !is_deep(b, dy, w) {
        return by_image(b, geometry, x, dy, w);
    }
    if let Some(gradient) = by_tap(b, geometry, x, dy, w) {
        return gradient;
    }
    if pointwise {
        return by_image(b, geometry, x, dy, w);
    }
    by_rows(b, geometry, x, dy, w).unwrap_or_else(|| by_convolution(b, geometry, x, dy, w))
}

/// Whether the gradient of one image, `[O, C]`, is larger than what it is computed of, `[O, P]` and
/// `[P, C]`.
fn is_deep(b: &Builder, dy: &Value, w: &Value) -> bool {
    let (Some(steps), Some(kernel)) = (b.sizes(dy), b.sizes(w)) else { return false };
    let positions: i64 = steps[2..].iter().product();
    kernel[0] * kernel[1] > positions * (kernel[0] + kernel[1])
}

/// `dw` as a product of matrices for each tap; `None` where another way is better or sizes are not
/// known.
fn by_tap(b: &mut Builder, geometry: &ConvGeometry, x: &Value, dy: &Value, w: &Value) -> Option<Value> {
    let (image, steps, kernel) = (b.sizes(x)?, b.sizes(dy)?, b.sizes(w)?);
    let taps: i64 = geometry.kernel.iter().product();
    if geometry.groups != 1 || taps > TAPS || kernel[0].min(kernel[1]) < CHANNELS {
        return None;
    }
    let axes = geometry.axes();
    let order: Vec<i64> = [1, 0].into_iter().chain(2..axes as i64 + 2).collect();
    let columns: i64 = steps[0] * steps[2..].iter().product::<i64>();
    let moved = b.transpose(dy, &order);
    let moved = b.reshape(&moved, &[kernel[0], columns]);
    let turned = b.transpose(x, &order);
    let mut pads = vec![0; 2 * (axes + 2)];
    for axis in 0..axes {
        pads[2 + axis] = geometry.before[axis];
        // What no tap reaches is cut off.
        let reached = (steps[axis + 2] - 1) * geometry.strides[axis] + geometry.extent(axis);
        pads[axes + 4 + axis] = reached - image[axis + 2] - geometry.before[axis];
    }
    let padded = if pads.iter().all(|pad| *pad == 0) { turned } else { b.pad(&turned, &pads, 0.0) };
    let mut products = Vec::new();
    for tap in 0..taps {
        let met = met_by(b, geometry, &padded, &steps, tap);
        let met = b.reshape(&met, &[kernel[1], columns]);
        let product = b.node(Node::new("Gemm", &[moved.name(), met.name()], &[]).with("transB", 1));
        products.push(if taps == 1 { product } else { b.unsqueeze(&product, &[2]) });
    }
    let all = match products.as_slice() {
        [single] => single.clone(),
        several => b.concat(&several.iter().collect::<Vec<_>>(), 2),
    };
    Some(b.reshape_like(&all, w))
}

/// The elements of the padded image that tap number `tap`, counted row by row, meets.
fn met_by(b: &mut Builder, geometry: &ConvGeometry, padded: &Value, steps: &[i64], tap: i64) -> Value {
    let mut rest = tap;
    let mut cuts = Vec::new();
    for axis in (0..geometry.axes()).rev() {
        let start = rest % geometry.kernel[axis] * geometry.dilations[axis];
        rest /= geometry.kernel[axis];
        let step = geometry.strides[axis];
        let end = start + (steps[axis + 2] - 1) * step + 1;
        let is_whole = start == 0 && step == 1 && b.sizes(padded).is_some_and(|sizes| sizes[axis + 2] == end);
        if !is_whole {
            cuts.push(Slice { axis: axis as i64 + 2, start, end, step });
        }
    }
    if cuts.is_empty() { padded.clone() } else { b.slice(padded, &cuts) }
}

/// `dw` of one tap: `sum over samples of dy x^T`, `[O, P] x [P, C]`.
fn by_image(b: &mut Builder, geometry: &ConvGeometry, x: &Value, dy: &Value, w: &Value) -> Value {
    let axes = geometry.axes();
    let mut image = x.clone();
    if !geometry.is_dense() {
        let steps: Vec<Slice> = (0..axes)
            .map(|axis| Slice { axis: axis as i64 + 2, start: 0, end: i64::MAX, step: geometry.strides[axis] })
            .collect();
        image = b.slice(&image, &steps);
    }
    let flat = b.reshape(&image, &[0, 0, -1]);
    let turned = b.transpose(&flat, &[0, 2, 1]);
    let steps = b.reshape(dy, &[0, 0, -1]);
    let products = b.matmul(&steps, &turned);
    let gradient = b.reduce_sum(&products, &[0], false);
    b.reshape_like(&gradient, w)
}

/// `dw` as a convolution of `x` with `dy`.
fn by_convolution(b: &mut Builder, geometry: &ConvGeometry, x: &Value, dy: &Value, w: &Value) -> Value {
    let axes = geometry.axes();
    let spatial: Vec<i64> = (2..axes as i64 + 2).collect();
    // Channels of a group as samples, samples as channels: [C / groups, groups N, ...].
    let groups = geometry.groups;
    let image = if groups == 1 {
        let order: Vec<i64> = [1, 0].into_iter().chain(spatial.iter().copied()).collect();
        b.transpose(x, &order)
    } else {
        let samples = b.size_of(x, 0);
        let sizes: Vec<Value> = (0..axes).map(|axis| b.size_of(x, axis + 2)).collect();
        let channels = b.sizes(w).map_or(1, |sizes| sizes[1]);
        let [groups_value, channels_value, all] = [groups, channels, -1].map(|size| b.integers(&[size]));
        let apart: Vec<&Value> = [&samples, &groups_value, &channels_value].into_iter().chain(&sizes).collect();
        let apart = b.concat(&apart, 0);
        let image = b.reshape_to(x, &apart);
        let order: Vec<i64> = [2, 1, 0].into_iter().chain(3..axes as i64 + 3).collect();
        let image = b.transpose(&image, &order);
        let together: Vec<&Value> = [&channels_value, &all].into_iter().chain(&sizes).collect();
        let together = b.concat(&together, 0);
        b.reshape_to(&image, &together)
    };
    let order: Vec<i64> = [1, 0].into_iter().chain(spatial.iter().copied()).collect();
    let moved = b.transpose(dy, &order);
    let swapped = ConvGeometry {
        kernel: Vec::new(),
        strides: geometry.dilations.clone(),
        dilations: geometry.strides.clone(),
        before: geometry.before.clone(),
        behind: geometry.behind.clone(),
        groups,
    };
    let all = b.node(swapped.node("Conv", [&image, &moved]));
    let cuts: Vec<Slice> =
        (0..axes).map(|axis| Slice { axis: axis as i64 + 2, start: 0, end: geometry.kernel[axis], step: 1 }).collect();
    let taps = b.slice(&all, &cuts);
    let gradient = b.transpose(&taps, &order);
    b.reshape_like(&gradient, w)
}
