//! The shapes that convolutions and pooling windows make.

use crate::graph::ops::{OpContext, Result, size};
use crate::graph::{Dim, Fact, shape_text};

/// How a window of a convolution or pooling moves along one axis.
#[derive(Clone, Copy)]
pub(in crate::graph::ops) struct Window {
    pub(in crate::graph::ops) stride: i64,
    pub(in crate::graph::ops) pads: [i64; 2],
    /// Positions the window covers from its first to its last tap.
    pub(in crate::graph::ops) extent: i64,
}

/// The windows of a node, one per spatial axis; `kernel` has a size per axis.
pub(in crate::graph::ops) fn windows(site: &OpContext<'_>, kernel: &[i64]) -> Result<Vec<Window>> {
    let count = kernel.len();
    let list = |name: &str, length: usize, default: i64| match site.ints(name) {
        None => Ok(vec![default; length]),
        Some(values) if values.len() == length => Ok(values.to_vec()),
        Some(values) => Err(site.error(format!("`{name}` with {length} entries"), format!("{values:?}"))),
    };
    let (strides, dilations) = (list("strides", count, 1)?, list("dilations", count, 1)?);
    let pads = list("pads", 2 * count, 0)?;
    if let Some(stride) = strides.iter().find(|stride| **stride < 1) {
        return Err(site.error("strides of at least 1", stride.to_string()));
    }
    let window = |axis: usize| Window {
        stride: strides[axis],
        pads: [pads[axis], pads[axis + count]],
        extent: dilations[axis] * (kernel[axis] - 1) + 1,
    };
    Ok((0..count).map(window).collect())
}

/// The size of one axis behind a window that moves over it.
pub(in crate::graph::ops) fn moved_over(site: &OpContext<'_>, window: Window, input: &Dim, ceil: bool) -> Result<Dim> {
    let Window { stride, pads, extent } = window;
    let automatic = site.text("auto_pad").unwrap_or("NOTSET");
    let Some(size) = input.fixed() else {
        let keeps = match automatic {
            "SAME_UPPER" | "SAME_LOWER" => stride == 1,
            "VALID" => stride == 1 && extent == 1,
            _ => stride == 1 && pads[0] + pads[1] == extent - 1,
        };
        return Ok(if keeps { input.clone() } else { Dim::Unknown });
    };
    if automatic.starts_with("SAME") {
        return Ok(Dim::Fixed((size + stride - 1) / stride));
    }
    let border = if automatic == "VALID" { [0, 0] } else { pads };
    let room = size + border[0] + border[1] - extent;
    if room < 0 {
        return Err(site.error(format!("at least {extent} positions under the window"), (room + extent).to_string()));
    }
    if !ceil {
        return Ok(Dim::Fixed(room / stride + 1));
    }
    let count = (room + stride - 1) / stride + 1;
    // A window that would start behind the input and its first border is left out.
    Ok(Dim::Fixed(if (count - 1) * stride >= size + border[0] { count - 1 } else { count }))
}

/// The kernel's size per axis: from the attribute, else from the weight.
fn kernel(site: &OpContext<'_>, weight: Option<&Vec<Dim>>) -> Option<Vec<i64>> {
    let of_weight = || weight.and_then(|shape| shape.get(2..)?.iter().map(Dim::fixed).collect());
    site.ints("kernel_shape").map(<[i64]>::to_vec).or_else(of_weight)
}

pub(super) fn infer_conv(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, weight) = (site.input(0)?, site.input(1)?);
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let Some(kernel) = kernel(site, weight.shape.as_ref()).filter(|_| shape.len() > 2) else {
        return Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; shape.len()]))]);
    };
    if kernel.len() + 2 != shape.len() {
        return Err(site.error(format!("an input with {} axes", kernel.len() + 2), shape_text(shape)));
    }
    let mut channels = Dim::Unknown;
    if let Some(weight) = &weight.shape {
        if weight.len() != shape.len() {
            return Err(site.error(format!("a weight with {} axes", shape.len()), shape_text(weight)));
        }
        let groups = Dim::Fixed(site.int("group").unwrap_or(1));
        site.same_size("input channels", &size::multiply(&weight[1], &groups), &shape[1])?;
        channels.clone_from(&weight[0]);
        if let Some([bias]) = site.optional(2).and_then(|bias| bias.shape.as_deref()) {
            site.same_size("a bias of size", &channels, bias)?;
        }
    }
    let mut result = vec![shape[0].clone(), channels];
    for (window, dim) in windows(site, &kernel)?.into_iter().zip(&shape[2..]) {
        result.push(moved_over(site, window, dim, false)?);
    }
    Ok(vec![Fact::new(x.element, Some(result))])
}

pub(super) fn infer_conv_transpose(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, weight) = (site.input(0)?, site.input(1)?);
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let Some(kernel) = kernel(site, weight.shape.as_ref()).filter(|kernel| kernel.len() + 2 == shape.len()) else {
        return Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; shape.len()]))]);
    };
    let channels = match &weight.shape {
        Some(weight) => {
            site.same_size("input channels", &weight[0], &shape[1])?;
            size::multiply(&weight[1], &Dim::Fixed(site.int("group").unwrap_or(1)))
        }
        None => Dim::Unknown,
    };
    let mut result = vec![shape[0].clone(), channels];
    let extra = site.ints("output_padding");
    let same = site.text("auto_pad").is_some_and(|automatic| automatic.starts_with("SAME"));
    for (axis, (window, dim)) in windows(site, &kernel)?.into_iter().zip(&shape[2..]).enumerate() {
        let extra = extra.and_then(|extra| extra.get(axis)).copied().unwrap_or(0);
        let asked =
            site.ints("output_shape").and_then(|sizes| sizes.get((sizes.len() + axis).checked_sub(kernel.len())?));
        result.push(match (asked, dim.fixed()) {
            (Some(&asked), _) => Dim::Fixed(asked),
            (None, Some(size)) if same => Dim::Fixed(size * window.stride),
            (None, Some(size)) => {
                Dim::Fixed((size - 1) * window.stride + extra + window.extent - window.pads[0] - window.pads[1])
            }
            (None, None) => Dim::Unknown,
        });
    }
    Ok(vec![Fact::new(x.element, Some(result))])
}
