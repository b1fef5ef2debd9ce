//! The gradient of a kernel of two axes from products of lines, for few outputs to a group.
//!
//! With `G[y, v, j]` the product of line `y` of the cotangent `dy` and line `v` of the padded image
//! `x`, moved by tap `j` and summed over samples, `dw[i, j]` is the sum over `y` of `G[y, stride
//! y + dilation i, j]`. A convolution of `x` with the lines of `dy` as its kernels gives `G`. It has
//! as many outputs to a channel as there are lines, where that with `dy` itself has one and ends up
//! copying the image once a tap to multiply it by a vector; this copies it once a column of the
//! kernel. Most of `G` is not needed; so `dy` is cut into bands of lines, which keeps it small.

use std::ops::Range;

use crate::graph::ops::conv::geometry::ConvGeometry;
use crate::graph::{Builder, Slice, Value};

/// The most outputs of a group that gain by it.
const OUTPUTS: i64 = 2;
/// The most lines of a band.
const LINES: i64 = 16;

/// A kernel's way over an image, and all sizes.
struct Lines<'a> {
    geometry: &'a ConvGeometry,
    samples: i64,
    /// Channels of a group.
    channels: i64,
    height: i64,
    width: i64,
    outputs: i64,
    /// Lines of `dy`, and their length.
    steps: [i64; 2],
}

/// `dw`; `None` where another way is better or sizes are not known.
pub(super) fn by_rows(b: &mut Builder, geometry: &ConvGeometry, x: &Value, dy: &Value, w: &Value) -> Option<Value> {
    let (&[samples, channels, height, width], &[_, outputs, lines, columns]) = (&b.sizes(x)?[..], &b.sizes(dy)?[..])
    else {
        return None;
    };
    // No line of `dy` lies beyond the image alone.
    let meets = [geometry.before[0], geometry.behind[0]].iter().all(|pad| (0..geometry.extent(0)).contains(pad));
    if outputs > OUTPUTS * geometry.groups || geometry.kernel[0] == 1 || !meets {
        return None;
    }
    let channels = channels / geometry.groups;
    let all = Lines { geometry, samples, channels, height, width, outputs, steps: [lines, columns] };
    // Channels of a group as samples, samples as channels: [C / groups, groups N, ...].
    let image = b.reshape(x, &[samples, geometry.groups, channels, height, width]);
    let image = b.transpose(&image, &[2, 1, 0, 3, 4]);
    let image = b.reshape(&image, &[channels, geometry.groups * samples, height, width]);
    let dy = b.transpose(dy, &[1, 2, 0, 3]);
    let bands = (lines + LINES - 1) / LINES;
    let found: Vec<Value> =
        (0..bands).map(|band| all.band(b, &image, &dy, band * lines / bands..(band + 1) * lines / bands)).collect();
    let sum = found.iter().skip(1).fold(found[0].clone(), |sum, next| b.add(&sum, next));
    let sum = b.reshape(&sum, &[channels, outputs, geometry.kernel[0], geometry.kernel[1]]);
    let gradient = if channels == 1 { sum } else { b.transpose(&sum, &[1, 0, 2, 3]) };
    Some(b.reshape_like(&gradient, w))
}

impl Lines<'_> {
    /// What some lines of `dy` give, `[C / groups O, ...]`; the image as `[C / groups, groups N,
    /// ...]`, `dy` as `[O, lines, N, ...]`.
    fn band(&self, b: &mut Builder, image: &Value, dy: &Value, lines: Range<i64>) -> Value {
        let Lines { geometry, samples, channels, height, width, outputs, steps } = *self;
        let [stride, count] = [geometry.strides[0], lines.end - lines.start];
        // Lines of the padded image that the band meets, and those among them that are of the
        // image.
        let met = (count - 1) * stride + geometry.extent(0);
        let top = lines.start * stride - geometry.before[0];
        let inside = top.max(0)..(top + met).min(height);
        let over = ConvGeometry {
            kernel: Vec::new(),
            strides: vec![1, geometry.dilations[1]],
            dilations: vec![1, geometry.strides[1]],
            before: vec![inside.start - top, geometry.before[1]],
            behind: vec![top + met - inside.end, geometry.behind[1]],
            groups: geometry.groups,
        };
        let image = part(b, image, 2, height, inside);
        let dy = part(b, dy, 1, steps[0], lines);
        let dy = b.reshape(&dy, &[outputs * count, samples, 1, steps[1]]);
        let products = b.node(over.node("Conv", [&image, &dy]));
        // Line y of `dy` needs products from line `stride y` on: with as many zeros behind all of
        // them the lines, laid out `stride` longer, start there.
        let padded = geometry.before[1] + width + geometry.behind[1];
        let places = (padded - geometry.strides[1] * (steps[1] - 1) - 1) / geometry.dilations[1] + 1;
        let pairs = channels * outputs;
        let flat = b.reshape(&products, &[pairs, count * met, places]);
        let flat = b.pad(&flat, &[0, 0, 0, 0, count * stride, 0], 0.0);
        let skewed = b.reshape(&flat, &[pairs, count, met + stride, places]);
        let rows = Slice { axis: 2, start: 0, end: geometry.extent(0), step: geometry.dilations[0] };
        let taps = Slice { axis: 3, start: 0, end: geometry.kernel[1], step: 1 };
        let met = b.slice(&skewed, &[rows, taps]);
        b.reduce_sum(&met, &[1], false)
    }
}

/// A range of an axis of a size.
fn part(b: &mut Builder, value: &Value, axis: i64, size: i64, range: Range<i64>) -> Value {
    if range == (0..size) { value.clone() } else { b.narrow(value, axis, range) }
}
