//! Operators that keep all elements and change the axes.

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("reshape", &[any(&[2, 3, 4])], |b, x| vec![b.reshape(&x[0], &[-1, 6])]),
        case("reshape that keeps an axis", &[any(&[2, 3, 4])], |b, x| vec![b.reshape(&x[0], &[0, 2, -1])]),
        case("flatten", &[any(&[2, 3, 4])], |b, x| vec![b.flatten(&x[0], 2)]),
        case("transpose", &[any(&[2, 3, 4])], |b, x| vec![b.transpose(&x[0], &[2, 0, 1])]),
        case("transpose without an order", &[any(&[2, 3, 4])], |b, x| vec![node(b, op("Transpose"), &[&x[0]])]),
        case("squeeze", &[any(&[2, 1, 4, 1])], |b, x| vec![b.squeeze(&x[0], &[1, -1])]),
        case("unsqueeze", &[any(&[2, 4])], |b, x| vec![b.unsqueeze(&x[0], &[0, 2])]),
        case("expand", &[any(&[3, 1])], |b, x| {
            let shape = b.integers(&[2, 3, 4]);
            vec![b.expand(&x[0], &shape)]
        }),
        case("tile", &[any(&[2, 3])], |b, x| {
            let repeats = b.integers(&[3, 2]);
            vec![b.apply("Tile", &[&x[0], &repeats])]
        }),
        case("depth to space", &[any(&[2, 8, 2, 3])], |b, x| {
            vec![node(b, op("DepthToSpace").with("blocksize", 2), &[&x[0]])]
        }),
        case("depth to space, channels first", &[any(&[2, 8, 2, 3])], |b, x| {
            vec![node(b, op("DepthToSpace").with("blocksize", 2).with("mode", "CRD"), &[&x[0]])]
        })
        .fixed_only(),
        case("space to depth", &[any(&[2, 3, 4, 6])], |b, x| {
            vec![node(b, op("SpaceToDepth").with("blocksize", 2), &[&x[0]])]
        }),
    ]
}
