//! Nearest-neighbour probe: cosine similarity, votes weighted by `exp(similarity / temperature)`.
//!
//! In: features `[N, D] f32` with class indices or labels; out: for each queried sample and each k
//! the share of the votes of its k nearest samples that each class gets. Exact; equal similarities
//! are ranked by position.
//!
//! DINO (`eval_knn.py`) sums `exp(s_i / T)` per class, DINOv2 (`dinov2/eval/knn.py`) the first k of
//! the softmax over the 200 nearest; both are our probabilities times a factor per sample, so that
//! the predicted class is theirs, while the probabilities sum to one for every k and can be ranked
//! and calibrated. For multi-label tasks the probability of a label is the share of the votes of
//! those neighbours that know the label; where none does, its prevalence among the samples fitted
//! on.

use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Axis, Data, Ix2};
use rayon::prelude::*;

use crate::error::ProbeError;
use crate::metrics::Activation;
use crate::probe::Scale;
use crate::probe::linear::check_samples;
use crate::probe::linear_params::check_positive;
use crate::probe::neighbours::nearest;
use crate::probe::scale::Scaler;

/// Temperature of the votes in DINO and DINOv2.
pub const DEFAULT_TEMPERATURE: f64 = 0.07;
/// Numbers of neighbours that DINO and DINOv2 try.
pub const DEFAULT_K: [usize; 4] = [10, 20, 100, 200];

/// Hyper-parameters of a nearest-neighbour probe, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnParams(KnnValidParams);

/// Hyper-parameters of a nearest-neighbour probe.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnValidParams {
    k: usize,
    temperature: f64,
    classes: Option<usize>,
}

impl Default for KnnParams {
    fn default() -> Self {
        KnnParams::new()
    }
}

impl KnnParams {
    /// 20 neighbours, temperature 0.07, as many classes as the targets have.
    pub fn new() -> Self {
        KnnParams(KnnValidParams { k: 20, temperature: DEFAULT_TEMPERATURE, classes: None })
    }

    /// Neighbours that vote, >= 1 and at most the number of samples.
    pub fn k(mut self, k: usize) -> Self {
        self.0.k = k;
        self
    }

    /// Temperature of the votes, > 0.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.0.temperature = temperature;
        self
    }

    /// Number of classes, where the targets may lack the last ones.
    pub fn classes(mut self, classes: usize) -> Self {
        self.0.classes = Some(classes);
        self
    }
}

impl ParamGuard for KnnParams {
    type Checked = KnnValidParams;
    type Error = ProbeError;

    fn check_ref(&self) -> Result<&KnnValidParams, ProbeError> {
        check_positive("temperature", self.0.temperature)?;
        check_k(self.0.k, usize::MAX)?;
        Ok(&self.0)
    }

    fn check(self) -> Result<KnnValidParams, ProbeError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

fn check_k(k: usize, samples: usize) -> Result<(), ProbeError> {
    if (1..=samples).contains(&k) {
        return Ok(());
    }
    Err(ProbeError::Parameter { name: "k", found: k.to_string(), expected: "from 1 to the number of samples" })
}

/// A bank of labelled samples that vote.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnModel {
    params: KnnValidParams,
    /// `[N, D]`, rows of unit length.
    bank: Array2<f32>,
    ballots: Votes,
}

/// What each row of a bank votes for.
#[derive(Clone, Debug, PartialEq)]
pub enum Votes {
    /// One of several classes.
    Classes(Vec<usize>, usize),
    /// `[N, C]` labels with the prevalence of each.
    Labels(Array2<Option<bool>>, Vec<f64>),
}

impl KnnModel {
    /// Probabilities `[Q, C]` of `samples: [Q, D]` for each of several `k`, from one search.
    ///
    /// # Errors
    /// [`ProbeError::Dimension`] for features of another length, [`ProbeError::Parameter`] for a
    /// `k` that is 0 or larger than the bank.
    pub fn probabilities(&self, samples: ArrayView2<'_, f32>, k: &[usize]) -> Result<Vec<Array2<f64>>, ProbeError> {
        if samples.ncols() != self.bank.ncols() {
            return Err(ProbeError::Dimension { found: samples.ncols(), expected: self.bank.ncols() });
        }
        k.iter().try_for_each(|&k| check_k(k, self.bank.nrows()))?;
        let most = k.iter().copied().max().unwrap_or_default();
        let queries = self.directions(samples);
        let found = nearest(self.bank.view(), queries.view(), most);
        let shares = |row: usize| {
            let similarities: Vec<f32> = found.similarities.row(row).to_vec();
            let positions: Vec<u32> = found.positions.row(row).to_vec();
            k.iter().map(|&k| self.votes(&positions[..k], &similarities[..k])).collect()
        };
        let rows: Vec<Vec<Vec<f64>>> = (0..samples.nrows()).into_par_iter().map(shares).collect();
        let table = |choice: usize| {
            let mut out = Array2::zeros((samples.nrows(), self.classes()));
            out.rows_mut().into_iter().zip(&rows).for_each(|(mut out, row)| {
                out.iter_mut().zip(&row[choice]).for_each(|(value, share)| *value = *share);
            });
            out
        };
        Ok((0..k.len()).map(table).collect())
    }

