//! Pooling over windows and over whole images. <https://onnx.ai/onnx/operators/onnx__MaxPool.html>

use crate::graph::ops::convolution::{moved_over, windows};
use crate::graph::ops::vjp::pool as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, ElementType, Fact, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "AveragePool", since: 7, infer: pool, vjp: Vjp::Rule(vjp::average) },
    OpDef { name: "LpPool", since: 7, infer: pool, vjp: Vjp::Rule(vjp::lp) },
    OpDef { name: "MaxPool", since: 7, infer: pool, vjp: Vjp::Rule(vjp::max) },
    OpDef { name: "GlobalAveragePool", since: 7, infer: global, vjp: Vjp::Rule(vjp::global_average) },
    OpDef { name: "GlobalLpPool", since: 7, infer: global, vjp: Vjp::Rule(vjp::global_lp) },
    OpDef { name: "GlobalMaxPool", since: 7, infer: global, vjp: Vjp::Rule(vjp::global_max) },
];

/// The second output, of `MaxPool` only, holds indices.
fn pool(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let kernel = site.ints("kernel_shape").ok_or_else(|| site.error("`kernel_shape`", "none"))?;
    let Some(shape) = &x.shape else {
        return Ok(vec![Fact::new(x.element, None), Fact::new(ElementType::I64, None)]);
    };
    if shape.len() != kernel.len() + 2 {
        return Err(site.error(format!("an input with {} axes", kernel.len() + 2), shape_text(shape)));
    }
    let mut result = shape[..2].to_vec();
    for (window, dim) in windows(site, kernel)?.into_iter().zip(&shape[2..]) {
        result.push(moved_over(site, window, dim, site.int("ceil_mode") == Some(1))?);
    }
    Ok(vec![Fact::new(x.element, Some(result.clone())), Fact::new(ElementType::I64, Some(result))])
}

fn global(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let shape = x.shape.as_ref().map(|shape| {
        let dim = |(axis, dim): (usize, &Dim)| if axis < 2 { dim.clone() } else { Dim::Fixed(1) };
        shape.iter().enumerate().map(dim).collect()
    });
    Ok(vec![Fact::new(x.element, shape)])
}
