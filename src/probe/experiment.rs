//! A whole probe experiment: divide, choose the hyper-parameter on validation data, fit again,
//! evaluate once on test data; several times with other splits where asked.
//!
//! The hyper-parameter is the candidate with the best value of the deciding metric on the
//! validation split (of several, that of the lowest log loss there, then that of the stronger
//! penalty), each candidate fitted on train alone. Where the validation split has fewer than
//! [`MIN_VALIDATION`] samples, candidates are compared by cross-validation within train and
//! validation (see [`CrossValidation`]). The final probe is fitted on train and validation together
//! with what was chosen (as DINOv2 does), its features scaled by the statistics of those samples,
//! unless that is switched off. What else is fitted on validation data (see [`CalibrationConfig`])
//! is fitted on the predictions of the probe of train alone. The test split is read once, at the
//! end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use linfa::ParamGuard;
use ndarray::Array2;

use crate::data::Task;
use crate::error::{Error, ProbeError, Result};
use crate::metrics::{Bootstrap, Metric, evaluate};
use crate::probe::cross_validation::{CrossValidation, FoldFit, Folded};
use crate::probe::knn::{KnnParams, vote_scores};
use crate::probe::linear_model::LinearModel;
use crate::probe::linear_params::{DEFAULT_TOLERANCE, LARGE_TOLERANCE, LinearParams};
use crate::probe::method::{Knn, Linear, Method};
use crate::probe::regularization_path::RegPath;
use crate::probe::samples::{Subset, ValidSamples};
use crate::probe::selection::{ModelSelection, StrongPenalty};
use crate::records::{
    CalibrationConfig, Candidate, Chosen, MIN_VALIDATION, Partition, PredictionTable, ProbeInput, Record,
    RecordBuilder, Repeat, ScoredSplit, Seconds, Selection, Settings, Source, SplitConfig, TestEvaluation,
    deciding_metric, folds, score,
};
use crate::support::fs;
use crate::support::progress::{Progress, Silent};
use crate::support::seed::Seed;

/// Folds of a cross-validation, at most.
const FOLDS: usize = 5;

/// What is done with the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment<M = Method> {
    /// The probe: [`Linear`](crate::probe::Linear), [`Knn`](crate::probe::Knn) or either, a
    /// [`Method`].
    pub method: M,
    /// The metric that decides between candidates; by default that of the task, see
    /// [`deciding_metric`].
    pub metric: Option<Metric>,
    /// How samples are divided.
    pub division: SplitConfig,
    /// Seed of the first repeat's splits; the others count up from it.
    pub seed: u64,
    /// Number of repeats, >= 1.
    pub repeats: usize,
    /// How intervals are computed.
    pub bootstrap: Bootstrap,
    /// Whether the final probe is fitted on train and validation together; not where only a part of
    /// the train split is trained on.
    pub refit: bool,
    /// What else is fitted on validation data.
    pub adjusting: CalibrationConfig,
}

/// What an experiment gives.
#[derive(Clone, Debug)]
pub struct ExperimentResult {
    /// Everything that is reported; paths of files are still empty.
    pub record: Record,
    /// Predictions on the test split, first repeat.
    pub predictions: PredictionTable,
    /// The fitted linear probe, first repeat.
    pub linear: Option<LinearModel>,
}

impl ExperimentResult {
    /// A metric on the test split of the first repeat; of several repeats their mean.
    ///
    /// # Errors
    /// [`ProbeError::NoMetric`] for a metric that the task does not have, or that is undefined on
    /// these samples.
    pub fn metric(&self, metric: Metric) -> Result<f64, ProbeError> {
        self.record.metric(metric)
    }

    /// Writes predictions and weights, then the record that names them: `linear.json` or
    /// `knn.json` with its `-predictions.parquet` and `.safetensors`, `suffix` added to the name
    /// where there is one. Gives the path of the record.
    ///
    /// # Errors
    /// `FileError` where a file cannot be written; the record then names none.
    pub fn save(&mut self, directory: &Path, suffix: Option<&str>) -> Result<PathBuf> {
        let mut name = self.record.chosen.name().to_owned();
        if let Some(suffix) = suffix {
            let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
            name.push('-');
            name.extend(suffix.chars().map(safe));
        }
        let saved = self.write(directory, &name);
        if saved.is_err() {
            (self.record.predictions, self.record.weights) = (None, None);
        }
        saved
    }

