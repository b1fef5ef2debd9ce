//! The head of a classifier, features to probabilities: computed here, as the library does, and as nodes of a graph.

use ndarray::Array2;
use ndarray::ArrayView2;

use crate::error::ProbeError;
use crate::error::Result;
use crate::graph::Builder;
use crate::graph::Dim;
use crate::graph::Model;
use crate::graph::Node;
use crate::graph::Value;
use crate::probe::Activation;
use crate::probe::Ballots;
use crate::probe::KnnModel;
use crate::probe::LinearModel;
use crate::probe::Scale;
use crate::probe::nearest;
use crate::tensor::DType;
use crate::tensor::HostTensor;

/// Name of the head's input.
pub(super) const FEATURES: &str = "features";
/// Name of the output with a probability per class: f32 [N, K].
pub const PROBABILITIES: &str = "probabilities";
/// Name of the output with the decision: i64, `[N]` class numbers, or `[N, K]` of 0 and 1 where labels are decided one by one.
pub const LABEL: &str = "label";
/// Similarities that differ by less are equal: the rounding of one sum of products or another decides which is larger.
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
    pub(super) fn probabilities(&self, features: ArrayView2<'_, f32>) -> Result<Array2<f64>> {
        Ok(match self {
            Head::Linear(model) => model.probabilities(features)?,
            Head::Knn(model) => {
                let mut tables = model.probabilities(features, &[model.params().k()])?;
                tables.pop().unwrap_or_default()
            }
            Head::Scores(activation) => activation.apply(features.mapv(f64::from)),
        })
    }

    /// Whether the last of the nearest samples is, but for rounding, as near as the first that does not vote.
    pub(super) fn is_tied(&self, features: ArrayView2<'_, f32>) -> bool {
        let Head::Knn(model) = self else { return false };
        let k = model.params().k();
        let queries = model.directions(features);
        let found = nearest(model.bank(), queries.view(), k + 1).similarities;
        found.ncols() > k && found.rows().into_iter().any(|row| row[k - 1] - row[k] < SAME_SIMILARITY)
    }

    /// The head as a model from `features`, f32 [N, `width`], to [`PROBABILITIES`] and [`LABEL`].
    pub(super) fn model(&self, opset: i64, width: usize, thresholds: Option<&[f32]>) -> Result<Model> {
        let mut b = Builder::with_opset("head", opset);
        let features = b.input(FEATURES, DType::F32, &[Dim::symbol("batch"), Dim::from(width)]);
        let (probabilities, label) = b.scope("head", |b| {
            let probabilities = match self {
                Head::Linear(model) => linear(b, model, &features),
                Head::Knn(model) => knn(b, model, &features),
                Head::Scores(Activation::Softmax) => b.softmax(&features, 1),
                Head::Scores(Activation::Sigmoid) => b.sigmoid(&features),
            };
            let label = match thresholds {
                Some(thresholds) => {
                    let thresholds = b.constant(&HostTensor::vector(thresholds.to_vec()));
                    let is_present = b.greater(&probabilities, &thresholds);
                    b.cast(&is_present, DType::I64)
                }
                None => b.arg_max(&probabilities, 1, false),
            };
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
    let scores = b.linear(&scaled, &weight, Some(&bias));
    match model.activation() {
        Activation::Softmax => b.softmax(&scores, 1),
        Activation::Sigmoid => b.sigmoid(&scores),
    }
}

/// Cosine similarities with the bank, the largest of them, and the shares of the classes in their votes.
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
        Ballots::Classes(classes, number) => {
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
        Ballots::Labels(labels, prevalence) => {
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
