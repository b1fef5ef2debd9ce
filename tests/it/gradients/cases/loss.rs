//! Losses.

use defrost::graph::autodiff::loss;
use defrost::graph::autodiff::loss::LossOptions;
use defrost::graph::{Builder, Value};
use defrost::tensor::HostTensor;

use super::{Case, any, case, within};

fn weights(b: &mut Builder, values: &[f64]) -> Option<Value> {
    Some(b.constant(&HostTensor::vector(values.to_vec())))
}

/// Labels of four samples in three classes, one of them not known.
fn labels(b: &mut Builder) -> Value {
    b.integers(&[2, 0, -1, 1])
}

/// Labels of four samples in three columns, some of them not known.
fn unsure(b: &mut Builder) -> Value {
    let labels = [[1.0, 0.0, f32::NAN], [0.0, 1.0, 0.3], [f32::NAN; 3], [1.0, 1.0, 0.0]].concat();
    b.constant(&HostTensor::from_vec(vec![4, 3], labels).unwrap())
}

pub(super) fn cases() -> Vec<Case> {
    let logits = [within(&[4, 3], -3.0, 3.0)];
    vec![
        case("cross-entropy", &logits, |b, x| {
            let labels = labels(b);
            vec![loss::cross_entropy(b, &x[0], &labels, &LossOptions::default())]
        }),
        case("cross-entropy with everything", &logits, |b, x| {
            let options = LossOptions {
                class_weights: weights(b, &[0.5, 1.0, 2.0]),
                sample_weights: weights(b, &[1.0, 0.3, 2.0, 0.7]),
                label_smoothing: 0.1,
                ..LossOptions::default()
            };
            let labels = labels(b);
            vec![loss::cross_entropy(b, &x[0], &labels, &options)]
        }),
        case("binary cross-entropy", &logits, |b, x| {
            let labels = unsure(b);
            vec![loss::binary_cross_entropy(b, &x[0], &labels, &LossOptions::default())]
        })
        .single(),
        case("binary cross-entropy with everything", &logits, |b, x| {
            let single = |b: &mut Builder, values: &[f32]| Some(b.constant(&HostTensor::vector(values.to_vec())));
            let options = LossOptions {
                class_weights: single(b, &[0.5, 1.0, 2.0]),
                positive_weights: single(b, &[3.0, 1.0, 0.2]),
                sample_weights: single(b, &[1.0, 0.3, 2.0, 0.7]),
                label_smoothing: 0.1,
            };
            let labels = unsure(b);
            vec![loss::binary_cross_entropy(b, &x[0], &labels, &options)]
        })
        .single(),
        case("ordinal", &logits, |b, x| {
            let labels = b.integers(&[3, 0, -1, 1]);
            vec![loss::ordinal_thresholds(b, &x[0], &labels, &LossOptions::default())]
        })
        .single(),
        case("squared error", &[any(&[4])], |b, x| {
            let targets = b.constant(&HostTensor::vector(vec![0.5, f64::NAN, -1.0, 2.0]));
            let options = LossOptions { sample_weights: weights(b, &[1.0, 0.3, 2.0, 0.7]), ..LossOptions::default() };
            vec![loss::squared(b, &x[0], &targets, &options)]
        }),
    ]
}
