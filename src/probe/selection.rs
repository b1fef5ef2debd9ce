//! The choice between a hyper-parameter's candidates.
//!
//! On a validation split the best value of the deciding metric wins; of equal ones that of the
//! lowest log loss, then that of the stronger penalty.

use std::cmp::Ordering;

use crate::error::ProbeError;
use crate::metrics::Metric;
use crate::records::{Candidate, rank};

/// Where the penalty of a hyper-parameter is strong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum StrongPenalty {
    /// At small values: `c` of a linear probe.
    Small,
    /// At large values: `k`, the neighbours that are averaged.
    Large,
}

impl StrongPenalty {
    /// `Greater` where the penalty of `value` is stronger than that of `other`.
    pub(super) fn compare(self, value: f64, other: f64) -> Ordering {
        match self {
            StrongPenalty::Small => other.total_cmp(&value),
            StrongPenalty::Large => value.total_cmp(&other),
        }
    }
}

/// Keeps the candidates' scores and the best one.
pub(super) struct ModelSelection<T> {
    metric: Metric,
    strong: StrongPenalty,
    pub(super) candidates: Vec<Candidate>,
    /// Merit of the score, log loss, value, model.
    best: Option<([f64; 2], f64, T)>,
}

impl<T> ModelSelection<T> {
    pub(super) fn new(metric: Metric, strong: StrongPenalty) -> Self {
        ModelSelection { metric, strong, candidates: Vec::new(), best: None }
    }

    pub(super) fn enter(&mut self, candidate: Candidate, model: T) {
        if let Some(score) = candidate.score {
            let rank = rank(self.metric, score, candidate.log_loss);
            let stronger = |value: f64| self.strong.compare(candidate.value, value) == Ordering::Greater;
            let wins = |best: &([f64; 2], f64, T)| rank > best.0 || (rank == best.0 && stronger(best.1));
            if self.best.as_ref().is_none_or(wins) {
                self.best = Some((rank, candidate.value, model));
            }
        }
        self.candidates.push(candidate);
    }

    pub(super) fn winner(&mut self) -> Result<(f64, T), ProbeError> {
        let best = self.best.take().map(|(_, value, model)| (value, model));
        best.ok_or(ProbeError::NothingToChoose { metric: self.metric.name() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(value: f64, score: Option<f64>, log_loss: Option<f64>) -> Candidate {
        Candidate { value, score, log_loss, fit: None }
    }

    #[test]
    fn the_best_candidate_wins_and_small_losses_are_good() {
        let mut contest = ModelSelection::new(Metric::LogLoss, StrongPenalty::Small);
        for (value, score) in [(1.0, None), (2.0, Some(0.5)), (4.0, Some(0.4)), (3.0, Some(0.4))] {
            contest.enter(candidate(value, score, None), ());
        }
        assert_eq!(contest.winner().unwrap().0, 3.0);
        let mut tied = ModelSelection::new(Metric::Accuracy, StrongPenalty::Small);
        for (value, log_loss) in [(1.0, 0.7), (2.0, 0.3), (3.0, 0.5)] {
            tied.enter(candidate(value, Some(0.9), Some(log_loss)), ());
        }
        assert_eq!(tied.winner().unwrap().0, 2.0);
        let mut undefined = ModelSelection::new(Metric::RocAuc, StrongPenalty::Small);
        undefined.enter(candidate(1.0, None, None), ());
        assert!(matches!(undefined.winner(), Err(ProbeError::NothingToChoose { metric: "roc_auc" })));
    }

    #[test]
    fn of_equal_candidates_that_of_the_stronger_penalty_wins() {
        for (strong, expected) in [(StrongPenalty::Small, 5.0), (StrongPenalty::Large, 20.0)] {
            let mut tied = ModelSelection::new(Metric::Accuracy, strong);
            for value in [10.0, 5.0, 20.0] {
                tied.enter(candidate(value, Some(1.0), Some(0.2)), ());
            }
            assert_eq!(tied.winner().unwrap().0, expected);
        }
    }
}
