//! What follows from the confusion matrix alone: accuracy, recall, precision, F1 and Cohen's kappa.

use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::ratio::Part;

/// Weighted counts of true class (row) by predicted class (column).
#[derive(Clone, Debug)]
pub(super) struct Confusion {
    classes: usize,
    counts: Vec<f64>,
}

/// A share of samples of which a class is decided rightly.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClassShare {
    /// Of those that have it.
    Recall,
    /// Of those that lack it.
    Specificity,
    /// Of those that are predicted to have it.
    Precision,
}

impl ClassShare {
    /// What a sample adds to the share; `None` where it does not count.
    pub(super) fn part(self, present: bool, predicted: bool) -> Option<Part> {
        let (counts, is_right) = match self {
            ClassShare::Recall => (present, predicted),
            ClassShare::Specificity => (!present, !predicted),
            ClassShare::Precision => (predicted, present),
        };
        counts.then(|| Part { value: f64::from(u8::from(is_right)), weight: 1.0 })
    }
}

/// Right and wrong decisions about one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decisions {
    pub(super) hits: f64,
    pub(super) misses: f64,
    pub(super) false_alarms: f64,
    pub(super) rejections: f64,
}

impl Decisions {
    /// Adds `count` samples that have the class or not, and are said to have it or not.
    pub(super) fn count(&mut self, present: bool, said: bool, count: f64) {
        match (present, said) {
            (true, true) => self.hits += count,
            (true, false) => self.misses += count,
            (false, true) => self.false_alarms += count,
            (false, false) => self.rejections += count,
        }
    }

    pub(super) fn support(self) -> f64 {
        self.hits + self.misses
    }

    pub(super) fn predicted(self) -> f64 {
        self.hits + self.false_alarms
    }

    /// Undefined for a class that is not in the truth.
    pub(super) fn recall(self) -> Option<f64> {
        ratio(self.hits, self.support())
    }

    /// Share of the other samples that are not predicted to have the class; undefined where there
    /// are none.
    pub(super) fn specificity(self) -> Option<f64> {
        ratio(self.rejections, self.rejections + self.false_alarms)
    }

    /// Undefined for a class that is never predicted.
    pub(super) fn precision(self) -> Option<f64> {
        ratio(self.hits, self.predicted())
    }

    /// Undefined for a class that is neither in the truth nor ever predicted.
    pub(super) fn f1(self) -> Option<f64> {
        ratio(2.0 * self.hits, self.support() + self.predicted())
    }

    fn seen(self) -> bool {
        self.support() + self.predicted() > 0.0
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// Means of recall, precision and F1 over the classes that occur in truth or predictions, 0/0
/// counting as 0 (scikit-learn).
pub(super) fn macro_scores(decisions: &[Decisions]) -> [Score; 3] {
    let seen: Vec<Decisions> = decisions.iter().copied().filter(|class| class.seen()).collect();
    if seen.is_empty() {
        return [Err(Undefined::NoSamples); 3];
    }
    let mean = |score: fn(Decisions) -> Option<f64>| {
        Ok(seen.iter().map(|class| score(*class).unwrap_or(0.0)).sum::<f64>() / seen.len() as f64)
    };
    [mean(Decisions::recall), mean(Decisions::precision), mean(Decisions::f1)]
}

impl Confusion {
    /// Counts `counts[i]` times the pair of `truth[i]` and `predicted[i]`.
    pub(super) fn new(classes: usize, truth: &[u32], predicted: &[u32], counts: &[u32]) -> Self {
        let mut table = vec![0.0; classes * classes];
        for ((&row, &column), &count) in truth.iter().zip(predicted).zip(counts) {
            table[row as usize * classes + column as usize] += f64::from(count);
        }
        Confusion { classes, counts: table }
    }

    pub(super) fn rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.classes).map(|row| row.iter().map(|&count| count as u64).collect()).collect()
    }

    pub(super) fn decisions(&self) -> Vec<Decisions> {
        let supports = self.supports();
        let predicted = self.predicted();
        let total: f64 = self.counts.iter().sum();
        let decided = |class: usize| {
            let hits = self.counts[class * self.classes + class];
            let (misses, false_alarms) = (supports[class] - hits, predicted[class] - hits);
            Decisions { hits, misses, false_alarms, rejections: total - hits - misses - false_alarms }
        };
        (0..self.classes).map(decided).collect()
    }

    fn supports(&self) -> Vec<f64> {
        self.counts.chunks(self.classes).map(|row| row.iter().sum()).collect()
    }

    fn predicted(&self) -> Vec<f64> {
        (0..self.classes).map(|column| self.counts.iter().skip(column).step_by(self.classes).sum()).collect()
    }

    pub(super) fn accuracy(&self) -> Score {
        let total: f64 = self.counts.iter().sum();
        let hits: f64 = self.counts.iter().step_by(self.classes + 1).sum();
        ratio(hits, total).ok_or(Undefined::NoSamples)
    }

    /// Mean recall over the classes present in the truth.
    pub(super) fn balanced_accuracy(&self) -> Score {
        let recalls: Vec<f64> = self.decisions().into_iter().filter_map(Decisions::recall).collect();
        ratio(recalls.iter().sum(), recalls.len() as f64).ok_or(Undefined::NoSamples)
    }

    /// Recall of one class.
    pub(super) fn recall(&self, class: usize) -> Score {
        self.decisions()[class].recall().ok_or(Undefined::Absent(class))
    }

    /// 1 - observed / expected disagreement, each cell weighted by `weight(|row - column|)` (Cohen
    /// 1968).
    pub(super) fn kappa(&self, weight: fn(f64) -> f64) -> Score {
        let (supports, predicted) = (self.supports(), self.predicted());
        let total: f64 = supports.iter().sum();
        if total == 0.0 {
            return Err(Undefined::NoSamples);
        }
        let (mut observed, mut expected) = (0.0, 0.0);
        for (row, support) in supports.iter().enumerate() {
            for (column, predicted) in predicted.iter().enumerate() {
                let weight = weight(row.abs_diff(column) as f64);
                observed += weight * self.counts[row * self.classes + column];
                expected += weight * support * predicted / total;
            }
        }
        ratio(observed, expected).map(|disagreement| 1.0 - disagreement).ok_or(Undefined::ChanceAgreement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_never_predicted_has_no_precision_but_counts_as_zero_in_the_mean() {
        let confusion = Confusion::new(3, &[0, 0, 1], &[0, 0, 0], &[1, 1, 1]);
        let decisions = confusion.decisions();
        assert_eq!(decisions[1].precision(), None);
        assert_eq!(decisions[1].f1(), Some(0.0));
        assert_eq!(decisions[2].f1(), None);
        // Class 2 occurs nowhere and is left out of the means.
        let [recall, precision, _] = macro_scores(&decisions);
        assert_eq!(recall, Ok(0.5));
        assert_eq!(precision, Ok(1.0 / 3.0));
    }

    #[test]
    fn kappa_of_one_class_is_undefined_not_zero() {
        let confusion = Confusion::new(2, &[1, 1], &[1, 1], &[1, 1]);
        assert_eq!(confusion.kappa(|distance| distance.min(1.0)), Err(Undefined::ChanceAgreement));
    }
}
