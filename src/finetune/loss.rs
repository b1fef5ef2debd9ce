//! Losses: what the network's logits are compared with, and the numbers a batch feeds into the
//! graph for that; the formulas are those of [`autodiff::loss`](crate::graph::autodiff::loss).
//!
//! The graph sees targets and weights that are ready to be summed up; class weights, sample
//! weights, label smoothing, unknown labels and images that could not be read are all dealt with
//! here, on the host:
//!
//! | loss | `targets` | `weights` | value |
//! |---|---|---|---|
//! | cross-entropy | `[N, K]`, smoothed, weighted | | `-sum(targets * log_softmax(logits))` |
//! | binary cross-entropy | `[N, K]`, 0 or 1 | `[N, K]`, 0 where unknown | `sum(weights * (softplus(logits) - targets * logits))` |
//! | expected class | `[N, 1]`, class index | `[N, 1]` | `sum(weights * (sum(k * softmax(logits)_k) - targets)^2)` |
//!
//! Weights sum up to 1 over the whole batch, accumulated parts together, as PyTorch's weighted
//! means do.

use serde::{Deserialize, Serialize};

use crate::data::{Label, Task};
use crate::graph::autodiff::loss;
use crate::graph::{Builder, Dim, Value};
use crate::tensor::DType;

/// Name of the inputs that the loss adds to a graph.
pub(super) const TARGETS: &str = "targets";
/// See [`TARGETS`].
pub(super) const WEIGHTS: &str = "weights";

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Of one class of several.
    CrossEntropy,
    /// Of each label by itself; unknown labels do not count.
    #[serde(rename = "bce")]
    BinaryCrossEntropy,
    /// Squared distance of the expected class index, under the predicted probabilities, from the
    /// true one: for ordered classes.
    #[serde(rename = "mse")]
    ExpectedClass,
}

impl Loss {
    /// The name in `config.toml` and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross-entropy",
            Loss::BinaryCrossEntropy => "bce",
            Loss::ExpectedClass => "mse",
        }
    }

    /// The loss of a task unless another is named.
    pub fn for_task(task: Task) -> Self {
        match task {
            Task::MultiLabel => Loss::BinaryCrossEntropy,
            Task::Unlabelled | Task::Multiclass | Task::Ordinal => Loss::CrossEntropy,
        }
    }

    /// Whether the loss makes sense for a task.
    pub fn fits(self, task: Task) -> bool {
        match self {
            Loss::BinaryCrossEntropy => task == Task::MultiLabel,
            Loss::CrossEntropy => matches!(task, Task::Multiclass | Task::Ordinal),
            Loss::ExpectedClass => task == Task::Ordinal,
        }
    }

    /// Adds the loss of `logits: [batch, classes]`, a scalar.
    pub(super) fn add(self, b: &mut Builder, logits: &Value, batch: &Dim, classes: usize) -> Value {
        let width = Dim::from(if self == Loss::ExpectedClass { 1 } else { classes });
        let targets = b.input(TARGETS, DType::F32, &[batch.clone(), width.clone()]);
        let mut weights = || b.input(WEIGHTS, DType::F32, &[batch.clone(), width.clone()]);
        match self {
            Loss::CrossEntropy => b.scope("loss", |b| loss::weighted_cross_entropy(b, logits, &targets)),
            Loss::BinaryCrossEntropy => {
                let weights = weights();
                b.scope("loss", |b| loss::weighted_binary_cross_entropy(b, logits, &targets, &weights))
            }
            Loss::ExpectedClass => {
                let weights = weights();
                b.scope("loss", |b| loss::weighted_expected_class(b, logits, classes, &targets, &weights))
            }
        }
    }
}

/// How labels become targets.
#[derive(Clone, Debug)]
pub struct Targets {
    /// What is minimised.
    pub loss: Loss,
    /// Number of classes (or labels).
    pub classes: usize,
    /// Share of the truth that is spread over all classes (or of a binary label that moves towards
    /// one half).
    pub smoothing: f64,
    /// Weight of each class in the loss.
    pub class_weights: Vec<f64>,
}

/// Targets and, for the losses that have them, weights of a batch.
#[derive(Clone, Debug)]
pub struct TargetBatch {
    /// `[N, K]`, or `[N, 1]`.
    pub targets: Vec<f32>,
    /// As many, or none.
    pub weights: Vec<f32>,
}

impl TargetBatch {
    /// The same in parts of `part` of its `images` images.
    pub fn split(self, part: usize, images: usize) -> Vec<TargetBatch> {
        let chunks = |values: &[f32]| -> Vec<Vec<f32>> {
            let length = (values.len() / images.max(1) * part).max(1);
            values.chunks_exact(length).map(<[f32]>::to_vec).collect()
        };
        let weights = chunks(&self.weights);
        let targets = chunks(&self.targets).into_iter().enumerate();
        targets
            .map(|(at, targets)| TargetBatch { targets, weights: weights.get(at).cloned().unwrap_or_default() })
            .collect()
    }
}