    fn write(&mut self, directory: &Path, name: &str) -> Result<PathBuf> {
        fs::create_directory(directory)?;
        let predictions = format!("{name}-predictions.parquet");
        self.predictions.write(&directory.join(&predictions))?;
        self.record.predictions = Some(predictions);
        if let Some(model) = &self.linear {
            let weights = format!("{name}.safetensors");
            model.to_safetensors(&directory.join(&weights), &self.record.classes)?;
            self.record.weights = Some(weights);
        }
        let path = directory.join(format!("{name}.json"));
        self.record.write(&path)?;
        Ok(path)
    }
}

/// One repeat.
struct Trial {
    chosen: Chosen,
    candidates: Vec<Candidate>,
    /// Folds in which the candidates were compared, where there were any.
    folds: Option<usize>,
    linear: Option<LinearModel>,
    warnings: Vec<String>,
}

/// The repeat whose figures are given intervals.
struct FirstRepeat {
    partition: Partition,
    trial: Trial,
    judged: TestEvaluation,
}

/// What a run tells while it goes: where its time went, how far it is.
struct Watch<'a> {
    seconds: Seconds,
    progress: &'a dyn Progress,
}

/// What a repeat's probes say.
struct ProbeOutput {
    /// Of the probe fitted on train alone, where something is to be fitted on it.
    validation: Option<ScoredSplit>,
    /// Of the final probe.
    test: ScoredSplit,
}

impl<M: Clone + Into<Method>> Experiment<M> {
    /// Runs the experiment; samples without any label are left out, and the record says so.
    ///
    /// # Errors
    /// [`ProbeError`] for samples and parameters that do not fit and splits that do not serve;
    /// `DataError` where the samples cannot be divided.
    pub fn run(&self, input: &impl ProbeInput) -> Result<ExperimentResult> {
        self.run_with(input, &Silent)
    }

    /// The same with progress that is shown.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(&self, input: &impl ProbeInput, progress: &dyn Progress) -> Result<ExperimentResult> {
        let samples = ValidSamples::new(input)?;
        let experiment = Experiment {
            method: self.method.clone().into(),
            metric: self.metric,
            division: self.division,
            seed: self.seed,
            repeats: self.repeats,
            bootstrap: self.bootstrap,
            // Validation data would be labels beyond the part of the training data that was asked for.
            refit: self.refit && self.division.train_fraction.is_whole(),
            adjusting: self.adjusting,
        };
        let mut result = experiment.repeat(&samples, input.source(), progress)?;
        if samples.unlabelled() > 0 {
            let warning = format!("{} samples without label are left out", samples.unlabelled());
            result.record.warnings.insert(0, warning);
        }
        if let Method::Linear(Linear { tolerance: None, .. }) = &experiment.method
            && result.record.settings.tolerance == Some(LARGE_TOLERANCE)
        {
            let warning = format!(
                "a large problem: fits end at a gradient of {LARGE_TOLERANCE:e}, scikit-learn's default; name a \
                 tolerance of {DEFAULT_TOLERANCE:e} for that of small ones"
            );
            result.record.warnings.push(warning);
        }
        Ok(result)
    }
}

impl Experiment {
    /// All repeats on samples that are checked.
    fn repeat(&self, samples: &ValidSamples<'_>, source: Source, progress: &dyn Progress) -> Result<ExperimentResult> {
        let candidates = self.method.candidates();
        let found =
            |name, count: usize| ProbeError::Parameter { name, found: count.to_string(), expected: "at least 1" };
        if candidates == 0 {
            return Err(found("number of candidates", candidates).into());
        }
        if self.repeats == 0 {
            return Err(found("repeats", self.repeats).into());
        }
        self.adjusting.check(samples.dataset().task, samples.dataset().classes.len())?;
        let mut watch = Watch { seconds: Seconds::default(), progress };
        let (mut repeats, mut first) = (Vec::new(), None);
        progress.begin("probe", (self.repeats * candidates) as u64, 0);
        for seed in (self.seed..).take(self.repeats) {
            let partition =
                self.division.divide(samples.dataset(), seed, candidates > 1 || !self.adjusting.is_none())?;
            if self.repeats > 1 && !partition.drawn {
                return Err(ProbeError::NothingVaries { repeats: self.repeats }.into());
            }
            let (mut trial, said) = self.attempt(samples, &partition, &mut watch)?;
            let start = Instant::now();
            let (validation, intervals) = (said.validation.as_ref(), self.intervals(first.is_none()));
            let judged = self.adjusting.judge(samples.dataset(), validation, said.test, &intervals)?;
            watch.seconds.evaluate += start.elapsed().as_secs_f64();
            trial.warnings.extend(judged.adjustment.iter().flat_map(|adjustment| adjustment.gaps()));
            repeats.push(Repeat::new(seed, trial.chosen, &judged.evaluation));
            first.get_or_insert(FirstRepeat { partition, trial, judged });
        }
        progress.end();
        let Some(first) = first else { return Err(found("repeats", 0).into()) };
        let mut result = self.result(samples, first, repeats, source);
        result.record.seconds = watch.seconds;
        Ok(result)
    }

