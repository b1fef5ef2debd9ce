//! Entries by their order along an axis: the largest, running sums, triangles, one-hot vectors.
//! <https://onnx.ai/onnx/operators/onnx__TopK.html> and so on.

use crate::graph::ops::gather::{added_along, node};
use crate::graph::ops::vjp::unary;
use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{Builder, Dim, ElementType, Fact, Node, Value};
use crate::tensor::{DType, HostTensor};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("CumSum", 7, same_shape).vjp(cum_sum),
    OpDef::new("OneHot", 9, infer_one_hot).vjp(one_hot),
    OpDef::new("TopK", 7, infer_top_k).vjp(top_k),
    OpDef::new("Trilu", 7, same_shape).vjp(trilu),
];

/// Values, then their indices; `k` is an attribute before operator set 10.
fn infer_top_k(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let shape = match &x.shape {
        None => None,
        Some(shape) => {
            let axis = site.axis(site.int("axis").unwrap_or(-1), shape.len())?;
            let count = site.int("k").or_else(|| site.optional(1)?.as_fixed()?.first().copied());
            let mut shape = shape.clone();
            shape[axis] = count.map_or(Dim::Unknown, Dim::Fixed);
            Some(shape)
        }
    };
    Ok(vec![Fact::new(x.element, shape.clone()), Fact::new(ElementType::I64, shape)])
}

/// `indices`, `depth`, and the two `values`; the new axis is the last if no other is said.
fn infer_one_hot(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (indices, depth, values) = (site.input(0)?, site.input(1)?, site.input(2)?);
    let Some(mut shape) = indices.shape.clone() else { return Ok(vec![Fact::new(values.element, None)]) };
    let axis = site.axis(site.int("axis").unwrap_or(-1), shape.len() + 1)?;
    let depth = depth.as_integers().and_then(|depth| depth.first().cloned());
    shape.insert(axis, depth.unwrap_or(Dim::Unknown));
    Ok(vec![Fact::new(values.element, Some(shape))])
}

/// `dx` is zero but for the entries chosen.
fn top_k(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let axis = a.axis(-1)? as i64;
    let indices = b.extra_output(a.output(0)?, 1).ok_or_else(|| a.site.error("a node of the graph", "none"))?;
    unary(a, b, |b, x, _, dy| added_along(b, x, &indices, dy, axis))
}

/// The same triangle of `dy`.
fn trilu(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    again(a, b, |node| node)
}

/// Summed in the other direction.
fn cum_sum(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let reverse = 1 - a.site.int("reverse").unwrap_or(0);
    again(a, b, |mut node| {
        node.attributes.retain(|attribute| attribute.name != "reverse");
        node.with("reverse", reverse)
    })
}

/// The operator itself, changed, applied to `dy` with the inputs behind the first.
fn again(a: &VjpContext<'_>, b: &mut Builder, change: impl FnOnce(Node) -> Node) -> VjpResult {
    let dy = a.cotangent()?;
    let mut names = vec![dy.name()];
    names.extend(a.inputs.iter().skip(1).map(|input| input.as_ref().map_or("", Value::name)));
    let own = Node { attributes: a.node().attributes.clone(), ..Node::new(&a.node().operator, &names, &[]) };
    Ok(vec![Some(b.node(change(own)).into())])
}

/// Of the two `values`, what is elsewhere and what is at the index, each receives the sum of `dy`
/// at its places.
fn one_hot(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
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
