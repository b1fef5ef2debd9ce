//! Borders around a tensor. <https://onnx.ai/onnx/operators/onnx__Pad.html>

use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult, size};
use crate::graph::{Builder, Dim, Fact, Node};

pub(super) const OPERATORS: &[OpDef] = &[OpDef::new("Pad", 7, infer_pad).vjp(pad).half(Half::Moved)];

fn infer_pad(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let Some(shape) = &x.shape else { return Ok(vec![Fact::new(x.element, None)]) };
    let unknown = || Ok(vec![Fact::new(x.element, Some(vec![Dim::Unknown; shape.len()]))]);
    let Some(Some(pads)) = site.list("pads", 1) else { return unknown() };
    let axes: Vec<usize> = match site.optional(3) {
        None => (0..shape.len()).collect(),
        Some(axes) => match axes.as_fixed() {
            Some(axes) => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<_>>()?,
            None => return unknown(),
        },
    };
    if pads.len() != 2 * axes.len() {
        return Err(site.error(format!("{} pads", 2 * axes.len()), pads.len().to_string()));
    }
    let mut result = shape.clone();
    for (index, &axis) in axes.iter().enumerate() {
        result[axis] = size::add(&result[axis], &Dim::Fixed(pads[index] + pads[index + axes.len()]));
    }
    Ok(vec![Fact::new(x.element, Some(result))])
}

/// `dx` is the inner part of `dy`: padding with the opposite signs. Other modes than `constant` put
/// elements into the border, which would pass back, too.
fn pad(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
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
