//! Entries read and written at indices. <https://onnx.ai/onnx/operators/onnx__Gather.html>,
//! <https://onnx.ai/onnx/operators/onnx__ScatterElements.html>
//!
//! Parts of shapes are followed: gathers of small whole numbers are computed. What an operator
//! reads at an index, its rule adds there; what it writes, its rule reads.

use crate::graph::fact::Constant;
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{Cotangent, Half, OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{AttributeValue, Builder, Dim, Fact, Node, Value};
use crate::tensor::DType;

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("Gather", 7, infer_gather).vjp(gather).half(Half::Moved),
    OpDef::new("GatherElements", 11, infer_gather_elements).vjp(gather_elements),
    OpDef::new("GatherND", 11, infer_gather_nd).vjp(gather_nd),
    OpDef::new("ScatterElements", 7, same_shape).vjp(scatter_elements),
    OpDef::new("ScatterND", 7, same_shape).vjp(scatter_nd),
];

fn infer_gather(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, indices) = (site.input(0)?, site.input(1)?);
    let (Some(shape), Some(places)) = (&x.shape, &indices.shape) else { return Ok(vec![Fact::new(x.element, None)]) };
    let axis = site.axis(site.int("axis").unwrap_or(0), shape.len())?;
    let result: Vec<Dim> = [&shape[..axis], places, &shape[axis + 1..]].concat();
    let constant = match (x.as_integers(), indices.as_fixed()) {
        (Some(values), Some(wanted)) if result.len() <= 1 => {
            let pick = |&index: &i64| Ok(values[site.axis(index, values.len())?].clone());
            Some(Constant::Integers(wanted.iter().map(pick).collect::<Result<_>>()?))
        }
        _ => None,
    };
    Ok(vec![Fact { element: x.element, shape: Some(result), constant }])
}

fn infer_gather_elements(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(site.input(0)?.element, site.input(1)?.shape.clone())])
}

/// The last axis of the indices holds places in as many axes behind the batch axes.
fn infer_gather_nd(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (x, indices) = (site.input(0)?, site.input(1)?);
    let (Some(shape), Some([places @ .., length])) = (&x.shape, indices.shape.as_deref()) else {
        return Ok(vec![Fact::new(x.element, None)]);
    };
    let Some(length) = length.fixed().and_then(|length| usize::try_from(length).ok()) else {
        return Ok(vec![Fact::new(x.element, None)]);
    };
    let batch = site.int("batch_dims").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    match shape.get(batch + length..) {
        Some(rest) => Ok(vec![Fact::new(x.element, Some([places, rest].concat()))]),
        None => Err(site.error(format!("indices of at most {} axes", shape.len()), (batch + length).to_string())),
    }
}

/// `dx` is zero but for the entries taken, each of which receives the sum of its cotangents.
fn gather(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, indices, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let axis = a.axis(0)?;
    let places = a.site.input(1)?;
    let size = a.shape(0)?[axis].fixed();
    if let (Some([index]), Some(0), Some(size)) = (places.as_fixed().as_deref(), places.rank(), size) {
        let start = a.site.axis(*index, size as usize)? as i64;
        let value = b.unsqueeze(dy, &[axis as i64]);
        return Ok(vec![Some(Cotangent::Part { axis, start, value })]);
    }
    let Some(count) = places.rank() else { return Err(a.site.error("a known number of axes of the indices", "none")) };
    // The axes of the indices become one.
    let flat = if count == 1 { indices.clone() } else { b.reshape(indices, &[-1]) };
    let joined = match count {
        1 => dy.clone(),
        0 => b.unsqueeze(dy, &[axis as i64]),
        _ => {
            let shape = b.shape(dy);
            let (front, back) =
                (b.narrow(&shape, 0, 0..axis as i64), b.narrow(&shape, 0, (axis + count) as i64..i64::MAX));
            let open = b.integers(&[-1]);
            let target = b.concat(&[&front, &open, &back], 0);
            b.reshape_to(dy, &target)
        }
    };
    // Negative indices count from the end.
    let size = b.size_of(x, axis);
    let zero = b.integers(&[0]);
    let is_negative = b.less(&flat, &zero);
    let wrapped = b.add(&flat, &size);
    let flat = b.select(&is_negative, &wrapped, &flat);
    let dx = scattered(b, &joined, &flat, axis, &size);
    Ok(vec![Some(b.reshape_like(&dx, x).into())])
}

/// `dx` is zero but for the entries taken, each of which receives the sum of its cotangents.
fn gather_elements(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (indices, axis) = (a.input(1)?.clone(), a.axis(0)? as i64);
    unary(a, b, |b, x, _, dy| added_along(b, x, &indices, dy, axis))
}

