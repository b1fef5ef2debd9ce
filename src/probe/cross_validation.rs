//! Candidates compared by cross-validation, where the validation split is too small to choose on.
//!
//! The log loss decides, against Platt's targets (see [`smoothed_log_loss`]), with the
//! one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees, section
//! 3.4.3): the strongest penalty whose mean loss over the folds is within one standard error of the
//! lowest. Against the labels themselves, the loss of a problem that few samples separate falls for
//! ever, and the weakest penalty of any grid would win.

use ndarray::{Array2, s};

use crate::data::{Dataset, Label};
use crate::error::{ProbeError, Result};
use crate::metrics::{Metric, smoothed_log_loss};
use crate::probe::samples::ValidSamples;
use crate::probe::selection::StrongPenalty;
use crate::records::{FitReport, PredictionTable};

/// What a candidate, fitted on the other folds, says of a fold.
pub(super) struct FoldFit {
    pub(super) probabilities: Array2<f64>,
    pub(super) fit: Option<FitReport>,
}

/// What a cross-validation found of one candidate.
pub(super) struct Folded {
    pub(super) value: f64,
    /// Probabilities of all held-out rows, in the order of [`CrossValidation::rows`].
    pub(super) probabilities: Array2<f64>,
    /// Its loss in each fold that has one.
    losses: Vec<f64>,
    /// How the fits ended: the first that did not converge, else the last.
    pub(super) fit: Option<FitReport>,
}

/// Candidates that were compared by cross-validation.
pub(super) struct CrossValidation {
    /// Number of folds.
    pub(super) folds: usize,
    /// The held-out rows, fold by fold.
    pub(super) rows: Vec<usize>,
    pub(super) candidates: Vec<Folded>,
}

impl CrossValidation {
    /// Compares the candidates of `values` in `folds`; `fit` gives, for every candidate, what a fit
    /// on some rows says of others. `None` without folds, or without a choice.
    pub(super) fn run(
        samples: &ValidSamples<'_>,
        folds: &[Vec<usize>],
        values: &[f64],
        fit: impl Fn(&[usize], &Array2<f32>) -> Result<Vec<FoldFit>>,
    ) -> Result<Option<CrossValidation>> {
        if folds.is_empty() || values.len() < 2 {
            return Ok(None);
        }
        let (dataset, rows) = (samples.dataset(), folds.concat());
        let empty = |&value: &f64| Folded {
            value,
            probabilities: Array2::zeros((rows.len(), dataset.classes.len())),
            losses: Vec::new(),
            fit: None,
        };
        let mut candidates: Vec<Folded> = values.iter().map(empty).collect();
        let mut start = 0;
        for fold in folds {
            let mut train: Vec<usize> = folds.iter().filter(|other| *other != fold).flatten().copied().collect();
            train.sort_unstable();
            let fitted = supports(dataset, &train);
            for (candidate, found) in candidates.iter_mut().zip(fit(&train, &samples.features_of(fold))?) {
                let rows = start..start + fold.len();
                candidate.probabilities.slice_mut(s![rows, ..]).assign(&found.probabilities);
                let table = PredictionTable::new(dataset, fold, found.probabilities, None);
                candidate.losses.extend(smoothed_log_loss(&table.predictions()?, fitted.view()));
                if candidate.fit.is_none_or(|fit| fit.converged) {
                    candidate.fit = found.fit;
                }
            }
            start += fold.len();
        }
        Ok(Some(CrossValidation { folds: folds.len(), rows, candidates }))
    }

    /// The candidate of the strongest penalty within one standard error of the lowest mean loss.
    pub(super) fn winner(&self, strong: StrongPenalty) -> Result<f64, ProbeError> {
        let nothing = ProbeError::NothingToChoose { metric: Metric::LogLoss.name() };
        let defined = || self.candidates.iter().filter(|candidate| candidate.mean().is_finite());
        let Some(best) = defined().min_by(|a, b| a.mean().total_cmp(&b.mean())) else { return Err(nothing) };
        let within = best.mean() + best.standard_error();
        let close = defined().filter(|candidate| candidate.mean() <= within).map(|candidate| candidate.value);
        close.max_by(|&a, &b| strong.compare(a, b)).ok_or(nothing)
    }
}

impl Folded {
    /// Not a number where no fold has a loss.
    fn mean(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len() as f64
    }

    /// `s / sqrt(folds)`; 0 of a single one.
    fn standard_error(&self) -> f64 {
        let (count, mean) = (self.losses.len() as f64, self.mean());
        let squares: f64 = self.losses.iter().map(|loss| (loss - mean).powi(2)).sum();
        if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 }
    }
}

/// How many of these rows are without and with each class, `[C, 2]`; unknown labels count nowhere.
fn supports(dataset: &Dataset, rows: &[usize]) -> Array2<usize> {
    let mut counts = Array2::zeros((dataset.classes.len(), 2));
    for &row in rows {
        for (class, mut counts) in counts.rows_mut().into_iter().enumerate() {
            let present = match &dataset.samples[row].label {
                Label::Unknown => None,
                Label::Class(own) => Some(*own == class),
                Label::Classes(labels) => labels[class],
            };
            if let Some(present) = present {
                counts[usize::from(present)] += 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_standard_error_towards_the_stronger_penalty_is_allowed() {
        let candidate = |value: f64, losses: [f64; 2]| Folded {
            value,
            probabilities: Array2::zeros((0, 2)),
            losses: losses.to_vec(),
            fit: None,
        };
        // The lowest mean is 0.5 with a standard error of 0.0707.
        let of = |first: f64| CrossValidation {
            folds: 2,
            rows: Vec::new(),
            candidates: vec![
                candidate(0.1, [first; 2]),
                candidate(1.0, [0.56; 2]),
                candidate(10.0, [0.5 - 0.0707, 0.5 + 0.0707]),
            ],
        };
        assert_eq!(of(0.6).winner(StrongPenalty::Small).unwrap(), 1.0);
        assert_eq!(of(0.55).winner(StrongPenalty::Small).unwrap(), 0.1);
        assert_eq!(of(0.55).winner(StrongPenalty::Large).unwrap(), 10.0);
    }
}