impl Targets {
    /// Weights that make every class count the same: `N / (K * count)`, as scikit-learn's
    /// `balanced`; 0 for absent classes.
    pub fn balanced(counts: &[usize]) -> Vec<f64> {
        let total: usize = counts.iter().sum();
        let present = counts.iter().filter(|count| **count > 0).count().max(1);
        let weight = |&count: &usize| if count > 0 { total as f64 / (present * count) as f64 } else { 0.0 };
        counts.iter().map(weight).collect()
    }

    /// Columns of the targets.
    pub fn width(&self) -> usize {
        if self.loss == Loss::ExpectedClass { 1 } else { self.classes }
    }

    /// Feeds a batch: each sample's label with its weight, 0 for one that is not to count.
    pub fn feed(&self, samples: &[(&Label, f32)]) -> TargetBatch {
        let (mut targets, mut weights) = (vec![0f64; samples.len() * self.width()], Vec::new());
        match self.loss {
            Loss::CrossEntropy => {
                let spread = self.smoothing / self.classes as f64;
                let mut total = 0.0;
                for (row, (label, weight)) in targets.chunks_exact_mut(self.classes).zip(samples) {
                    let Label::Class(class) = label else { continue };
                    let weight = f64::from(*weight);
                    total += weight * self.class_weights[*class];
                    // PyTorch weights the smoothed part by the weight of the class it is spread to.
                    for (other, target) in row.iter_mut().enumerate() {
                        let truth = if other == *class { 1.0 - self.smoothing } else { 0.0 };
                        *target = weight * self.class_weights[other] * (truth + spread);
                    }
                }
                divide(&mut targets, total);
            }
            Loss::BinaryCrossEntropy => {
                let mut known = vec![0f64; targets.len()];
                let rows = targets.chunks_exact_mut(self.classes).zip(known.chunks_exact_mut(self.classes));
                for ((row, known), (label, weight)) in rows.zip(samples) {
                    let Label::Classes(labels) = label else { continue };
                    for (class, present) in labels.iter().enumerate() {
                        let Some(present) = present else { continue };
                        let truth = if *present { 1.0 } else { 0.0 };
                        row[class] = truth * (1.0 - self.smoothing) + self.smoothing / 2.0;
                        known[class] = f64::from(*weight) * self.class_weights[class];
                    }
                }
                let total = known.iter().sum();
                divide(&mut known, total);
                weights = known;
            }
            Loss::ExpectedClass => {
                weights = samples
                    .iter()
                    .zip(&mut targets)
                    .map(|((label, weight), target)| match label {
                        Label::Class(class) => {
                            *target = *class as f64;
                            f64::from(*weight) * self.class_weights[*class]
                        }
                        Label::Unknown | Label::Classes(_) => 0.0,
                    })
                    .collect();
                let total = weights.iter().sum();
                divide(&mut weights, total);
            }
        }
        let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        TargetBatch { targets: narrow(targets), weights: narrow(weights) }
    }
}

/// Divides by a total; a batch without weight stays without.
fn divide(values: &mut [f64], total: f64) {
    if total > 0.0 {
        values.iter_mut().for_each(|value| *value /= total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(loss: Loss, classes: usize, smoothing: f64, class_weights: &[f64]) -> Targets {
        Targets { loss, classes, smoothing, class_weights: class_weights.to_vec() }
    }

    #[test]
    fn classes_are_smoothed_and_weighted_as_in_pytorch() {
        // torch.nn.functional.cross_entropy(zeros(2, 3), [0, 2], weight=[1, 1, 3],
        // label_smoothing=.3) = 0.95 ln 3
        let targets = targets(Loss::CrossEntropy, 3, 0.3, &[1.0, 1.0, 3.0]);
        let fed = targets.feed(&[(&Label::Class(0), 1.0), (&Label::Class(2), 1.0)]);
        let expected = [0.8, 0.1, 0.3, 0.1, 0.1, 2.4].map(|value: f32| value / 4.0);
        assert!(fed.targets.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", fed.targets);
        let silent = targets.feed(&[(&Label::Class(0), 0.0), (&Label::Unknown, 1.0)]);
        assert_eq!(silent.targets, [0.0; 6]);
    }

    #[test]
    fn unknown_labels_do_not_count() {
        let targets = targets(Loss::BinaryCrossEntropy, 3, 0.0, &[1.0; 3]);
        let label = Label::Classes(vec![Some(true), None, Some(false)]);
        let fed = targets.feed(&[(&label, 1.0)]);
        assert_eq!((fed.targets, fed.weights), (vec![1.0, 0.0, 0.0], vec![0.5, 0.0, 0.5]));
    }

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        assert_eq!(Targets::balanced(&[6, 2, 0]), [8.0 / 12.0, 2.0, 0.0]);
    }
}