    /// Only the first repeat's figures are given intervals.
    fn intervals(&self, first: bool) -> Bootstrap {
        if first { self.bootstrap } else { Bootstrap { resamples: 0, ..self.bootstrap } }
    }

    fn deciding(&self, task: Task) -> Metric {
        self.metric.unwrap_or_else(|| deciding_metric(task))
    }

    /// All but the seconds.
    fn result(
        &self,
        samples: &ValidSamples<'_>,
        first: FirstRepeat,
        repeats: Vec<Repeat>,
        source: Source,
    ) -> ExperimentResult {
        let FirstRepeat { partition, trial, judged } = first;
        let TestEvaluation { probabilities, decision, evaluation, adjustment } = judged;
        let parameter = match &self.method {
            Method::Linear(_) => "c",
            Method::Knn(_) => "k",
        };
        let mut warnings = partition.warnings.clone();
        warnings.extend(trial.warnings);
        let selection = Selection {
            parameter: parameter.into(),
            metric: self.deciding(samples.dataset().task),
            refitted: self.refit && !partition.validation.is_empty(),
            candidates: trial.candidates,
            folds: trial.folds,
        };
        warnings.extend(selection.warnings(trial.chosen.value(), partition.validation.len()));
        let predictions = PredictionTable::new(samples.dataset(), &partition.test, probabilities, decision);
        let record = RecordBuilder {
            dataset: samples.dataset(),
            chosen: trial.chosen,
            selection,
            evaluation,
            adjustment,
            repeats,
            source: Source { dimension: samples.dimension(), ..source },
            settings: Settings {
                splits: partition.origin.into(),
                split_seed: self.seed,
                test_fraction: self.division.fractions.test,
                validation_fraction: self.division.fractions.validation,
                train_fraction: self.division.train_fraction,
                bootstrap: self.bootstrap.resamples,
                level: self.bootstrap.coverage,
                tolerance: self.method.tolerance(samples),
                solver: self.method.solver(),
            },
            warnings,
            partition,
        };
        ExperimentResult { record: record.build(), predictions, linear: trial.linear }
    }

    fn attempt(
        &self,
        samples: &ValidSamples<'_>,
        rows: &Partition,
        watch: &mut Watch<'_>,
    ) -> Result<(Trial, ProbeOutput)> {
        match &self.method {
            Method::Linear(method) => self.linear(samples, rows, method, watch),
            Method::Knn(method) => self.knn(samples, rows, method, watch),
        }
    }

