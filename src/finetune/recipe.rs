//! The recipe of a run: everything that decides what is learned, besides data and backbone. It is
//! plain data (`config.toml`), checked once.

use serde::{Deserialize, Serialize};

use crate::data::Task;
use crate::data::augment::Augmentation;
use crate::data::split::{Fractions, TrainFraction};
use crate::error::{FinetuneError, Result};
use crate::finetune::{BatchNorm, Freeze, Head, Loss, Sampling, Schedule};
use crate::metrics::Metric;
use crate::records::CalibrationConfig;

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What stands on the backbone.
    pub head: Head,
    /// How much of the backbone stays as it is.
    pub freeze: Freeze,
    /// What is minimised; that of the task unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Share of the truth that is spread over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// Whether classes count the same in the loss, however many images they have.
    pub class_weights: bool,
    /// How the images of an epoch are drawn.
    pub sampling: Sampling,
    /// What may happen to training images.
    pub augmentation: Augmentation,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images of one step.
    pub batch: usize,
    /// Images that go through the network at once, a divisor of the batch; 0 for the whole batch.
    pub micro_batch: usize,
    /// Candidates for the largest learning rate; where there are several, short runs decide.
    pub learning_rates: Vec<f64>,
    /// Epochs of each short run.
    pub search_epochs: usize,
    /// How the learning rate develops.
    pub schedule: Schedule,
    /// Epochs of linear warm-up.
    pub warmup: f64,
    /// Epochs without improvement on validation data before the rate of a plateau schedule is
    /// lowered.
    pub plateau: usize,
    /// Epochs without improvement on validation data before the run ends; 0 for never.
    pub patience: usize,
    /// Decoupled weight decay of parameters of two axes and more.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 for any.
    pub clip: f64,
    /// What the learning rate of each block is multiplied by, from the last to the first; 1 for
    /// none.
    pub layer_decay: f64,
    /// The chance that the last residual branch is left out, earlier ones less.
    pub drop_path: f64,
    /// What happens to batch norms; unless given they are updated where the network's weights are
    /// random, and frozen otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_norm: Option<BatchNorm>,
    /// Compute activations again in the backward pass instead of keeping them.
    pub recompute: bool,
    /// Compute products and convolutions in f16, with parameters in f32 and a scaled loss.
    pub mixed_precision: bool,
    /// The metric that decides between epochs and learning rates; that of the task unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Seed of splits, head, order and augmentation; repeats count up from it.
    pub seed: u64,
    /// Number of runs with seeds of their own.
    pub repeats: usize,
    /// Train, validation and test shares of splits that are drawn.
    pub fractions: [f64; 3],
    /// Draw new splits although the samples have some.
    pub resplit: bool,
    /// Accept given splits that divide a group between them.
    pub allow_leak: bool,
    /// The part of the train split that is trained on.
    #[serde(skip_serializing_if = "TrainFraction::is_whole")]
    pub train_fraction: TrainFraction,
    /// Resamples behind the intervals of losses; 0 gives no intervals at all.
    pub bootstrap: usize,
    /// What is fitted on validation predictions in the end.
    #[serde(skip_serializing_if = "CalibrationConfig::is_none")]
    pub adjusting: CalibrationConfig,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            head: Head::Linear,
            freeze: Freeze::None,
            loss: None,
            label_smoothing: 0.0,
            class_weights: false,
            sampling: Sampling::Uniform,
            augmentation: Augmentation::light(),
            epochs: 10,
            batch: 32,
            micro_batch: 0,
            learning_rates: vec![1e-4, 3e-4, 1e-3],
            search_epochs: 1,
            schedule: Schedule::Cosine,
            warmup: 1.0,
            plateau: 3,
            patience: 0,
            weight_decay: 0.01,
            clip: 1.0,
            layer_decay: 1.0,
            drop_path: 0.0,
            batch_norm: None,
            recompute: false,
            mixed_precision: false,
            metric: None,
            seed: 0,
            repeats: 1,
            fractions: [0.7, 0.1, 0.2],
            resplit: false,
            allow_leak: false,
            train_fraction: TrainFraction::default(),
            bootstrap: 1000,
            adjusting: CalibrationConfig::default(),
        }
    }
}

