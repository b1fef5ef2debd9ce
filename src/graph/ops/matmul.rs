//! Matrix products. <https://onnx.ai/onnx/operators/onnx__MatMul.html>,
//! <https://onnx.ai/onnx/operators/onnx__Gemm.html>
//!
//! `MatMul`: `y[.., m, n] = sum_k a[.., m, k] b[.., k, n]`, as numpy's; `Gemm`: `y = alpha a' b' +
//! beta c` for matrices. Backwards `da = dy b^T`, `db = a^T dy`.
//!
//! A product of a batch of matrices with one matrix is one product of two matrices, which one
//! `Gemm` differentiates without transposing anything in memory: `[N, T, D] x [D, E]` counts as `[N
//! T, D] x [D, E]`.

use crate::graph::ops::rows::{has_rows, is_same_for_all_rows};
use crate::graph::ops::{Half, OpContext, OpDef, Result, VjpContext, VjpResult};
use crate::graph::{Builder, Dim, Fact, Node, Value, shape_text};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("MatMul", 7, infer_matmul).vjp(matmul).half(Half::Computed).by_row(matmul_rows),
    OpDef::new("Gemm", 7, infer_gemm).vjp(gemm).half(Half::Computed).by_row(gemm_rows),
];

fn infer_matmul(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

fn infer_gemm(site: &OpContext<'_>) -> Result<Vec<Fact>> {
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

/// A row of `a` makes a row of `y`.
fn matmul_rows(site: &OpContext<'_>, rows: &Dim) -> Option<Vec<usize>> {
    let is_matrix = site.optional(1).and_then(Fact::rank) == Some(2);
    (has_rows(site, 0, rows) && is_matrix).then(|| vec![0])
}

/// A row of `a` makes a row of `y`, unless `a` is transposed or `c` has rows of its own.
fn gemm_rows(site: &OpContext<'_>, rows: &Dim) -> Option<Vec<usize>> {
    let is_upright = site.int("transA").unwrap_or(0) == 0;
    let shares_bias = site.inputs.len() < 3 || is_same_for_all_rows(site, 2, rows);
    (is_upright && has_rows(site, 0, rows) && shares_bias).then(|| vec![0])
}

/// `alpha a b` of two matrices, each transposed first if `transposed` says so.
fn product(b: &mut Builder, [left, right]: [&Value; 2], transposed: [bool; 2], alpha: f64) -> Value {
    let mut node = Node::new("Gemm", &[left.name(), right.name()], &[]);
    if transposed[0] {
        node = node.with("transA", 1);
    }
    if transposed[1] {
        node = node.with("transB", 1);
    }
    if alpha != 1.0 {
        node = node.with("alpha", alpha as f32);
    }
    b.node(node)
}

/// All axes but the last as one.
fn rows(b: &mut Builder, x: &Value, rank: usize) -> Value {
    if rank == 2 { x.clone() } else { b.flatten(x, rank as i64 - 1) }
}

/// `x` with its last two axes swapped; of a value that a transposition made, one transposition of
/// its source.
fn swapped(b: &mut Builder, x: &Value, rank: usize) -> Value {
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(rank - 2, rank - 1);
    b.transpose(x, &order)
}

fn matmul(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    let (left_rank, right_rank) = (a.rank(0)?, a.rank(1)?);
    if left_rank >= 2 && right_rank == 2 {
        let flat = rows(b, dy, left_rank);
        let mut passed = vec![None, None];
        if a.wants(0) {
            let dx = product(b, [&flat, right], [false, true], 1.0);
            passed[0] = Some(b.reshape_like(&dx, left).into());
        }
        if a.wants(1) {
            let flat_left = rows(b, left, left_rank);
            passed[1] = Some(product(b, [&flat_left, &flat], [true, false], 1.0).into());
        }
        return Ok(passed);
    }
    // A vector counts as a row on the left, as a column on the right.
    let (row, column) = (left_rank == 1, right_rank == 1);
    let wide_left = if row { b.unsqueeze(left, &[0]) } else { left.clone() };
    let wide_right = if column { b.unsqueeze(right, &[1]) } else { right.clone() };
    let mut wide = dy.clone();
    if column {
        wide = b.unsqueeze(&wide, &[-1]);
    }
    if row {
        wide = b.unsqueeze(&wide, &[-2]);
    }
    let mut passed = vec![None, None];
    if a.wants(0) {
        let turned = swapped(b, &wide_right, right_rank.max(2));
        let dx = b.matmul(&wide, &turned);
        let dx = b.sum_to(&dx, &wide_left);
        passed[0] = Some(b.reshape_like(&dx, left).into());
    }
    if a.wants(1) {
        let turned = swapped(b, &wide_left, left_rank.max(2));
        let dx = b.matmul(&turned, &wide);
        let dx = b.sum_to(&dx, &wide_right);
        passed[1] = Some(b.reshape_like(&dx, right).into());
    }
    Ok(passed)
}

/// `y = alpha a' b' + beta c`: `da' = alpha dy b'^T`, `db' = alpha a'^T dy`, `dc = beta dy` summed
/// to the shape of `c`.
fn gemm(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    let turned = |name: &str| a.site.int(name).unwrap_or(0) != 0;
    let (left_turned, right_turned) = (turned("transA"), turned("transB"));
    let alpha = a.float("alpha", 1.0);
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        let dx = match left_turned {
            false => product(b, [dy, right], [false, !right_turned], alpha),
            true => product(b, [right, dy], [right_turned, true], alpha),
        };
        passed[0] = Some(dx.into());
    }
    if a.wants(1) {
        let dx = match right_turned {
            false => product(b, [left, dy], [!left_turned, false], alpha),
            true => product(b, [dy, left], [true, left_turned], alpha),
        };
        passed[1] = Some(dx.into());
    }
    if a.wants(2) {
        let sum = b.sum_to(dy, a.input(2)?);
        let beta = a.float("beta", 1.0);
        passed[2] = Some(match beta == 1.0 {
            true => sum.into(),
            false => {
                let beta = b.scalar_like(&sum, beta);
                b.mul(&sum, &beta).into()
            }
        });
    }
    Ok(passed)
}
