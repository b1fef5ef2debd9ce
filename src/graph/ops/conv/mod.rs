//! Convolutions. <https://onnx.ai/onnx/operators/onnx__Conv.html>,
//! <https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>
//!
//! Per axis: `out = (in + pads - dilation (kernel - 1) - 1) / stride + 1`, and the inverse for the
//! transposed one.
//!
//! Backwards, with `y = conv(x, w)`: `dx` is the transposed convolution of `dy` with `w`, see
//! `input_grad.rs`; `dw` is the convolution of `x` with `dy`, see `weight_grad.rs`; the bias gets
//! the sum over samples and positions.

pub(super) mod geometry;
pub(super) mod infer;
pub(super) mod input_grad;
mod row_products;
mod weight_grad;

use crate::graph::ops::conv::geometry::ConvGeometry;
use crate::graph::ops::conv::infer::{infer_conv, infer_conv_transpose};
use crate::graph::ops::conv::input_grad::input_gradient;
use crate::graph::ops::conv::weight_grad::weight_gradient;
use crate::graph::ops::{Half, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Value};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Conv", 7, infer_conv).vjp(conv).half(Half::Computed),
    OpDef::new("ConvTranspose", 7, infer_conv_transpose).vjp(conv_transpose),
];

/// The sizes of a kernel: of axes 2 and on of input `index`.
fn kernel(a: &VjpContext<'_>, index: usize) -> Result<Vec<i64>> {
    let sizes: Option<Vec<i64>> = a.shape(index)?.iter().skip(2).map(|dim| dim.fixed()).collect();
    sizes.ok_or_else(|| a.site.error("a kernel of known size", "an open one"))
}

fn conv(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, w, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let geometry = ConvGeometry::new(a, kernel(a, 1)?, 0)?;
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        passed[0] = Some(input_gradient(b, &geometry, dy, w, x).into());
    }
    if a.wants(1) {
        passed[1] = Some(weight_gradient(b, &geometry, x, dy, w).into());
    }
    if a.wants(2) {
        passed[2] = Some(channel_sums(b, dy, geometry.axes()).into());
    }
    Ok(passed)
}

/// With `y = conv_transpose(x, w)`: `dx = conv(dy, w)`, and `dw` as that of a convolution of `dy`
/// to `x`.
fn conv_transpose(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, w, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let is_explicit = a.site.text("auto_pad").unwrap_or("NOTSET") == "NOTSET" && a.site.ints("output_shape").is_none();
    if !is_explicit {
        return Err(a.site.error("explicit `pads`", "`auto_pad` or `output_shape`"));
    }
    let geometry = ConvGeometry::new(a, kernel(a, 1)?, 0)?;
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        passed[0] = Some(b.node(geometry.node("Conv", [dy, w])).into());
    }
    if a.wants(1) {
        passed[1] = Some(weight_gradient(b, &geometry, dy, x, w).into());
    }
    if a.wants(2) {
        passed[2] = Some(channel_sums(b, dy, geometry.axes()).into());
    }
    Ok(passed)
}

/// The sum over samples and positions.
fn channel_sums(b: &mut Builder, dy: &Value, axes: usize) -> Value {
    let all: Vec<i64> = std::iter::once(0).chain(2..axes as i64 + 2).collect();
    b.reduce_sum(dy, &all, false)
}
