//! Normalisations by channel.

use defrost::tensor::HostTensor;

use super::{Case, any, case, node, op, within};

pub(super) fn cases() -> Vec<Case> {
    let (image, vector) = (any(&[3, 4, 5, 2]), any(&[4]));
    let positive = within(&[4], 0.5, 2.0);
    vec![
        case("batch norm", &[image, vector, vector, vector, positive], |b, x| {
            vec![node(b, op("BatchNormalization"), &[&x[0], &x[1], &x[2], &x[3], &x[4]])]
        })
        .single(),
        case("batch norm of vectors", &[any(&[3, 4]), vector, vector], |b, x| {
            let mean = b.constant(&HostTensor::vector(vec![0.1f32, -0.2, 0.3, 0.0]));
            let variance = b.constant(&HostTensor::vector(vec![0.5f32, 1.0, 2.0, 0.7]));
            vec![node(b, op("BatchNormalization").with("epsilon", 1e-3f32), &[&x[0], &x[1], &x[2], &mean, &variance])]
        })
        .single(),
        case("batch norm in training", &[image, vector, vector], |b, x| {
            let mean = b.constant(&HostTensor::vector(vec![0.1f32, -0.2, 0.3, 0.0]));
            let variance = b.constant(&HostTensor::vector(vec![0.5f32, 1.0, 2.0, 0.7]));
            let norm = op("BatchNormalization").with("training_mode", 1).with("epsilon", 1e-2f32);
            let inputs = [&x[0], &x[1], &x[2], &mean, &variance].map(|value| value.name().to_owned());
            let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
            let [y, _, _] =
                b.nodes(defrost::graph::Node { inputs: names.iter().map(|name| (*name).to_owned()).collect(), ..norm });
            vec![y]
        })
        .single(),
        case("instance norm", &[image, vector, vector], |b, x| {
            vec![node(b, op("InstanceNormalization").with("epsilon", 1e-2f32), &[&x[0], &x[1], &x[2]])]
        })
        .single(),
        case("group norm, scale by group", &[image, any(&[2]), any(&[2])], |b, x| {
            let norm = op("GroupNormalization").with("num_groups", 2).with("epsilon", 1e-2f32);
            vec![node(b, norm, &[&x[0], &x[1], &x[2]])]
        })
        .single()
        .opset(18)
        .fixed_only(),
        case("group norm, scale by channel", &[image, vector, vector], |b, x| {
            let norm = op("GroupNormalization").with("num_groups", 2).with("epsilon", 1e-2f32);
            vec![node(b, norm, &[&x[0], &x[1], &x[2]])]
        })
        .single()
        .opset(21)
        .fixed_only(),
    ]
}
