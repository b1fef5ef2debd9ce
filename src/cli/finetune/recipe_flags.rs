//! The flags that make up a recipe; what is not said is as the named recipe has it.

use std::path::PathBuf;

use crate::cli::adjust_flags::AdjustFlags;
use crate::cli::choice::{BATCH_NORMS, LOSSES, SAMPLINGS, SCHEDULES, choice};
use crate::data::augment::Augmentation;
use crate::data::split::{Fractions, TrainFraction};
use crate::error::{FinetuneError, Result};
use crate::finetune::{BatchNorm, Freeze, Head, Loss, Recipe, Sampling, Schedule};
use crate::metrics::Metric;

const RECIPE: &str = "Recipe";
const EVALUATION: &str = "Splits and evaluation";

/// A recipe, flag by flag.
#[derive(Debug, clap::Args)]
pub(super) struct RecipeFlags {
    /// The recipe that the other flags change: `default`, or `study` for that of Palés Huix et al.
    /// (2024).
    #[arg(long, help_heading = RECIPE, value_name = "NAME", default_value = "default", value_parser = ["default", "study"])]
    recipe: String,
    /// What stands on the backbone: `linear`, `deit-b`, or `deit:WIDTHxDEPTHxHEADS` on the patch
    /// tokens.
    #[arg(long, help_heading = RECIPE, value_name = "HEAD")]
    head: Option<Head>,
    /// Weights of a DeiT that such a head starts from.
    #[arg(long, help_heading = RECIPE, value_name = "FILE")]
    pub(super) head_weights: Option<PathBuf>,
    /// How much of the backbone stays as it is: `all`, `none`, or `blocks:K` for the first K
    /// blocks.
    #[arg(long, help_heading = RECIPE, value_name = "WHAT")]
    freeze: Option<Freeze>,
    /// What is minimised [default: cross-entropy, or bce for several labels per image].
    #[arg(long, help_heading = RECIPE, value_parser = choice::<Loss>(LOSSES))]
    loss: Option<Loss>,
    /// Share of the truth that is spread over all classes.
    #[arg(long, help_heading = RECIPE, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// Let classes count the same in the loss, however many images they have.
    #[arg(long, help_heading = RECIPE)]
    class_weights: bool,
    /// How the images of an epoch are drawn: each once, or classes equally often.
    #[arg(long, help_heading = RECIPE, value_parser = choice::<Sampling>(SAMPLINGS))]
    sampling: Option<Sampling>,
    /// What may happen to training images: `none`, `light` (crops, mirror images), `crop-flips`
    /// (square crops, flips both ways) or `study` (flips, colours, crops).
    #[arg(long, help_heading = RECIPE, value_name = "NAME", value_parser = ["none", "light", "crop-flips", "study"])]
    augment: Option<String>,
    /// Passes over the training images.
    #[arg(long, help_heading = RECIPE, value_name = "N")]
    epochs: Option<usize>,
    /// Images of one step.
    #[arg(long, help_heading = RECIPE, value_name = "IMAGES")]
    batch: Option<usize>,
    /// Images that go through the network at once, where a batch does not fit into memory.
    #[arg(long, help_heading = RECIPE, value_name = "IMAGES")]
    micro_batch: Option<usize>,
    /// Largest learning rate; of several, short runs choose one.
    #[arg(long, help_heading = RECIPE, value_name = "RATE,..", value_delimiter = ',')]
    learning_rate: Vec<f64>,
    /// Epochs of each short run that tries a learning rate.
    #[arg(long, help_heading = RECIPE, value_name = "N")]
    search_epochs: Option<usize>,
    /// How the learning rate develops.
    #[arg(long, help_heading = RECIPE, value_parser = choice::<Schedule>(SCHEDULES))]
    schedule: Option<Schedule>,
    /// Epochs of linear warm-up.
    #[arg(long, help_heading = RECIPE, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// Epochs without improvement before the rate of a plateau schedule is divided by 10.
    #[arg(long, help_heading = RECIPE, value_name = "EPOCHS")]
    plateau: Option<usize>,
    /// Epochs without improvement before the run ends; 0 for never.
    #[arg(long, help_heading = RECIPE, value_name = "EPOCHS")]
    patience: Option<usize>,
    /// Decoupled weight decay, of parameters of two axes and more.
    #[arg(long, help_heading = RECIPE, value_name = "DECAY")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient; 0 for any.
    #[arg(long, help_heading = RECIPE, value_name = "NORM")]
    clip: Option<f64>,
    /// What the learning rate is multiplied by from each block to the one before it.
    #[arg(long, help_heading = RECIPE, value_name = "FACTOR")]
    layer_decay: Option<f64>,
    /// The chance that the last residual branch is left out for an image, earlier ones less.
    #[arg(long, help_heading = RECIPE, value_name = "CHANCE")]
    drop_path: Option<f64>,
    /// What happens to batch norms [default: frozen; updated with the recipe `study` and where the
    /// network's weights are random].
    #[arg(long, help_heading = RECIPE, value_parser = choice::<BatchNorm>(BATCH_NORMS))]
    batch_norm: Option<BatchNorm>,
    /// Compute activations again in the backward pass instead of keeping them: less memory, more
    /// time.
    #[arg(long, help_heading = RECIPE)]
    recompute: bool,
    /// Compute products and convolutions in f16, with parameters in f32 and a scaled loss: for
    /// GPUs.
    #[arg(long, help_heading = RECIPE)]
    mixed_precision: bool,
    /// Metric that decides between epochs and learning rates [default: that of the task, as for
    /// probes].
    #[arg(long, help_heading = EVALUATION, value_parser = crate::cli::probe::parse_metric, value_name = "METRIC")]
    metric: Option<Metric>,
    /// Seed of splits, head, order and augmentation; repeats count up from it.
    #[arg(long, help_heading = EVALUATION)]
    seed: Option<u64>,
    /// Number of runs with seeds, and splits, of their own.
    #[arg(long, help_heading = EVALUATION, value_name = "N")]
    repeats: Option<usize>,
    /// Train, validation and test shares of splits that are drawn.
    #[arg(long, help_heading = EVALUATION, value_name = "TRAIN,VAL,TEST")]
    fractions: Option<Fractions>,
    /// Train on this part of the train split, `0.05` or `5%`: classes in proportion, groups whole, every
    /// class kept; a smaller part lies within a larger one of the same seed.
    #[arg(long, help_heading = EVALUATION, value_name = "SHARE")]
    train_fraction: Option<TrainFraction>,
    /// Draw new splits although the samples have some.
    #[arg(long, help_heading = EVALUATION)]
    resplit: bool,
    /// Accept given splits that divide a group (a patient, say) between them.
    #[arg(long, help_heading = EVALUATION)]
    allow_leak: bool,
    /// Resamples behind the intervals of losses; 0 gives no intervals at all.
    #[arg(long, help_heading = EVALUATION, value_name = "N")]
    bootstrap: Option<usize>,
    #[command(flatten)]
    adjust: AdjustFlags,
}

