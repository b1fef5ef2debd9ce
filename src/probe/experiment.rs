//! A whole probe experiment: divide, choose the hyper-parameter on validation data, fit again,
//! evaluate once on test data; several times with other splits where asked.
//!
//! The hyper-parameter is the candidate with the best value of the deciding metric on the
//! validation split (of several, that of the lowest log loss there, then the first), each candidate
//! fitted on train alone. The final probe is fitted on train and validation together with what was
//! chosen (as DINOv2 does), its features scaled by the statistics of those samples, unless that is
//! switched off. What else is fitted on validation data (see [`CalibrationConfig`]) is fitted on the
//! predictions of the probe of train alone. The test split is read once, at the end.

use std::time::Instant;

use linfa::ParamGuard;
use ndarray::Array2;

use crate::data::{Split, Task};
use crate::error::{ProbeError, Result};
use crate::metrics::{Bootstrap, Metric, evaluate};
use crate::probe::samples::Subset;
use crate::probe::selection::ModelSelection;
use crate::probe::{
    CalibrationConfig, Candidate, Chosen, KnnParams, LinearModel, LinearParams, Partition, Path, PredictionTable,
    Record, Repeat, Samples, Scale, ScoredSplit, Seconds, Selection, Settings, Source, SplitConfig, Summary,
    TestEvaluation, deciding_metric, score, vote_scores,
};
use crate::records::{Counts, predictions};
use crate::support::progress::Progress;

/// Which probe, with its candidates.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Logistic regression.
    Linear {
        /// Candidates for `c`, ascending.
        grid: Vec<f64>,
        /// What is done to the features.
        scale: Scale,
        /// Largest entry of the gradient of a fitted probe.
        tolerance: f64,
        /// Steps of the solver at most, for each candidate.
        iterations: usize,
    },
    /// Nearest neighbours.
    Knn {
        /// Candidates for `k`, ascending.
        k: Vec<usize>,
        /// Temperature of the votes.
        temperature: f64,
    },
}

/// What is done with the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// The probe.
    pub method: Method,
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
    /// Whether the final probe is fitted on train and validation together.
    pub refit: bool,
    /// What else is fitted on validation data.
    pub adjusting: CalibrationConfig,
}

/// What an experiment gives.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Everything that is reported; paths of files are still empty.
    pub record: Record,
    /// Predictions on the test split, first repeat.
    pub predictions: PredictionTable,
    /// The fitted linear probe, first repeat.
    pub linear: Option<LinearModel>,
}

/// DINOv2's grid for `c`: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm.
pub fn default_grid() -> Vec<f64> {
    (0..45).map(|step| 10f64.powf(-6.0 + 11.0 * f64::from(step) / 44.0)).collect()
}

/// One repeat.
struct Trial {
    chosen: Chosen,
    candidates: Vec<Candidate>,
    linear: Option<LinearModel>,
    warnings: Vec<String>,
}

/// What a repeat's probes say.
struct ProbeOutput {
    /// Of the probe fitted on train alone, where something is to be fitted on it.
    validation: Option<ScoredSplit>,
    /// Of the final probe.
    test: ScoredSplit,
}

impl Experiment {
    /// Runs the experiment. `samples` are [`Samples::checked`].
    ///
    /// # Errors
    /// [`ProbeError`] for parameters out of range and splits that do not serve; `DataError` where
    /// the samples cannot be divided.
    pub fn run(&self, samples: &Samples, source: Source, progress: &dyn Progress) -> Result<Findings> {
        let candidates = match &self.method {
            Method::Linear { grid, .. } => grid.len(),
            Method::Knn { k, .. } => k.len(),
        };
        let found =
            |name, count: usize| ProbeError::Parameter { name, found: count.to_string(), expected: "at least 1" };
        if candidates == 0 {
            return Err(found("number of candidates", candidates).into());
        }
        if self.repeats == 0 {
            return Err(found("repeats", self.repeats).into());
        }
        self.adjusting.check(samples.dataset.task, samples.dataset.classes.len())?;
        let mut seconds = Seconds::default();
        let (mut repeats, mut first) = (Vec::new(), None);
        progress.begin("probe", (self.repeats * candidates) as u64, 0);
        for seed in (self.seed..).take(self.repeats) {
            let partition =
                self.division.divide(&samples.dataset, seed, candidates > 1 || !self.adjusting.is_none())?;
            if self.repeats > 1 && !partition.drawn {
                return Err(ProbeError::NothingVaries { repeats: self.repeats }.into());
            }
            let (mut trial, said) = self.attempt(samples, &partition, (&mut seconds, progress))?;
            let start = Instant::now();
            let said = (said.validation.as_ref(), said.test);
            let judged = self.adjusting.judge(&samples.dataset, said, &self.intervals(first.is_none()))?;
            seconds.evaluate += start.elapsed().as_secs_f64();
            trial.warnings.extend(judged.adjustment.iter().flat_map(|adjustment| adjustment.gaps()));
            let metrics =
                judged.evaluation.metrics.iter().map(|(metric, estimate)| (*metric, estimate.value)).collect();
            repeats.push(Repeat { seed, chosen: trial.chosen, metrics });
            first.get_or_insert((partition, trial, judged));
        }
        progress.end();
        let Some((partition, trial, judged)) = first else { return Err(found("repeats", 0).into()) };
        Ok(self.findings(samples, (partition, trial, judged), (repeats, seconds, source)))
    }

