//! Losses as plain nodes: each makes one number, a weighted mean over what is known, of a network's
//! outputs and the labels.
//!
//! What is not known takes no part: labels outside of the classes, and NaN among numbers. Where
//! nothing is known the loss is 0. The definitions are those of PyTorch's functions of the same
//! names, except for sample weights, which PyTorch does not have.

use crate::graph::{Builder, Value};
use crate::tensor::HostTensor;

/// Divisors are kept above this, so that a batch in which nothing is known has the loss 0.
const MIN_WEIGHT: f64 = 1e-12;

/// How the parts of a loss are weighted. Weights are values of the graph: constants or inputs.
#[derive(Clone, Debug, Default)]
pub struct LossOptions {
    /// Factor of each class, `[C]`: in [`cross_entropy`] of a sample by its label, in
    /// [`binary_cross_entropy`] and [`squared`] of a column.
    pub class_weights: Option<Value>,
    /// Factor of the positive labels of each column of [`binary_cross_entropy`], `[C]`.
    pub positive_weights: Option<Value>,
    /// Factor of each sample, `[N]`.
    pub sample_weights: Option<Value>,
    /// How much of each label is spread evenly over all classes: 0 (nothing) to 1.
    pub label_smoothing: f32,
}

/// Mean cross-entropy of `logits` `[N, C]` for `labels` i64 `[N]`; labels outside of `0..C` are not
/// known.
///
/// With the one-hot labels `h`, smoothing `s`, class weights `w` and sample weights `v`:
/// `sum_n v_n sum_c -w_c ((1 - s) h_nc + s / C) log_softmax(logits)_nc / sum_n v_n w_label(n)`.
pub fn cross_entropy(b: &mut Builder, logits: &Value, labels: &Value, options: &LossOptions) -> Value {
    b.scope("cross_entropy", |b| {
        let dtype = b.dtype(logits).unwrap_or(crate::tensor::DType::F32);
        let classes = class_numbers(b, logits);
        let column = b.unsqueeze(labels, &[1]);
        let is_label = b.equal(&column, &classes);
        let mut targets = b.cast(&is_label, dtype);
        if let Some(weights) = &options.class_weights {
            targets = b.mul(&targets, weights);
        }
        let weight = b.reduce_sum(&targets, &[1], true);
        if options.label_smoothing != 0.0 {
            targets = smoothed(b, &targets, logits, &is_label, options);
        }
        let logarithms = b.log_softmax(logits, -1);
        let products = b.mul(&targets, &logarithms);
        let parts = b.reduce_sum(&products, &[1], true);
        let parts = b.neg(&parts);
        weighted_mean(b, &parts, &weight, options)
    })
}

/// `0, 1, .., C - 1` for `logits` `[N, C]`.
fn class_numbers(b: &mut Builder, logits: &Value) -> Value {
    match b.dims(logits).and_then(|dims| dims.get(1)?.fixed()) {
        Some(count) => b.constant(&HostTensor::vector((0..count).collect::<Vec<i64>>())),
        None => {
            let (zero, one) = (b.constant(&HostTensor::scalar(0i64)), b.constant(&HostTensor::scalar(1i64)));
            let count = b.size_of(logits, 1);
            let count = b.squeeze(&count, &[0]);
            b.apply("Range", &[&zero, &count, &one])
        }
    }
}

/// `(1 - s) targets + s / C` (times the class weights) for the samples whose label is known.
fn smoothed(b: &mut Builder, targets: &Value, logits: &Value, is_label: &Value, options: &LossOptions) -> Value {
    let dtype = b.dtype(targets).unwrap_or(crate::tensor::DType::F32);
    let smoothing = f64::from(options.label_smoothing);
    let kept = b.scalar_like(targets, 1.0 - smoothing);
    let sharp = b.mul(targets, &kept);
    let hits = b.cast(is_label, dtype);
    let known = b.reduce_sum(&hits, &[1], true);
    let count = b.size_of(logits, 1);
    let count = b.cast(&count, dtype);
    let spread = b.scalar_like(targets, smoothing);
    let mut spread = b.div(&spread, &count);
    if let Some(weights) = &options.class_weights {
        spread = b.mul(&spread, weights);
    }
    let even = b.mul(&known, &spread);
    b.add(&sharp, &even)
}

