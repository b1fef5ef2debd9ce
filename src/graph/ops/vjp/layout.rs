//! Gradients of operators that keep all elements and change the axes: the change taken back.

use crate::graph::Builder;
use crate::graph::ops::Adjoint;
use crate::graph::ops::vjp::Passed;
use crate::graph::ops::vjp::unary;

/// `dx` is `dy` in the shape of `x`.
pub(in crate::graph::ops) fn reshape(a: &Adjoint<'_>, b: &mut Builder) -> Passed {
    unary(a, b, |b, x, _, dy| b.reshape_like(dy, x))
}

/// `dx` is `dy` in the inverse order.
pub(in crate::graph::ops) fn transpose(a: &Adjoint<'_>, b: &mut Builder) -> Passed {
    let order: Vec<i64> = match a.site.ints("perm") {
        Some(order) => order.to_vec(),
        None => (0..a.rank(0)? as i64).rev().collect(),
    };
    let mut inverse = vec![0; order.len()];
    for (place, &axis) in order.iter().enumerate() {
        inverse[a.site.axis(axis, order.len())?] = place as i64;
    }
    unary(a, b, |b, _, _, dy| b.transpose(dy, &inverse))
}

/// `dx` is `dy` summed over the axes along which `x` was broadcast.
pub(in crate::graph::ops) fn expand(a: &Adjoint<'_>, b: &mut Builder) -> Passed {
    unary(a, b, |b, x, _, dy| b.sum_to(dy, x))
}
