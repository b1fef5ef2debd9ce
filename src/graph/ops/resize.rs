//! Resampling. <https://onnx.ai/onnx/operators/onnx__Resize.html>
//!
//! Sizes are given directly, or as `floor(in * scale)`; from operator set 18 for some axes only,
//! and with a policy that keeps the aspect ratio.

use crate::graph::ops::vjp::resample;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Resize", since: 10, infer: resize, vjp: Vjp::Rule(resample::resize) },
    OpDef { name: "Upsample", since: 7, infer: upsample, vjp: Vjp::Missing },
];

fn resize(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
fn upsample(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(mut shape) = x.shape.clone() else { return Ok(vec![Fact::new(x.element, None)]) };
    let attribute = match site.node.attribute("scales") {
        Some(crate::graph::AttributeValue::Floats(scales)) => Some(scales.as_slice()),
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
