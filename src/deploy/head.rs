//! The head of a classifier, features to probabilities and a decision: computed here, as the
//! library does, and as nodes of a graph.
//!
//! Where probabilities are calibrated, scores are divided by the card's temperature before softmax
//! or sigmoid; the scores of votes are those of [`vote_scores`]. The decision is the most probable
//! class, or that of the card's thresholds or cut-points.

use ndarray::{Array2, ArrayView2};

use crate::deploy::ModelCard;
use crate::error::{ProbeError, Result};
use crate::graph::{Builder, Dim, Model, Node, Value};
use crate::probe::{Activation, KnnModel, LinearModel, Scale, Votes, half_a_vote, nearest, vote_scores};
use crate::tensor::{DType, HostTensor};

/// Name of the head's input.
pub(super) const FEATURES: &str = "features";
/// Name of the output with a probability per class: f32 [N, K].
pub const PROBABILITIES: &str = "probabilities";
/// Name of the output with the decision: i64, `[N]` class numbers, or `[N, K]` of 0 and 1 where
/// labels are decided one by one.
pub const LABEL: &str = "label";
/// Similarities that differ by less are equal: the rounding of one sum of products or another
/// decides which is larger.
const SAME_SIMILARITY: f32 = 2e-6;

/// What makes probabilities of what the network gives.
#[derive(Clone, Debug)]
pub enum Head {
    /// A linear probe.
    Linear(LinearModel),
    /// The votes of the nearest samples of a bank.
    Knn(KnnModel),
    /// The network gives scores itself.
    Scores(Activation),
}

impl Head {
    /// Probabilities `[N, K]` of `features: [N, D]`, computed by the library.
    pub(super) fn probabilities(&self, features: ArrayView2<'_, f32>, card: &ModelCard) -> Result<Array2<f64>> {
        let divisors: Option<Vec<f64>> =
            card.temperature.as_ref().map(|list| list.iter().map(|&value| f64::from(value)).collect());
        let (scores, activation) = match self {
            Head::Linear(model) => (model.scores(features)?, model.activation()),
            Head::Knn(model) => {
                let k = model.params().k();
                #[expect(clippy::expect_used, reason = "probabilities are as many as the numbers of neighbours")]
                let votes = model.probabilities(features, &[k])?.pop().expect("votes of k neighbours");
                if divisors.is_none() {
                    return Ok(votes);
                }
                (vote_scores(votes.view(), k, model.activation()), model.activation())
            }
            Head::Scores(activation) => (features.mapv(f64::from), *activation),
        };
        Ok(activation.tempered(scores.view(), divisors.as_deref().unwrap_or(&[1.0])))
    }

    /// Whether the last of the nearest samples is, but for rounding, as near as the first that does
    /// not vote.
    pub(super) fn is_tied(&self, features: ArrayView2<'_, f32>) -> bool {
        let Head::Knn(model) = self else { return false };
        let k = model.params().k();
        let queries = model.directions(features);
        let found = nearest(model.bank(), queries.view(), k + 1).similarities;
        found.ncols() > k && found.rows().into_iter().any(|row| row[k - 1] - row[k] < SAME_SIMILARITY)
    }

    /// The head as a model from `features`, f32 [N, `width`], to [`PROBABILITIES`] and [`LABEL`].
    pub(super) fn model(&self, opset: i64, width: usize, card: &ModelCard) -> Result<Model> {
        let mut b = Builder::with_opset("head", opset);
        let features = b.input(FEATURES, DType::F32, &[Dim::symbol("batch"), Dim::from(width)]);
        let (probabilities, label) = b.scope("head", |b| {
            let temperature = card.temperature.as_deref();
            let probabilities = match self {
                Head::Linear(model) => {
                    let scores = linear(b, model, &features);
                    activated(b, &scores, model.activation(), temperature)
                }
                Head::Knn(model) => {
                    let votes = knn(b, model, &features);
                    match temperature {
                        None => votes,
                        Some(_) => {
                            let scores = scores_of_votes(b, model, &votes);
                            activated(b, &scores, model.activation(), temperature)
                        }
                    }
                }
                Head::Scores(activation) => activated(b, &features, *activation, temperature),
            };
            let label = decide(b, &probabilities, card);
            (probabilities, label)
        });
        b.output(PROBABILITIES, &probabilities);
        b.output(LABEL, &label);
        b.finish()
    }

