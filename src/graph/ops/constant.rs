//! Operators that make values from nothing or from shapes.
//! <https://onnx.ai/onnx/operators/onnx__Shape.html>

use crate::graph::fact::Constant;
use crate::graph::ops::vjp::index;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp, size};
use crate::graph::{AttributeValue, Dim, ElementType, Fact};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "Constant", since: 7, infer: constant, vjp: Vjp::Zero },
    OpDef { name: "ConstantOfShape", since: 9, infer: constant_of_shape, vjp: Vjp::Zero },
    OpDef { name: "Range", since: 11, infer: range, vjp: Vjp::Zero },
    OpDef { name: "Shape", since: 7, infer: shape, vjp: Vjp::Zero },
    OpDef { name: "Size", since: 7, infer: count, vjp: Vjp::Zero },
    OpDef { name: "NonZero", since: 9, infer: non_zero, vjp: Vjp::Zero },
    OpDef { name: "EyeLike", since: 9, infer: like_shape, vjp: Vjp::Zero },
    OpDef { name: "OneHot", since: 9, infer: one_hot, vjp: Vjp::Rule(index::one_hot) },
];

fn constant(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
fn constant_of_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
fn range(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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
fn shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let Some(shape) = &site.input(0)?.shape else {
        return Ok(vec![Fact::new(ElementType::I64, Some(vec![Dim::Unknown]))]);
    };
    let count = shape.len() as i64;
    let bound = |position: i64| (if position < 0 { position.saturating_add(count) } else { position }).clamp(0, count);
    let start = bound(site.int("start").unwrap_or(0));
    let end = bound(site.int("end").unwrap_or(count)).max(start);
    Ok(vec![Fact::integers(shape[start as usize..end as usize].to_vec(), true)])
}

fn count(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let total = site.input(0)?.shape.as_deref().map_or(Dim::Unknown, size::product);
    Ok(vec![Fact::integers(vec![total], false)])
}

/// Places of the elements that are not zero, one a column.
fn non_zero(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let rank = site.input(0)?.rank().map_or(Dim::Unknown, Dim::from);
    Ok(vec![Fact::new(ElementType::I64, Some(vec![rank, Dim::Unknown]))])
}

/// The shape of the input, and its element type if no other is said.
pub(super) fn like_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    Ok(vec![Fact::new(site.element("dtype").unwrap_or(x.element), x.shape.clone())])
}

/// `indices`, `depth`, and the two `values`; the new axis is the last if no other is said.
fn one_hot(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (indices, depth, values) = (site.input(0)?, site.input(1)?, site.input(2)?);
    let Some(mut shape) = indices.shape.clone() else { return Ok(vec![Fact::new(values.element, None)]) };
    let axis = site.axis(site.int("axis").unwrap_or(-1), shape.len() + 1)?;
    let depth = depth.as_integers().and_then(|depth| depth.first().cloned());
    shape.insert(axis, depth.unwrap_or(Dim::Unknown));
    Ok(vec![Fact::new(values.element, Some(shape))])
}
