//! A whole run: divide, search, train with checkpoints, choose the best epoch, evaluate it once on
//! test data, write it all down.
//!
//! A run's folder holds `config.toml`, `metrics.jsonl`, `checkpoints/{best,last}`, and at the end
//! `model.onnx`, `record.json` and `predictions.parquet`. A run that was interrupted goes on from
//! its last checkpoint and gives the same numbers as one that was not. Further repeats lie in
//! `repeats/SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, FileError, FinetuneError, ProbeError, Result};
use crate::finetune::artifacts::RepeatResult;
use crate::finetune::checkpoint::{Best, Checkpoints, TrainState, check_fits};
use crate::finetune::config::{CONFIG, RECORD, TrainingRun};
use crate::finetune::engine::StepOutcome;
use crate::finetune::journal::{Journal, Line};
use crate::finetune::options::TrainOptions;
use crate::finetune::search::Search;
use crate::finetune::training::{TrainInputs, TrainObserver, Training};
use crate::finetune::training_set::TrainingSet;
use crate::finetune::{Classifier, Head, artifacts};
use crate::metrics::Metric;
use crate::pixels::frame;
use crate::records::{Record, SplitConfig, rank};
use crate::runtime::Runtime;
use crate::support::fs;
use crate::support::progress::Progress;
use crate::support::seed::Seed;
use crate::tensor::safetensors::{Metadata, Tensors};

/// What a run gives; the rest lies in its folder.
#[derive(Clone, Debug)]
pub struct FinetuneResult {
    /// Everything that is reported.
    pub record: Record,
    /// Images that could not be read.
    pub unreadable: usize,
}

impl FinetuneResult {
    /// A metric on the test split, see [`Record::metric`].
    ///
    /// # Errors
    /// As [`Record::metric`].
    pub fn metric(&self, metric: Metric) -> Result<f64, ProbeError> {
        self.record.metric(metric)
    }
}

/// Trains, or goes on where an interrupted run stopped.
///
/// # Errors
/// [`FinetuneError`] and those of the parts; what was reached lies in the folder.
pub fn finetune(
    job: &TrainingRun<'_>,
    options: &TrainOptions,
    runtime: &Runtime,
    progress: &dyn Progress,
) -> Result<FinetuneResult> {
    job.config.recipe.check(job.dataset.task)?;
    options.engine.check(options.device, job.config.recipe.mixed_precision)?;
    job.config.recipe.adjusting.check(job.dataset.task, job.dataset.classes.len())?;
    let material = TrainingSet::new(job.dataset)?;
    if let Some(note) = frame::note_of_several(material.first_of_several) {
        progress.note(&note);
    }
    let is_new = check_folder(job)?;
    let path = job.out.join(RECORD);
    if path.is_file() {
        progress.note("the run is complete already");
        let record = Record::read(&path)?;
        return Ok(FinetuneResult { record, unreadable: 0 });
    }
    let mut runs: Vec<RepeatResult> = Vec::new();
    for (number, seed) in (job.config.recipe.seed..).take(job.config.recipe.repeats).enumerate() {
        let folder = if number == 0 { job.out.to_path_buf() } else { job.out.join("repeats").join(seed.to_string()) };
        if job.config.recipe.repeats > 1 {
            progress.note(&format!("repeat {} of {}, seed {seed}", number + 1, job.config.recipe.repeats));
        }
        let claims = is_new && number == 0;
        let run = Run { job, options, runtime, progress, material: &material, folder, seed, claims };
        runs.push(run.finish()?);
    }
    let unreadable = runs.iter().map(|run| run.unreadable).max().unwrap_or(0);
    let record = artifacts::record(job, &material, runs)?;
    record.write(&path)?;
    Ok(FinetuneResult { record, unreadable })
}

/// Whether the folder is nobody's yet; one that is another run's is refused.
///
/// `config.toml` is written once the training is open: what is refused before leaves no run there.
fn check_folder(job: &TrainingRun<'_>) -> Result<bool> {
    let (path, text) = (job.out.join(CONFIG), job.config.text()?);
    if !path.is_file() {
        return Ok(true);
    }
    let read = |text: &str| -> Result<BTreeMap<String, String>> {
        let table: toml::Table = toml::from_str(text).map_err(|source| FileError::Parse {
            path: path.clone(),
            format: "configuration of a run",
            source: source.into(),
        })?;
        let mut settings = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut settings);
        Ok(settings)
    };
    let (there, here) = (read(&fs::read_text(&path)?)?, read(&text)?);
    let names: BTreeSet<&String> = there.keys().chain(here.keys()).collect();
    match names.into_iter().find(|name| there.get(*name) != here.get(*name)) {
        None => Ok(false),
        Some(name) => {
            let value = |settings: &BTreeMap<String, String>| {
                settings.get(name).map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"))
            };
            let difference = format!("`{name}` is {} there and {} here", value(&there), value(&here));
            Err(FinetuneError::OtherRun { path: job.out.to_path_buf(), difference }.into())
        }
    }
}

