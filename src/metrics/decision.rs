//! From probabilities to decisions, other than the most probable class: thresholds, and cut-points
//! on the expected grade.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// How probabilities are decided. Without one, the most probable class is the answer, and labels
/// are present above one half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Two classes, one number: class 1 from this probability of class 1 on. Labels, one number
    /// each: present above it.
    Thresholds(Vec<f64>),
    /// Ordered classes, C - 1 numbers, ascending: the answer is the number of those that the
    /// expected grade, the mean of the class numbers under the probabilities, reaches.
    CutPoints(Vec<f64>),
}

impl Decision {
    /// Above which probability label `label` is present.
    pub fn threshold(decision: Option<&Decision>, label: usize) -> f64 {
        match decision {
            Some(Decision::Thresholds(thresholds)) => thresholds.get(label).copied().unwrap_or(0.5),
            Some(Decision::CutPoints(_)) | None => 0.5,
        }
    }

    /// The class decided for in each row of `probabilities: [N, C]`.
    pub fn classes(decision: Option<&Decision>, probabilities: ArrayView2<'_, f64>) -> Vec<usize> {
        match decision {
            Some(Decision::Thresholds(_)) if probabilities.ncols() == 2 => {
                let least = Self::threshold(decision, 0);
                probabilities.column(1).iter().map(|&probability| usize::from(probability >= least)).collect()
            }
            Some(Decision::CutPoints(points)) => {
                let grade = |expected: f64| points.iter().filter(|&&point| expected >= point).count();
                expected_grades(probabilities).into_iter().map(grade).collect()
            }
            Some(Decision::Thresholds(_)) | None => predicted_classes(probabilities),
        }
    }

    /// Whether it suits predictions of `classes` classes, or of labels.
    pub(super) fn fits(&self, classes: usize, is_of_labels: bool) -> bool {
        match self {
            Decision::Thresholds(thresholds) if is_of_labels => thresholds.len() == classes,
            Decision::Thresholds(thresholds) => classes == 2 && thresholds.len() == 1,
            Decision::CutPoints(points) => !is_of_labels && points.len() + 1 == classes && points.is_sorted(),
        }
    }
}

/// The predicted class of each row of probabilities: the first of the largest; of two classes,
/// class 1 from one half on.
pub fn predicted_classes(probabilities: ArrayView2<'_, f64>) -> Vec<usize> {
    let binary = probabilities.ncols() == 2;
    let first_of_largest = |row: ndarray::ArrayView1<'_, f64>| {
        let mut best = 0;
        for (class, &value) in row.iter().enumerate() {
            if value > row[best] || (binary && value == row[best]) {
                best = class;
            }
        }
        best
    };
    probabilities.rows().into_iter().map(first_of_largest).collect()
}

/// The mean of the class numbers under the probabilities, row by row: 0 to C - 1.
pub fn expected_grades(probabilities: ArrayView2<'_, f64>) -> Vec<f64> {
    let expected = |row: ndarray::ArrayView1<'_, f64>| row.iter().enumerate().map(|(grade, p)| grade as f64 * p).sum();
    probabilities.rows().into_iter().map(expected).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn thresholds_and_cut_points_decide_otherwise_than_the_largest_probability() {
        let two = array![[0.7, 0.3], [0.75, 0.25], [0.4, 0.6]];
        assert_eq!(Decision::classes(Some(&Decision::Thresholds(vec![0.3])), two.view()), [1, 0, 1]);
        let graded = array![[0.4, 0.3, 0.3], [0.1, 0.1, 0.8], [0.9, 0.1, 0.0]];
        assert_eq!(Decision::classes(None, graded.view()), [0, 2, 0]);
        assert_eq!(Decision::classes(Some(&Decision::CutPoints(vec![0.5, 1.5])), graded.view()), [1, 2, 0]);
        // A grade that is never answered has the same point as the next.
        assert_eq!(Decision::classes(Some(&Decision::CutPoints(vec![0.85, 0.85])), graded.view()), [2, 2, 0]);
    }
}
