//! Gradients of matrix products: `da = dy b^T`, `db = a^T dy`.
//!
//! A product of a batch of matrices with one matrix is one product of two matrices, which one
//! `Gemm` differentiates without transposing anything in memory: `[N, T, D] x [D, E]` counts as `[N
//! T, D] x [D, E]`.

use crate::graph::ops::VjpContext;
use crate::graph::ops::vjp::Cotangents;
use crate::graph::{Builder, Node, Value};

/// `alpha a b` of two matrices, each transposed first if so said.
fn product(b: &mut Builder, left: (&Value, bool), right: (&Value, bool), alpha: f64) -> Value {
    let mut node = Node::new("Gemm", &[left.0.name(), right.0.name()], &[]);
    if left.1 {
        node = node.with("transA", 1);
    }
    if right.1 {
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

pub(in crate::graph::ops) fn matmul(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    let (left_rank, right_rank) = (a.rank(0)?, a.rank(1)?);
    if left_rank >= 2 && right_rank == 2 {
        let flat = rows(b, dy, left_rank);
        let mut passed = vec![None, None];
        if a.wants(0) {
            let dx = product(b, (&flat, false), (right, true), 1.0);
            passed[0] = Some(b.reshape_like(&dx, left).into());
        }
        if a.wants(1) {
            let flat_left = rows(b, left, left_rank);
            passed[1] = Some(product(b, (&flat_left, true), (&flat, false), 1.0).into());
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
pub(in crate::graph::ops) fn gemm(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let (dy, left, right) = (a.cotangent()?, a.input(0)?, a.input(1)?);
    let turned = |name: &str| a.site.int(name).unwrap_or(0) != 0;
    let (left_turned, right_turned) = (turned("transA"), turned("transB"));
    let alpha = a.float("alpha", 1.0);
    let mut passed = vec![None, None, None];
    if a.wants(0) {
        let dx = match left_turned {
            false => product(b, (dy, false), (right, !right_turned), alpha),
            true => product(b, (right, right_turned), (dy, true), alpha),
        };
        passed[0] = Some(dx.into());
    }
    if a.wants(1) {
        let dx = match right_turned {
            false => product(b, (left, !left_turned), (dy, false), alpha),
            true => product(b, (dy, true), (left, left_turned), alpha),
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