pub(super) fn added_along(b: &mut Builder, x: &Value, indices: &Value, dy: &Value, axis: i64) -> Value {
    let zeros = b.filled_like(x, 0.0);
    scatter_add(b, Node::new("ScatterElements", &[], &[]).with("axis", axis), [&zeros, indices, dy])
}

/// As [`gather_elements`], with whole index tuples.
fn gather_nd(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let indices = a.input(1)?.clone();
    match a.site.int("batch_dims").unwrap_or(0) {
        0 => unary(a, b, |b, x, _, dy| {
            let zeros = b.filled_like(x, 0.0);
            scatter_add(b, Node::new("ScatterND", &[], &[]), [&zeros, &indices, dy])
        }),
        count => Err(a.site.error("no batch axes", count.to_string())),
    }
}

/// What a scatter does where it writes: whether it adds.
fn adds(a: &VjpContext<'_>) -> Result<bool> {
    match a.site.text("reduction").unwrap_or("none") {
        "none" => Ok(false),
        "add" => Ok(true),
        other => Err(a.site.error("the reduction `none` or `add`", other)),
    }
}

/// `ddata = dy`, zero where something was written over it; `dupdates` is `dy` there.
fn scatter_elements(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = a.axis(0)? as i64;
    scatter(a, b, "GatherElements", &[("axis", axis.into())])
}

/// As [`scatter_elements`], with whole index tuples.
fn scatter_nd(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    scatter(a, b, "GatherND", &[])
}

fn scatter(a: &VjpContext<'_>, b: &mut Builder, reader: &str, attributes: &[(&str, AttributeValue)]) -> VjpResult {
    let (dy, indices, updates) = (a.cotangent()?, a.input(1)?, a.input(2)?);
    let adds = adds(a)?;
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        passed[0] = Some(match adds {
            true => dy.clone().into(),
            false => {
                let zeros = b.filled_like(updates, 0.0);
                node(b, &a.node().operator, &[dy, indices, &zeros], attributes).into()
            }
        });
    }
    if a.wants(2) {
        passed[2] = Some(node(b, reader, &[dy, indices], attributes).into());
    }
    Ok(passed)
}

pub(super) fn node(b: &mut Builder, operator: &str, inputs: &[&Value], attributes: &[(&str, AttributeValue)]) -> Value {
    let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
    let with = |node: Node, (name, value): &(&str, AttributeValue)| node.with(name, value.clone());
    b.node(attributes.iter().fold(Node::new(operator, &names, &[]), with))
}

/// Entries `updates` added to `onto` at `indices`, by a scattering operator without inputs; 16-bit
/// floats are summed in f32.
pub(super) fn scatter_add(b: &mut Builder, node: Node, [onto, indices, updates]: [&Value; 3]) -> Value {
    let dtype = b.dtype(updates);
    if let Some(short @ (DType::F16 | DType::BF16)) = dtype {
        let [onto, updates] = [onto, updates].map(|value| b.cast(value, DType::F32));
        let sum = scatter_add(b, node, [&onto, indices, &updates]);
        return b.cast(&sum, short);
    }
    let mut node = node.with("reduction", "add");
    node.inputs = [onto, indices, updates].map(|value| value.name().to_owned()).to_vec();
    b.node(node)
}

/// Zeros of `size` along `axis`, to which the entries of `dy` along it are added at `indices` (one
/// axis).
pub(super) fn scattered(b: &mut Builder, dy: &Value, indices: &Value, axis: usize, size: &Value) -> Value {
    let rank = b.rank(dy).unwrap_or(axis + 1);
    let order: Vec<i64> =
        std::iter::once(axis).chain((0..rank).filter(|&other| other != axis)).map(|axis| axis as i64).collect();
    let updates = if axis == 0 { dy.clone() } else { b.transpose(dy, &order) };
    let shape = b.shape(&updates);
    let rest = b.narrow(&shape, 0, 1..i64::MAX);
    let shape = b.concat(&[size, &rest], 0);
    let zeros = b.filled(&shape, b.dtype(dy), 0.0);
    let rows = b.unsqueeze(indices, &[-1]);
    let sum = scatter_add(b, Node::new("ScatterND", &[], &[]), [&zeros, &rows, &updates]);
    if axis == 0 {
        return sum;
    }
    let mut inverse = vec![0; rank];
    for (place, &axis) in order.iter().enumerate() {
        inverse[axis as usize] = place as i64;
    }
    b.transpose(&sum, &inverse)
}
