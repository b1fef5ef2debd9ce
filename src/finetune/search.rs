//! The learning rate: every candidate is tried in a short run from the same start, the best on
//! validation data is taken.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, FinetuneError, ProbeError, Result};
use crate::finetune::checkpoint::TrainState;
use crate::finetune::training::{NoopObserver, Training};
use crate::records::{Candidate, rank};
use crate::support::json;
use crate::support::progress::Progress;
use crate::tensor::safetensors::Tensors;

/// Name of the file in a run's folder that keeps what the search found.
const SEARCH: &str = "search.json";
/// What it is, for errors.
const FORMAT: &str = "search of a run";

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Search {
    /// The candidates tried, in their order.
    pub(super) candidates: Vec<Candidate>,
    /// Wall-clock time.
    pub(super) seconds: f64,
}

impl Search {
    /// Tries the candidates that were not tried before; of one candidate there is nothing to try.
    pub(super) fn run(
        training: &mut Training<'_>,
        start: &Tensors,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<Search> {
        let rates = training.recipe.learning_rates.clone();
        let path = folder.join(SEARCH);
        if rates.len() == 1 {
            let candidate = Candidate { value: rates[0], score: None, log_loss: None, fit: None };
            return Ok(Search { candidates: vec![candidate], seconds: 0.0 });
        }
        let mut search = if path.is_file() { json::read(&path, FORMAT)? } else { Search::default() };
        for &rate in rates.iter().skip(search.candidates.len()) {
            let began = Instant::now();
            progress.note(&format!("trying learning rate {rate:.1e}"));
            training.trainer.reset(start, 0)?;
            let (score, log_loss) = attempt(training, rate, progress)?;
            let told = score.map_or_else(|| "diverged".to_owned(), |score| format!("{} {score:.4}", training.metric()));
            progress.note(&format!("learning rate {rate:.1e}: {told}"));
            search.candidates.push(Candidate { value: rate, score, log_loss, fit: None });
            search.seconds += began.elapsed().as_secs_f64();
            json::write(&path, FORMAT, &search)?;
        }
        Ok(search)
    }

    /// The rate with the best score, of several the one of the lowest log loss, then the first.
    pub(super) fn chosen(&self, training: &Training<'_>) -> Result<f64> {
        if let [only] = self.candidates.as_slice() {
            return Ok(only.value);
        }
        let mut best: Option<([f64; 2], f64)> = None;
        for candidate in &self.candidates {
            let Some(found) = candidate.score.map(|score| rank(training.metric(), score, candidate.log_loss)) else {
                continue;
            };
            if best.is_none_or(|(most, _)| found > most) {
                best = Some((found, candidate.value));
            }
        }
        let nothing = ProbeError::NothingToChoose { metric: training.metric().name() };
        Ok(best.map(|(_, rate)| rate).ok_or(nothing)?)
    }
}

/// A short run; a rate at which the loss stops being a number has no score.
fn attempt(training: &mut Training<'_>, rate: f64, progress: &dyn Progress) -> Result<(Option<f64>, Option<f64>)> {
    let epochs = training.recipe.search_epochs;
    let course = training.course(epochs);
    let mut position = TrainState { learning_rate: rate, ..TrainState::default() };
    progress.begin("searching", (epochs * training.partition.train.len()) as u64, 0);
    let outcome = (0..epochs).try_for_each(|_| training.epoch(&mut position, &course, &mut NoopObserver).map(|_| ()));
    progress.end();
    match outcome {
        Err(Error::Finetune(FinetuneError::NotFinite { .. })) => return Ok((None, None)),
        other => other?,
    }
    let (_, score, log_loss) = training.validate(&mut position)?;
    Ok((score, log_loss))
}
