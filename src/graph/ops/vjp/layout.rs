//! Gradients of operators that keep all elements and change the axes: the change taken back.

use crate::graph::ops::VjpContext;
use crate::graph::ops::vjp::{Cotangents, unary};
use crate::graph::{Builder, Dim, Node};

/// `dx` is `dy` in the shape of `x`.
pub(in crate::graph::ops) fn reshape(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| b.reshape_like(dy, x))
}

/// `dx` is `dy` in the inverse order.
pub(in crate::graph::ops) fn transpose(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
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
pub(in crate::graph::ops) fn expand(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    unary(a, b, |b, x, _, dy| b.sum_to(dy, x))
}

/// `dx` is the sum of the repetitions in `dy`.
pub(in crate::graph::ops) fn tile(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let rank = a.rank(0)?;
    let repeats = a.site.input(1)?.as_fixed();
    let mut target = Vec::with_capacity(2 * rank);
    for axis in 0..rank {
        target.push(match repeats.as_ref().and_then(|repeats| repeats.get(axis)) {
            Some(count) => b.integers(&[*count]),
            None => b.narrow(a.input(1)?, 0, axis as i64..axis as i64 + 1),
        });
        target.push(b.size_of(a.input(0)?, axis));
    }
    let sums: Vec<i64> = (0..rank as i64).map(|axis| 2 * axis).collect();
    unary(a, b, |b, x, _, dy| {
        if rank == 0 {
            return dy.clone();
        }
        let target = b.concat(&target.iter().collect::<Vec<_>>(), 0);
        let apart = b.reshape_to(dy, &target);
        let sum = b.reduce_sum(&apart, &sums, false);
        b.reshape_like(&sum, x)
    })
}

/// Blocks of channels taken back from where [`depth_to_space`] put them.
pub(in crate::graph::ops) fn depth_to_space(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let size = a.site.int("blocksize").ok_or_else(|| a.site.error("`blocksize`", "none"))?;
    let channels_first = a.site.text("mode") == Some("CRD");
    let channels = a.shape(0)?.get(1).and_then(Dim::fixed);
    if channels_first && channels.is_none() {
        return Err(a.site.error("a known number of channels", "none"));
    }
    unary(a, b, |b, x, _, dy| {
        let deep = b.node(Node::new("SpaceToDepth", &[dy.name()], &[]).with("blocksize", size));
        let Some(channels) = channels.filter(|_| channels_first) else { return deep };
        // It puts the places within a block before the channels, this mode wants them behind.
        let apart = b.reshape(&deep, &[0, size * size, channels / (size * size), -1]);
        let turned = b.transpose(&apart, &[0, 2, 1, 3]);
        b.reshape_like(&turned, x)
    })
}

/// Blocks of positions taken back from the channels.
pub(in crate::graph::ops) fn space_to_depth(a: &VjpContext<'_>, b: &mut Builder) -> Cotangents {
    let size = a.site.int("blocksize").ok_or_else(|| a.site.error("`blocksize`", "none"))?;
    unary(a, b, |b, _, _, dy| b.node(Node::new("DepthToSpace", &[dy.name()], &[]).with("blocksize", size)))
}
