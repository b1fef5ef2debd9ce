//! Predictions of a network in training on one split, and what they are worth.

use ndarray::Array2;

use crate::data::{Batch, Epoch, Loader};
use crate::error::Result;
use crate::finetune::loss::{Loss, Targets};
use crate::finetune::trainer::Trainer;
use crate::finetune::training_set::TrainingSet;
use crate::metrics::{Activation, Bootstrap, Evaluation, evaluate};
use crate::records::{PredictionTable, ScoredSplit};
use crate::support::seed::Seed;

/// Predictions on some rows.
pub(super) struct Predicted {
    /// Scores and probabilities of the rows that could be read.
    pub(super) scored: ScoredSplit,
    /// Rows that could not be read, and why.
    pub(super) failed: Vec<(usize, String)>,
}

impl Predicted {
    /// Runs the network over some rows, in batches.
    pub(super) fn new(
        rows: &[usize],
        trainer: &mut Trainer,
        loader: &Loader,
        batch: usize,
        targets: &Targets,
    ) -> Result<Predicted> {
        let classes = targets.classes;
        let batches: Vec<Vec<usize>> = rows.chunks(batch.max(1)).map(<[usize]>::to_vec).collect();
        let [channels, height, width] = loader.shape();
        let (mut kept, mut values, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        let epoch = Epoch { batches: &batches, seed: Seed::new(0) };
        loader.run(epoch, |read: &Batch| {
            let shape = [read.samples.len(), channels, height, width];
            let logits = trainer.logits(read.images(), &shape)?;
            for (place, (&row, logits)) in read.samples.iter().zip(logits.chunks_exact(classes)).enumerate() {
                match read.failed.iter().find(|(failed, _)| *failed == place) {
                    Some((_, error)) => failed.push((row, error.to_string())),
                    None => {
                        kept.push(row);
                        values.extend(logits.iter().map(|&logit| f64::from(logit)));
                    }
                }
            }
            Ok(())
        })?;
        #[expect(clippy::expect_used, reason = "every row that is kept adds a value per class")]
        let scores = Array2::from_shape_vec((kept.len(), classes), values).expect("a row per image");
        Ok(Predicted { scored: ScoredSplit::of(kept, scores, activation(targets.loss)), failed })
    }

    /// Every metric of the predictions.
    pub(super) fn evaluate(&self, material: &TrainingSet, bootstrap: &Bootstrap) -> Result<Evaluation> {
        let ScoredSplit { rows, probabilities, .. } = &self.scored;
        let truth = PredictionTable::new(&material.dataset, rows, probabilities.clone(), None).predictions()?;
        Ok(evaluate(&truth, bootstrap))
    }
}

/// What makes probabilities of logits: of classes that sum up to 1, or of each label by itself.
fn activation(loss: Loss) -> Activation {
    match loss {
        Loss::BinaryCrossEntropy => Activation::Sigmoid,
        Loss::CrossEntropy | Loss::ExpectedClass => Activation::Softmax,
    }
}
