//! Losses as plain nodes, each one number.
//!
//! Two forms. Of labels, as PyTorch's functions of the same names: a mean over what is known,
//! weighted by classes and samples. What is not known takes no part: labels outside of the classes,
//! and NaN among numbers; where nothing is known the loss is 0. PyTorch has no sample weights.
//!
//! Of targets and weights that were made ready outside of the graph, for training: a weighted sum,
//! whose weights add up to 1 over a batch, so that parts of a batch can be summed up
//! ([`weighted_cross_entropy`], [`weighted_binary_cross_entropy`], [`weighted_expected_class`]).
//!
//! Ordered classes have two losses: [`ordinal_thresholds`] has a logit for each threshold between
//! two classes; [`weighted_expected_class`] has one for each class.

use crate::graph::{Builder, Expr, Formula, Value};
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
        let terms = Formula::new(b);
        let (logits, labels) = (terms.term(logits), terms.term(labels));
        let class_weights = options.class_weights.as_ref().map(|weights| terms.term(weights));
        let classes = class_numbers(logits);
        let is_label = labels.unsqueeze(&[1]).equal(classes);
        let mut targets = is_label.cast(logits.dtype_or_f32());
        if let Some(weights) = class_weights {
            targets = targets * weights;
        }
        let weight = targets.reduce_sum(&[1], true);
        if options.label_smoothing != 0.0 {
            let s = f64::from(options.label_smoothing);
            let sharp = targets * (1.0 - s);
            let is_known = is_label.cast(targets.dtype_or_f32()).reduce_sum(&[1], true);
            let mut even = s / logits.size_of(1).cast(targets.dtype_or_f32());
            if let Some(weights) = class_weights {
                even = even * weights;
            }
            targets = sharp + is_known * even;
        }
        let parts = -(targets * logits.log_softmax(-1)).reduce_sum(&[1], true);
        weighted_mean(parts, weight, options.sample_weights.as_ref().map(|weights| terms.term(weights)))
    })
}

/// `0, 1, .., C - 1` for `logits` `[N, C]`.
fn class_numbers(logits: Expr<'_>) -> Expr<'_> {
    match logits.dims().and_then(|dims| dims.get(1)?.fixed()) {
        Some(count) => logits.constant(&HostTensor::vector((0..count).collect::<Vec<i64>>())),
        None => {
            let [zero, one] = [0i64, 1].map(|number| logits.constant(&HostTensor::scalar(number)));
            zero.apply("Range", &[logits.size_of(1).squeeze(&[0]), one])
        }
    }
}

/// The sum of `parts` (which have the factors `weights` in them already) by the sum of `weights`;
/// both are `[N, ..]` and get the samples' weights first.
fn weighted_mean<'f>(mut parts: Expr<'f>, mut weights: Expr<'f>, samples: Option<Expr<'f>>) -> Value {
    let rank = |value: Expr<'_>| value.dims().map(|dims| dims.len());
    if let Some(mut samples) = samples {
        if rank(parts) == Some(2) {
            samples = samples.unsqueeze(&[1]);
        }
        parts = parts * samples;
        weights = weights * samples;
    }
    let axes: Vec<i64> = (0..rank(parts).unwrap_or(1) as i64).collect();
    let [sum, weight] = [parts, weights].map(|values| values.reduce_sum(&axes, false));
    (sum / weight.max(weight.scalar(MIN_WEIGHT))).value()
}

/// Mean binary cross-entropy of `logits` `[N, C]` for `labels` `[N, C]` of the same type, 0 to 1;
/// NaN is not known.
///
/// With `p` the positive weights, per entry `(1 - y + p y) softplus(z) - p y z`, which is `-p y log
/// sigmoid(z) - (1 - y) log(1 - sigmoid(z))`. Smoothing `s` makes the labels `(1 - s) y + s / 2`.
pub fn binary_cross_entropy(b: &mut Builder, logits: &Value, labels: &Value, options: &LossOptions) -> Value {
    b.scope("binary_cross_entropy", |b| {
        let terms = Formula::new(b);
        let optional = |value: &Option<Value>| value.as_ref().map(|value| terms.term(value));
        let z = terms.term(logits);
        let (mut y, mut weight) = known_numbers(terms.term(labels));
        if options.label_smoothing != 0.0 {
            let s = f64::from(options.label_smoothing);
            y = y * (1.0 - s) + s / 2.0;
        }
        let softplus = z.apply("Softplus", &[]);
        let loss = match optional(&options.positive_weights) {
            None => softplus - y * z,
            Some(p) => {
                let p_y = y * p;
                softplus * (1.0 - y + p_y) - p_y * z
            }
        };
        if let Some(weights) = optional(&options.class_weights) {
            weight = weight * weights;
        }
        weighted_mean(loss * weight, weight, optional(&options.sample_weights))
    })
}

