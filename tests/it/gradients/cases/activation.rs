//! Functions of one number.

use defrost::graph::Node;
use defrost::tensor::DType;

use super::Case;
use super::any;
use super::case;
use super::node;
use super::op;
use super::within;

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
        case("tanh", &x, |b, x| vec![b.tanh(&x[0])]),
        case("sigmoid", &x, |b, x| vec![b.sigmoid(&x[0])]),
        case("relu", &x, |b, x| vec![b.relu(&x[0])]),
        case("sqrt", &positive, |b, x| vec![b.sqrt(&x[0])]),
        case("exp", &x, |b, x| vec![b.exp(&x[0])]),
        case("log", &positive, |b, x| vec![b.log(&x[0])]),
        case("neg", &x, |b, x| vec![b.neg(&x[0])]),
        case("clip", &wide, |b, x| vec![b.clip(&x[0], 0.0, 2.0)]),
        case("clip from below", &wide, |b, x| {
            let least = b.number_like(&x[0], 0.5);
            vec![b.node(Node::new("Clip", &[x[0].name(), least.name()], &[]))]
        }),
        case("softplus", &wide, |b, x| vec![node(b, op("Softplus"), &[&x[0]])]).single(),
    ]
}
