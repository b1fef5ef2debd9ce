//! The way into fine-tuning: which model, what of it is trained, how.
//!
//! ```no_run
//! use defrost::prelude::*;
//!
//! # fn main() -> defrost::Result<()> {
//! let images = Dataset::open("photos")?;
//! let result = FineTune::new("efficientnet-lite0")?.epochs(4).freeze(Freeze::Blocks(2)).run(&images, "run")?;
//! println!("{:.3}", result.metric(Metric::BalancedAccuracy)?);
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};

use crate::backbones;
use crate::backbones::ModelOptions;
use crate::data::Dataset;
use crate::data::augment::Augmentation;
use crate::error::Result;
use crate::finetune::config::{ModelConfig, RunConfig, TrainingRun};
use crate::finetune::engine_kind::EngineKind;
use crate::finetune::head::Head;
use crate::finetune::options::TrainOptions;
use crate::finetune::policy::Freeze;
use crate::finetune::recipe::Recipe;
use crate::finetune::run::{FinetuneResult, finetune};
use crate::finetune::schedule::Schedule;
use crate::runtime::Device;
use crate::support::progress::{Progress, Silent};

/// A fine-tuning that is put together: made with [`FineTune::new`], changed by setters, started by
/// [`FineTune::run`]. What is not said is as [`Recipe::default`] has it.
#[derive(Clone)]
pub struct FineTune<'a> {
    model: ModelConfig,
    recipe: Recipe,
    options: TrainOptions,
    progress: &'a dyn Progress,
}

impl FineTune<'static> {
    /// A fine-tuning of a model of the catalog, of a folder with a model's `config.json` and
    /// weights, or of an ONNX file.
    ///
    /// # Errors
    /// `ModelError::UnknownModel` where there is no such model.
    pub fn new(model: impl Into<String>) -> Result<Self> {
        let name = model.into();
        backbones::check_name(&name)?;
        let model = ModelConfig { name, head_weights: None, options: ModelOptions::default() };
        Ok(FineTune { model, recipe: Recipe::default(), options: TrainOptions::default(), progress: &Silent })
    }

    /// The fine-tuning that a configuration describes; its images are those that [`FineTune::run`]
    /// is given.
    pub fn from_config(config: RunConfig) -> Self {
        let RunConfig { model, recipe, .. } = config;
        FineTune { model, recipe, options: TrainOptions::default(), progress: &Silent }
    }
}

impl<'a> FineTune<'a> {
    /// Everything that decides what is learned.
    #[must_use]
    pub fn recipe(mut self, recipe: Recipe) -> Self {
        self.recipe = recipe;
        self
    }

    /// What stands on the backbone.
    #[must_use]
    pub fn head(mut self, head: Head) -> Self {
        self.recipe.head = head;
        self
    }

    /// Weights of a DeiT that such a head starts from.
    #[must_use]
    pub fn head_weights(mut self, weights: impl Into<PathBuf>) -> Self {
        self.model.head_weights = Some(weights.into());
        self
    }

    /// How much of the backbone stays as it is.
    #[must_use]
    pub fn freeze(mut self, freeze: Freeze) -> Self {
        self.recipe.freeze = freeze;
        self
    }

    /// Passes over the training images, >= 1.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.recipe.epochs = epochs;
        self
    }

    /// Images of one step, >= 1.
    #[must_use]
    pub fn batch(mut self, images: usize) -> Self {
        self.recipe.batch = images;
        self
    }

    /// Candidates for the largest learning rate, > 0; of several, short runs choose one.
    #[must_use]
    pub fn learning_rates(mut self, rates: impl Into<Vec<f64>>) -> Self {
        self.recipe.learning_rates = rates.into();
        self
    }

    /// How the learning rate develops.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.recipe.schedule = schedule;
        self
    }

    /// What may happen to training images.
    #[must_use]
    pub fn augmentation(mut self, augmentation: Augmentation) -> Self {
        self.recipe.augmentation = augmentation;
        self
    }

    /// Seed of splits, head, order and augmentation; repeats count up from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.recipe.seed = seed;
        self
    }

    /// Number of runs with seeds and splits of their own, >= 1.
    #[must_use]
    pub fn repeats(mut self, repeats: usize) -> Self {
        self.recipe.repeats = repeats;
        self
    }

    /// What else is said about the model.
    #[must_use]
    pub fn model_options(mut self, options: ModelOptions) -> Self {
        self.model.options = options;
        self
    }

    /// Who trains.
    #[must_use]
    pub fn engine(mut self, engine: EngineKind) -> Self {
        self.options.engine = engine;
        self
    }

    /// Where to train.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.options.device = device;
        self
    }

    /// What does not change the numbers, device included.
    #[must_use]
    pub fn options(mut self, options: TrainOptions) -> Self {
        self.options = options;
        self
    }

    /// Who is told how far the work is; nobody unless given.
    #[must_use]
    pub fn progress<'b>(self, progress: &'b dyn Progress) -> FineTune<'b> {
        FineTune { progress, ..self }
    }

    /// Trains in the folder `out`, or goes on where a run of the same configuration stopped there.
    ///
    /// # Errors
    /// As [`backbones::open`] and [`finetune()`].
    pub fn run(&self, images: &Dataset, out: impl AsRef<Path>) -> Result<FinetuneResult> {
        let (data, model, recipe) = (images.source.clone(), self.model.clone(), self.recipe.clone());
        let config = RunConfig { data, model, recipe }.absolute()?;
        let engine = self.options.engine;
        engine.check(self.options.device, config.recipe.mixed_precision)?;
        let runtime = engine.runtime(self.progress)?;
        let backbone = config.backbone(self.progress)?;
        backbone.note_random_weights(self.progress);
        let run = TrainingRun { dataset: images, backbone: &backbone, config: &config, out: out.as_ref() };
        finetune(&run, &self.options, &runtime, self.progress)
    }
}
