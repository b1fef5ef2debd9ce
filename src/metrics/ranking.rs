//! What depends on the order of scores alone: area under the ROC curve and average precision.
//!
//! Samples are sorted once; weighted resamples then walk the order, so that a bootstrap never
//! sorts. Formulas: AUC is the probability that a positive sample scores higher than a negative
//! one, ties counting one half (Mann-Whitney); average precision is the sum over distinct
//! thresholds of the gain in recall times the precision.

use crate::metrics::estimate::{Score, Undefined};

/// One class's samples in the order of descending score.
#[derive(Debug)]
pub(super) struct Ranking {
    /// The class that should score high.
    positive: usize,
    order: Vec<u32>,
    /// Whether a position is the last one of its score.
    last_of_score: Vec<bool>,
}

/// Areas and precision of one class on weighted samples.
#[derive(Debug)]
pub(super) struct RankingScores {
    /// Against all other classes together.
    pub(super) roc_auc: Score,
    /// Against each other class by itself; `None` for the class itself and where either class is
    /// absent.
    pub(super) roc_auc_against: Vec<Option<f64>>,
    pub(super) average_precision: Score,
}

impl Ranking {
    /// Ranks `samples` (positions in the truth) by `score`, which is indexed by position, for class
    /// `positive`.
    pub(super) fn new(positive: usize, samples: impl Iterator<Item = usize>, score: impl Fn(usize) -> f64) -> Self {
        let mut order: Vec<u32> = samples.map(|sample| sample as u32).collect();
        order.sort_by(|&a, &b| score(b as usize).total_cmp(&score(a as usize)).then(a.cmp(&b)));
        let distinct = |pair: &[u32]| score(pair[0] as usize) != score(pair[1] as usize);
        let mut last_of_score: Vec<bool> = order.windows(2).map(distinct).collect();
        last_of_score.push(true);
        Ranking { positive, order, last_of_score }
    }

    /// Areas and precision when sample `i` of class `truth[i]` occurs `counts[i]` times.
    pub(super) fn scores(&self, classes: usize, truth: &[u32], counts: &[u32]) -> RankingScores {
        let mut remaining = vec![0.0; classes];
        for &sample in &self.order {
            remaining[truth[sample as usize] as usize] += f64::from(counts[sample as usize]);
        }
        let totals = remaining.clone();
        let mut walk = Walk {
            positive: self.positive,
            remaining,
            wins: vec![0.0; classes],
            above: 0.0,
            hits: 0.0,
            precision: 0.0,
        };
        let mut tied = vec![0.0; classes];
        let mut inside_tie = false;
        for (&sample, &last) in self.order.iter().zip(&self.last_of_score) {
            let count = f64::from(counts[sample as usize]);
            let class = truth[sample as usize] as usize;
            if last && !inside_tie {
                if count > 0.0 {
                    walk.step(class, count);
                }
                continue;
            }
            tied[class] += count;
            inside_tie = !last;
            if last {
                walk.step_tied(&tied);
                tied.fill(0.0);
            }
        }
        self.finish(&walk, &totals)
    }

    fn finish(&self, walk: &Walk, totals: &[f64]) -> RankingScores {
        let own = totals[self.positive];
        let others: f64 = totals.iter().sum::<f64>() - own;
        let wins: f64 = walk.wins.iter().sum();
        let roc_auc = match (own > 0.0, others > 0.0) {
            (true, true) => Ok(wins / (own * others)),
            (false, true) => Err(Undefined::Absent(self.positive)),
            (true, false) => Err(Undefined::OnlyPositive(self.positive)),
            (false, false) => Err(Undefined::NoSamples),
        };
        let against = |other: usize| {
            (other != self.positive && own * totals[other] > 0.0).then(|| walk.wins[other] / (own * totals[other]))
        };
        RankingScores {
            roc_auc,
            roc_auc_against: (0..totals.len()).map(against).collect(),
            average_precision: if own > 0.0 { Ok(walk.precision / own) } else { Err(Undefined::Absent(self.positive)) },
        }
    }
}

/// State of a walk from the highest to the lowest score.
struct Walk {
    positive: usize,
    /// Samples of each class that are still below.
    remaining: Vec<f64>,
    /// Pairs of a positive sample and a sample of each other class that are in the right order.
    wins: Vec<f64>,
    /// Samples passed.
    above: f64,
    /// Positive samples passed.
    hits: f64,
    /// Sum over positive samples of the precision at their score.
    precision: f64,
}

impl Walk {
    /// Passes samples of one class that share a score with no other class.
    fn step(&mut self, class: usize, count: f64) {
        self.above += count;
        self.remaining[class] -= count;
        if class == self.positive {
            for (wins, remaining) in self.wins.iter_mut().zip(&self.remaining) {
                *wins += count * remaining;
            }
            self.wins[class] = 0.0;
            self.hits += count;
            self.precision += count * self.hits / self.above;
        }
    }

    /// Passes all samples of one score.
    fn step_tied(&mut self, tied: &[f64]) {
        let own = tied[self.positive];
        for ((remaining, wins), &count) in self.remaining.iter_mut().zip(&mut self.wins).zip(tied) {
            *remaining -= count;
            *wins += own * (*remaining + 0.5 * count);
            self.above += count;
        }
        self.wins[self.positive] = 0.0;
        self.hits += own;
        if own > 0.0 {
            self.precision += own * self.hits / self.above;
        }
    }
}

/// The mean of all values, or the first reason why one is missing; and the mean of those that are
/// there.
pub(super) fn means(scores: impl Iterator<Item = Score>) -> (Score, Score) {
    let (mut sum, mut count, mut missing) = (0.0, 0usize, None);
    for score in scores {
        match score {
            Ok(value) => {
                sum += value;
                count += 1;
            }
            Err(reason) => missing = missing.or(Some(reason)),
        }
    }
    let present = if count > 0 { Ok(sum / count as f64) } else { Err(Undefined::NoLabelPresent) };
    (missing.map_or(present, Err), present)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition: every pair of a positive and a negative sample.
    fn pairwise(scores: &[f64], truth: &[u32], counts: &[u32]) -> f64 {
        let (mut wins, mut pairs) = (0.0, 0.0);
        for i in (0..truth.len()).filter(|&i| truth[i] == 1) {
            for j in (0..truth.len()).filter(|&j| truth[j] == 0) {
                let weight = f64::from(counts[i] * counts[j]);
                pairs += weight;
                wins += weight * if scores[i] > scores[j] { 1.0 } else { 0.5 * f64::from(scores[i] == scores[j]) };
            }
        }
        wins / pairs
    }

    proptest! {
        #[test]
        fn weighted_area_with_ties_is_the_share_of_ordered_pairs(
            samples in prop::collection::vec((0u8..6, 0u32..2, 0u32..4), 2..40)
        ) {
            let scores: Vec<f64> = samples.iter().map(|s| f64::from(s.0) / 5.0).collect();
            let truth: Vec<u32> = samples.iter().map(|s| s.1).collect();
            let counts: Vec<u32> = samples.iter().map(|s| s.2).collect();
            let ranking = Ranking::new(1, 0..samples.len(), |i| scores[i]);
            let expected = pairwise(&scores, &truth, &counts);
            match ranking.scores(2, &truth, &counts).roc_auc {
                Ok(area) => prop_assert!((area - expected).abs() < 1e-12),
                Err(_) => prop_assert!(expected.is_nan()),
            }
        }
    }
}