    fn linear(
        &self,
        samples: &ValidSamples<'_>,
        rows: &Partition,
        method: &Linear,
        watch: &mut Watch<'_>,
    ) -> Result<(Trial, ProbeOutput)> {
        let params = LinearParams::new().scale(method.scale).iterations(method.iterations).solver(method.solver);
        let params = params.classes(samples.dataset().classes.len()).tolerance(method.tolerance_of(samples));
        let grid = method.grid.as_slice();
        for &c in grid {
            params.clone().c(c).check()?;
        }
        let start = Instant::now();
        let mut selection = ModelSelection::new(self.deciding(samples.dataset().task), StrongPenalty::Small);
        let compared =
            CrossValidation::run(samples, &self.folds(samples, rows, grid.len()), grid, |train, features| {
                let mut path = path(samples, train, &params)?;
                let fit = |&c: &f64| {
                    let model = path.fit(c)?;
                    Ok(FoldFit { probabilities: model.probabilities(features.view())?, fit: Some(model.report()) })
                };
                grid.iter().map(fit).collect()
            })?;
        if grid.len() > 1 && compared.is_none() {
            let mut path = path(samples, &rows.train, &params)?;
            let features = samples.features_of(&rows.validation);
            for &c in grid {
                let model = path.fit(c)?;
                let probabilities = model.probabilities(features.view())?;
                let (score, log_loss) = self.validate(samples, &rows.validation, probabilities)?;
                selection.enter(Candidate { value: c, score, log_loss, fit: Some(model.report()) }, model);
                watch.progress.advance(1);
            }
        }
        watch.seconds.select += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let of_train = |c: f64| Ok::<_, Error>(path(samples, &rows.train, &params)?.fit(c)?);
        let (c, of_train) = match (grid, &compared) {
            ([c], _) if self.adjusting.is_none() => (*c, None),
            ([c], _) => (*c, Some(of_train(*c)?)),
            (_, None) => selection.winner().map(|(c, model)| (c, Some(model)))?,
            (_, Some(compared)) => {
                let c = compared.winner(StrongPenalty::Small)?;
                (c, Some(of_train(c)?))
            }
        };
        let scored = |model: &LinearModel, rows: &[usize]| -> Result<ScoredSplit> {
            let scores = model.scores(samples.features_of(rows).view())?;
            Ok(ScoredSplit::of(rows.to_vec(), scores, model.activation()))
        };
        let judges = of_train.as_ref().filter(|_| !self.adjusting.is_none());
        let validation = judges.map(|model| scored(model, &rows.validation)).transpose()?;
        let model = match of_train {
            Some(model) if !self.refit || rows.validation.is_empty() => model,
            _ => path(samples, &rows.fitted(self.refit), &params)?.fit(c)?,
        };
        let test = scored(&model, &rows.test)?;
        watch.seconds.fit += start.elapsed().as_secs_f64();
        let folds = compared.as_ref().map(|compared| compared.folds);
        let mut candidates = match compared {
            None => selection.candidates,
            Some(compared) => {
                watch.progress.advance(grid.len() as u64);
                self.folded(samples, compared)?
            }
        };
        if candidates.is_empty() {
            candidates.push(Candidate { value: c, score: None, log_loss: None, fit: Some(model.report()) });
            watch.progress.advance(1);
        }
        let stuck = candidates.iter().filter(|candidate| candidate.fit.is_some_and(|fit| !fit.converged)).count();
        let mut warnings = Vec::new();
        if stuck > 0 {
            warnings.push(format!("{stuck} of {} fits did not reach the tolerance", candidates.len()));
        }
        if !model.report().converged {
            warnings.push("the final fit did not reach the tolerance".into());
        }
        let chosen = Chosen::Linear { c, scale: model.scaler().scale() };
        Ok((Trial { chosen, candidates, folds, linear: Some(model), warnings }, ProbeOutput { validation, test }))
    }