/// Every setting by its full name, `recipe.epochs`, with its value as text.
fn flatten(name: &str, value: &toml::Value, settings: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let full = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&full, value, settings);
            }
        }
        other => drop(settings.insert(name.to_owned(), other.to_string())),
    }
}

/// One repeat.
struct Run<'a> {
    job: &'a TrainingRun<'a>,
    options: &'a TrainOptions,
    runtime: &'a Runtime,
    progress: &'a dyn Progress,
    material: &'a TrainingSet,
    folder: PathBuf,
    seed: u64,
    /// Whether it makes the folder this run's, with `config.toml`.
    claims: bool,
}

impl Run<'_> {
    fn finish(&self) -> Result<RepeatResult> {
        let Run { job, material, progress, .. } = *self;
        let (recipe, backbone) = (&job.config.recipe, job.backbone);
        let division = SplitConfig {
            redraw: recipe.resplit,
            fractions: recipe.shares()?,
            allow_leak: recipe.allow_leak,
            train_fraction: recipe.train_fraction,
        };
        let partition = division.divide(&material.dataset, self.seed, true)?;
        let seed = Seed::new(self.seed).named("finetune");
        let classes = material.dataset.classes.len();
        let classifier = match recipe.head {
            Head::Linear => Classifier::linear(backbone, classes, seed)?,
            Head::Deit { .. } => {
                let weights = job.config.model.head_weights.as_deref();
                Classifier::deit(backbone, recipe.head, classes, weights, seed)?
            }
        };
        let start = classifier.weights()?;
        let subject = TrainInputs { recipe, classifier: &classifier, backbone, material, partition: &partition, seed };
        let mut training = Training::open(&subject, self.options, self.runtime, progress)?;
        fs::create_directory(&self.folder)?;
        if self.claims {
            fs::replace(&job.out.join(CONFIG), job.config.text()?.as_bytes())?;
        }
        let checkpoints = Checkpoints::new(&self.folder);
        let search = Search::run(&mut training, &start, &self.folder, progress)?;
        let mut keeper = CheckpointWriter {
            checkpoints: checkpoints.clone(),
            journal: None,
            frozen: start.clone(),
            about: about(job, &classifier),
            every: self.options.checkpoint_steps,
        };
        let mut position = match checkpoints.read_last()? {
            Some((state, position)) => {
                check_fits(&checkpoints.last(), &state, &training.trainer.state()?)?;
                training.trainer.reset(&state, position.step)?;
                if position.epoch < recipe.epochs {
                    progress.note(&format!("going on from step {} (epoch {})", position.step, position.epoch + 1));
                }
                position
            }
            None => {
                training.trainer.reset(&start, 0)?;
                TrainState { learning_rate: search.chosen(&training)?, ..TrainState::default() }
            }
        };
        keeper.journal = Some(Journal::open(&self.folder, position.journal)?);
        train(&mut training, &mut position, &mut keeper, progress)?;
        let best = checkpoints.read_best()?;
        check_fits(&checkpoints.best(), &best, &start)?;
        training.trainer.reset(&best, 0)?;
        let began = Instant::now();
        let validation = match recipe.adjusting.is_none() {
            true => None,
            false => Some(training.predict(&partition.validation)?.scored),
        };
        let predicted = training.predict(&partition.test)?;
        for (row, reason) in &predicted.failed {
            position.unreadable.insert(material.dataset.samples[*row].id.clone(), reason.clone());
        }
        let bootstrap = artifacts::bootstrap(recipe, self.seed == recipe.seed);
        let rows = predicted.scored.rows.clone();
        let judged = recipe.adjusting.judge(&material.dataset, validation.as_ref(), predicted.scored, &bootstrap)?;
        let finished = RepeatResult {
            seed: self.seed,
            metric: training.metric(),
            partition,
            search,
            best: position.best,
            learning_rate: position.learning_rate,
            seconds: position.seconds,
            evaluate: began.elapsed().as_secs_f64(),
            unreadable: position.unreadable.len(),
            rows,
            judged,
        };
        artifacts::write(job, material, &self.folder, (&classifier, &best, &finished))?;
        Ok(finished)
    }
}

