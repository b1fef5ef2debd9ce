//! Resizing in every mode, padding and cutting.

use defrost::graph::Node;
use defrost::tensor::HostTensor;

use super::{Case, any, case};

fn resize(b: &mut defrost::graph::Builder, x: &defrost::graph::Value, sizes: &[i64]) -> Node {
    let sizes = b.integers(sizes);
    Node::new("Resize", &[x.name(), "", "", sizes.name()], &[])
}

pub(super) fn cases() -> Vec<Case> {
    let image = [any(&[2, 3, 5, 4])];
    vec![
        case("resize by the nearest", &image, |b, x| {
            let node = resize(b, &x[0], &[2, 3, 7, 9])
                .with("mode", "nearest")
                .with("coordinate_transformation_mode", "asymmetric");
            vec![b.node(node.with("nearest_mode", "floor"))]
        })
        .single()
        .fixed_only(),
        case("resize linearly", &image, |b, x| {
            let node = resize(b, &x[0], &[2, 3, 8, 3]).with("mode", "linear");
            vec![b.node(node)]
        })
        .single()
        .fixed_only(),
        case("resize linearly, corners aligned", &image, |b, x| {
            let node = resize(b, &x[0], &[2, 3, 8, 4]).with("mode", "linear");
            vec![b.node(node.with("coordinate_transformation_mode", "align_corners"))]
        })
        .single()
        .fixed_only(),
        case("resize cubically", &image, |b, x| {
            let node = resize(b, &x[0], &[2, 3, 3, 9]).with("mode", "cubic").with("cubic_coeff_a", -0.5f32);
            vec![b.node(node)]
        })
        .single()
        .fixed_only(),
        case("resize with antialiasing", &image, |b, x| {
            let node = resize(b, &x[0], &[2, 3, 2, 3]).with("mode", "cubic").with("antialias", 1);
            vec![b.node(node)]
        })
        .single()
        .opset(18)
        .fixed_only(),
        case("resize by scales", &image, |b, x| {
            let scales = b.constant(&HostTensor::vector(vec![1.0f32, 1.0, 1.5, 2.3]));
            let node = Node::new("Resize", &[x[0].name(), "", scales.name()], &[]).with("mode", "linear");
            vec![b.node(node)]
        })
        .single()
        .fixed_only(),
        case("pad", &image, |b, x| vec![b.pad(&x[0], &[0, 1, 2, 0, 1, 0, 1, 3], 0.5)]),
        case("cut by padding", &image, |b, x| vec![b.pad(&x[0], &[0, 0, -1, 1, 0, 0, -2, -1], 0.0)]).fixed_only(),
        case("pad by computed pads", &image, |b, x| {
            let shape = b.shape(&x[0]);
            let pads = b.integers(&[2, 4, 6, 3]);
            let behind = b.sub(&pads, &shape);
            let before = b.integers(&[0, 1, 2, -1]);
            let pads = b.concat(&[&before, &behind], 0);
            vec![b.apply("Pad", &[&x[0], &pads])]
        }),
        case("pad with a computed fill", &[any(&[3, 4]), any(&[])], |b, x| {
            let pads = b.integers(&[1, 0, 0, 2]);
            vec![b.apply("Pad", &[&x[0], &pads, &x[1]])]
        }),
    ]
}
