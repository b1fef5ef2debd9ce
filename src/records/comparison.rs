//! Two classifiers on the same test samples, and one classifier on parts of its test samples.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ndarray::Axis;
use serde::Serialize;

use crate::data::Label;
use crate::error::{ProbeError, Result};
use crate::metrics::{Bootstrap, DeLong, Difference, Estimate, Evaluation, Metric, delong, difference, evaluate};
use crate::records::predictions::PredictionTable;

/// How much better the second classifier is than the first.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Samples that both predict.
    pub samples: usize,
    /// Samples that only the first predicts.
    pub only_first: usize,
    /// Samples that only the second predicts.
    pub only_second: usize,
    /// Whether whole groups are the independent units.
    pub by_group: bool,
    /// The metrics of each on the common samples, with intervals.
    pub first: BTreeMap<Metric, Estimate>,
    /// The same of the second.
    pub second: BTreeMap<Metric, Estimate>,
    /// Second minus first, with intervals of the paired differences.
    pub differences: BTreeMap<Metric, Difference>,
    /// DeLong's test of the areas under the ROC curves: of class 1 of two, or of each class or
    /// label against the rest.
    pub delong: Vec<(String, DeLong)>,
    /// What makes the intervals wide or rough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Compares two classifiers on the samples that both predict.