impl RecipeFlags {
    /// The recipe these flags stand for.
    pub(super) fn recipe(&self) -> Result<Recipe, FinetuneError> {
        let base = if self.recipe == "study" { Recipe::study() } else { Recipe::default() };
        let augmentation = match &self.augment {
            None => base.augmentation,
            Some(name) => Augmentation::named(name).ok_or_else(|| FinetuneError::Setting {
                name: "augment",
                found: name.clone(),
                expected: "`none`, `light`, `crop-flips` or `study`",
            })?,
        };
        let fractions = self.fractions.map(|shares| [shares.train, shares.validation, shares.test]);
        Ok(Recipe {
            head: self.head.unwrap_or(base.head),
            freeze: self.freeze.unwrap_or(base.freeze),
            loss: self.loss.or(base.loss),
            label_smoothing: self.label_smoothing.unwrap_or(base.label_smoothing),
            class_weights: self.class_weights || base.class_weights,
            sampling: self.sampling.unwrap_or(base.sampling),
            augmentation,
            epochs: self.epochs.unwrap_or(base.epochs),
            batch: self.batch.unwrap_or(base.batch),
            micro_batch: self.micro_batch.unwrap_or(base.micro_batch),
            learning_rates: match self.learning_rate.is_empty() {
                true => base.learning_rates,
                false => self.learning_rate.clone(),
            },
            search_epochs: self.search_epochs.unwrap_or(base.search_epochs),
            schedule: self.schedule.unwrap_or(base.schedule),
            warmup: self.warmup.unwrap_or(base.warmup),
            plateau: self.plateau.unwrap_or(base.plateau),
            patience: self.patience.unwrap_or(base.patience),
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            clip: self.clip.unwrap_or(base.clip),
            layer_decay: self.layer_decay.unwrap_or(base.layer_decay),
            drop_path: self.drop_path.unwrap_or(base.drop_path),
            batch_norm: self.batch_norm.or(base.batch_norm),
            recompute: self.recompute || base.recompute,
            mixed_precision: self.mixed_precision || base.mixed_precision,
            metric: self.metric.or(base.metric),
            seed: self.seed.unwrap_or(base.seed),
            repeats: self.repeats.unwrap_or(base.repeats),
            fractions: fractions.unwrap_or(base.fractions),
            resplit: self.resplit || base.resplit,
            allow_leak: self.allow_leak || base.allow_leak,
            train_fraction: self.train_fraction.unwrap_or(base.train_fraction),
            bootstrap: self.bootstrap.unwrap_or(base.bootstrap),
            adjusting: self.adjust.adjusting(),
        })
    }
}
