//! Thresholds chosen on labelled samples: for class 1 of two, or for each label among the samples
//! that know it.
//!
//! Candidates lie halfway between neighbouring probabilities; of equally good ones the nearest to
//! one half is taken. A label without samples that have it, or that lack it, defines no threshold:
//! it stays at one half, with the reason.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::metrics::confusion::Decisions;
use crate::metrics::estimate::{Score, Undefined};
use crate::metrics::predictions::{Predictions, Truth};

/// What a threshold is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ThresholdRule {
    /// The largest harmonic mean of precision and recall.
    F1,
    /// The largest sum of sensitivity and specificity (Youden 1950).
    Youden,
    /// The largest specificity at this sensitivity or more.
    Sensitivity(f64),
    /// The largest sensitivity at this specificity or more.
    Specificity(f64),
    /// This threshold, whatever the samples say.
    Fixed(f64),
}

impl ThresholdRule {
    /// How a threshold came about, in words: `by f1`, `as given`.
    pub fn in_words(self) -> String {
        match self {
            ThresholdRule::Fixed(_) => "as given".to_owned(),
            rule => format!("by {rule}"),
        }
    }
}

impl FromStr for ThresholdRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = |text: &str| text.parse().ok().filter(|share: &f64| (0.0..=1.0).contains(share));
        let rule = match text.split_once('=') {
            Some(("sensitivity", least)) => share(least).map(ThresholdRule::Sensitivity),
            Some(("specificity", least)) => share(least).map(ThresholdRule::Specificity),
            Some(_) => None,
            None if text == "f1" => Some(ThresholdRule::F1),
            None if text == "youden" => Some(ThresholdRule::Youden),
            None => share(text).map(ThresholdRule::Fixed),
        };
        rule.ok_or_else(|| {
            "expected `f1`, `youden`, `sensitivity=SHARE`, `specificity=SHARE` or a number, 0 to 1".into()
        })
    }
}

impl fmt::Display for ThresholdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ThresholdRule::F1 => f.write_str("f1"),
            ThresholdRule::Youden => f.write_str("youden"),
            ThresholdRule::Sensitivity(least) => write!(f, "sensitivity={least}"),
            ThresholdRule::Specificity(least) => write!(f, "specificity={least}"),
            ThresholdRule::Fixed(threshold) => write!(f, "{threshold}"),
        }
    }
}

impl TryFrom<String> for ThresholdRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ThresholdRule> for String {
    fn from(rule: ThresholdRule) -> String {
        rule.to_string()
    }
}

/// The threshold of one class or label, and how it does on the samples that it was chosen on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassThreshold {
    /// The class, the second of two, or the label.
    pub name: String,
    /// The threshold, 0 to 1.
    pub value: f64,
    /// Samples whose label is known.
    pub samples: usize,
    /// Those of them that have it.
    pub positives: usize,
    /// Share of those that are found.
    pub sensitivity: Option<f64>,
    /// Share of the others that are left out.
    pub specificity: Option<f64>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// Why nothing could be chosen; the threshold is one half then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

/// The thresholds that a rule chooses: one for class 1 of two, or one per label. None for more
/// classes.
pub fn thresholds(predictions: &Predictions, rule: ThresholdRule) -> Vec<ClassThreshold> {
    let probabilities = predictions.probabilities();
    let labelled = |label: usize, truth: &dyn Fn(usize) -> Option<bool>| -> Vec<(f64, bool)> {
        (0..predictions.len()).filter_map(|row| Some((probabilities[[row, label]], truth(row)?))).collect()
    };
    match &predictions.truth {
        Truth::Classes(_) if predictions.classes() != 2 => Vec::new(),
        Truth::Classes(truth) => {
            let samples = labelled(1, &|row| Some(truth[row] == 1));
            vec![of_class(1, samples, rule, true, &predictions.names)]
        }
        Truth::Labels(truth) => (0..predictions.classes())
            .map(|label| {
                let samples = labelled(label, &|row| truth[[row, label]]);
                of_class(label, samples, rule, false, &predictions.names)
            })
            .collect(),
    }
}

fn of_class(
    class: usize,
    samples: Vec<(f64, bool)>,
    rule: ThresholdRule,
    at_equality: bool,
    names: &[String],
) -> ClassThreshold {
    let chosen = choose(class, &samples, rule);
    let value = chosen.unwrap_or(0.5);
    let mut decisions = Decisions::default();
    for &(probability, present) in &samples {
        let said = if at_equality { probability >= value } else { probability > value };
        decisions.count(present, said, 1.0);
    }
    ClassThreshold {
        name: names[class].clone(),
        value,
        samples: samples.len(),
        positives: decisions.support() as usize,
        sensitivity: decisions.recall(),
        specificity: decisions.specificity(),
        f1: decisions.f1(),
        undefined: chosen.err().map(|reason| reason.describe(names)),
    }
}

