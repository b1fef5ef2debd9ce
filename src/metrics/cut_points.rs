//! Cut-points on the expected grade of ordered classes that maximise the quadratic kappa of
//! labelled samples, exactly.
//!
//! Quadratic kappa is `1 - O / E` with `O` the sum of squared distances of truth and answer, and
//! `E` the same for answers drawn independently of the truth: `E = sum over samples of e(answer)`,
//! where `e(j)` is the mean over all samples of the squared distance of their truth from j. Both
//! are sums over samples, so that `O - r E` is minimised by dynamic programming over the samples in
//! the order of their expected grade (answers never fall), and the smallest ratio r by Dinkelbach's
//! iteration (1967, "On nonlinear fractional programming", Management Science 13). Samples of equal
//! expected grade get one answer.

use serde::{Deserialize, Serialize};

use crate::metrics::decision::{Decision, expected_grades};
use crate::metrics::estimate::Undefined;
use crate::metrics::multiclass::Multiclass;
use crate::metrics::predictions::{Predictions, Truth};

/// Cut-points with what they do on the samples that they were chosen on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutPoints {
    /// One less than classes, ascending; a grade between two equal ones is never answered. Empty
    /// where undefined.
    pub values: Vec<f64>,
    /// Samples that they were chosen on.
    pub samples: usize,
    /// Quadratic kappa on them.
    pub kappa: Option<f64>,
    /// The same of the most probable class.
    pub kappa_of_most_probable: Option<f64>,
    /// Why nothing could be chosen; the most probable class decides then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

/// Rounds of Dinkelbach's iteration, which doubles its digits in each.
const ROUNDS: usize = 60;
/// Expected grades that differ by less are equal.
const ROUNDING: f64 = 1e-9;

/// The cut-points of the largest quadratic kappa.
pub fn cut_points(predictions: &Predictions) -> CutPoints {
    let classes = predictions.classes();
    let mut found = CutPoints {
        values: Vec::new(),
        samples: predictions.len(),
        kappa: None,
        kappa_of_most_probable: None,
        undefined: None,
    };
    let Truth::Classes(truth) = &predictions.truth else { return found };
    found.kappa_of_most_probable = kappa(predictions, truth, None);
    let present = truth.iter().collect::<std::collections::BTreeSet<_>>().len();
    if present < 2 {
        let reason = if present == 0 { Undefined::NoSamples } else { Undefined::OneClass };
        found.undefined = Some(reason.describe(&predictions.names));
        return found;
    }
    let steps = Steps::new(&expected_grades(predictions.probabilities()), truth, classes);
    found.values = steps.points(&steps.best());
    found.kappa = kappa(predictions, truth, Some(Decision::CutPoints(found.values.clone())));
    found
}

fn kappa(predictions: &Predictions, truth: &[usize], decision: Option<Decision>) -> Option<f64> {
    let decided = Predictions { decision, ..predictions.clone() };
    let confusion = Multiclass::new(&decided, truth).confusion(&vec![1; truth.len()]);
    confusion.kappa(|distance| distance * distance).ok()
}

/// Samples of one expected grade after the other.
struct Steps {
    classes: usize,
    /// Expected grades, ascending: the smallest and the largest of those that are equal but for
    /// rounding.
    grades: Vec<[f64; 2]>,
    /// Per expected grade and answer: the sum of squared distances from the truth.
    distances: Vec<f64>,
    /// The number of samples of each expected grade.
    counts: Vec<f64>,
    /// Mean squared distance of all truths from each answer.
    chance: Vec<f64>,
}

impl Steps {
    fn new(expected: &[f64], truth: &[usize], classes: usize) -> Self {
        let square = |class: usize, answer: usize| (class.abs_diff(answer) as f64).powi(2);
        let mean = |answer: usize| truth.iter().map(|&class| square(class, answer)).sum::<f64>() / truth.len() as f64;
        let mut order: Vec<usize> = (0..truth.len()).collect();
        order.sort_by(|&a, &b| expected[a].total_cmp(&expected[b]));
        let mut steps = Steps {
            classes,
            grades: Vec::new(),
            distances: Vec::new(),
            counts: Vec::new(),
            chance: (0..classes).map(mean).collect(),
        };
        for row in order {
            match steps.grades.last_mut().filter(|last| expected[row] - last[1] < ROUNDING) {
                Some(last) => last[1] = expected[row],
                None => {
                    steps.grades.push([expected[row]; 2]);
                    steps.counts.push(0.0);
                    steps.distances.resize(steps.grades.len() * classes, 0.0);
                }
            }
            let at = steps.grades.len() - 1;
            steps.counts[at] += 1.0;
            for answer in 0..classes {
                steps.distances[at * classes + answer] += square(truth[row], answer);
            }
        }
        steps
    }

    /// The answers, ascending, of the smallest `O / E`.
    fn best(&self) -> Vec<usize> {
        // Halves between the grades are an answer to begin with.
        let natural = |grade: &[f64; 2]| (grade[0].round() as usize).min(self.classes - 1);
        let mut answers: Vec<usize> = self.grades.iter().map(natural).collect();
        for _ in 0..ROUNDS {
            let [observed, expected] = self.sums(&answers);
            let ratio = observed / expected;
            let next = self.answers(ratio);
            let [observed, expected] = self.sums(&next);
            if observed - ratio * expected >= -1e-12 * expected {
                break;
            }
            answers = next;
        }
        answers
    }

