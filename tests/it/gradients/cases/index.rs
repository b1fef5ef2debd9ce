//! Operators that read and write entries by index, and that order or accumulate them.

use defrost::graph::{Node, Value};
use defrost::tensor::HostTensor;

use super::{Case, any, case, node, op};

pub(super) fn cases() -> Vec<Case> {
    let x = [any(&[3, 4])];
    vec![
        case("gather elements", &x, |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![2, 4], vec![2i64, 0, 1, -1, 2, 1, 1, 0]).unwrap());
            vec![node(b, op("GatherElements").with("axis", 0), &[&x[0], &indices])]
        }),
        case("gather tuples", &[any(&[3, 4, 2])], |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![3, 2], vec![2i64, 0, 1, -1, 2, 0]).unwrap());
            vec![b.apply("GatherND", &[&x[0], &indices])]
        }),
        case("scatter elements", &[any(&[3, 4]), any(&[2, 3])], |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![2, 3], vec![2i64, 0, 1, -2, 3, 0]).unwrap());
            let scatter = |reduction: &str| op("ScatterElements").with("axis", 1).with("reduction", reduction);
            [scatter("none"), scatter("add")].map(|scatter| node(b, scatter, &[&x[0], &indices, &x[1]])).to_vec()
        }),
        case("scatter tuples", &[any(&[3, 4]), any(&[2])], |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![2, 2], vec![2i64, 0, 1, 3]).unwrap());
            let scatter = |reduction: &str| op("ScatterND").with("reduction", reduction);
            [scatter("none"), scatter("add")].map(|scatter| node(b, scatter, &[&x[0], &indices, &x[1]])).to_vec()
        }),
        case("largest three", &[any(&[2, 7])], |b, x| {
            let count = b.integers(&[3]);
            let node = Node::new("TopK", &[x[0].name(), count.name()], &[]).with("axis", -1);
            let [values, _]: [Value; 2] = b.nodes(node);
            vec![values]
        }),
        case("one hot", &[any(&[2])], |b, x| {
            let indices = b.constant(&HostTensor::from_vec(vec![2, 3], vec![2i64, 0, 1, -1, 3, 7]).unwrap());
            let depth = b.constant(&HostTensor::scalar(4i64));
            vec![node(b, op("OneHot").with("axis", 1), &[&indices, &depth, &x[0]])]
        })
        .single(),
        case("triangles", &[any(&[2, 4, 5])], |b, x| {
            let above = b.constant(&HostTensor::scalar(1i64));
            vec![node(b, op("Trilu"), &[&x[0], &above]), node(b, op("Trilu").with("upper", 0), &[&x[0]])]
        }),
        case("sums so far", &x, |b, x| {
            let axis = b.constant(&HostTensor::scalar(1i64));
            vec![
                node(b, op("CumSum"), &[&x[0], &axis]),
                node(b, op("CumSum").with("reverse", 1).with("exclusive", 1), &[&x[0], &axis]),
            ]
        }),
    ]
}
