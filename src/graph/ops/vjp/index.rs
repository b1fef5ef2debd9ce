//! Gradients of operators that read and write entries by index, and of those that order entries.
//!
//! What an operator reads at an index, its rule adds there; what it writes, its rule reads.

use crate::graph::ops::vjp::{Cotangents, unary};
use crate::graph::ops::{Result, VjpContext};
use crate::graph::{AttributeValue, Builder, Node, Value};
use crate::tensor::{DType, HostTensor};

fn node(b: &mut Builder, operator: &str, inputs: &[&Value], attributes: &[(&str, AttributeValue)]) -> Value {
    let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
    let with = |node: Node, (name, value): &(&str, AttributeValue)| node.with(name, value.clone());
    b.node(attributes.iter().fold(Node::new(operator, &names, &[]), with))
}

/// `dx` is zero but for the entries taken, each of which receives the sum of its cotangents.
pub(in crate::graph::ops) fn gather_elements(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (indices, axis) = (a.input(1)?.clone(), a.axis(0)? as i64);
    unary(a, b, |b, x, _, dy| added_along(b, x, &indices, dy, axis))
}

fn added_along(b: &mut Builder, x: &Value, indices: &Value, dy: &Value, axis: i64) -> Value {
    let zeros = b.filled_like(x, 0.0);
    scatter_add(b, Node::new("ScatterElements", &[], &[]).with("axis", axis), [&zeros, indices, dy])
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

/// As [`gather_elements`], with whole index tuples.
pub(in crate::graph::ops) fn gather_nd(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn scatter_elements(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let axis = a.axis(0)? as i64;
    scatter(a, b, "GatherElements", &[("axis", axis.into())])
}

/// As [`scatter_elements`], with whole index tuples.
pub(in crate::graph::ops) fn scatter_nd(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    scatter(a, b, "GatherND", &[])
}

fn scatter(a: &VjpContext<'_>, b: &mut Builder, reader: &str, attributes: &[(&str, AttributeValue)]) -> Cotangents {
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

/// `dx` is zero but for the entries chosen.
pub(in crate::graph::ops) fn top_k(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let axis = a.axis(-1)? as i64;
    let indices = b.extra_output(a.output(0)?, 1).ok_or_else(|| a.site.error("a node of the graph", "none"))?;
    unary(a, b, |b, x, _, dy| added_along(b, x, &indices, dy, axis))
}

/// The same triangle of `dy`.
pub(in crate::graph::ops) fn trilu(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    again(a, b, |node| node)
}

/// Summed in the other direction.
pub(in crate::graph::ops) fn cum_sum(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let reverse = 1 - a.site.int("reverse").unwrap_or(0);
    again(a, b, |mut node| {
        node.attributes.retain(|attribute| attribute.name != "reverse");
        node.with("reverse", reverse)
    })
}

/// The operator itself, changed, applied to `dy` with the inputs behind the first.
fn again(a: &VjpContext<'_>, b: &mut Builder, change: impl FnOnce(Node) -> Node) -> Cotangents {
    let dy = a.cotangent()?;
    let mut names = vec![dy.name()];
    names.extend(a.inputs.iter().skip(1).map(|input| input.as_ref().map_or("", Value::name)));
    let own = Node { attributes: a.node().attributes.clone(), ..Node::new(&a.node().operator, &names, &[]) };
    Ok(vec![Some(b.node(change(own)).into())])
}

/// Of the two `values`, what is elsewhere and what is at the index, each receives the sum of `dy`
/// at its places.
pub(in crate::graph::ops) fn one_hot(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (indices, depth, values, dy) = (a.input(0)?, a.input(1)?, a.input(2)?, a.cotangent()?);
    let dtype = b.dtype(values).unwrap_or(DType::F32);
    let flags = b.constant(&HostTensor::vector(vec![0i64, 1]));
    let axis = a.site.int("axis").unwrap_or(-1);
    let hot = node(b, "OneHot", &[indices, depth, &flags], &[("axis", axis.into())]);
    let hot = b.cast(&hot, dtype);
    let at_index = b.mul(dy, &hot);
    let total = |b: &mut Builder, value: &Value| {
        let flat = b.reshape(value, &[-1]);
        b.reduce_sum(&flat, &[0], true)
    };
    let (all, on) = (total(b, dy), total(b, &at_index));
    let off = b.sub(&all, &on);
    Ok(vec![None, None, Some(b.concat(&[&off, &on], 0).into())])
}
