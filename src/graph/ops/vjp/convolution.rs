//! Gradients of convolutions over images of any number of axes, strided, dilated and grouped.
//!
//! With `y = conv(x, w)`: `dx` is the transposed convolution of `dy` with `w` (where steps are 1,
//! an ordinary one with the kernel turned around, which runs faster); `dw` is the convolution of
//! `x` with `dy`, channels and samples swapped, stride and dilation swapped, or products of
//! matrices, see `kernel.rs`.

use crate::graph::ops::vjp::Cotangents;
use crate::graph::ops::vjp::conv_weight_grad::kernel_gradient;
use crate::graph::ops::{Result, VjpContext};
use crate::graph::{AttributeValue, Builder, Node, Slice, Value};

/// How a kernel moves, an entry per spatial axis.
pub(super) struct ConvGeometry {
    pub(super) kernel: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    /// Zeros in front of each axis.
    pub(super) before: Vec<i64>,
    /// Zeros behind each axis.
    pub(super) behind: Vec<i64>,
    pub(super) groups: i64,
}

impl ConvGeometry {
    /// The motion of a node whose kernel has these sizes, over input `image`.
    pub(super) fn of(a: &VjpContext<'_>, kernel: Vec<i64>, image: usize) -> Result<ConvGeometry> {
        let count = kernel.len();
        let list = |name: &str, default: i64| a.site.ints(name).map_or_else(|| vec![default; count], <[i64]>::to_vec);
        let (strides, dilations) = (list("strides", 1), list("dilations", 1));
        let pads = a.site.ints("pads").map_or_else(|| vec![0; 2 * count], <[i64]>::to_vec);
        let (mut before, mut behind) = (pads[..count].to_vec(), pads[count..].to_vec());
        let automatic = a.site.text("auto_pad").unwrap_or("NOTSET");
        if automatic.starts_with("SAME") {
            for axis in 0..count {
                let size = a.shape(image)?.get(axis + 2).and_then(|dim| dim.fixed());
                let extent = dilations[axis] * (kernel[axis] - 1) + 1;
                let total = match size {
                    _ if strides[axis] == 1 => extent - 1,
                    Some(size) => ((size - 1).div_euclid(strides[axis]) * strides[axis] + extent - size).max(0),
                    None => return Err(a.site.error("explicit `pads` or a known size of the image", automatic)),
                };
                let less = total / 2;
                let more = total - less;
                let (first, last) = if automatic == "SAME_UPPER" { (less, more) } else { (more, less) };
                (before[axis], behind[axis]) = (first, last);
            }
        } else if automatic == "VALID" {
            before.fill(0);
            behind.fill(0);
        }
        let groups = a.site.int("group").unwrap_or(1);
        Ok(ConvGeometry { kernel, strides, dilations, before, behind, groups })
    }

    /// Number of spatial axes.
    pub(super) fn axes(&self) -> usize {
        self.kernel.len()
    }

    pub(super) fn ones(&self) -> Vec<i64> {
        vec![1; self.axes()]
    }

