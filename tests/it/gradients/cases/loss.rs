//! Losses.

use defrost::graph::Builder;
use defrost::graph::Value;
use defrost::graph::autodiff::loss;
use defrost::graph::autodiff::loss::LossOptions;
use defrost::tensor::HostTensor;

use super::Case;
use super::any;
use super::case;
use super::within;

fn weights(b: &mut Builder, values: &[f64]) -> Option<Value> {
    Some(b.constant(&HostTensor::vector(values.to_vec())))
}

/// Labels of four samples in three classes, one of them not known.
fn labels(b: &mut Builder) -> Value {
    b.integers(&[2, 0, -1, 1])
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
        case("squared error", &[any(&[4])], |b, x| {
            let targets = b.constant(&HostTensor::vector(vec![0.5, f64::NAN, -1.0, 2.0]));
            let options = LossOptions { sample_weights: weights(b, &[1.0, 0.3, 2.0, 0.7]), ..LossOptions::default() };
            vec![loss::squared(b, &x[0], &targets, &options)]
        }),
    ]
}