    fn knn(
        &self,
        samples: &ValidSamples<'_>,
        rows: &Partition,
        method: &Knn,
        watch: &mut Watch<'_>,
    ) -> Result<(Trial, ProbeOutput)> {
        let params = KnnParams::new().temperature(method.temperature).classes(samples.dataset().classes.len());
        let mut warnings = Vec::new();
        let mut k = method.k.clone();
        let most = rows.train.len();
        if k.iter().any(|&k| k > most) {
            warnings.push(format!("the train split has {most} samples: larger values of k are lowered to {most}"));
            k.iter_mut().for_each(|k| *k = most.min(*k));
            k.dedup();
        }
        let mut selection = ModelSelection::new(self.deciding(samples.dataset().task), StrongPenalty::Large);
        let start = Instant::now();
        let values: Vec<f64> = k.iter().map(|&k| k as f64).collect();
        let folds = self.folds(samples, rows, k.len());
        let compared = CrossValidation::run(samples, &folds, &values, |train, features| {
            // Where fewer are fitted than would vote, all of them do.
            let k: Vec<usize> = k.iter().map(|&k| k.min(train.len())).collect();
            let tables = samples.bank(train, &params.clone().k(k[0]))?.probabilities(features.view(), &k)?;
            Ok(tables.into_iter().map(|probabilities| FoldFit { probabilities, fit: None }).collect())
        })?;
        let chosen = compared.as_ref().map(|compared| compared.winner(StrongPenalty::Large)).transpose()?;
        let mut votes = None;
        if k.len() > 1 || !self.adjusting.is_none() {
            let model = samples.bank(&rows.train, &params.clone().k(k[0]))?;
            let features = samples.features_of(&rows.validation);
            let mut tables = model.probabilities(features.view(), &k)?;
            if let [_] = k.as_slice() {
                votes = tables.pop();
            }
            for (&k, table) in k.iter().zip(tables) {
                if chosen.is_none_or(|value| value == k as f64) {
                    let (score, log_loss) = self.validate(samples, &rows.validation, table.clone())?;
                    selection.enter(Candidate { value: k as f64, score, log_loss, fit: None }, table);
                }
                watch.progress.advance(1);
            }
        }
        watch.seconds.select += start.elapsed().as_secs_f64();
        let mut best = k[0];
        if k.len() > 1 {
            let (value, table) = selection.winner()?;
            (best, votes) = (value as usize, Some(table));
        }
        let start = Instant::now();
        let model = samples.bank(&rows.fitted(self.refit), &params.k(best))?;
        let mut tables = model.probabilities(samples.features_of(&rows.test).view(), &[best])?;
        let scored = |rows: &[usize], votes: Array2<f64>| {
            let scores = vote_scores(votes.view(), best, model.activation());
            ScoredSplit { rows: rows.to_vec(), probabilities: votes, scores, activation: model.activation() }
        };
        let validation = votes.filter(|_| !self.adjusting.is_none()).map(|votes| scored(&rows.validation, votes));
        let test = scored(&rows.test, tables.swap_remove(0));
        watch.seconds.fit += start.elapsed().as_secs_f64();
        let folds = compared.as_ref().map(|compared| compared.folds);
        let mut candidates = match compared {
            None => selection.candidates,
            Some(compared) => self.folded(samples, compared)?,
        };
        if candidates.is_empty() {
            candidates.push(Candidate { value: best as f64, score: None, log_loss: None, fit: None });
            watch.progress.advance(1);
        }
        let chosen = Chosen::Knn { k: best, temperature: method.temperature };
        Ok((Trial { chosen, candidates, folds, linear: None, warnings }, ProbeOutput { validation, test }))
    }

    /// Folds of train and validation together, where the validation split is too small to choose
    /// on.
    fn folds(&self, samples: &ValidSamples<'_>, rows: &Partition, candidates: usize) -> Vec<Vec<usize>> {
        if candidates < 2 || rows.validation.len() >= MIN_VALIDATION {
            return Vec::new();
        }
        folds(samples.dataset(), &rows.fitted(true), FOLDS, Seed::new(self.seed))
    }

    /// The candidates of a cross-validation with the scores of all their held-out predictions.
    fn folded(&self, samples: &ValidSamples<'_>, compared: CrossValidation) -> Result<Vec<Candidate>> {
        let CrossValidation { rows, candidates, .. } = compared;
        let scored = candidates.into_iter().map(|Folded { value, probabilities, fit, .. }| {
            let (score, log_loss) = self.validate(samples, &rows, probabilities)?;
            Ok(Candidate { value, score, log_loss, fit })
        });
        scored.collect()
    }

    /// The deciding metric and the log loss on validation samples, where they are defined.
    fn validate(
        &self,
        samples: &ValidSamples<'_>,
        rows: &[usize],
        probabilities: Array2<f64>,
    ) -> Result<(Option<f64>, Option<f64>)> {
        let truth = PredictionTable::new(samples.dataset(), rows, probabilities, None).predictions()?;
        let evaluation = evaluate(&truth, &Bootstrap { resamples: 0, ..self.bootstrap });
        Ok((score(&evaluation, self.deciding(samples.dataset().task)), score(&evaluation, Metric::LogLoss)))
    }
}

fn path(samples: &ValidSamples<'_>, rows: &[usize], params: &LinearParams) -> Result<RegPath> {
    let params = params.check_ref()?;
    Ok(match samples.subset(rows) {
        Subset::Classes(data) => params.class_path(data.records.view(), &data.targets, data.weights())?,
        Subset::Labels(data) => params.label_path(data.records.view(), &data.targets, data.weights())?,
    })
}
