//! The contest of a hyper-parameter's candidates on validation data.

use crate::error::ProbeError;
use crate::metrics::Metric;
use crate::records::Candidate;

/// Keeps the candidates' scores and the best one: of equal scores that of the lowest log loss, then
/// the first.
pub(super) struct ModelSelection<T> {
    metric: Metric,
    pub(super) candidates: Vec<Candidate>,
    /// Merit of the score, log loss, value, model.
    best: Option<([f64; 2], f64, T)>,
}

impl<T> ModelSelection<T> {
    pub(super) fn new(metric: Metric) -> Self {
        ModelSelection { metric, candidates: Vec::new(), best: None }
    }

    pub(super) fn enter(&mut self, candidate: Candidate, model: T) {
        if let Some(score) = candidate.score {
            let merit = if self.metric.larger_is_better() { score } else { -score };
            let rank = [merit, -candidate.log_loss.unwrap_or(f64::INFINITY)];
            if self.best.as_ref().is_none_or(|(most, _, _)| rank > *most) {
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

    #[test]
    fn the_first_of_the_best_candidates_wins_and_small_losses_are_good() {
        let candidate = |value, score| Candidate { value, score, log_loss: None, fit: None };
        let mut contest = ModelSelection::new(Metric::LogLoss);
        for (value, score) in [(1.0, None), (2.0, Some(0.5)), (3.0, Some(0.4)), (4.0, Some(0.4))] {
            contest.enter(candidate(value, score), ());
        }
        assert_eq!(contest.winner().unwrap().0, 3.0);
        let mut tied = ModelSelection::new(Metric::Accuracy);
        for (value, log_loss) in [(1.0, 0.7), (2.0, 0.3), (3.0, 0.5)] {
            tied.enter(Candidate { value, score: Some(0.9), log_loss: Some(log_loss), fit: None }, ());
        }
        assert_eq!(tied.winner().unwrap().0, 2.0);
        let mut undefined = ModelSelection::new(Metric::RocAuc);
        undefined.enter(candidate(1.0, None), ());
        assert!(matches!(undefined.winner(), Err(ProbeError::NothingToChoose { metric: "roc_auc" })));
    }
}
