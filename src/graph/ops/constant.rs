//! Operators that make values from nothing or from shapes, and those that draw numbers: nothing
//! that they make changes with small changes of what goes in.
//! <https://onnx.ai/onnx/operators/onnx__Shape.html>,
//! <https://onnx.ai/onnx/operators/onnx__RandomUniformLike.html>

use crate::graph::fact::Constant;
use crate::graph::ops::{OpContext, OpDef, Result, size};
use crate::graph::{AttributeValue, Dim, ElementType, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Constant", 7, infer_constant).no_gradient(),
    OpDef::new("ConstantOfShape", 9, infer_constant_of_shape).no_gradient(),
    OpDef::new("EyeLike", 9, like_shape).no_gradient(),
    OpDef::new("NonZero", 9, infer_non_zero).no_gradient(),
    OpDef::new("Range", 11, infer_range).no_gradient(),
    OpDef::new("Shape", 7, infer_shape).no_gradient(),
    OpDef::new("Size", 7, infer_count).no_gradient(),
    OpDef::new("Bernoulli", 15, like_shape).no_gradient().random(),
    OpDef::new("Multinomial", 7, infer_multinomial).no_gradient().random(),
    OpDef::new("RandomNormal", 7, infer_random).no_gradient().random(),
    OpDef::new("RandomNormalLike", 7, like_shape).no_gradient().random(),
    OpDef::new("RandomUniform", 7, infer_random).no_gradient().random(),
    OpDef::new("RandomUniformLike", 7, like_shape).no_gradient().random(),
];

fn infer_constant(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let Some(attribute) = site.node.attributes.first() else { return Err(site.error("a value", "none")) };
    let vector = |count: usize| Some(vec![Dim::from(count)]);
    Ok(vec![match &attribute.value {
        AttributeValue::Tensor(tensor) => Fact::of_tensor(tensor),
        AttributeValue::Int(value) => Fact::integers(vec![Dim::Fixed(*value)], false),
        AttributeValue::Ints(values) => Fact::integers(values.iter().copied().map(Dim::Fixed).collect(), true),
        AttributeValue::Float(value) => {
            Fact { constant: Some(Constant::Floats(vec![*value])), ..Fact::new(ElementType::F32, Some(Vec::new())) }
        }
        AttributeValue::Floats(values) => Fact {
            constant: Some(Constant::Floats(values.clone())),
            ..Fact::new(ElementType::F32, vector(values.len()))
        },
        AttributeValue::String(_) => Fact::new(ElementType::String, Some(Vec::new())),
        AttributeValue::Strings(values) => Fact::new(ElementType::String, vector(values.len())),
        _ => Fact::unknown(),
    }])
}

/// One value, f32 zero if not said, in a shape that is an input.
fn infer_constant_of_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let target = site.input(0)?;
    let fill = match site.node.attribute("value") {
        Some(AttributeValue::Tensor(tensor)) => Fact::of_tensor(tensor),
        _ => Fact { constant: Some(Constant::Floats(vec![0.0])), ..Fact::new(ElementType::F32, None) },
    };
    let shape = match (target.as_integers(), &target.shape) {
        (Some(sizes), _) => Some(sizes.to_vec()),
        (None, Some(axes)) => {
            let count = axes.first().and_then(Dim::fixed).and_then(|count| usize::try_from(count).ok());
            count.map(|count| vec![Dim::Unknown; count])
        }
        (None, None) => None,
    };
    let repeated = match (shape.as_deref(), fill.as_integers()) {
        (Some([Dim::Fixed(count @ 0..=64)]), Some([value])) => Some(vec![value.clone(); *count as usize]),
        (Some([]), Some([value])) => Some(vec![value.clone()]),
        _ => None,
    };
    Ok(vec![Fact { element: fill.element, shape, constant: repeated.map(Constant::Integers) }])
}

/// `start`, `limit`, `delta`.
fn infer_range(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let number = |index: usize| site.optional(index)?.as_fixed()?.first().copied();
    let element = site.input(0)?.element;
    let (Some(start), Some(limit), Some(delta)) = (number(0), number(1), number(2)) else {
        return Ok(vec![Fact::new(element, Some(vec![Dim::Unknown]))]);
    };
    if delta == 0 {
        return Err(site.error("a step other than 0", "0"));
    }
    let count = ((limit - start + delta - delta.signum()) / delta).max(0);
    if count > 64 {
        return Ok(vec![Fact::new(element, Some(vec![Dim::Fixed(count)]))]);
    }
    let values = (0..count).map(|index| Dim::Fixed(start + index * delta)).collect();
    Ok(vec![Fact { element, ..Fact::integers(values, true) }])
}

/// From operator set 15 a part of the shape only, which `start` and `end` tell.
fn infer_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = &site.input(0)?.shape else {
        return Ok(vec![Fact::new(ElementType::I64, Some(vec![Dim::Unknown]))]);
    };
    let count = shape.len() as i64;
    let bound = |position: i64| (if position < 0 { position.saturating_add(count) } else { position }).clamp(0, count);
    let start = bound(site.int("start").unwrap_or(0));
    let end = bound(site.int("end").unwrap_or(count)).max(start);
    Ok(vec![Fact::integers(shape[start as usize..end as usize].to_vec(), true)])
}

fn infer_count(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let total = site.input(0)?.shape.as_deref().map_or(Dim::Unknown, size::product);
    Ok(vec![Fact::integers(vec![total], false)])
}

/// Places of the elements that are not zero, one a column.
fn infer_non_zero(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let rank = site.input(0)?.rank().map_or(Dim::Unknown, Dim::from);
    Ok(vec![Fact::new(ElementType::I64, Some(vec![rank, Dim::Unknown]))])
}

/// The shape of the input, and its element type if no other is said.
fn like_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    Ok(vec![Fact::new(site.element("dtype").unwrap_or(x.element), x.shape.clone())])
}

/// A shape that is an attribute.
fn infer_random(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let shape = site.ints("shape").map(|shape| shape.iter().copied().map(Dim::Fixed).collect());
    Ok(vec![Fact::new(site.element("dtype").unwrap_or(ElementType::F32), shape)])
}

/// Samples of `x` `[N, C]`, unnormalised logarithms of probabilities: `[N, sample_size]` indices.
fn infer_multinomial(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let rows = site.input(0)?.shape.as_ref().and_then(|shape| shape.first().cloned());
    let count = Dim::Fixed(site.int("sample_size").unwrap_or(1));
    let shape = vec![rows.unwrap_or(Dim::Unknown), count];
    Ok(vec![Fact::new(site.element("dtype").unwrap_or(ElementType::I32), Some(shape))])
}
