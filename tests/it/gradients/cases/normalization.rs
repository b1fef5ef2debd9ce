//! Softmax and normalisations.

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("softmax", &[any(&[2, 3, 4])], |b, x| vec![b.softmax(&x[0], -1)]),
        case("softmax of a middle axis", &[any(&[2, 3, 4])], |b, x| vec![b.softmax(&x[0], 1)]),
        case("log softmax", &[any(&[2, 3, 4])], |b, x| vec![b.log_softmax(&x[0], -1)]),
        case("layer norm", &[any(&[2, 3, 8]), any(&[8]), any(&[8])], |b, x| {
            vec![b.layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5)]
        }),
        case("layer norm over two axes, without bias", &[any(&[2, 3, 4]), any(&[3, 4])], |b, x| {
            vec![node(b, op("LayerNormalization").with("axis", 1), &[&x[0], &x[1]])]
        }),
        case("rms norm", &[any(&[2, 3, 8]), any(&[8])], |b, x| {
            vec![node(b, op("RMSNormalization").with("epsilon", 0.02f32), &[&x[0], &x[1]])]
        })
        .single()
        .opset(23),
        case("rms norm over two axes, with a scale of one of them", &[any(&[2, 3, 4]), any(&[4])], |b, x| {
            vec![node(b, op("RMSNormalization").with("axis", 1), &[&x[0], &x[1]])]
        })
        .single()
        .opset(23),
        case("decomposed layer norm", &[any(&[2, 3, 8]), any(&[8]), any(&[8])], |b, x| {
            let mean = b.reduce_mean(&x[0], &[-1], true);
            let centred = b.sub(&x[0], &mean);
            let two = b.scalar_like(&x[0], 2.0);
            let square = b.pow(&centred, &two);
            let variance = b.reduce_mean(&square, &[-1], true);
            let epsilon = b.scalar_like(&x[0], 1e-5);
            let variance = b.add(&variance, &epsilon);
            let deviation = b.sqrt(&variance);
            let normal = b.div(&centred, &deviation);
            let scaled = b.mul(&normal, &x[1]);
            vec![b.add(&scaled, &x[2])]
        }),
        case("division by the euclidean norm", &[any(&[2, 3, 4])], |b, x| {
            vec![node(b, op("LpNormalization").with("axis", 1), &[&x[0]])]
        }),
        case("division by the sum of magnitudes", &[any(&[2, 3, 4])], |b, x| {
            vec![node(b, op("LpNormalization").with("p", 1), &[&x[0]])]
        }),
        case("mean and variance normalisation", &[any(&[2, 3, 4, 5])], |b, x| {
            vec![node(b, op("MeanVarianceNormalization"), &[&x[0]])]
        })
        .single(),
        case("local response normalisation", &[any(&[2, 7, 3, 2])], |b, x| {
            let norm = |size: i64| op("LRN").with("size", size).with("alpha", 0.9f32).with("beta", 0.6f32);
            vec![node(b, norm(3), &[&x[0]]), node(b, norm(5).with("bias", 2.0f32), &[&x[0]])]
        })
        .single(),
    ]
}