    /// Length of a feature vector, where the head tells.
    pub(super) fn width(&self) -> Option<usize> {
        match self {
            Head::Linear(model) => Some(model.coefficients().ncols()),
            Head::Knn(model) => Some(model.bank().ncols()),
            Head::Scores(_) => None,
        }
    }

    /// Checks that features have the length that the head needs.
    pub(super) fn check(&self, found: usize) -> Result<()> {
        match self.width() {
            Some(expected) if expected != found => Err(ProbeError::Dimension { found, expected }.into()),
            _ => Ok(()),
        }
    }
}

/// A constant f32 vector of f64 values.
fn rounded(b: &mut Builder, values: &[f64]) -> Value {
    b.constant(&HostTensor::vector(values.iter().map(|&value| value as f32).collect::<Vec<f32>>()))
}

/// Rows of unit length; a row of zeros stays one.
fn unit(b: &mut Builder, features: &Value) -> Value {
    let norm = b.reduce_l2(features, &[1], true);
    let least = b.scalar(1e-12);
    let norm = b.max(&norm, &least);
    b.div(features, &norm)
}

/// Probabilities of scores, which are divided by a temperature where there is one.
fn activated(b: &mut Builder, scores: &Value, activation: Activation, temperature: Option<&[f32]>) -> Value {
    let divided = temperature.map(|temperature| {
        let temperature = b.parameter("head.temperature", &HostTensor::vector(temperature.to_vec()));
        b.div(scores, &temperature)
    });
    let scores = divided.as_ref().unwrap_or(scores);
    match activation {
        Activation::Softmax => b.softmax(scores, 1),
        Activation::Sigmoid => b.sigmoid(scores),
    }
}

/// The decision for probabilities [N, K], i64: a class each, [N], or 0 and 1 for every label, [N,
/// K].
fn decide(b: &mut Builder, probabilities: &Value, card: &ModelCard) -> Value {
    let numbers = |values: &[f32]| HostTensor::vector(values.to_vec());
    match (&card.cut_points, &card.thresholds) {
        (Some(points), _) => {
            let grades = HostTensor::from_fn(&[card.classes.len(), 1], |grade| grade as f32);
            let (grades, points) = (b.constant(&grades), b.constant(&numbers(points)));
            let expected = b.matmul(probabilities, &grades);
            let is_reached = b.greater_or_equal(&expected, &points);
            let is_reached = b.cast(&is_reached, DType::I64);
            b.reduce_sum(&is_reached, &[1], false)
        }
        (None, Some(thresholds)) if card.decides_one_by_one() => {
            let thresholds = b.constant(&numbers(thresholds));
            let is_present = b.greater(probabilities, &thresholds);
            b.cast(&is_present, DType::I64)
        }
        (None, Some(threshold)) => {
            let threshold = b.constant(&numbers(threshold));
            let second = b.narrow(probabilities, 1, 1..2);
            let is_second = b.greater_or_equal(&second, &threshold);
            let is_second = b.cast(&is_second, DType::I64);
            b.squeeze(&is_second, &[1])
        }
        (None, None) => b.arg_max(probabilities, 1, false),
    }
}

/// What [`vote_scores`] computes.
fn scores_of_votes(b: &mut Builder, model: &KnnModel, votes: &Value) -> Value {
    let half = half_a_vote(model.params().k());
    let (least, most) = (b.scalar(half as f32), b.scalar((1.0 + half) as f32));
    let present = b.add(votes, &least);
    let present = b.log(&present);
    match model.activation() {
        Activation::Softmax => present,
        Activation::Sigmoid => {
            let absent = b.sub(&most, votes);
            let absent = b.log(&absent);
            b.sub(&present, &absent)
        }
    }
}