///
/// # Errors
/// [`ProbeError::Incomparable`] where classes or truths differ or no sample is common;
/// `MetricError`.
pub fn compare(first: &PredictionTable, second: &PredictionTable, bootstrap: &Bootstrap) -> Result<Comparison> {
    let refuse = |problem: String| ProbeError::Incomparable { problem };
    if first.classes != second.classes {
        let problem = format!("the classes are {:?} and {:?}", first.classes, second.classes);
        return Err(refuse(problem).into());
    }
    let places: HashMap<&str, usize> = second.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
    let pairs: Vec<(usize, usize)> =
        first.ids.iter().enumerate().filter_map(|(row, id)| Some((row, *places.get(id.as_str())?))).collect();
    if pairs.is_empty() {
        return Err(refuse("they have no sample in common".into()).into());
    }
    if let Some((row, _)) = pairs.iter().find(|(a, b)| first.truth[*a] != second.truth[*b]) {
        return Err(refuse(format!("the truth of `{}` differs", first.ids[*row])).into());
    }
    let mut a = first.rows(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let mut b = second.rows(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    // What is resampled are the groups that either of them knows.
    a.groups.iter_mut().zip(&b.groups).for_each(|(group, other)| *group = group.take().or_else(|| other.clone()));
    b.groups.clone_from(&a.groups);
    let (left, right) = (a.predictions()?, b.predictions()?);
    let (of_left, of_right) = (evaluate(&left, bootstrap), evaluate(&right, bootstrap));
    let mut warnings = of_left.warnings;
    warnings.extend(of_right.warnings.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>());
    let (of_first, of_second) = (of_left.metrics, of_right.metrics);
    let mut differences = difference(&left, &right, bootstrap)?;
    // Metrics that stand in for undefined ones differ where those do, too: they are told only where
    // they are reported.
    differences.retain(|metric, _| of_first.contains_key(metric) || of_second.contains_key(metric));
    Ok(Comparison {
        samples: pairs.len(),
        only_first: first.ids.len() - pairs.len(),
        only_second: second.ids.len() - pairs.len(),
        by_group: a.groups.iter().any(Option::is_some),
        first: of_first,
        second: of_second,
        differences,
        delong: areas(&a, &b),
        warnings,
    })
}

/// DeLong's test class by class.
fn areas(a: &PredictionTable, b: &PredictionTable) -> Vec<(String, DeLong)> {
    let classes: Vec<usize> =
        if a.classes.len() == 2 && !a.is_multi_label() { vec![1] } else { (0..a.classes.len()).collect() };
    let of_class = |class: usize| {
        let known = |row: usize| match &a.truth[row] {
            Label::Class(truth) => Some(*truth == class),
            Label::Classes(known) => known.get(class).copied().flatten(),
            Label::Unknown => None,
        };
        let rows: Vec<(usize, bool)> = (0..a.ids.len()).filter_map(|row| Some((row, known(row)?))).collect();
        let truth: Vec<bool> = rows.iter().map(|row| row.1).collect();
        // A sample without a group is one of its own.
        let group = |row: usize| a.groups[row].as_deref().ok_or(row);
        let known: BTreeSet<std::result::Result<&str, usize>> = rows.iter().map(|(row, _)| group(*row)).collect();
        let numbers: BTreeMap<std::result::Result<&str, usize>, usize> =
            known.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
        let groups: Vec<usize> = rows.iter().map(|(row, _)| numbers[&group(*row)]).collect();
        let groups = a.groups.iter().any(Option::is_some).then_some(groups.as_slice());
        let [first, second] = [a, b]
            .map(|table| -> Vec<f64> { rows.iter().map(|(row, _)| table.probabilities[[*row, class]]).collect() });
        Some((a.classes[class].clone(), delong(&truth, &first, &second, groups)?))
    };
    classes.into_iter().filter_map(of_class).collect()
}

/// A part of the test samples.
#[derive(Clone, Debug, Serialize)]
pub struct Subgroup {
    /// What its samples have in common; `None` for those of which it is not known.
    pub value: Option<String>,
    /// How the classifier does on them.
    pub evaluation: Evaluation,
}

impl Subgroup {
    /// `sex F`, `sex unknown`; `all` where samples are not divided by anything.
    pub fn name(&self, by: Option<&str>) -> String {
        match (by, &self.value) {
            (None, _) => "all".to_owned(),
            (Some(by), Some(value)) => format!("{by} {value}"),
            (Some(by), None) => format!("{by} unknown"),
        }
    }
}

/// Evaluates a classifier on each part of its test samples; `values` has one entry per sample of
/// the table.
///
/// # Errors
/// `MetricError` where the predictions of a part cannot be evaluated.
pub fn by_subgroup(table: &PredictionTable, values: &[Option<String>], bootstrap: &Bootstrap) -> Result<Vec<Subgroup>> {
    let kinds: BTreeSet<&Option<String>> = values.iter().collect();
    let part = |value: &Option<String>| -> Result<Subgroup> {
        let rows: Vec<usize> = (0..values.len()).filter(|&row| values[row] == *value).collect();
        let evaluation = evaluate(&table.rows(&rows).predictions()?, bootstrap);
        Ok(Subgroup { value: value.clone(), evaluation })
    };
    kinds.into_iter().map(part).collect()
}

impl PredictionTable {
    /// Some of the samples, in the order of `rows`.
    pub fn rows(&self, rows: &[usize]) -> PredictionTable {
        PredictionTable {
            classes: self.classes.clone(),
            ids: rows.iter().map(|&row| self.ids[row].clone()).collect(),
            truth: rows.iter().map(|&row| self.truth[row].clone()).collect(),
            groups: rows.iter().map(|&row| self.groups[row].clone()).collect(),
            probabilities: self.probabilities.select(Axis(0), rows),
            decision: self.decision.clone(),
            is_ordered: self.is_ordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn table(right: impl Fn(usize) -> bool) -> PredictionTable {
        PredictionTable {
            classes: vec!["benign".into(), "malignant".into()],
            ids: (0..60).map(|row| format!("{row}.png")).collect(),
            truth: (0..60).map(|row| Label::Class(row % 2)).collect(),
            groups: (0..60).map(|row| Some(format!("patient {}", row / 3))).collect(),
            probabilities: Array2::from_shape_fn((60, 2), |(row, class)| {
                let confident = 0.7 + 0.001 * row as f64;
                if (class == row % 2) == right(row) { confident } else { 1.0 - confident }
            }),
            decision: None,
            is_ordered: false,
        }
    }

    #[test]
    fn samples_are_paired_by_id_and_resampled_by_group() {
        let better = table(|row| row % 10 != 0);
        let worse = table(|row| row % 3 != 0);
        let shuffled = better.rows(&(0..50).rev().collect::<Vec<_>>());
        let found = compare(&worse, &shuffled, &Bootstrap::default()).unwrap();
        assert_eq!((found.samples, found.only_first, found.only_second, found.by_group), (50, 10, 0, true));
        let accuracy = &found.differences[&Metric::Accuracy];
        assert!((accuracy.value.unwrap() - (45.0 - 33.0) / 50.0).abs() < 1e-12, "{accuracy:?}");
        assert_eq!(found.delong.len(), 1);
        assert!(found.delong[0].1.difference > 0.0);
    }

    #[test]
    fn differences_are_told_of_the_metrics_that_are_reported() {
        let certain = |row: usize, class: usize| if class == row % 3 { 0.6 } else { 0.2 };
        let three = PredictionTable {
            classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
            truth: (0..60).map(|row| Label::Class(row % 3)).collect(),
            probabilities: Array2::from_shape_fn((60, 3), |(row, class)| certain(row, class)),
            ..table(|_| true)
        };
        let found = compare(&three, &three, &Bootstrap::default()).unwrap();
        // The difference of calibration errors is that of `ece`.
        let reported = found.first.keys().filter(|metric| **metric != Metric::EceDebiased);
        assert!(found.differences.keys().eq(reported), "{:?}", found.differences.keys());
    }

    #[test]
    fn other_truths_are_refused_and_parts_are_evaluated() {
        let (first, mut second) = (table(|_| true), table(|row| row < 30));
        let values: Vec<Option<String>> =
            (0..60).map(|row| Some(if row < 30 { "F" } else { "M" }.to_owned())).collect();
        let parts = by_subgroup(&second, &values, &Bootstrap::default()).unwrap();
        let accuracies: Vec<_> = parts.iter().map(|part| part.evaluation.metrics[&Metric::Accuracy].value).collect();
        assert_eq!(accuracies, [Some(1.0), Some(0.0)]);
        second.truth[3] = Label::Class(0);
        assert!(
            compare(&first, &second, &Bootstrap::default())
                .unwrap_err()
                .to_string()
                .contains("the truth of `3.png` differs")
        );
    }
}
