//! Scores, the last thing that a classifier computes before its probabilities, and what makes
//! probabilities of them.

use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// From scores to probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Over all classes of a sample.
    Softmax,
    /// Of each label by itself.
    Sigmoid,
}

impl Activation {
    /// Probabilities of `scores: [N, C]`.
    pub fn apply(self, mut scores: Array2<f64>) -> Array2<f64> {
        self.apply_to(scores.view_mut());
        scores
    }

    /// The same in place.
    pub(crate) fn apply_to(self, mut scores: ArrayViewMut2<'_, f64>) {
        match self {
            Activation::Softmax => scores.rows_mut().into_iter().for_each(softmax),
            Activation::Sigmoid => scores.mapv_inplace(|score| 1.0 / (1.0 + (-score).exp())),
        }
    }

    /// Probabilities of `scores: [N, C]` divided by temperatures: one for all columns, or one per
    /// column.
    pub fn tempered(self, scores: ArrayView2<'_, f64>, temperatures: &[f64]) -> Array2<f64> {
        let mut divided = scores.to_owned();
        for (column, mut values) in divided.columns_mut().into_iter().enumerate() {
            let temperature = temperatures.get(column).or(temperatures.first()).copied().unwrap_or(1.0);
            values /= temperature;
        }
        self.apply(divided)
    }
}

fn softmax(mut row: ndarray::ArrayViewMut1<'_, f64>) {
    let largest = row.iter().fold(f64::NEG_INFINITY, |most, &value| most.max(value));
    row.mapv_inplace(|value| (value - largest).exp());
    let total = row.sum();
    row.mapv_inplace(|value| value / total);
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn large_scores_do_not_overflow() {
        let found = Activation::Softmax.apply(array![[1000.0, 1000.0, -1000.0]]);
        assert_eq!(found, array![[0.5, 0.5, 0.0]]);
        assert_eq!(Activation::Sigmoid.apply(array![[0.0, -1000.0]]), array![[0.5, 0.0]]);
    }

    #[test]
    fn a_temperature_softens_and_one_per_column_divides_its_column() {
        let scores = array![[2.0, 0.0]];
        let soft = Activation::Softmax.tempered(scores.view(), &[2.0]);
        assert!((soft[[0, 0]] - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-15);
        let each = Activation::Sigmoid.tempered(array![[2.0, 2.0]].view(), &[1.0, 2.0]);
        assert_eq!(each, Activation::Sigmoid.apply(array![[2.0, 1.0]]));
    }
}
