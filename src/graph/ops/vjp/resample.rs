//! Gradients of resampling and padding: linear maps, passed back by their transposes.

use crate::graph::ops::VjpContext;
use crate::graph::ops::vjp::Cotangents;
use crate::graph::{Builder, Fact, Node, Value};
use crate::tensor::{DType, HostTensor};

/// `dx = R^T dy` along each axis that changes. The matrix `R` of an axis is what the operator
/// itself makes of the identity, so that every mode, coordinate rule and antialiasing is passed
/// back exactly.
pub(in crate::graph::ops) fn resize(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let dy = a.cotangent()?;
    if a.site.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
        return Err(a.site.error("resizing of the whole image", "`tf_crop_and_resize`"));
    }
    if a.site.ints("axes").is_some()
        || a.site.text("keep_aspect_ratio_policy").is_some_and(|policy| policy != "stretch")
    {
        return Err(a.site.error("sizes or scales of all axes", "`axes` or a policy"));
    }
    let (before, after) = (a.shape(0)?.to_vec(), b.dims(a.output(0)?).map(<[_]>::to_vec));
    let after = after.filter(|after| after.len() == before.len() && before.len() == 4);
    let after = after.ok_or_else(|| a.site.error("an image of four axes", "another"))?;
    if (0..2).any(|axis| before[axis] != after[axis]) {
        return Err(a.site.error("samples and channels that stay as they are", "a change of them"));
    }
    let sizes = |dims: &[crate::graph::Dim]| dims[2..].iter().map(|dim| dim.fixed()).collect::<Option<Vec<i64>>>();
    let (Some(from), Some(to)) = (sizes(&before), sizes(&after)) else {
        return Err(a.site.error("known heights and widths", "open ones"));
    };
    let scales = a.site.optional(2).and_then(Fact::as_floats).map(<[f32]>::to_vec).filter(|scales| scales.len() == 4);
    let mut dx = dy.clone();
    for axis in [0, 1] {
        if from[axis] == to[axis] && scales.as_ref().is_none_or(|scales| scales[axis + 2] == 1.0) {
            continue;
        }
        let matrix = response(a, b, (axis, from[axis], to[axis]), scales.as_deref());
        // The matrix is [to, from] for heights; for widths it is applied from the right.
        dx = if axis == 0 {
            let turned = b.transpose(&matrix, &[1, 0]);
            b.matmul(&turned, &dx)
        } else {
            b.matmul(&dx, &matrix)
        };
    }
    Ok(vec![Some(dx.into())])
}

/// What the node makes of the identity along one axis: `[to, from]`, in the element type of its
/// input.
fn response(a: &VjpContext<'_>, b: &mut Builder, (axis, from, to): (usize, i64, i64), scales: Option<&[f32]>) -> Value {
    let size = from as usize;
    let identity = HostTensor::from_fn(&[1, 1, size, size], |at| f32::from(u8::from(at / size == at % size)));
    let identity = b.constant(&identity);
    // Heights change; the columns are the responses to single rows.
    let mut node = match scales {
        Some(scales) => {
            let scales = b.constant(&HostTensor::vector(vec![1.0f32, 1.0, scales[axis + 2], 1.0]));
            Node::new("Resize", &[identity.name(), "", scales.name()], &[])
        }
        None => {
            let sizes = b.integers(&[1, 1, to, from]);
            Node::new("Resize", &[identity.name(), "", "", sizes.name()], &[])
        }
    };
    for attribute in a.node().attributes.iter().filter(|attribute| attribute.name != "axes") {
        node.attributes.push(attribute.clone());
    }
    let image = b.node(node);
    let matrix = b.reshape(&image, &[to, from]);
    let dtype = a.optional(0).and_then(|x| b.dtype(x)).filter(|dtype| *dtype != DType::F32);
    match dtype {
        Some(dtype) => b.cast(&matrix, dtype),
        None => matrix,
    }
}

/// `dx` is the inner part of `dy`: padding with the opposite signs. Other modes than `constant` put
/// elements into the border, which would pass back, too.
pub(in crate::graph::ops) fn pad(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let dy = a.cotangent()?;
    let mode = a.site.text("mode").unwrap_or("constant");
    if mode != "constant" {
        return Err(a.site.error("the mode `constant`", format!("`{mode}`")));
    }
    let rank = a.rank(0)?;
    let pads = a.input(1)?;
    let opposite = match a.site.optional(1).and_then(Fact::as_fixed) {
        Some(pads) => b.integers(&pads.into_iter().map(|pad| -pad).collect::<Vec<i64>>()),
        None => b.neg(pads),
    };
    let mut node = Node::new("Pad", &[dy.name(), opposite.name()], &[]);
    if let Some(axes) = a.optional(3) {
        node.inputs.extend([String::new(), axes.name().to_owned()]);
    }
    let dx = b.node(node);
    let x = a.input(0)?;
    let mut passed = vec![Some(b.reshape_like(&dx, x).into())];
    if a.wants(2) {
        // The fill goes to every place of the border: all of `dy` less what went to `x`.
        let all: Vec<i64> = (0..rank as i64).collect();
        let (whole, inner) = (b.reduce_sum(dy, &all, false), b.reduce_sum(&dx, &all, false));
        let rest = b.sub(&whole, &inner);
        passed.extend([None, Some(b.reshape_like(&rest, a.input(2)?).into())]);
    }
    Ok(passed)
}