fn linear(b: &mut Builder, model: &LinearModel, features: &Value) -> Value {
    let scaled = match model.scaler().scale() {
        Scale::Standard => {
            let (mean, deviation) = (rounded(b, model.scaler().mean()), rounded(b, model.scaler().deviation()));
            let centred = b.sub(features, &mean);
            b.div(&centred, &deviation)
        }
        Scale::L2 => unit(b, features),
        Scale::None => features.clone(),
    };
    let coefficients = model.coefficients();
    let values: Vec<f32> = coefficients.iter().map(|&value| value as f32).collect();
    let weight = b.parameter("head.weight", &HostTensor::from_fn(coefficients.shape(), |at| values[at]));
    let bias = model.intercepts().iter().map(|&value| value as f32).collect::<Vec<f32>>();
    let bias = b.parameter("head.bias", &HostTensor::vector(bias));
    b.linear(&scaled, &weight, Some(&bias))
}

/// Cosine similarities with the bank, the largest of them, and the shares of the classes in their
/// votes.
fn knn(b: &mut Builder, model: &KnnModel, features: &Value) -> Value {
    let queries = unit(b, features);
    let bank = model.bank();
    // The bank lies transposed, as the product reads it.
    let (count, width) = bank.dim();
    let columns = b.parameter("head.bank", &HostTensor::from_fn(&[width, count], |at| bank[[at % count, at / count]]));
    let similarities = b.matmul(&queries, &columns);
    let k = b.integers(&[model.params().k() as i64]);
    let top = Node::new("TopK", &[similarities.name(), k.name()], &[]);
    let [nearest, positions] = b.nodes(top.with("axis", 1).with("largest", 1).with("sorted", 1));
    // Weights relative to the nearest, so that the exponential neither overflows nor vanishes.
    let first = b.narrow(&nearest, 1, 0..1);
    let distances = b.sub(&nearest, &first);
    let temperature = b.scalar(model.params().temperature() as f32);
    let scaled = b.div(&distances, &temperature);
    let weights = b.exp(&scaled);
    let weights = b.unsqueeze(&weights, &[1]);
    match model.ballots() {
        Votes::Classes(classes, number) => {
            let classes = HostTensor::vector(classes.iter().map(|&class| class as i64).collect::<Vec<i64>>());
            let classes = b.parameter("head.bank_classes", &classes);
            let votes = b.gather(&classes, &positions, 0);
            let votes = b.unsqueeze(&votes, &[2]);
            let all = b.integers(&(0..*number as i64).collect::<Vec<i64>>());
            let is_vote = b.equal(&votes, &all);
            let is_vote = b.cast(&is_vote, DType::F32);
            let votes = b.matmul(&weights, &is_vote);
            let votes = b.squeeze(&votes, &[1]);
            let total = b.reduce_sum(&votes, &[1], true);
            b.div(&votes, &total)
        }
        Votes::Labels(labels, prevalence) => {
            let shape = labels.shape().to_vec();
            let labels: Vec<Option<bool>> = labels.iter().copied().collect();
            let is_known = HostTensor::from_fn(&shape, |at| u8::from(labels[at].is_some()));
            let is_present = HostTensor::from_fn(&shape, |at| u8::from(labels[at] == Some(true)));
            let [known, present] =
                [("head.bank_known", is_known), ("head.bank_present", is_present)].map(|(name, table)| {
                    let table = b.parameter(name, &table);
                    let votes = b.gather(&table, &positions, 0);
                    let votes = b.cast(&votes, DType::F32);
                    let votes = b.matmul(&weights, &votes);
                    b.squeeze(&votes, &[1])
                });
            let (none, prior) = (b.scalar(0.0), rounded(b, prevalence));
            let is_known = b.greater(&known, &none);
            let share = b.div(&present, &known);
            b.select(&is_known, &share, &prior)
        }
    }
}