    /// From the scores of [`vote_scores`] to probabilities.
    pub fn activation(&self) -> Activation {
        match &self.ballots {
            Votes::Classes(..) => Activation::Softmax,
            Votes::Labels(..) => Activation::Sigmoid,
        }
    }

    /// The hyper-parameters.
    pub fn params(&self) -> &KnnValidParams {
        &self.params
    }

    /// The samples that vote: `[N, D]`, rows of unit length.
    pub fn bank(&self) -> ArrayView2<'_, f32> {
        self.bank.view()
    }

    /// `samples: [Q, D]` as they are compared with the bank: of unit length.
    pub fn directions(&self, samples: ArrayView2<'_, f32>) -> Array2<f32> {
        Scaler::new(Scale::L2, samples).apply(samples)
    }

    /// What they vote for.
    pub fn ballots(&self) -> &Votes {
        &self.ballots
    }

    /// Number of classes or labels.
    pub fn classes(&self) -> usize {
        match &self.ballots {
            Votes::Classes(_, classes) => *classes,
            Votes::Labels(labels, _) => labels.ncols(),
        }
    }

    /// Number of samples that vote.
    pub fn samples(&self) -> usize {
        self.bank.nrows()
    }

    /// The share of each class in the votes of some neighbours, nearest first.
    fn votes(&self, positions: &[u32], similarities: &[f32]) -> Vec<f64> {
        let nearest = f64::from(similarities.first().copied().unwrap_or_default());
        let weight = |&similarity: &f32| ((f64::from(similarity) - nearest) / self.params.temperature).exp();
        let ballots = positions.iter().map(|&position| position as usize).zip(similarities.iter().map(weight));
        match &self.ballots {
            Votes::Classes(classes, count) => {
                let mut votes = vec![0.0; *count];
                let mut total = 0.0;
                for (position, weight) in ballots {
                    votes[classes[position]] += weight;
                    total += weight;
                }
                votes.iter_mut().for_each(|vote| *vote /= total);
                votes
            }
            Votes::Labels(labels, prevalence) => {
                let mut votes = vec![(0.0, 0.0); labels.ncols()];
                for (position, weight) in ballots {
                    for ((yes, known), label) in votes.iter_mut().zip(labels.row(position)) {
                        if let Some(present) = label {
                            *known += weight;
                            *yes += if *present { weight } else { 0.0 };
                        }
                    }
                }
                let share = |((yes, known), prior): ((f64, f64), &f64)| if known > 0.0 { yes / known } else { *prior };
                votes.into_iter().zip(prevalence).map(share).collect()
            }
        }
    }
}

/// Half a vote, as a share of the votes of `k` neighbours.
pub fn half_a_vote(k: usize) -> f64 {
    0.5 / k.max(1) as f64
}

