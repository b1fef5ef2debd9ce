//! Epochs of training: batches go through the trainer, every step is written down, validation data
//! judges each epoch.

use std::collections::HashSet;
use std::time::Instant;

use crate::backbones::Backbone;
use crate::data::augment::{Augmentation, Augmenter};
use crate::data::{Batch, Epoch, Label, Loader};
use crate::error::{FinetuneError, Result};
use crate::finetune::checkpoint::TrainState;
use crate::finetune::engine::{MicroBatch, StepHyperparams, StepOutcome};
use crate::finetune::evaluation::Predicted;
use crate::finetune::loss::Targets;
use crate::finetune::options::TrainOptions;
use crate::finetune::policy::Freeze;
use crate::finetune::schedule::LrSchedule;
use crate::finetune::step::{BatchNorm, StepPlan};
use crate::finetune::trainer::Trainer;
use crate::finetune::training_set::TrainingSet;
use crate::finetune::{Classifier, Recipe, drop_path, policy, sampler};
use crate::graph::fixed_weights;
use crate::metrics::{Bootstrap, Evaluation, Metric};
use crate::pixels::DecodeLimits;
use crate::records::{Counts, Partition, deciding_metric, score};
use crate::runtime::{Device, Runtime, SessionOptions};
use crate::support::progress::Progress;
use crate::support::seed::Seed;

/// Weights that are named one by one when they are not trained.
const MAX_NAMED: usize = 5;

/// A network with its data, ready to be trained.
pub(super) struct Training<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) material: &'a TrainingSet,
    pub(super) partition: &'a Partition,
    pub(super) trainer: Trainer,
    seed: Seed,
    loader: Loader,
    plain: Loader,
    targets: Targets,
    /// Images of a step, and of a part of it.
    batch: usize,
    part: usize,
    progress: &'a dyn Progress,
}

/// Who hears of every step; an error ends the run.
pub(super) trait TrainObserver {
    /// A step was made.
    fn step(
        &mut self,
        training: &Training<'_>,
        state: &mut TrainState,
        outcome: StepOutcome,
        learning_rate: f64,
    ) -> Result<()>;
}

/// Hears nothing: for the search of a learning rate.
pub(super) struct NoopObserver;

impl TrainObserver for NoopObserver {
    fn step(&mut self, _: &Training<'_>, _: &mut TrainState, _: StepOutcome, _: f64) -> Result<()> {
        Ok(())
    }
}

/// What a training is about.
pub(super) struct TrainInputs<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) classifier: &'a Classifier,
    pub(super) backbone: &'a Backbone,
    pub(super) material: &'a TrainingSet,
    pub(super) partition: &'a Partition,
    pub(super) seed: Seed,
}

