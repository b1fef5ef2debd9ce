//! Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", ICML): scores
//! are divided by the number that minimises the log loss, so that probabilities mean what they say.
//! The most probable class stays the same.
//!
//! In: scores `[N, C]` with the truth; out: one temperature for classes that exclude each other,
//! two included (their softmax has one scale), one per label where labels are decided one by one:
//! each label is a two-class problem with a scale of its own.
//!
//! With `b = 1 / T` the log loss is the mean of `ln sum_k exp(b m_k)`, where `m_k` is how much the
//! score of class k exceeds that of the true one; it is convex in b, and its slope is found to be
//! zero by Newton's method between two ends. There is no minimum, and the temperature stays 1,
//! where every sample is on its right side (the loss falls for ever) or where the scores are no
//! better than chance. Samples of a class that the classifier never saw, and unknown labels, are
//! left out.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::predictions::{Predictions, Truth};

/// A temperature with what it was fitted on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// The label that it is of; none where all classes share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What scores are divided by, above 0.
    pub value: f64,
    /// Samples that it was fitted on.
    pub samples: usize,
    /// Why there is no best one; it is 1 then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

/// The ends between which `1 / T` is sought.
const ENDS: [f64; 2] = [1e-6, 1e6];
/// Scores that differ by more say that a class was never seen (see the intercepts of linear
/// probes).
const UNSEEN: f64 = 1e20;
/// Steps at most; halving alone takes fewer.
const STEPS: usize = 200;

/// The temperatures that minimise the log loss of `scores: [N, C]`, whose truth is that of
/// `predictions`.
pub fn temperatures(scores: ArrayView2<'_, f64>, predictions: &Predictions) -> Vec<Temperature> {
    let describe = |label: Option<&String>, margins: &Margins, fitted: Score| Temperature {
        label: label.cloned(),
        value: fitted.unwrap_or(1.0),
        samples: margins.rows(),
        undefined: fitted.err().map(|reason| reason.describe(&predictions.names)),
    };
    match &predictions.truth {
        Truth::Classes(truth) => {
            let margins = Margins::of_classes(scores, truth);
            vec![describe(None, &margins, margins.temperature())]
        }
        Truth::Labels(truth) => {
            let of_label = |(label, name): (usize, &String)| {
                let known: Vec<(f64, bool)> = scores
                    .column(label)
                    .iter()
                    .zip(truth.column(label))
                    .filter_map(|(z, y)| Some((*z, (*y)?)))
                    .collect();
                let margins = Margins::of_label(&known);
                let has = |value: bool| known.iter().any(|(_, present)| *present == value);
                let fitted = match (has(true), has(false)) {
                    (true, true) => margins.temperature(),
                    (false, true) => Err(Undefined::Absent(label)),
                    (true, false) => Err(Undefined::OnlyPositive(label)),
                    (false, false) => Err(Undefined::NoSamples),
                };
                describe(Some(name), &margins, fitted)
            };
            predictions.names.iter().enumerate().map(of_label).collect()
        }
    }
}

/// How much the scores of the other classes exceed that of the true one, sample by sample.
struct Margins {
    others: usize,
    values: Vec<f64>,
}

impl Margins {
    fn of_classes(scores: ArrayView2<'_, f64>, truth: &[usize]) -> Self {
        let others = scores.ncols().saturating_sub(1);
        let mut values = Vec::with_capacity(truth.len() * others);
        for (row, &class) in scores.rows().into_iter().zip(truth) {
            let start = values.len();
            values.extend((0..row.len()).filter(|&other| other != class).map(|other| row[other] - row[class]));
            if values[start..].iter().any(|margin| *margin > UNSEEN) {
                values.truncate(start);
            }
        }
        Margins { others, values }
    }

    /// Of a label against its absence, whose score is 0.
    fn of_label(known: &[(f64, bool)]) -> Self {
        let margin = |(score, present): &(f64, bool)| if *present { -score } else { *score };
        let values = known.iter().map(margin).filter(|margin| *margin <= UNSEEN).collect();
        Margins { others: 1, values }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.others.max(1)
    }

    /// First and second derivative of the mean log loss by `1 / T`.
    fn slope(&self, inverse: f64) -> [f64; 2] {
        let [mut first, mut second] = [0.0; 2];
        for margins in self.values.chunks_exact(self.others.max(1)) {
            let largest = margins.iter().fold(0.0f64, |most, margin| most.max(inverse * margin));
            // The true class has margin 0.
            let [mut total, mut mean, mut square] = [(-largest).exp(), 0.0, 0.0];
            for margin in margins {
                let power = (inverse * margin - largest).exp();
                if power > 0.0 {
                    total += power;
                    mean += power * margin;
                    square += power * margin * margin;
                }
            }
            first += mean / total;
            second += square / total - (mean / total).powi(2);
        }
        let rows = self.rows().max(1) as f64;
        [first / rows, second / rows]
    }