/// Scores of shares of votes, for temperatures: their logarithms (for labels, the logarithm of
/// their odds), half a vote added to each side so that a class without votes has a score too
/// (Krichevsky and Trofimov 1981, IEEE Transactions on Information Theory 27).
pub fn vote_scores(shares: ArrayView2<'_, f64>, k: usize, activation: Activation) -> Array2<f64> {
    let half = half_a_vote(k);
    match activation {
        Activation::Softmax => shares.mapv(|share| (share + half).ln()),
        Activation::Sigmoid => shares.mapv(|share| (share + half).ln() - (1.0 - share + half).ln()),
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array1<usize>, ProbeError> for KnnValidParams {
    type Object = KnnModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array1<usize>>) -> Result<KnnModel, ProbeError> {
        let samples = dataset.records.view();
        check_samples(samples, dataset.targets.len(), None)?;
        let classes = self.classes.unwrap_or(0).max(dataset.targets.iter().max().map_or(0, |last| last + 1));
        self.model(samples, Votes::Classes(dataset.targets.to_vec(), classes))
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array2<Option<bool>>, ProbeError> for KnnValidParams {
    type Object = KnnModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array2<Option<bool>>>) -> Result<KnnModel, ProbeError> {
        let samples = dataset.records.view();
        let labels = &dataset.targets;
        check_samples(samples, labels.nrows(), None)?;
        let prevalence = |column: ndarray::ArrayView1<'_, Option<bool>>| {
            let known: Vec<bool> = column.iter().filter_map(|label| *label).collect();
            let present = known.iter().filter(|present| **present).count();
            if known.is_empty() { 0.5 } else { present as f64 / known.len() as f64 }
        };
        let prevalence = labels.axis_iter(Axis(1)).map(prevalence).collect();
        self.model(samples, Votes::Labels(labels.clone(), prevalence))
    }
}

impl KnnValidParams {
    /// Neighbours that vote.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Temperature of the votes.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    fn model(&self, samples: ArrayView2<'_, f32>, ballots: Votes) -> Result<KnnModel, ProbeError> {
        check_k(self.k, samples.nrows())?;
        let bank = Scaler::new(Scale::L2, samples).apply(samples);
        Ok(KnnModel { params: self.clone(), bank, ballots })
    }
}

/// Predicts probabilities `[Q, C]` with the `k` of the parameters. As the trait cannot fail,
/// features of another length than fitted give NaN; use [`KnnModel::probabilities`] to have them
/// refused.
impl<D: Data<Elem = f32>> PredictInplace<ArrayBase<D, Ix2>, Array2<f64>> for KnnModel {
    fn predict_inplace<'a>(&'a self, samples: &'a ArrayBase<D, Ix2>, out: &mut Array2<f64>) {
        match self.probabilities(samples.view(), &[self.params.k]).map(|tables| tables.into_iter().next()) {
            Ok(Some(table)) => *out = table,
            Ok(None) | Err(_) => out.fill(f64::NAN),
        }
    }

    fn default_target(&self, samples: &ArrayBase<D, Ix2>) -> Array2<f64> {
        Array2::zeros((samples.nrows(), self.classes()))
    }
}

#[cfg(test)]
mod tests {
    use linfa::prelude::Predict;
    use ndarray::array;

    use super::*;

    #[test]
    fn lengths_do_not_matter_only_directions_do() {
        let bank = array![[1.0f32, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.5]];
        let classes = array![0usize, 1, 0, 2];
        let query = array![[2.0f32, 1.0], [-3.0, 1.0]];
        let fit = |bank: Array2<f32>| {
            let model = KnnParams::new().k(3).fit(&DatasetBase::new(bank, classes.clone())).unwrap();
            Predict::<_, Array2<f64>>::predict(&model, &query)
        };
        let mut stretched = bank.clone();
        stretched.row_mut(1).mapv_inplace(|value| 1000.0 * value);
        assert_eq!(fit(bank), fit(stretched));
    }

    #[test]
    fn unknown_labels_do_not_vote() {
        let bank = array![[1.0f32, 0.0], [0.9, 0.1], [0.0, 1.0]];
        let labels = array![[None, Some(true)], [Some(true), None], [Some(false), None]];
        let model = KnnParams::new().k(2).fit(&DatasetBase::new(bank, labels)).unwrap();
        let tables = model.probabilities(array![[1.0f32, 0.0], [0.0, 1.0]].view(), &[1, 2]).unwrap();
        // k 1: the nearest row of the first query does not know the first label; its prevalence is
        // one half.
        assert_eq!(tables[0].row(0).to_vec(), [0.5, 1.0]);
        assert_eq!(tables[1].row(0).to_vec(), [1.0, 1.0]);
        assert_eq!(tables[0].row(1).to_vec(), [0.0, 1.0]);
    }

    #[test]
    fn more_neighbours_than_samples_are_refused() {
        let dataset = DatasetBase::new(array![[1.0f32], [2.0]], array![0usize, 1]);
        assert!(matches!(KnnParams::new().k(3).fit(&dataset), Err(ProbeError::Parameter { name: "k", .. })));
        assert!(matches!(KnnParams::new().k(0).fit(&dataset), Err(ProbeError::Parameter { name: "k", .. })));
    }
}