    /// Only the first repeat's figures are given intervals.
    fn intervals(&self, first: bool) -> Bootstrap {
        if first { self.bootstrap } else { Bootstrap { resamples: 0, ..self.bootstrap } }
    }

    fn deciding(&self, task: Task) -> Metric {
        self.metric.unwrap_or_else(|| deciding_metric(task))
    }

    fn findings(
        &self,
        samples: &Samples,
        (partition, trial, judged): (Partition, Trial, TestEvaluation),
        (repeats, seconds, source): (Vec<Repeat>, Seconds, Source),
    ) -> Findings {
        let TestEvaluation { probabilities, decision, evaluation, adjustment } = judged;
        let mut summary = std::collections::BTreeMap::new();
        if repeats.len() > 1 {
            for metric in evaluation.metrics.keys() {
                let values: Vec<f64> =
                    repeats.iter().filter_map(|repeat| repeat.metrics.get(metric).copied().flatten()).collect();
                summary.extend(Summary::of(&values).map(|figures| (*metric, figures)));
            }
        }
        let splits = [
            (Split::Train, &partition.train),
            (Split::Validation, &partition.validation),
            (Split::Test, &partition.test),
        ];
        let (parameter, tolerance) = match &self.method {
            Method::Linear { tolerance, .. } => ("c", Some(*tolerance)),
            Method::Knn { .. } => ("k", None),
        };
        let mut warnings = partition.warnings;
        warnings.extend(trial.warnings);
        let record = Record {
            chosen: trial.chosen,
            metrics: evaluation.metrics,
            summary,
            selection: Selection {
                parameter: parameter.into(),
                metric: self.deciding(samples.dataset.task),
                refitted: self.refit && !partition.validation.is_empty(),
                candidates: trial.candidates,
            },
            repeats,
            confusion: evaluation.confusion,
            per_class: evaluation.classes,
            reliability: evaluation.reliability,
            adjustment,
            task: samples.dataset.task,
            classes: samples.dataset.classes.clone(),
            splits: splits.into_iter().map(|(split, rows)| (split, Counts::new(&samples.dataset, rows))).collect(),
            source: Source { dimension: samples.features.ncols(), ..source },
            settings: Settings {
                splits: partition.origin.into(),
                split_seed: self.seed,
                test_fraction: self.division.fractions.test,
                validation_fraction: self.division.fractions.validation,
                bootstrap: self.bootstrap.resamples,
                level: self.bootstrap.coverage,
                tolerance,
            },
            seconds,
            warnings,
            leaks: partition.leaks,
            predictions: None,
            weights: None,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let test = &partition.test;
        let predictions = PredictionTable {
            classes: samples.dataset.classes.clone(),
            ids: test.iter().map(|&row| samples.dataset.samples[row].id.clone()).collect(),
            truth: test.iter().map(|&row| samples.dataset.samples[row].label.clone()).collect(),
            groups: test.iter().map(|&row| samples.dataset.samples[row].group.clone()).collect(),
            probabilities,
            decision,
            is_ordered: samples.dataset.task == Task::Ordinal,
        };
        Findings { record, predictions, linear: trial.linear }
    }

    fn attempt(
        &self,
        samples: &Samples,
        rows: &Partition,
        told: (&mut Seconds, &dyn Progress),
    ) -> Result<(Trial, ProbeOutput)> {
        match &self.method {
            Method::Linear { grid, scale, tolerance, iterations } => {
                let params = LinearParams::new().scale(*scale).tolerance(*tolerance).iterations(*iterations);
                self.linear(samples, rows, (&params.classes(samples.dataset.classes.len()), grid), told)
            }
            Method::Knn { k, temperature } => {
                let params = KnnParams::new().temperature(*temperature).classes(samples.dataset.classes.len());
                self.knn(samples, rows, (params, k, *temperature), told)
            }
        }
    }

    fn linear(
        &self,
        samples: &Samples,
        rows: &Partition,
        (params, grid): (&LinearParams, &[f64]),
        (seconds, progress): (&mut Seconds, &dyn Progress),
    ) -> Result<(Trial, ProbeOutput)> {
        for &c in grid {
            params.clone().c(c).check()?;
        }
        let start = Instant::now();
        let mut contest = ModelSelection::new(self.deciding(samples.dataset.task));
        if grid.len() > 1 {
            let mut path = path(samples, &rows.train, params)?;
            let features = samples.features_of(&rows.validation);
            for &c in grid {
                let model = path.fit(c);
                let probabilities = model.probabilities(features.view())?;
                let (score, log_loss) = self.validate(samples, &rows.validation, probabilities)?;
                contest.enter(Candidate { value: c, score, log_loss, fit: Some(model.report()) }, model);
                progress.advance(1);
            }
        }
        seconds.select += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let (c, of_train) = match grid {
            [c] if self.adjusting.is_none() => (*c, None),
            [c] => (*c, Some(path(samples, &rows.train, params)?.fit(*c))),
            _ => contest.winner().map(|(c, model)| (c, Some(model)))?,
        };
        let scored = |model: &LinearModel, rows: &[usize]| -> Result<ScoredSplit> {
            let scores = model.scores(samples.features_of(rows).view())?;
            Ok(ScoredSplit::of(rows.to_vec(), scores, model.activation()))
        };
        let judges = of_train.as_ref().filter(|_| !self.adjusting.is_none());
        let validation = judges.map(|model| scored(model, &rows.validation)).transpose()?;
        let model = match of_train {
            Some(model) if !self.refit || rows.validation.is_empty() => model,
            _ => path(samples, &rows.fitted(self.refit), params)?.fit(c),
        };
        let test = scored(&model, &rows.test)?;
        seconds.fit += start.elapsed().as_secs_f64();
        let mut candidates = contest.candidates;
        if candidates.is_empty() {
            candidates.push(Candidate { value: c, score: None, log_loss: None, fit: Some(model.report()) });
            progress.advance(1);
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
        Ok((Trial { chosen, candidates, linear: Some(model), warnings }, ProbeOutput { validation, test }))
    }

    fn knn(
        &self,
        samples: &Samples,
        rows: &Partition,
        (params, k, temperature): (KnnParams, &[usize], f64),
        (seconds, progress): (&mut Seconds, &dyn Progress),
    ) -> Result<(Trial, ProbeOutput)> {
        let mut warnings = Vec::new();
        let mut k = k.to_vec();
        let most = rows.train.len();
        if k.iter().any(|&k| k > most) {
            warnings.push(format!("the train split has {most} samples: larger values of k are lowered to {most}"));
            k.iter_mut().for_each(|k| *k = most.min(*k));
            k.dedup();
        }
        let mut contest = ModelSelection::new(self.deciding(samples.dataset.task));
        let start = Instant::now();
        let mut votes = None;
        if k.len() > 1 || !self.adjusting.is_none() {
            let model = samples.bank(&rows.train, &params.clone().k(k[0]))?;
            let features = samples.features_of(&rows.validation);
            let mut tables = model.probabilities(features.view(), &k)?;
            if let [_] = k.as_slice() {
                votes = tables.pop();
            }
            for (&k, table) in k.iter().zip(tables) {
                let (score, log_loss) = self.validate(samples, &rows.validation, table.clone())?;
                contest.enter(Candidate { value: k as f64, score, log_loss, fit: None }, table);
                progress.advance(1);
            }
        }
        seconds.select += start.elapsed().as_secs_f64();
        let mut best = k[0];
        if k.len() > 1 {
            let (value, table) = contest.winner()?;
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
        seconds.fit += start.elapsed().as_secs_f64();
        let mut candidates = contest.candidates;
        if candidates.is_empty() {
            candidates.push(Candidate { value: best as f64, score: None, log_loss: None, fit: None });
            progress.advance(1);
        }
        let chosen = Chosen::Knn { k: best, temperature };
        Ok((Trial { chosen, candidates, linear: None, warnings }, ProbeOutput { validation, test }))
    }

    /// The deciding metric and the log loss on validation samples, where they are defined.
    fn validate(
        &self,
        samples: &Samples,
        rows: &[usize],
        probabilities: Array2<f64>,
    ) -> Result<(Option<f64>, Option<f64>)> {
        let truth = predictions(&samples.dataset, rows, probabilities)?;
        let evaluation = evaluate(&truth, &Bootstrap { resamples: 0, ..self.bootstrap });
        Ok((score(&evaluation, self.deciding(samples.dataset.task)), score(&evaluation, Metric::LogLoss)))
    }
}

fn path(samples: &Samples, rows: &[usize], params: &LinearParams) -> Result<Path> {
    let params = params.check_ref()?;
    Ok(match samples.subset(rows) {
        Subset::Classes(data) => params.class_path(data.records.view(), &data.targets, data.weights())?,
        Subset::Labels(data) => params.label_path(data.records.view(), &data.targets, data.weights())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grid_is_dinov2_s() {
        let grid = default_grid();
        assert_eq!((grid.len(), grid[0]), (45, 1e-6));
        assert!((grid[44] / 1e5 - 1.0).abs() < 1e-12 && (grid[24] - 1.0).abs() < 1e-12);
    }
}
