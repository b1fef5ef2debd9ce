//! Reductions over axes. <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>
//!
//! The axes are an attribute before operator set 18 (13 for `ReduceSum`), an input since.

use crate::graph::ops::vjp::reduce as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, ElementType, Fact};

const fn reduction(name: &'static str, vjp: Vjp) -> OpDef {
    OpDef { name, since: 7, infer: reduce, vjp }
}

pub(super) const OPERATORS: &[OpDef] = &[
    reduction("ReduceL1", Vjp::Rule(vjp::l1)),
    reduction("ReduceL2", Vjp::Rule(vjp::l2)),
    reduction("ReduceLogSum", Vjp::Rule(vjp::log_sum)),
    reduction("ReduceLogSumExp", Vjp::Rule(vjp::log_sum_exp)),
    reduction("ReduceMax", Vjp::Rule(vjp::extreme)),
    reduction("ReduceMean", Vjp::Rule(vjp::mean)),
    reduction("ReduceMin", Vjp::Rule(vjp::extreme)),
    reduction("ReduceProd", Vjp::Rule(vjp::product)),
    reduction("ReduceSum", Vjp::Rule(vjp::sum)),
    reduction("ReduceSumSquare", Vjp::Rule(vjp::sum_square)),
    OpDef { name: "ArgMax", since: 7, infer: arg, vjp: Vjp::Zero },
    OpDef { name: "ArgMin", since: 7, infer: arg, vjp: Vjp::Zero },
];

/// The shape without the axes in `reduced`, or with size 1 in their place.
fn without(shape: &[Dim], reduced: &[usize], keep: bool) -> Vec<Dim> {
    let axes = shape.iter().enumerate();
    let dims = axes.filter_map(|(axis, dim)| match (reduced.contains(&axis), keep) {
        (true, true) => Some(Dim::Fixed(1)),
        (true, false) => None,
        (false, _) => Some(dim.clone()),
    });
    dims.collect()
}

fn reduce(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let keep = site.int("keepdims").unwrap_or(1) == 1;
    let axes = site.list("axes", 1);
    let shape = match (&x.shape, axes) {
        (None, _) => None,
        // Axes that are computed: their number is not known.
        (Some(shape), Some(None)) => keep.then(|| vec![Dim::Unknown; shape.len()]),
        (Some(shape), axes) => {
            let axes = axes.flatten().unwrap_or_default();
            let all = axes.is_empty() && site.int("noop_with_empty_axes").unwrap_or(0) == 0;
            let reduced = match all {
                true => (0..shape.len()).collect(),
                false => axes.iter().map(|&axis| site.axis(axis, shape.len())).collect::<Result<Vec<usize>>>()?,
            };
            Some(without(shape, &reduced, keep))
        }
    };
    Ok(vec![Fact::new(x.element, shape)])
}

fn arg(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    let keep = site.int("keepdims").unwrap_or(1) == 1;
    let shape = match &x.shape {
        Some(shape) => Some(without(shape, &[site.axis(site.int("axis").unwrap_or(0), shape.len())?], keep)),
        None => None,
    };
    Ok(vec![Fact::new(ElementType::I64, shape)])
}
