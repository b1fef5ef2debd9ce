//! How a kernel moves over an image of any number of axes: strides, dilations, borders, groups.

use crate::graph::ops::{Result, VjpContext};
use crate::graph::{AttributeValue, Node, Value};

/// How a kernel moves, an entry per spatial axis.
#[derive(Clone)]
pub(in crate::graph::ops) struct ConvGeometry {
    pub(in crate::graph::ops) kernel: Vec<i64>,
    pub(in crate::graph::ops) strides: Vec<i64>,
    pub(in crate::graph::ops) dilations: Vec<i64>,
    /// Zeros in front of each axis.
    pub(in crate::graph::ops) before: Vec<i64>,
    /// Zeros behind each axis.
    pub(in crate::graph::ops) behind: Vec<i64>,
    pub(in crate::graph::ops) groups: i64,
}

impl ConvGeometry {
    /// The geometry of a node whose kernel has these sizes, over input `image`.
    pub(in crate::graph::ops) fn new(a: &VjpContext<'_>, kernel: Vec<i64>, image: usize) -> Result<ConvGeometry> {
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
    pub(in crate::graph::ops) fn axes(&self) -> usize {
        self.kernel.len()
    }

    pub(in crate::graph::ops) fn ones(&self) -> Vec<i64> {
        vec![1; self.axes()]
    }

    /// Positions from the first to the last tap along an axis.
    pub(in crate::graph::ops) fn extent(&self, axis: usize) -> i64 {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    pub(in crate::graph::ops) fn is_dense(&self) -> bool {
        self.strides == self.ones()
    }

    /// Whether the kernel has one tap and there is no border.
    pub(in crate::graph::ops) fn is_pointwise(&self) -> bool {
        let unpadded = self.before.iter().chain(&self.behind).all(|pad| *pad == 0);
        self.kernel == self.ones() && unpadded && self.groups == 1
    }

    /// A node that moves a kernel so.
    pub(in crate::graph::ops) fn node(&self, operator: &str, inputs: [&Value; 2]) -> Node {
        let pads: Vec<i64> = self.before.iter().chain(&self.behind).copied().collect();
        Node::new(operator, &[inputs[0].name(), inputs[1].name()], &[])
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads", pads)
            .with("group", self.groups)
    }
}

/// The attribute `kernel_shape` of a pooling.
pub(in crate::graph::ops) fn window(a: &VjpContext<'_>) -> Result<Vec<i64>> {
    match a.node().attribute("kernel_shape") {
        Some(AttributeValue::Ints(sizes)) => Ok(sizes.clone()),
        _ => Err(a.site.error("`kernel_shape`", "none")),
    }
}