    fn temperature(&self) -> Score {
        if self.rows() == 0 {
            return Err(Undefined::NoSamples);
        }
        let [mut low, mut high] = ENDS;
        if self.slope(low)[0] >= 0.0 {
            return Err(Undefined::Uninformative);
        }
        if self.slope(high)[0] <= 0.0 {
            return Err(Undefined::Separated);
        }
        let mut inverse = 1.0;
        for _ in 0..STEPS {
            let [first, second] = self.slope(inverse);
            if first < 0.0 {
                low = inverse;
            } else {
                high = inverse;
            }
            let newton = inverse - first / second;
            let next = if newton >= low && newton <= high { newton } else { (low * high).sqrt() };
            if (next - inverse).abs() <= 1e-14 * inverse {
                break;
            }
            inverse = next;
        }
        Ok(1.0 / inverse)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::{Activation, predicted_classes};

    fn waves() -> Array2<f64> {
        Array2::from_shape_fn((40, 3), |(row, class)| 4.0 * (1.7 * row as f64 + 2.3 * class as f64).sin())
    }

    /// Three quarters of the waves' largest scores are right.
    fn classes() -> Vec<usize> {
        let decided = predicted_classes(waves().view());
        (0..40).map(|row| if row % 4 == 0 { row / 4 % 3 } else { decided[row] }).collect()
    }

    fn of_classes(scores: &Array2<f64>, truth: &[usize]) -> Temperature {
        let uniform = Array2::from_elem(scores.dim(), 1.0 / scores.ncols() as f64);
        let predictions = Predictions::of_classes(truth.to_vec(), uniform).unwrap();
        temperatures(scores.view(), &predictions).remove(0)
    }

    fn log_loss(scores: &Array2<f64>, truth: &[usize], temperature: f64) -> f64 {
        let probabilities = Activation::Softmax.tempered(scores.view(), &[temperature]);
        truth.iter().enumerate().map(|(row, &class)| -probabilities[[row, class]].ln()).sum::<f64>()
            / truth.len() as f64
    }

    // Reference: SciPy 1.x `brentq` on the derivative (xtol 1e-15) of the mean cross-entropy of `4
    // sin(1.7 i + 2.3 k) / T`; PyTorch's LBFGS on `cross_entropy(z / exp(u))` ends at 2.37037922833
    // (its last step is larger than ours).
    #[test]
    fn one_temperature_for_classes_is_the_reference_s() {
        let found = of_classes(&waves(), &classes());
        assert!((found.value - 2.370_379_228_474_720_7).abs() < 1e-10, "{found:?}");
        assert_eq!((found.samples, found.undefined), (40, None));
        assert!((log_loss(&waves(), &classes(), 1.0) - 0.920_404_998_736_047).abs() < 1e-12);
        assert!((log_loss(&waves(), &classes(), found.value) - 0.653_639_823_919_093_8).abs() < 1e-12);
    }

    // Reference: the same for the sigmoid of the first column; every seventh label is unknown and
    // left out.
    #[test]
    fn a_label_s_temperature_is_the_reference_s_and_unknown_labels_do_not_count() {
        let scores = waves();
        let truth = Array2::from_shape_fn((40, 3), |(row, label)| {
            let is_above = scores[[row, 0]] > 0.5;
            (label == 0 && row % 7 != 3).then_some(if row % 5 == 0 { !is_above } else { is_above })
        });
        let predictions = Predictions::of_labels(truth, Array2::from_elem((40, 3), 0.5)).unwrap();
        let found = temperatures(scores.view(), &predictions);
        assert!((found[0].value - 1.897_125_668_150_898_1).abs() < 1e-10, "{found:?}");
        assert_eq!((found[0].samples, found[0].label.as_deref()), (34, Some("0")));
        assert_eq!((found[1].value, found[1].undefined.as_deref()), (1.0, Some("there is no labelled sample")));
    }

    #[test]
    fn where_there_is_no_minimum_the_temperature_stays_one_and_says_why() {
        let right = of_classes(&waves(), &predicted_classes(waves().view()));
        assert_eq!(right.value, 1.0);
        assert_eq!(
            right.undefined.as_deref(),
            Some("every sample is on its right side, so that the log loss has no minimum")
        );
        let wrong: Vec<usize> = predicted_classes(waves().mapv(|score| -score).view());
        assert_eq!(of_classes(&waves(), &wrong).undefined.as_deref(), Some("the scores are no better than chance"));
    }

    #[test]
    fn samples_of_a_class_that_was_never_seen_are_left_out() {
        let (mut scores, mut truth) = (waves(), classes());
        scores.column_mut(2).fill(-1e30);
        truth.iter_mut().enumerate().for_each(|(row, class)| *class = if row < 5 { 2 } else { row % 2 });
        let found = of_classes(&scores, &truth);
        let rest: Vec<usize> = (5..40).collect();
        let seen = scores.select(ndarray::Axis(0), &rest);
        assert_eq!(found.samples, 35);
        assert_eq!(found.value, of_classes(&seen, &truth[5..]).value);
    }

    proptest! {
        #[test]
        fn the_slope_is_zero_and_decisions_stay(
            rows in prop::collection::vec((prop::array::uniform4(-30.0f64..30.0), 0usize..4), 2..60)
        ) {
            let scores = Array2::from_shape_fn((rows.len(), 4), |(row, class)| rows[row].0[class]);
            let truth: Vec<usize> = rows.iter().map(|row| row.1).collect();
            let found = of_classes(&scores, &truth);
            if found.undefined.is_none() {
                let [first, second] = Margins::of_classes(scores.view(), &truth).slope(1.0 / found.value);
                prop_assert!(first.abs() <= 1e-9 * second.max(1.0), "{first} {second}");
                let tempered = Activation::Softmax.tempered(scores.view(), &[found.value]);
                prop_assert_eq!(predicted_classes(tempered.view()), predicted_classes(scores.view()));
                let least = log_loss(&scores, &truth, found.value);
                for other in [0.5, 0.9, 1.1, 2.0] {
                    prop_assert!(least <= log_loss(&scores, &truth, other * found.value) + 1e-12);
                }
            }
        }
    }
}