impl<'a> Training<'a> {
    /// Opens the network and prepares the loaders.
    pub(super) fn open(
        subject: &TrainInputs<'a>,
        options: &TrainOptions,
        runtime: &Runtime,
        progress: &'a dyn Progress,
    ) -> Result<Training<'a>> {
        let TrainInputs { recipe, classifier, material, partition, .. } = *subject;
        let loss = recipe.loss_of(material.dataset.task);
        let batch = recipe.batch.min(partition.train.len()).max(1);
        let part = match (classifier.fixed_batch, recipe.micro_batch) {
            (Some(count), micro) => fixed_part(count, micro, partition.train.len())?,
            (None, 0) => batch,
            (None, micro) => micro.min(batch),
        };
        let batch = (batch / part).max(1) * part;
        let trained = recipe.freeze.trained(classifier)?;
        check_moves(classifier, recipe.freeze, &trained)?;
        let asked: HashSet<String> = trained.iter().cloned().collect();
        let share = |name: String| {
            let share = policy::share(classifier, &name, recipe.layer_decay);
            (name, share)
        };
        let plan = StepPlan {
            engine: options.engine,
            trained: trained.into_iter().map(share).collect(),
            loss,
            batch_norm: batch_norm(subject, progress),
            batch: part,
            accumulate: batch > part,
            clip: (recipe.clip > 0.0).then_some(recipe.clip),
            drop_path: recipe.drop_path > 0.0,
            recompute: recipe.recompute,
            mixed_precision: recipe.mixed_precision,
        };
        let session = SessionOptions {
            device: options.device,
            threads: options.threads,
            spinning: options.spinning,
            ..SessionOptions::default()
        };
        let mut trainer = Trainer::open(runtime, classifier, &plan, &session)?;
        let reached: Vec<String> = asked.iter().filter(|name| !trainer.unreached().contains(name)).cloned().collect();
        check_moves(classifier, recipe.freeze, &reached)?;
        note_fixed(classifier, recipe.freeze, &reached, progress);
        trainer.open_evaluation()?;
        let device = trainer.device();
        progress.note(&format!("training on {device}: {}", trainer.device_reason()));
        if recipe.mixed_precision && device == Device::Cpu {
            progress.note("warning: mixed precision is slower than f32 on a CPU; it is for GPUs");
        }
        let loader = |augmentation: Augmentation| -> Result<Loader> {
            Ok(Loader {
                files: material.dataset.samples.iter().map(|sample| sample.path.clone()).collect(),
                augmenter: Augmenter::new(augmentation, &subject.backbone.preprocess)?,
                threads: session.effective_threads(),
                prefetch: 1,
                limits: DecodeLimits::default(),
            })
        };
        let counts = Counts::new(&material.dataset, &partition.train).per_class;
        let targets = Targets {
            loss,
            classes: classifier.classes,
            smoothing: recipe.label_smoothing,
            class_weights: match recipe.class_weights {
                true => Targets::balanced(&counts),
                false => vec![1.0; classifier.classes],
            },
        };
        Ok(Training {
            recipe,
            material,
            partition,
            trainer,
            seed: subject.seed,
            loader: loader(recipe.augmentation.clone())?,
            plain: loader(Augmentation::default())?,
            targets,
            batch,
            part,
            progress,
        })
    }

    /// Steps of one epoch.
    pub(super) fn steps(&self) -> usize {
        (self.partition.train.len() / self.batch).max(1)
    }

    /// Images of one step.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The learning rate over a run of some epochs.
    pub(super) fn course(&self, epochs: usize) -> LrSchedule {
        let steps = self.steps() as f64;
        LrSchedule {
            schedule: self.recipe.schedule,
            warmup: (self.recipe.warmup.min(epochs as f64 / 2.0) * steps).round() as u64,
            steps: (epochs * self.steps()) as u64,
        }
    }

    /// The metric that decides.
    pub(super) fn metric(&self) -> Metric {
        self.recipe.metric.unwrap_or_else(|| deciding_metric(self.material.dataset.task))
    }

    /// Trains what is left of the epoch that `position` stands in; gives its mean loss and the
    /// images per second.
    pub(super) fn epoch(
        &mut self,
        position: &mut TrainState,
        course: &LrSchedule,
        observer: &mut dyn TrainObserver,
    ) -> Result<(f64, f64)> {
        let seed = self.seed.named("epoch").numbered(position.epoch as u64);
        let samples = &self.material.dataset.samples;
        let all = sampler::batches(&self.partition.train, samples, self.recipe.sampling, self.batch, seed);
        let rest = all[position.within.min(all.len())..].to_vec();
        let (loader, start) = (self.loader.clone(), Instant::now());
        let images: usize = rest.iter().map(Vec::len).sum();
        loader.run(Epoch { batches: &rest, seed: seed.named("augmentation") }, |batch| {
            let factor = course.factor(position.step, position.lowered);
            let learning_rate = position.learning_rate * factor;
            let told = self.step(batch, position, learning_rate)?;
            position.step += 1;
            position.within += 1;
            position.loss += f64::from(told.loss);
            self.check(told, position)?;
            self.progress.status(&format!(
                "epoch {}/{}  loss {:.4}  rate {learning_rate:.1e}",
                position.epoch + 1,
                course.steps / self.steps() as u64,
                position.loss / position.within as f64
            ));
            self.progress.advance(batch.samples.len() as u64);
            observer.step(self, position, told, learning_rate)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        position.seconds += seconds;
        let mean = position.loss / position.within.max(1) as f64;
        position.epoch += 1;
        (position.within, position.loss) = (0, 0.0);
        Ok((mean, images as f64 / seconds.max(1e-9)))
    }

    /// One step over a batch.
    fn step(&mut self, batch: &Batch, position: &mut TrainState, learning_rate: f64) -> Result<StepOutcome> {
        let material = self.material;
        let fails = |place: usize| batch.failed.iter().any(|(failed, _)| *failed == place);
        if let Some((place, error)) = batch.failed.iter().find(|_| batch.failed.len() == batch.samples.len()) {
            let id = material.dataset.samples[batch.samples[*place]].id.clone();
            let (failed, total) = (batch.failed.len(), batch.samples.len());
            return Err(FinetuneError::Unreadable { failed, total, id, reason: error.to_string() }.into());
        }
        for (place, error) in &batch.failed {
            let id = material.dataset.samples[batch.samples[*place]].id.clone();
            if position.unreadable.insert(id.clone(), error.to_string()).is_none() {
                self.progress.note(&format!("warning: `{id}` is left out: {error}"));
            }
        }
        let samples: Vec<(&Label, f32)> = batch
            .samples
            .iter()
            .enumerate()
            .map(|(place, &row)| {
                let sample = &material.dataset.samples[row];
                (&sample.label, if fails(place) { 0.0 } else { sample.weight })
            })
            .collect();
        let fed = self.targets.feed(&samples).split(self.part, batch.samples.len());
        let masks: Vec<Vec<f32>> = (0..fed.len())
            .map(|number| {
                let seed = self.seed.named("drop path").numbered(position.step).numbered(number as u64);
                drop_path::masks(self.trainer.branches(), self.part, self.recipe.drop_path, seed)
            })
            .collect();
        let size = batch.images().len() / batch.samples.len();
        let parts: Vec<MicroBatch<'_>> = batch
            .images()
            .chunks_exact(self.part * size)
            .zip(&fed)
            .zip(&masks)
            .map(|((images, fed), masks)| MicroBatch { images, fed, masks })
            .collect();
        let rates = StepHyperparams { step: position.step + 1, learning_rate, weight_decay: self.recipe.weight_decay };
        self.trainer.step(&parts, rates)
    }

    fn check(&self, told: StepOutcome, position: &TrainState) -> Result<(), FinetuneError> {
        for (what, value) in [("the loss", told.loss), ("the norm of the gradient", told.norm)] {
            if !value.is_finite() {
                let (step, epoch) = (position.step, position.epoch + 1);
                return Err(FinetuneError::NotFinite { what, value, step, epoch, checkpoint: None });
            }
        }
        Ok(())
    }

    /// Predictions on some rows, seen without augmentation.
    pub(super) fn predict(&mut self, rows: &[usize]) -> Result<Predicted> {
        Predicted::new(rows, &mut self.trainer, &self.plain, self.part, &self.targets)
    }

    /// The network as it is now on validation data: every metric, the deciding one, and the log
    /// loss.
    pub(super) fn validate(&mut self, position: &mut TrainState) -> Result<(Evaluation, Option<f64>, Option<f64>)> {
        let predicted = self.predict(&self.partition.validation)?;
        for (row, reason) in &predicted.failed {
            let id = self.material.dataset.samples[*row].id.clone();
            if position.unreadable.insert(id.clone(), reason.clone()).is_none() {
                self.progress.note(&format!("warning: `{id}` is left out: {reason}"));
            }
        }
        let evaluation = predicted.evaluate(self.material, &Bootstrap { resamples: 0, ..Bootstrap::default() })?;
        let (decided, log_loss) = (score(&evaluation, self.metric()), score(&evaluation, Metric::LogLoss));
        Ok((evaluation, decided, log_loss))
    }
}

/// What happens to batch norms. Statistics that nothing was measured for make activations grow from
/// layer to layer, so that random weights are not trained with them unless that is asked for.
fn batch_norm(subject: &TrainInputs<'_>, progress: &dyn Progress) -> BatchNorm {
    let TrainInputs { recipe, classifier, backbone, .. } = *subject;
    match recipe.batch_norm {
        Some(batch_norm) => batch_norm,
        None if backbone.provenance.random => {
            if recipe.freeze != Freeze::All && !classifier.statistics.is_empty() {
                progress.note(
                    "note: the weights are random: batch norms normalise by the batch and update their statistics",
                );
            }
            BatchNorm::Updated
        }
        None => BatchNorm::Frozen,
    }
}

/// The images of a part of a batch, for a network that takes `count` at once and no other number.
fn fixed_part(count: usize, micro_batch: usize, images: usize) -> Result<usize, FinetuneError> {
    let refused = |problem: String| FinetuneError::FixedBatch { count, problem };
    if micro_batch != 0 && micro_batch != count {
        return Err(refused(format!("parts of {micro_batch} images are asked for")));
    }
    if images < count {
        return Err(refused(format!("there are {images} images to train on")));
    }
    Ok(count)
}

/// Refuses to train the head alone where more was asked for.
fn check_moves(classifier: &Classifier, freeze: Freeze, moving: &[String]) -> Result<(), FinetuneError> {
    let asks_for_more = match freeze {
        Freeze::All => false,
        Freeze::None => true,
        Freeze::Blocks(count) => count < classifier.blocks(),
    };
    if asks_for_more && moving.iter().all(|name| classifier.is_head(name)) {
        return Err(FinetuneError::OnlyHead { fixed: fixed(classifier, freeze, moving) });
    }
    Ok(())
}

/// The weights that stay as they are though nobody asked for that, with the reasons.
fn fixed(classifier: &Classifier, freeze: Freeze, moving: &[String]) -> Vec<String> {
    let frozen = |name: &str| match freeze {
        Freeze::All => true,
        Freeze::None => false,
        Freeze::Blocks(count) => classifier.depth(name) < count,
    };
    let is_constant = |name: &str| {
        let stored = classifier.model.graph.initializer(name);
        stored.is_some_and(|tensor| tensor.element.is_float())
            && !classifier.parameters.iter().any(|known| known == name)
    };
    fixed_weights(&classifier.model, |name| {
        moving.iter().any(|moved| moved == name) || frozen(name) || is_constant(name)
    })
}

/// Says which weights stay as they are though nobody asked for that.
fn note_fixed(classifier: &Classifier, freeze: Freeze, moving: &[String], progress: &dyn Progress) {
    let fixed = fixed(classifier, freeze, moving);
    if !fixed.is_empty() {
        let more =
            if fixed.len() > MAX_NAMED { format!(" and {} more", fixed.len() - MAX_NAMED) } else { String::new() };
        let named = fixed.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
        progress.note(&format!("warning: not all weights are trained; these stay as they are: {named}{more}"));
    }
}