    fn sums(&self, answers: &[usize]) -> [f64; 2] {
        let mut sums = [0.0; 2];
        for (at, &answer) in answers.iter().enumerate() {
            sums[0] += self.distances[at * self.classes + answer];
            sums[1] += self.counts[at] * self.chance[answer];
        }
        sums
    }

    /// The answers, ascending, of the smallest `O - ratio E`.
    fn answers(&self, ratio: f64) -> Vec<usize> {
        let classes = self.classes;
        let mut least = vec![0.0; classes];
        let mut before = vec![0usize; self.grades.len() * classes];
        for at in 0..self.grades.len() {
            let mut from = 0;
            let mut next = vec![0.0; classes];
            for answer in 0..classes {
                if least[answer] < least[from] {
                    from = answer;
                }
                before[at * classes + answer] = from;
                let cost = self.distances[at * classes + answer] - ratio * self.counts[at] * self.chance[answer];
                next[answer] = least[from] + cost;
            }
            least = next;
        }
        let mut answer = (0..classes).fold(0, |best, answer| if least[answer] < least[best] { answer } else { best });
        let mut answers = vec![0; self.grades.len()];
        for at in (0..self.grades.len()).rev() {
            answers[at] = answer;
            answer = before[at * classes + answer];
        }
        answers
    }

    /// Halfway between the last expected grade below and the first above; 0 and C - 1 where there
    /// is none.
    fn points(&self, answers: &[usize]) -> Vec<f64> {
        let last = (self.classes - 1) as f64;
        let point = |grade: usize| {
            let first = answers.partition_point(|&answer| answer < grade);
            let below = if first == 0 { 0.0 } else { self.grades[first - 1][1] };
            match self.grades.get(first) {
                Some([above, _]) => 0.5 * (below + above),
                // Nothing reaches beyond the last grade.
                None if below >= last => last + 0.5,
                None => 0.5 * (below + last),
            }
        };
        (1..self.classes).map(point).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    /// Predictions whose expected grade is `grades`, between two neighbouring classes.
    fn predictions(grades: &[f64], truth: &[usize], classes: usize) -> Predictions {
        let probabilities = Array2::from_shape_fn((grades.len(), classes), |(row, class)| {
            (1.0 - (grades[row] - class as f64).abs()).max(0.0)
        });
        Predictions::of_classes(truth.to_vec(), probabilities).unwrap()
    }

    /// Every way to cut the samples.
    fn largest_kappa(grades: &[f64], truth: &[usize], classes: usize) -> f64 {
        let mut sorted = grades.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        let mut places = vec![-1.0];
        places.extend(sorted.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])));
        places.push(classes as f64);
        let mut best = f64::NEG_INFINITY;
        let mut chosen = vec![0usize; classes - 1];
        loop {
            if chosen.is_sorted() {
                let points = chosen.iter().map(|&place| places[place]).collect();
                let found = kappa(&predictions(grades, truth, classes), truth, Some(Decision::CutPoints(points)));
                best = best.max(found.unwrap_or(f64::NEG_INFINITY));
            }
            let Some(at) = chosen.iter().position(|&place| place + 1 < places.len()) else { return best };
            chosen[at] += 1;
            chosen[..at].fill(0);
        }
    }

    #[test]
    fn shifted_grades_are_cut_where_they_change() {
        let grades = [0.1, 0.2, 0.3, 0.4, 0.9, 1.0, 1.1, 1.2];
        let truth = [0, 0, 1, 1, 2, 2, 2, 2];
        let found = cut_points(&predictions(&grades, &truth, 3));
        assert_eq!(found.kappa, Some(1.0));
        assert!(found.kappa_of_most_probable.unwrap() < 0.7);
        let expected = [0.25, 0.65];
        assert!(
            found.values.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12),
            "{found:?}"
        );
    }

    #[test]
    fn one_grade_alone_defines_no_cut_points() {
        let found = cut_points(&predictions(&[0.2, 0.7], &[1, 1], 3));
        assert!(found.values.is_empty());
        assert_eq!(found.undefined.as_deref(), Some("all samples are of one class"));
    }

    proptest! {
        // Every case tries all cuts.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_other_cut_points_reach_a_larger_kappa(
            samples in prop::collection::vec((0u8..=12, 0usize..4), 3..9)
        ) {
            let grades: Vec<f64> = samples.iter().map(|sample| f64::from(sample.0) / 4.0).collect();
            let truth: Vec<usize> = samples.iter().map(|sample| sample.1).collect();
            let found = cut_points(&predictions(&grades, &truth, 4));
            if found.undefined.is_none() {
                let best = largest_kappa(&grades, &truth, 4);
                prop_assert!((found.kappa.unwrap() - best).abs() < 1e-9, "{found:?}, {best} is possible");
                prop_assert!(found.values.is_sorted() && found.values.len() == 3);
            }
        }
    }
}