    /// Positions from the first to the last tap along an axis.
    pub(super) fn extent(&self, axis: usize) -> i64 {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    pub(super) fn is_dense(&self) -> bool {
        self.strides == self.ones()
    }

    /// Whether the kernel has one tap and there is no border.
    pub(super) fn is_pointwise(&self) -> bool {
        let unpadded = self.before.iter().chain(&self.behind).all(|pad| *pad == 0);
        self.kernel == self.ones() && unpadded && self.groups == 1
    }

    /// A node that moves a kernel so.
    pub(super) fn node(&self, operator: &str, inputs: [&Value; 2]) -> Node {
        let pads: Vec<i64> = self.before.iter().chain(&self.behind).copied().collect();
        Node::new(operator, &[inputs[0].name(), inputs[1].name()], &[])
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads", pads)
            .with("group", self.groups)
    }
}

/// The sizes of a kernel: of axes 2 and on of input `index`.
fn kernel(a: &VjpContext<'_>, index: usize) -> Result<Vec<i64>> {
    let sizes: Option<Vec<i64>> = a.shape(index)?.iter().skip(2).map(|dim| dim.fixed()).collect();
    sizes.ok_or_else(|| a.site.error("a kernel of known size", "an open one"))
}

pub(in crate::graph::ops) fn conv(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (x, w, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let motion = ConvGeometry::of(a, kernel(a, 1)?, 0)?;
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        passed[0] = Some(image_gradient(b, &motion, (dy, w, x)).into());
    }
    if a.wants(1) {
        passed[1] = Some(kernel_gradient(b, &motion, (x, dy, w)).into());
    }
    if a.wants(2) {
        passed[2] = Some(channel_sums(b, dy, motion.axes()).into());
    }
    Ok(passed)
}

/// With `y = conv_transpose(x, w)`: `dx = conv(dy, w)`, and `dw` as that of a convolution of `dy`
/// to `x`.
pub(in crate::graph::ops) fn conv_transpose(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (x, w, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let is_explicit = a.site.text("auto_pad").unwrap_or("NOTSET") == "NOTSET" && a.site.ints("output_shape").is_none();
    if !is_explicit {
        return Err(a.site.error("explicit `pads`", "`auto_pad` or `output_shape`"));
    }
    let motion = ConvGeometry::of(a, kernel(a, 1)?, 0)?;
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        passed[0] = Some(b.node(motion.node("Conv", [dy, w])).into());
    }
    if a.wants(1) {
        passed[1] = Some(kernel_gradient(b, &motion, (dy, x, w)).into());
    }
    if a.wants(2) {
        passed[2] = Some(channel_sums(b, dy, motion.axes()).into());
    }
    Ok(passed)
}

/// The sum over samples and positions.
fn channel_sums(b: &mut Builder, dy: &Value, axes: usize) -> Value {
    let all: Vec<i64> = std::iter::once(0).chain(2..axes as i64 + 2).collect();
    b.reduce_sum(dy, &all, false)
}

/// How the loss changes with the image `x` that `w` moved over.
fn image_gradient(b: &mut Builder, motion: &ConvGeometry, (dy, w, x): (&Value, &Value, &Value)) -> Value {
    let borders = |axis: usize| motion.extent(axis) - 1;
    let fits =
        (0..motion.axes()).all(|axis| motion.before[axis] <= borders(axis) && motion.behind[axis] <= borders(axis));
    if let Some(gradient) = strided_pointwise(b, motion, (dy, w, x)) {
        return gradient;
    }
    match turned_around(b, motion, w).filter(|_| motion.is_dense() && fits) {
        Some(turned) => {
            let back = ConvGeometry {
                kernel: motion.kernel.clone(),
                strides: motion.ones(),
                dilations: motion.dilations.clone(),
                before: (0..motion.axes()).map(|axis| borders(axis) - motion.before[axis]).collect(),
                behind: (0..motion.axes()).map(|axis| borders(axis) - motion.behind[axis]).collect(),
                groups: motion.groups,
            };
            b.node(back.node("Conv", [dy, &turned]))
        }
        None => spread(b, motion, (dy, w, x)),
    }
}

/// The image gradient of a kernel of one tap that skips positions, of known sizes: a dense
/// convolution with the kernel transposed, its positions laid a step apart.
fn strided_pointwise(b: &mut Builder, motion: &ConvGeometry, (dy, w, x): (&Value, &Value, &Value)) -> Option<Value> {
    if !motion.is_pointwise() || motion.is_dense() {
        return None;
    }
    let (steps, whole, axes) = (b.sizes(dy)?, b.sizes(x)?, motion.axes());
    let turned = turned_around(b, motion, w)?;
    let dense = b.node(Node::new("Conv", &[dy.name(), turned.name()], &[]));
    // [N, C, H, 1, W, 1] with zeros behind: a step's positions as the axis behind each.
    let apart: Vec<i64> = (0..axes as i64).map(|axis| 3 + 2 * axis).collect();
    let wide = b.unsqueeze(&dense, &apart);
    let rank = 2 + 2 * axes;
    let mut pads = vec![0; 2 * rank];
    (0..axes).for_each(|axis| pads[rank + 3 + 2 * axis] = motion.strides[axis] - 1);
    let spread = b.pad(&wide, &pads, 0.0);
    let mut target = vec![steps[0], whole[1]];
    target.extend((0..axes).map(|axis| steps[axis + 2] * motion.strides[axis]));
    let spread = b.reshape(&spread, &target);
    let mut around = vec![0; 2 * (axes + 2)];
    for axis in 2..axes + 2 {
        around[axes + 2 + axis] = whole[axis] - target[axis];
    }
    Some(if around.iter().all(|pad| *pad == 0) { spread } else { b.pad(&spread, &around, 0.0) })
}

/// The kernel [O, C / groups, ...] of a convolution as that of the convolution back, [C, O /
/// groups, ...]: inputs and outputs swapped, every axis turned around.
fn turned_around(b: &mut Builder, motion: &ConvGeometry, w: &Value) -> Option<Value> {
    let sizes = b.sizes(w)?;
    let (outputs, inputs, groups) = (sizes[0], sizes[1], motion.groups);
    let axes = motion.axes();
    let mut turned = w.clone();
    if groups == 1 {
        let order: Vec<i64> = [1, 0].into_iter().chain(2..axes as i64 + 2).collect();
        turned = b.transpose(&turned, &order);
    } else if inputs > 1 || outputs != groups {
        let mut apart = vec![groups, outputs / groups, inputs];
        apart.extend(&motion.kernel);
        turned = b.reshape(&turned, &apart);
        let order: Vec<i64> = [0, 2, 1].into_iter().chain(3..axes as i64 + 3).collect();
        turned = b.transpose(&turned, &order);
        let mut together = vec![groups * inputs, outputs / groups];
        together.extend(&motion.kernel);
        turned = b.reshape(&turned, &together);
    }
    let flips: Vec<Slice> = (0..axes)
        .filter(|&axis| motion.kernel[axis] > 1)
        .map(|axis| Slice { axis: axis as i64 + 2, start: -1, end: i64::MIN + 1, step: -1 })
        .collect();
    Some(if flips.is_empty() { turned } else { b.slice(&turned, &flips) })
}

/// The transposed convolution of `dy` with `w`, in the shape of the image `x`.
pub(super) fn spread(b: &mut Builder, motion: &ConvGeometry, (dy, w, x): (&Value, &Value, &Value)) -> Value {
    let axes = motion.axes();
    let sizes = |b: &Builder, value: &Value| -> Option<Vec<i64>> {
        b.dims(value)?.iter().skip(2).map(|dim| dim.fixed()).collect()
    };
    let known = sizes(b, dy).zip(sizes(b, x)).filter(|(steps, whole)| steps.len() == axes && whole.len() == axes);
    let mut back = ConvGeometry {
        kernel: motion.kernel.clone(),
        strides: motion.strides.clone(),
        dilations: motion.dilations.clone(),
        before: motion.before.clone(),
        behind: vec![0; axes],
        groups: motion.groups,
    };
    let Some((steps, whole)) = known else {
        // All of what the windows covered and more behind it than they can have left over, cut to
        // the size of `x`.
        let node = back.node("ConvTranspose", [dy, w]);
        let all = b.node(node);
        let mut pads = vec![0; 2 * (axes + 2)];
        (0..axes).for_each(|axis| pads[axes + 4 + axis] = motion.strides[axis] + motion.behind[axis]);
        let padded = b.pad(&all, &pads, 0.0);
        return cut_to(b, &padded, x, axes);
    };
    let mut missing = vec![0; axes];
    for axis in 0..axes {
        // What the windows covered, less the border in front.
        let covered = (steps[axis] - 1) * motion.strides[axis] + motion.extent(axis) - motion.before[axis];
        back.behind[axis] = (covered - whole[axis]).max(0);
        missing[axis] = (whole[axis] - covered).max(0);
    }
    b.node(back.node("ConvTranspose", [dy, w]).with("output_padding", missing))
}

/// The first positions of the spatial axes of `x`, as many as `like` has.
pub(super) fn cut_to(b: &mut Builder, x: &Value, like: &Value, axes: usize) -> Value {
    let shape = b.shape_of(like);
    let ends = b.narrow(&shape, 0, 2..axes as i64 + 2);
    let starts = b.integers(&vec![0; axes]);
    let places = b.integers(&(2..axes as i64 + 2).collect::<Vec<i64>>());
    let cut = b.apply("Slice", &[x, &starts, &ends, &places]);
    b.reshape_like(&cut, like)
}

/// The attribute `kernel_shape` of a pooling.
pub(super) fn window(a: &VjpContext<'_>) -> Result<Vec<i64>> {
    match a.node().attribute("kernel_shape") {
        Some(AttributeValue::Ints(sizes)) => Ok(sizes.clone()),
        _ => Err(a.site.error("`kernel_shape`", "none")),
    }
}
