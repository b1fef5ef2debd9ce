//! Matrix products. <https://onnx.ai/onnx/operators/onnx__MatMul.html>,
//! <https://onnx.ai/onnx/operators/onnx__Gemm.html>
//!
//! `MatMul`: `y[.., m, n] = sum_k a[.., m, k] b[.., k, n]`, as numpy's; `Gemm`: `y = alpha a' b' +
//! beta c` for matrices.

use crate::graph::ops::vjp::matmul as vjp;
use crate::graph::ops::{OpContext, OpDef, Result, Vjp};
use crate::graph::{Dim, Fact, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef { name: "MatMul", since: 7, infer: matmul, vjp: Vjp::Rule(vjp::matmul) },
    OpDef { name: "Gemm", since: 7, infer: gemm, vjp: Vjp::Rule(vjp::gemm) },
];

fn matmul(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (a, b) = (site.input(0)?, site.input(1)?);
    let (Some(left), Some(right)) = (&a.shape, &b.shape) else { return Ok(vec![Fact::new(a.element, None)]) };
    if left.is_empty() || right.is_empty() {
        return Err(site.error("operands with axes", format!("{} and {}", shape_text(left), shape_text(right))));
    }
    // A vector on the left is a row, on the right a column; the axis added for it is dropped again.
    let mut rows = left.clone();
    if left.len() == 1 {
        rows.insert(0, Dim::Fixed(1));
    }
    let mut columns = right.clone();
    if right.len() == 1 {
        columns.push(Dim::Fixed(1));
    }
    let (outer_left, outer_right) = (rows.len() - 2, columns.len() - 2);
    site.same_size("inner size", &rows[outer_left + 1], &columns[outer_right])?;
    let mut shape = site.broadcast(&rows[..outer_left], &columns[..outer_right])?;
    if left.len() > 1 {
        shape.push(rows[outer_left].clone());
    }
    if right.len() > 1 {
        shape.push(columns[outer_right + 1].clone());
    }
    Ok(vec![Fact::new(a.element, Some(shape))])
}

fn gemm(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let (a, b) = (site.input(0)?, site.input(1)?);
    let matrix = |fact: &Fact, transposed: &str| match fact.shape.as_deref() {
        None => Ok([Dim::Unknown, Dim::Unknown]),
        Some([m, n]) if site.int(transposed).unwrap_or(0) == 0 => Ok([m.clone(), n.clone()]),
        Some([m, n]) => Ok([n.clone(), m.clone()]),
        Some(other) => Err(site.error("a matrix", shape_text(other))),
    };
    let ([rows, inner], [inner_right, columns]) = (matrix(a, "transA")?, matrix(b, "transB")?);
    site.same_size("inner size", &inner, &inner_right)?;
    let shape = vec![rows, columns];
    if let Some(bias) = site.optional(2).and_then(|fact| fact.shape.as_ref()) {
        let result = site.broadcast(&shape, bias)?;
        result.iter().zip(&shape).try_for_each(|(found, size)| site.same_size("a summand of size", size, found))?;
    }
    Ok(vec![Fact::new(a.element, Some(shape))])
}
