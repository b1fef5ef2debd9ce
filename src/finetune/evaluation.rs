//! Predictions of a network in training on one split, and what they are worth.

use ndarray::Array2;

use crate::data::Batch;
use crate::data::Epoch;
use crate::data::Loader;
use crate::error::Result;
use crate::finetune::Loss;
use crate::finetune::material::Material;
use crate::finetune::trainer::Evaluator;
use crate::metrics::Bootstrap;
use crate::metrics::Evaluation;
use crate::metrics::evaluate;
use crate::support::seed::Seed;

/// Predictions on some rows.
pub(super) struct Predicted {
    /// The rows that could be read.
    pub(super) rows: Vec<usize>,
    /// `[rows, K]`.
    pub(super) probabilities: Array2<f64>,
    /// Rows that could not be read, and why.
    pub(super) failed: Vec<(usize, String)>,
}

impl Predicted {
    /// Runs the network over some rows, in batches.
    pub(super) fn on(
        rows: &[usize],
        (evaluator, loader, batch): (&mut Evaluator, &Loader, usize),
        (loss, classes): (Loss, usize),
    ) -> Result<Predicted> {
        let batches: Vec<Vec<usize>> = rows.chunks(batch.max(1)).map(<[usize]>::to_vec).collect();
        let [channels, height, width] = loader.shape();
        let (mut kept, mut values, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let epoch = Epoch { batches: &batches, seed: Seed::new(0) };
        loader.run(epoch, |read: &Batch| {
            let shape = [read.samples.len(), channels, height, width];
            let logits = evaluator.logits(&read.images, &shape)?;
            for (place, (&row, logits)) in read.samples.iter().zip(logits.chunks_exact(classes)).enumerate() {
                match read.failed.iter().find(|(failed, _)| *failed == place) {
                    Some((_, error)) => failed.push((row, error.to_string())),
                    None => {
                        kept.push(row);
                        values.extend(probabilities(logits, loss));
                    }
                }
            }
            Ok(())
        })?;
        let probabilities =
            Array2::from_shape_vec((kept.len(), classes), values).unwrap_or_else(|_| Array2::zeros((0, classes)));
        Ok(Predicted { rows: kept, probabilities, failed })
    }

    /// Every metric of the predictions.
    pub(super) fn evaluate(&self, material: &Material, bootstrap: &Bootstrap) -> Result<Evaluation> {
        let predictions = material.labelled().predictions(&self.rows, self.probabilities.clone())?;
        Ok(evaluate(&predictions, bootstrap))
    }
}

/// What logits state: probabilities of classes that sum up to 1, or of each label by itself.
fn probabilities(logits: &[f32], loss: Loss) -> Vec<f64> {
    let logits = logits.iter().map(|&logit| f64::from(logit));
    match loss {
        Loss::BinaryCrossEntropy => logits.map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Loss::CrossEntropy | Loss::Ordinal => {
            let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = logits.map(|logit| (logit - most).exp()).collect();
            let total: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / total).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_probabilities() {
        let found = probabilities(&[1000.0, 1000.0, -1000.0], Loss::CrossEntropy);
        assert_eq!(found, [0.5, 0.5, 0.0]);
        assert_eq!(probabilities(&[0.0, -1000.0], Loss::BinaryCrossEntropy), [0.5, 0.0]);
    }
}
