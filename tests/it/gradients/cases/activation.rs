//! Functions of one number.

use defrost::graph::Node;
use defrost::tensor::{DType, HostTensor};

use super::{Case, any, case, node, op, within};

/// The bool that is true.
fn yes() -> HostTensor {
    HostTensor::new(DType::Bool, Vec::new(), vec![1u8].into()).unwrap()
}

pub(super) fn cases() -> Vec<Case> {
    let x = [any(&[3, 4])];
    let positive = [within(&[3, 4], 0.5, 2.0)];
    let wide = [within(&[6, 7], -4.0, 4.0)];
    vec![
        case("identity", &x, |b, x| vec![b.identity(&x[0])]),
        case("cast", &x, |b, x| {
            let single = b.cast(&x[0], DType::F32);
            vec![single]
        })
        .single(),
        case("cast to double and back", &x, |b, x| {
            let double = b.cast(&x[0], DType::F64);
            let square = b.mul(&double, &double);
            vec![b.cast(&square, DType::F32)]
        })
        .single(),
        case("erf", &x, |b, x| vec![b.erf(&x[0])]).single(),
        case("gelu", &wide, |b, x| vec![b.apply("Gelu", &[&x[0]])]).single().opset(20),
        case("gelu by tanh", &wide, |b, x| vec![b.gelu_tanh(&x[0])]).single().opset(20),
        case("decomposed gelu", &wide, |b, x| vec![b.gelu(&x[0])]).single(),
        case("decomposed gelu by tanh", &wide, |b, x| vec![b.gelu_tanh(&x[0])]),
        case("quick gelu", &wide, |b, x| vec![b.quick_gelu(&x[0])]),
        case("swish", &wide, |b, x| {
            vec![node(b, op("Swish"), &[&x[0]]), node(b, op("Swish").with("alpha", 1.7f32), &[&x[0]])]
        })
        .single()
        .opset(24),
        case("tanh", &x, |b, x| vec![b.tanh(&x[0])]),
        case("sigmoid", &x, |b, x| vec![b.sigmoid(&x[0])]),
        case("relu", &x, |b, x| vec![b.relu(&x[0])]),
        case("sqrt", &positive, |b, x| vec![b.sqrt(&x[0])]),
        case("exp", &x, |b, x| vec![b.exp(&x[0])]),
        case("log", &positive, |b, x| vec![b.log(&x[0])]),
        case("neg", &x, |b, x| vec![b.neg(&x[0])]),
        case("clip", &wide, |b, x| vec![b.clip(&x[0], 0.0, 2.0)]),
        case(
            "clip by computed bounds",
            &[within(&[6, 7], -4.0, 4.0), within(&[], -2.0, -1.0), within(&[], 1.0, 2.0)],
            |b, x| vec![b.apply("Clip", &[&x[0], &x[1], &x[2]])],
        ),
        case("clip from below", &wide, |b, x| {
            let least = b.scalar_like(&x[0], 0.5);
            vec![b.node(Node::new("Clip", &[x[0].name(), least.name()], &[]))]
        }),
        case("cast like", &x, |b, x| {
            let like = b.constant(&HostTensor::scalar(1f64));
            let double = b.apply("CastLike", &[&x[0], &like]);
            let square = b.mul(&double, &double);
            vec![b.cast(&square, DType::F32)]
        })
        .single(),
        case("abs", &x, |b, x| vec![b.abs(&x[0])]),
        case("reciprocal", &positive, |b, x| vec![b.reciprocal(&x[0])]),
        case("sin and cos", &wide, |b, x| vec![b.apply("Sin", &[&x[0]]), b.apply("Cos", &[&x[0]])]),
        case("mish", &wide, |b, x| vec![b.apply("Mish", &[&x[0]])]).single().opset(18),
        case("softsign", &wide, |b, x| vec![b.apply("Softsign", &[&x[0]])]).single(),
        case("leaky relu", &wide, |b, x| {
            vec![node(b, op("LeakyRelu"), &[&x[0]]), node(b, op("LeakyRelu").with("alpha", 0.3f32), &[&x[0]])]
        }),
        case("elu", &wide, |b, x| {
            vec![node(b, op("Elu"), &[&x[0]]), node(b, op("Elu").with("alpha", 0.5f32), &[&x[0]])]
        })
        .single(),
        case("celu", &wide, |b, x| vec![node(b, op("Celu").with("alpha", 2f32), &[&x[0]])]).single(),
        case("selu", &wide, |b, x| vec![node(b, op("Selu"), &[&x[0]])]).single(),
        case("thresholded relu", &wide, |b, x| vec![node(b, op("ThresholdedRelu"), &[&x[0]])]).single(),
        case("hard sigmoid", &wide, |b, x| vec![node(b, op("HardSigmoid").with("alpha", 0.3f32), &[&x[0]])]).single(),
        case("hard swish", &wide, |b, x| vec![node(b, op("HardSwish"), &[&x[0]])]).single(),
        case("prelu", &[within(&[2, 3, 4], -2.0, 2.0), any(&[3, 1])], |b, x| {
            vec![node(b, op("PRelu"), &[&x[0], &x[1]])]
        }),
        case("dropout outside of training", &x, |b, x| vec![node(b, op("Dropout"), &[&x[0]])]),
        case("dropout of nothing in training", &x, |b, x| {
            let (ratio, training) = (b.constant(&HostTensor::scalar(0f64)), b.constant(&yes()));
            vec![node(b, op("Dropout").with("seed", 1), &[&x[0], &ratio, &training])]
        }),
        case("softplus", &wide, |b, x| vec![node(b, op("Softplus"), &[&x[0]])]).single(),
    ]
}
