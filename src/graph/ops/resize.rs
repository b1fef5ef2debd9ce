//! Resampling. <https://onnx.ai/onnx/operators/onnx__Resize.html>
//!
//! Sizes are given directly, or as `floor(in * scale)`; from operator set 18 for some axes only,
//! and with a policy that keeps the aspect ratio. Resampling is linear: it is passed back by its
//! transpose.

use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{AttributeValue, Builder, Dim, Fact, Node, Value};
use crate::tensor::{DType, HostTensor};

pub(super) const OPERATORS: &[OpDef] =
    &[OpDef::new("Resize", 10, infer_resize).vjp(resize), OpDef::new("Upsample", 7, infer_upsample)];

fn infer_resize(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let axes: Vec<usize> = match site.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<_>>()?,
        None => (0..shape.len()).collect(),
    };
    // Empty tensors stand for left-out inputs in files of operator set 11 and 12.
    let is_given = |fact: &&Fact| fact.shape.as_deref() != Some(&[Dim::Fixed(0)]);
    let scales = site.optional(if site.opset < 11 { 1 } else { 2 }).filter(is_given);
    let sizes = site.optional(3).filter(is_given);
    let mut result = shape.clone();
    match (sizes, scales) {
        (Some(sizes), _) => {
            let stretched = site.text("keep_aspect_ratio_policy").unwrap_or("stretch") == "stretch";
            let sizes = sizes.as_integers().filter(|sizes| stretched && sizes.len() == axes.len());
            for (index, &axis) in axes.iter().enumerate() {
                result[axis] = sizes.map_or(Dim::Unknown, |sizes| sizes[index].clone());
            }
        }
        (None, Some(scales)) => scale(&mut result, &axes, scales.as_floats()),
        (None, None) => return Err(site.error("scales or sizes", "neither")),
    }
    Ok(vec![Fact::new(x.element, Some(result))])
}

/// The predecessor of `Resize`, gone from operator set 10 on (`rewrite::lift` makes the latter of
/// it before gradients are taken); its scales are an attribute before operator set 9.
fn infer_upsample(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(mut shape) = x.shape.clone() else { return Ok(vec![Fact::new(x.element, None)]) };
    let attribute = match site.node.attribute("scales") {
        Some(AttributeValue::Floats(scales)) => Some(scales.as_slice()),
        _ => None,
    };
    let axes: Vec<usize> = (0..shape.len()).collect();
    scale(&mut shape, &axes, attribute.or_else(|| site.optional(1)?.as_floats()));
    Ok(vec![Fact::new(x.element, Some(shape))])
}

fn scale(shape: &mut [Dim], axes: &[usize], scales: Option<&[f32]>) {
    for (index, &axis) in axes.iter().enumerate() {
        shape[axis] = match (scales.and_then(|scales| scales.get(index)), &shape[axis]) {
            (Some(1.0), same) => same.clone(),
            (Some(scale), Dim::Fixed(size)) => Dim::Fixed((*size as f32 * scale).floor() as i64),
            _ => Dim::Unknown,
        };
    }
}

/// `dx = R^T dy` along each axis that changes. The matrix `R` of an axis is what the operator
/// itself makes of the identity, so that every mode, coordinate rule and antialiasing is passed
/// back exactly.
fn resize(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
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
    let sizes = |dims: &[Dim]| dims[2..].iter().map(|dim| dim.fixed()).collect::<Option<Vec<i64>>>();
    let (Some(from), Some(to)) = (sizes(&before), sizes(&after)) else {
        return Err(a.site.error("known heights and widths", "open ones"));
    };
    let scales = a.site.optional(2).and_then(Fact::as_floats).map(<[f32]>::to_vec).filter(|scales| scales.len() == 4);
    let mut dx = dy.clone();
    for axis in [0, 1] {
        if from[axis] == to[axis] && scales.as_ref().is_none_or(|scales| scales[axis + 2] == 1.0) {
            continue;
        }
        let matrix = response(a, b, axis, [from[axis], to[axis]], scales.as_deref());
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
fn response(a: &VjpContext<'_>, b: &mut Builder, axis: usize, [from, to]: [i64; 2], scales: Option<&[f32]>) -> Value {
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