fn choose(class: usize, samples: &[(f64, bool)], rule: ThresholdRule) -> Score {
    if let ThresholdRule::Fixed(threshold) = rule {
        return Ok(threshold);
    }
    let positives = samples.iter().filter(|sample| sample.1).count() as f64;
    let negatives = samples.len() as f64 - positives;
    match (positives > 0.0, negatives > 0.0) {
        (true, true) => {}
        (false, true) => return Err(Undefined::Absent(class)),
        (true, false) => return Err(Undefined::OnlyPositive(class)),
        (false, false) => return Err(Undefined::NoSamples),
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let [mut hits, mut false_alarms] = [0.0; 2];
    let mut best: Option<([f64; 3], f64)> = None;
    // The threshold above sample `at`, behind those that are called positive.
    for at in 0..=sorted.len() {
        let above = if at == 0 { 1.0 } else { sorted[at - 1].0 };
        let below = sorted.get(at).map_or(0.0, |sample| sample.0);
        let threshold = 0.5 * (above + below);
        if below < threshold && threshold < above {
            let (sensitivity, specificity) = (hits / positives, 1.0 - false_alarms / negatives);
            let merit = match rule {
                ThresholdRule::Youden => Some([sensitivity + specificity, 0.0]),
                ThresholdRule::Sensitivity(least) => {
                    (sensitivity >= least - 1e-12).then_some([specificity, sensitivity])
                }
                ThresholdRule::Specificity(least) => {
                    (specificity >= least - 1e-12).then_some([sensitivity, specificity])
                }
                ThresholdRule::F1 | ThresholdRule::Fixed(_) => {
                    Some([2.0 * hits / (positives + hits + false_alarms), 0.0])
                }
            };
            let rank = merit.map(|[first, second]| [first, second, -(threshold - 0.5).abs()]);
            if let Some(rank) = rank.filter(|rank| best.as_ref().is_none_or(|(most, _)| is_better(rank, most))) {
                best = Some((rank, threshold));
            }
        }
        if let Some(&(_, present)) = sorted.get(at) {
            hits += f64::from(u8::from(present));
            false_alarms += f64::from(u8::from(!present));
        }
    }
    best.map(|(_, threshold)| threshold).ok_or(Undefined::OutOfReach)
}

/// By the first merit that differs by more than rounding.
fn is_better(rank: &[f64; 3], most: &[f64; 3]) -> bool {
    let differing = rank.iter().zip(most).find(|(one, other)| (**one - **other).abs() > 1e-12);
    differing.is_some_and(|(one, other)| one > other)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use proptest::prelude::*;

    use super::*;

    fn binary(samples: &[(f64, bool)], rule: ThresholdRule) -> ClassThreshold {
        let probabilities =
            Array2::from_shape_fn(
                (samples.len(), 2),
                |(row, class)| if class == 1 { samples[row].0 } else { 1.0 - samples[row].0 },
            );
        let truth = samples.iter().map(|sample| usize::from(sample.1)).collect();
        thresholds(&Predictions::of_classes(truth, probabilities).unwrap(), rule).remove(0)
    }

    const RARE: [(f64, bool); 8] = [
        (0.05, false),
        (0.1, false),
        (0.15, false),
        (0.2, true),
        (0.25, false),
        (0.3, true),
        (0.4, true),
        (0.45, false),
    ];

    #[test]
    fn each_rule_finds_its_threshold() {
        // By hand: hits and false alarms above .175 are 3 and 2, above .275 they are 2 and 1, above
        // .475 none.
        assert_eq!(binary(&RARE, ThresholdRule::F1).value, 0.175);
        assert_eq!(binary(&RARE, ThresholdRule::Youden).value, 0.175);
        assert_eq!(binary(&RARE, ThresholdRule::Sensitivity(0.6)).value, 0.275);
        assert_eq!(binary(&RARE, ThresholdRule::Sensitivity(1.0)).value, 0.175);
        assert_eq!(binary(&RARE, ThresholdRule::Specificity(0.8)).value, 0.275);
        let fixed = binary(&RARE, ThresholdRule::Fixed(0.42));
        assert_eq!((fixed.value, fixed.sensitivity, fixed.specificity), (0.42, Some(0.0), Some(0.8)));
        assert_eq!((fixed.samples, fixed.positives), (8, 3));
    }

    #[test]
    fn a_label_that_nobody_has_keeps_one_half_and_says_why() {
        let truth = array![[Some(true), None, Some(false)], [Some(false), None, Some(false)]];
        let predictions = Predictions::of_labels(truth, array![[0.9, 0.1, 0.2], [0.3, 0.8, 0.4]]).unwrap();
        let found = thresholds(&predictions, ThresholdRule::F1);
        let of = |label: usize| (found[label].value, found[label].samples, found[label].undefined.as_deref());
        assert_eq!(of(0), (0.6, 2, None));
        assert_eq!(of(1), (0.5, 0, Some("there is no labelled sample")));
        assert_eq!(of(2), (0.5, 2, Some("no sample has `2`")));
    }

    #[test]
    fn rules_come_back_as_they_are_written() {
        for text in ["f1", "youden", "sensitivity=0.95", "specificity=0.9", "0.3"] {
            assert_eq!(text.parse::<ThresholdRule>().unwrap().to_string(), text);
        }
        for text in ["F1", "sensitivity", "sensitivity=1.5", "recall=0.9", "2", ""] {
            assert!(text.parse::<ThresholdRule>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_other_threshold_does_better(samples in prop::collection::vec((1u8..100, any::<bool>()), 2..40)) {
            let samples: Vec<(f64, bool)> = samples.iter().map(|sample| (f64::from(sample.0) / 100.0, sample.1)).collect();
            let [f1, youden, demanded] =
                [ThresholdRule::F1, ThresholdRule::Youden, ThresholdRule::Sensitivity(0.9)].map(|rule| binary(&samples, rule));
            if f1.undefined.is_none() {
                let sum = |found: &ClassThreshold| found.sensitivity.unwrap() + found.specificity.unwrap();
                prop_assert!(demanded.sensitivity.unwrap() >= 0.9);
                for step in 0..=50 {
                    let other = binary(&samples, ThresholdRule::Fixed(f64::from(step) / 50.0));
                    prop_assert!(f1.f1.unwrap() >= other.f1.unwrap_or(0.0) - 1e-12);
                    prop_assert!(sum(&youden) >= sum(&other) - 1e-12);
                    prop_assert!(other.sensitivity.unwrap() < 0.9 || demanded.specificity >= other.specificity);
                }
            }
        }
    }
}
