//! Sums of products by letters.

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("einsum of matrices", &[any(&[2, 3]), any(&[3, 4])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "ab, bc -> ac"), &[&x[0], &x[1]])]
        }),
        case("einsum of relative positions", &[any(&[2, 3, 4, 5]), any(&[3, 6, 5])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "bhwc,hkc->bhwk"), &[&x[0], &x[1]])]
        }),
        case("einsum that sums an axis of one input", &[any(&[2, 3]), any(&[3, 4])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "ab,bc->b"), &[&x[0], &x[1]])]
        }),
        case("einsum of three, without an output", &[any(&[2, 3]), any(&[3, 4]), any(&[4, 2])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "ij,jk,kl"), &[&x[0], &x[1], &x[2]])]
        }),
        case("einsum with dots", &[any(&[2, 5, 3, 4]), any(&[4, 6])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "...nd,df->...nf"), &[&x[0], &x[1]])]
        }),
        case("einsum with dots that are broadcast", &[any(&[2, 1, 3, 4]), any(&[2, 5, 4, 3])], |b, x| {
            vec![node(b, op("Einsum").with("equation", "...ij,...ji->...i"), &[&x[0], &x[1]])]
        }),
    ]
}