/// Mean squared difference of `outputs` and `targets`, both `[N]` or `[N, C]` and of one type; NaN
/// targets are not known.
pub fn squared(b: &mut Builder, outputs: &Value, targets: &Value, options: &LossOptions) -> Value {
    b.scope("squared", |b| {
        let terms = Formula::new(b);
        let optional = |value: &Option<Value>| value.as_ref().map(|value| terms.term(value));
        let (targets, mut weight) = known_numbers(terms.term(targets));
        let difference = terms.term(outputs) - targets;
        let square = difference * difference;
        if let Some(weights) = optional(&options.class_weights) {
            weight = weight * weights;
        }
        weighted_mean(square * weight, weight, optional(&options.sample_weights))
    })
}

/// Ordinal regression by thresholds: `logits` `[N, C - 1]` for `labels` i64 `[N]` of `C` ordered
/// classes, by the mean binary cross-entropy of "the label is above class `k`" for each `k` but the
/// last; labels outside of `0..C` are not known.
///
/// The expected class is the sum of the logits' sigmoids. After Cheng, Wang & Pollastri (2008), "A
/// neural network approach to ordinal regression".
pub fn ordinal_thresholds(b: &mut Builder, logits: &Value, labels: &Value, options: &LossOptions) -> Value {
    b.scope("ordinal", |b| {
        let targets = b.express([logits, labels], |[logits, labels]| {
            let classes = class_numbers(logits);
            let label = labels.unsqueeze(&[1]);
            let is_above = label.greater(classes).cast(logits.dtype_or_f32());
            let (zero, last) = (logits.constant(&HostTensor::scalar(0i64)), logits.size_of(1));
            let (below, above) = (label.less(zero), label.greater(last));
            below.apply("Or", &[above]).select(logits.scalar(f64::NAN), is_above)
        });
        binary_cross_entropy(b, logits, &targets, options)
    })
}

/// Numbers with 0 where they are NaN; and 1 where they are known, else 0.
fn known_numbers(numbers: Expr<'_>) -> (Expr<'_>, Expr<'_>) {
    let is_unknown = numbers.apply("IsNaN", &[]);
    let (zero, one) = (numbers.scalar(0.0), numbers.scalar(1.0));
    (is_unknown.select(zero, numbers), is_unknown.select(zero, one))
}

/// `-sum(targets * log_softmax(logits))` for weighted, smoothed one-hot `targets`, both `[N, C]`.
pub fn weighted_cross_entropy(b: &mut Builder, logits: &Value, targets: &Value) -> Value {
    b.express([logits, targets], |[z, targets]| -(z.log_softmax(-1) * targets).reduce_sum(&[0, 1], false))
}

/// `sum(weights * (softplus(logits) - targets * logits))` for `targets` of 0 to 1, all `[N, C]`.
pub fn weighted_binary_cross_entropy(b: &mut Builder, logits: &Value, targets: &Value, weights: &Value) -> Value {
    b.express([logits, targets, weights], |[z, y, weights]| {
        // softplus(z) = max(z, 0) + log(1 + exp(-|z|)), which overflows for no z.
        let positive = z.relu();
        let magnitude = positive + (-z).relu();
        let softplus = positive + ((-magnitude).exp() + 1.0).log();
        ((softplus - z * y) * weights).reduce_sum(&[0, 1], false)
    })
}

/// `sum(weights * (sum_k(k * softmax(logits)_k) - targets)^2)`, the squared distance of the
/// expected class from the true one: `logits` `[N, C]` of `classes` ordered classes, `targets`
/// (class indices as f32) and `weights` `[N, 1]`.
pub fn weighted_expected_class(
    b: &mut Builder,
    logits: &Value,
    classes: usize,
    targets: &Value,
    weights: &Value,
) -> Value {
    b.express([logits, targets, weights], |[z, targets, weights]| {
        let probabilities = z.softmax(-1);
        let k = z.constant(&HostTensor::from_fn(&[1, classes], |class| class as f32));
        let distance = (probabilities * k).reduce_sum(&[1], true) - targets;
        (distance * distance * weights).reduce_sum(&[0, 1], false)
    })
}