/// What a weights' file says about itself.
fn about(job: &TrainingRun<'_>, classifier: &Classifier) -> Metadata {
    let classes = serde_json::Value::from(job.dataset.classes.clone()).to_string();
    let entries = [
        ("format", "pt".to_owned()),
        ("defrost.model", job.backbone.name.clone()),
        ("defrost.head", classifier.head.clone()),
        ("defrost.classes", classes),
        ("defrost.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let mut about: BTreeMap<String, String> = entries.map(|(key, text)| (key.to_owned(), text)).into();
    if let Some(naming) = classifier.model.property("defrost.naming") {
        about.insert("defrost.naming".to_owned(), naming.to_owned());
    }
    about
}

/// Epochs until the run's end, each judged and kept.
fn train(
    training: &mut Training<'_>,
    position: &mut TrainState,
    keeper: &mut CheckpointWriter,
    progress: &dyn Progress,
) -> Result<()> {
    let recipe = training.recipe;
    let course = training.course(recipe.epochs);
    let images = (training.steps() * recipe.epochs) as u64 * training.batch() as u64;
    progress.begin("training", images, position.step * training.batch() as u64);
    while position.epoch < recipe.epochs && !(recipe.patience > 0 && stalled_for(position) >= recipe.patience) {
        let began = Instant::now();
        let outcome = training.epoch(position, &course, keeper);
        let (loss, images_per_second) = match outcome {
            Ok(told) => told,
            Err(error) => {
                progress.end();
                return Err(keeper.explained(error));
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        let (evaluation, score, log_loss) = training.validate(position)?;
        let better = is_better(training, position.best, score, log_loss);
        if better {
            let found = Best { epoch: position.epoch, score: score.unwrap_or(f64::NAN), log_loss };
            position.best = Some(found);
            position.stalled = 0;
            keeper.keep_best(training)?;
        } else {
            position.stalled += 1;
            let warm = position.step > course.warmup;
            if recipe.schedule == crate::finetune::Schedule::Plateau
                && warm
                && position.stalled >= recipe.plateau.max(1)
            {
                (position.lowered, position.stalled) = (position.lowered + 1, 0);
            }
        }
        let metric = training.metric();
        let told = score.map_or_else(|| "undefined".to_owned(), |score| format!("{score:.4}"));
        progress.note(&format!(
            "epoch {}/{}: loss {loss:.4}, validation {} {told}{}, {images_per_second:.1} images/s",
            position.epoch,
            recipe.epochs,
            metric.name(),
            if better { " (best)" } else { "" },
        ));
        let validation = evaluation.metrics.iter().map(|(metric, estimate)| (*metric, estimate.value)).collect();
        let (epoch, step) = (position.epoch, position.step);
        keeper.line(&Line::Epoch { epoch, step, loss, validation, best: better, seconds, images_per_second })?;
        keeper.keep_last(training, position)?;
    }
    progress.end();
    Ok(())
}

/// Epochs since the best one.
fn stalled_for(position: &TrainState) -> usize {
    position.epoch - position.best.map_or(0, |best| best.epoch)
}

/// Whether an epoch is better than the best so far: by the metric, then by the log loss. The first
/// one always is.
fn is_better(training: &Training<'_>, best: Option<Best>, score: Option<f64>, log_loss: Option<f64>) -> bool {
    let Some(best) = best else { return true };
    let metric = training.metric();
    match score {
        None => false,
        Some(score) => best.score.is_nan() || rank(metric, score, log_loss) > rank(metric, best.score, best.log_loss),
    }
}

/// Writes down steps and checkpoints.
struct CheckpointWriter {
    checkpoints: Checkpoints,
    journal: Option<Journal>,
    /// Weights that do not move.
    frozen: Tensors,
    about: Metadata,
    every: usize,
}

impl CheckpointWriter {
    fn line(&mut self, line: &Line) -> Result<()> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.write(line))
    }

    /// All weights, those that do not move included.
    fn weights(&self, training: &Training<'_>) -> Result<Tensors> {
        let mut weights = self.frozen.clone();
        weights.extend(training.trainer.weights()?);
        Ok(weights)
    }

    fn keep_best(&self, training: &Training<'_>) -> Result<()> {
        self.checkpoints.write_best(&self.weights(training)?, &self.about)
    }

    fn keep_last(&self, training: &Training<'_>, position: &mut TrainState) -> Result<()> {
        if let Some(journal) = &self.journal {
            position.journal = journal.sync()?;
        }
        let (weights, state) = (self.weights(training)?, training.trainer.state()?);
        self.checkpoints.write_last(&weights, &state, &self.about, position)
    }

    /// The error with the place of the last good weights.
    fn explained(&self, error: Error) -> Error {
        let last = self.checkpoints.last();
        match error {
            Error::Finetune(FinetuneError::NotFinite { what, value, step, epoch, .. }) if last.is_dir() => {
                FinetuneError::NotFinite { what, value, step, epoch, checkpoint: Some(last) }.into()
            }
            other => other,
        }
    }
}

impl TrainObserver for CheckpointWriter {
    fn step(
        &mut self,
        training: &Training<'_>,
        position: &mut TrainState,
        outcome: StepOutcome,
        learning_rate: f64,
    ) -> Result<()> {
        let StepOutcome { loss, norm } = outcome;
        let (step, epoch) = (position.step, position.epoch + 1);
        self.line(&Line::Step { step, epoch, loss, learning_rate, gradient_norm: norm })?;
        if self.every > 0 && position.within.is_multiple_of(self.every) {
            self.keep_last(training, position)?;
        }
        Ok(())
    }
}
