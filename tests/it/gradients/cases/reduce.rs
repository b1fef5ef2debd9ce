//! Reductions.

use super::Case;
use super::any;
use super::case;
use super::node;
use super::op;

pub(super) fn cases() -> Vec<Case> {
    let x = [any(&[2, 3, 4])];
    vec![
        case("sum, kept", &x, |b, x| vec![b.reduce_sum(&x[0], &[1], true)]),
        case("sum, dropped", &x, |b, x| vec![b.reduce_sum(&x[0], &[-1, 0], false)]),
        case("sum of all", &x, |b, x| vec![node(b, op("ReduceSum").with("keepdims", 0), &[&x[0]])]),
        case("sum of nothing", &x, |b, x| vec![node(b, op("ReduceSum").with("noop_with_empty_axes", 1), &[&x[0]])]),
        case("mean, kept", &x, |b, x| vec![b.reduce_mean(&x[0], &[1, 2], true)]),
        case("mean, dropped", &x, |b, x| vec![b.reduce_mean(&x[0], &[1], false)]).opset(18),
    ]
}
