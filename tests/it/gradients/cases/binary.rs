//! Element-wise operators of several inputs, broadcast in every way.

use super::{Case, any, case, node, op, within};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("add", &[any(&[3, 4]), any(&[3, 4])], |b, x| vec![b.add(&x[0], &x[1])]),
        case("add in front", &[any(&[2, 3, 4]), any(&[4])], |b, x| vec![b.add(&x[0], &x[1])]),
        case("add inside", &[any(&[2, 1, 4]), any(&[2, 3, 4])], |b, x| vec![b.add(&x[0], &x[1])]),
        case("add both ways", &[any(&[3, 1]), any(&[2, 1, 4])], |b, x| vec![b.add(&x[0], &x[1])]),
        case("add a single number", &[any(&[]), any(&[2, 3])], |b, x| vec![b.add(&x[0], &x[1])]),
        case("sub", &[any(&[2, 3, 4]), any(&[3, 1])], |b, x| vec![b.sub(&x[0], &x[1])]),
        case("mul", &[any(&[2, 3, 4]), any(&[3, 1])], |b, x| vec![b.mul(&x[0], &x[1])]),
        case("square", &[any(&[2, 3])], |b, x| vec![b.mul(&x[0], &x[0])]),
        case("div", &[any(&[4]), within(&[3, 4], 0.5, 2.0)], |b, x| vec![b.div(&x[0], &x[1])]),
        case("pow", &[within(&[3, 4], 0.5, 2.0), within(&[4], -2.0, 3.0)], |b, x| vec![b.pow(&x[0], &x[1])]),
        case("constant powers", &[within(&[3, 4], 0.5, 2.0)], |b, x| {
            let powers = [1.0, 2.0, 0.5, 3.0, -1.5];
            powers
                .map(|power| {
                    let power = b.scalar_like(&x[0], power);
                    b.pow(&x[0], &power)
                })
                .to_vec()
        }),
        case("sum of three", &[any(&[3, 4]), any(&[4]), any(&[3, 1])], |b, x| {
            vec![b.apply("Sum", &[&x[0], &x[1], &x[2]])]
        }),
        case("mean of three", &[any(&[3, 4]), any(&[4]), any(&[3, 1])], |b, x| {
            vec![b.apply("Mean", &[&x[0], &x[1], &x[2]])]
        })
        .single(),
        case("largest and smallest of three", &[any(&[3, 4]), any(&[4]), any(&[3, 1])], |b, x| {
            vec![b.apply("Max", &[&x[0], &x[1], &x[2]]), b.apply("Min", &[&x[0], &x[1], &x[2]])]
        }),
        case("mod", &[within(&[3, 4], -9.0, 9.0), within(&[4], 2.0, 3.0)], |b, x| {
            vec![node(b, op("Mod").with("fmod", 1), &[&x[0], &x[1]])]
        }),
        case("where", &[any(&[3, 4]), any(&[4]), any(&[3, 1])], |b, x| {
            let zero = b.scalar_like(&x[0], 0.0);
            let condition = b.greater(&x[0], &zero);
            let chosen = b.select(&condition, &x[1], &x[2]);
            vec![chosen, b.mul(&x[0], &x[0])]
        }),
        case("one value read many times", &[any(&[3, 4])], |b, x| {
            let square = b.mul(&x[0], &x[0]);
            let cube = b.mul(&square, &x[0]);
            let sum = b.add(&square, &cube);
            vec![b.mul(&sum, &square), cube]
        }),
    ]
}