impl Recipe {
    /// The study's: AdamW with weight decay 1e-5, batches of 64, up to 100 epochs, five of them
    /// warm-up, four learning rates from 1e-5 to 1e-3, divided by 10 when validation stalls, its
    /// augmentations. Batch norms that are trained normalise by the batch, as in the training mode
    /// of the study's code; those of frozen parts do not.
    pub fn study() -> Self {
        Recipe {
            augmentation: Augmentation::study(),
            epochs: 100,
            batch: 64,
            learning_rates: vec![1e-5, 1e-4, 3e-4, 1e-3],
            search_epochs: 3,
            schedule: Schedule::Plateau,
            warmup: 5.0,
            patience: 20,
            weight_decay: 1e-5,
            batch_norm: Some(BatchNorm::Updated),
            ..Recipe::default()
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] naming the first that is out of range, [`FinetuneError::Loss`]
    /// for a loss that does not suit the task.
    pub fn check(&self, task: Task) -> Result<(), FinetuneError> {
        let refuse = |name, found: String, expected| Err(FinetuneError::Setting { name, found, expected });
        let counts = [("epochs", self.epochs), ("batch", self.batch), ("repeats", self.repeats)];
        for (name, found) in counts {
            if found == 0 {
                return refuse(name, found.to_string(), "at least 1");
            }
        }
        if self.micro_batch > 0 && !self.batch.is_multiple_of(self.micro_batch) {
            return refuse("micro-batch", self.micro_batch.to_string(), "a divisor of the batch");
        }
        if self.learning_rates.is_empty() {
            return refuse("learning-rate", "empty".into(), "at least one rate");
        }
        if self.learning_rates.len() > 1 && self.search_epochs == 0 {
            return refuse("search-epochs", "0".into(), "at least 1 to choose between several learning rates");
        }
        if let Some(rate) = self.learning_rates.iter().find(|rate| !(rate.is_finite() && **rate > 0.0)) {
            return refuse("learning-rate", rate.to_string(), "a positive number");
        }
        let ranges = [
            ("label-smoothing", self.label_smoothing, 0.0..1.0, "0 to below 1"),
            ("drop-path", self.drop_path, 0.0..1.0, "0 to below 1"),
            ("warmup", self.warmup, 0.0..f64::MAX, "0 or more epochs"),
            ("weight-decay", self.weight_decay, 0.0..f64::MAX, "0 or more"),
            ("clip", self.clip, 0.0..f64::MAX, "0 (no clipping) or more"),
            ("layer-decay", self.layer_decay, f64::MIN_POSITIVE..1.0 + f64::EPSILON, "above 0, at most 1"),
        ];
        for (name, found, range, expected) in ranges {
            if !range.contains(&found) {
                return refuse(name, found.to_string(), expected);
            }
        }
        match self.loss.filter(|loss| !loss.fits(task)) {
            Some(loss) => Err(FinetuneError::Loss { loss: loss.name().to_owned(), task: task.name() }),
            None => Ok(()),
        }
    }

    /// The loss of a task.
    pub fn loss_of(&self, task: Task) -> Loss {
        self.loss.unwrap_or(Loss::for_task(task))
    }

    /// Images that go through the network at once.
    pub fn part(&self) -> usize {
        if self.micro_batch > 0 { self.micro_batch } else { self.batch }
    }

    /// Shares of drawn splits.
    ///
    /// # Errors
    /// `DataError::Fractions`.
    pub fn shares(&self) -> Result<Fractions> {
        let [train, validation, test] = self.fractions;
        Ok(Fractions::new(train, validation, test)?)
    }
}
