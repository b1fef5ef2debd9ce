//! Operators that put parts together or take them out.

use defrost::graph::Slice;
use defrost::tensor::HostTensor;

use super::{Case, any, case};

fn slice(axis: i64, start: i64, end: i64, step: i64) -> Slice {
    Slice { axis, start, end, step }
}

pub(super) fn cases() -> Vec<Case> {
    let x = [any(&[5, 7, 3])];
    vec![
        case("concat", &[any(&[2, 3]), any(&[2, 1]), any(&[2, 4])], |b, x| vec![b.concat(&[&x[0], &x[1], &x[2]], 1)]),
        case("concat with a constant", &[any(&[2, 3])], |b, x| {
            let constant = b.filled_like(&x[0], 0.5);
            vec![b.concat(&[&constant, &x[0]], 1)]
        }),
        case("split", &[any(&[7, 2])], |b, x| b.split(&x[0], 0, [2, 4, 1]).to_vec()),
        case("split of which a part is left", &[any(&[7, 2])], |b, x| {
            let [first, _, last] = b.split(&x[0], 0, [2, 4, 1]);
            vec![first, last]
        }),
        case("slice", &x, |b, x| vec![b.narrow(&x[0], 1, 2..5)]),
        case("slices that fill an axis", &x, |b, x| {
            let parts = [b.narrow(&x[0], 1, 4..7), b.narrow(&x[0], 1, 0..2), b.narrow(&x[0], 1, 2..4)];
            let squares = parts.map(|part| b.mul(&part, &part));
            squares.to_vec()
        }),
        case("slices that overlap", &x, |b, x| {
            vec![b.narrow(&x[0], 1, 0..5), b.narrow(&x[0], 1, 3..7), b.narrow(&x[0], 0, 1..2)]
        }),
        case("slices of two axes", &x, |b, x| vec![b.slice(&x[0], &[slice(0, 1, -1, 1), slice(2, -2, i64::MAX, 1)])]),
        case("slices with steps", &x, |b, x| {
            let coarse = b.slice(&x[0], &[slice(0, 1, i64::MAX, 2), slice(1, 0, 6, 3)]);
            vec![coarse, b.slice(&x[0], &[slice(1, 1, i64::MAX, 2)])]
        }),
        case("slices backwards", &x, |b, x| {
            let backwards = b.slice(&x[0], &[slice(1, -1, i64::MIN, -1)]);
            vec![backwards, b.slice(&x[0], &[slice(1, 5, 0, -2), slice(0, 0, 3, 1)])]
        }),
        case("slice at computed positions", &x, |b, x| {
            let shape = b.shape(&x[0]);
            let (start, axes) = (b.narrow(&shape, 0, 2..3), b.integers(&[1]));
            let end = b.narrow(&shape, 0, 0..1);
            vec![b.apply("Slice", &[&x[0], &start, &end, &axes])]
        }),
        case("gather of one entry", &x, |b, x| {
            let index = b.constant(&HostTensor::scalar(-2i64));
            vec![b.gather(&x[0], &index, 1)]
        }),
        case("gather of all entries, one by one", &[any(&[3, 4])], |b, x| {
            let parts = [0i64, 1, 2].map(|index| {
                let index = b.constant(&HostTensor::scalar(index));
                b.gather(&x[0], &index, 0)
            });
            let product = b.mul(&parts[0], &parts[1]);
            vec![b.mul(&product, &parts[2])]
        }),
        case("gather with repetition", &x, |b, x| {
            let indices = b.integers(&[4, 0, 4, -1, 2]);
            vec![b.gather(&x[0], &indices, 0), b.gather(&x[0], &indices, 1)]
        }),
        case("gather by a matrix of indices", &x, |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![2, 2], vec![6i64, 0, -7, 6]).unwrap());
            vec![b.gather(&x[0], &indices, 1)]
        }),
    ]
}