/// The sum of `parts` (which have the factors `weights` in them already) by the sum of `weights`;
/// both are `[N, ..]` and get the samples' weights first.
fn weighted_mean(b: &mut Builder, parts: &Value, weights: &Value, options: &LossOptions) -> Value {
    let (mut parts, mut weights) = (parts.clone(), weights.clone());
    if let Some(samples) = &options.sample_weights {
        let mut samples = samples.clone();
        if b.rank(&parts) == Some(2) {
            samples = b.unsqueeze(&samples, &[1]);
        }
        parts = b.mul(&parts, &samples);
        weights = b.mul(&weights, &samples);
    }
    let axes: Vec<i64> = (0..b.rank(&parts).unwrap_or(1) as i64).collect();
    let [sum, weight] = [parts, weights].map(|values| b.reduce_sum(&values, &axes, false));
    let least = b.scalar_like(&weight, MIN_WEIGHT);
    let weight = b.max(&weight, &least);
    b.div(&sum, &weight)
}

/// Mean binary cross-entropy of `logits` `[N, C]` for `labels` `[N, C]` of the same type, 0 to 1;
/// NaN is not known.
///
/// With `p` the positive weights, per entry `(1 - y + p y) softplus(z) - p y z`, which is `-p y log
/// sigmoid(z) - (1 - y) log(1 - sigmoid(z))`. Smoothing `s` makes the labels `(1 - s) y + s / 2`.
pub fn binary_cross_entropy(b: &mut Builder, logits: &Value, labels: &Value, options: &LossOptions) -> Value {
    b.scope("binary_cross_entropy", |b| {
        let (mut labels, mut weight) = known_numbers(b, labels);
        if options.label_smoothing != 0.0 {
            let smoothing = f64::from(options.label_smoothing);
            let (kept, even) = (b.scalar_like(&labels, 1.0 - smoothing), b.scalar_like(&labels, smoothing / 2.0));
            let sharp = b.mul(&labels, &kept);
            labels = b.add(&sharp, &even);
        }
        let softplus = b.apply("Softplus", &[logits]);
        let parts = match &options.positive_weights {
            None => {
                let gain = b.mul(&labels, logits);
                b.sub(&softplus, &gain)
            }
            Some(weights) => {
                let positive = b.mul(&labels, weights);
                let one = b.scalar_like(&labels, 1.0);
                let negative = b.sub(&one, &labels);
                let factor = b.add(&negative, &positive);
                let cost = b.mul(&softplus, &factor);
                let gain = b.mul(&positive, logits);
                b.sub(&cost, &gain)
            }
        };
        if let Some(weights) = &options.class_weights {
            weight = b.mul(&weight, weights);
        }
        let parts = b.mul(&parts, &weight);
        weighted_mean(b, &parts, &weight, options)
    })
}

/// Mean squared difference of `outputs` and `targets`, both `[N]` or `[N, C]` and of one type; NaN
/// targets are not known.
pub fn squared(b: &mut Builder, outputs: &Value, targets: &Value, options: &LossOptions) -> Value {
    b.scope("squared", |b| {
        let (targets, mut weight) = known_numbers(b, targets);
        let difference = b.sub(outputs, &targets);
        let square = b.mul(&difference, &difference);
        if let Some(weights) = &options.class_weights {
            weight = b.mul(&weight, weights);
        }
        let parts = b.mul(&square, &weight);
        weighted_mean(b, &parts, &weight, options)
    })
}

/// Ordinal regression by thresholds: `logits` `[N, C - 1]` for `labels` i64 `[N]` of `C` ordered
/// classes, by the mean binary cross-entropy of "the label is above class `k`" for each `k` but the
/// last; labels outside of `0..C` are not known.
///
/// The expected class is the sum of the logits' sigmoids. After Cheng, Wang & Pollastri (2008), "A
/// neural network approach to ordinal regression".
pub fn ordinal(b: &mut Builder, logits: &Value, labels: &Value, options: &LossOptions) -> Value {
    b.scope("ordinal", |b| {
        let dtype = b.dtype(logits).unwrap_or(crate::tensor::DType::F32);
        let classes = class_numbers(b, logits);
        let column = b.unsqueeze(labels, &[1]);
        let is_above = b.greater(&column, &classes);
        let targets = b.cast(&is_above, dtype);
        let (zero, last) = (b.constant(&HostTensor::scalar(0i64)), b.size_of(logits, 1));
        let (below, above) = (b.less(&column, &zero), b.greater(&column, &last));
        let outside = b.apply("Or", &[&below, &above]);
        let unknown = b.scalar_like(logits, f64::NAN);
        let targets = b.select(&outside, &unknown, &targets);
        binary_cross_entropy(b, logits, &targets, options)
    })
}

/// Numbers with 0 where they are NaN; and 1 where they are known, else 0.
fn known_numbers(b: &mut Builder, numbers: &Value) -> (Value, Value) {
    let is_unknown = b.apply("IsNaN", &[numbers]);
    let (zero, one) = (b.scalar_like(numbers, 0.0), b.scalar_like(numbers, 1.0));
    (b.select(&is_unknown, &zero, numbers), b.select(&is_unknown, &zero, &one))
}
