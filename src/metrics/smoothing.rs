//! The log loss against targets that few samples allow.

use ndarray::ArrayView2;

use crate::metrics::calibration::surprise;
use crate::metrics::predictions::{Predictions, Truth};

/// The mean log loss against Platt's targets (1999, "Probabilistic Outputs for Support Vector
/// Machines", section 2.2): of a class that `n` samples had where the probabilities were fitted,
/// the target is `(n + 1) / (n + 2)`, and the rest is spread over the other classes.
///
/// Unlike the log loss it has its lowest value at probabilities below 1, also where every sample is
/// right: of few samples that a classifier separates, the more certain one is not the better one.
/// `fitted` holds, per class, how many samples without and with it were fitted, `[C, 2]`. `None`
/// without any known label.
pub fn smoothed_log_loss(predictions: &Predictions, fitted: ArrayView2<'_, usize>) -> Option<f64> {
    let probabilities = predictions.probabilities();
    let (mut sum, mut count) = (0.0, 0usize);
    let mut add = |own: f64, others: f64, samples: usize| {
        let rest = 1.0 / (samples as f64 + 2.0);
        sum += (1.0 - rest) * own + rest * others;
        count += 1;
    };
    match &predictions.truth {
        Truth::Classes(truth) => {
            for (row, &class) in probabilities.rows().into_iter().zip(truth) {
                let own = surprise(row[class]);
                let others = row.iter().map(|&p| surprise(p)).sum::<f64>() - own;
                add(own, others / (row.len() - 1).max(1) as f64, fitted[[class, 1]]);
            }
        }
        Truth::Labels(truth) => {
            for ((labels, column), fitted) in
                truth.columns().into_iter().zip(probabilities.columns()).zip(fitted.rows())
            {
                for (label, &p) in labels.iter().zip(column) {
                    let Some(present) = *label else { continue };
                    let own = if present { p } else { 1.0 - p };
                    add(surprise(own), surprise(1.0 - own), fitted[usize::from(present)]);
                }
            }
        }
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn certainty_costs_although_all_is_right() {
        let fitted = array![[2, 2], [2, 2]];
        let of_classes = |p: f64| Predictions::of_classes(vec![0, 1], array![[p, 1.0 - p], [1.0 - p, p]]).unwrap();
        let loss = |p: f64| smoothed_log_loss(&of_classes(p), fitted.view()).unwrap();
        // Two samples of a class were fitted: the target is 3 / 4.
        assert!(loss(0.75) < loss(0.7) && loss(0.75) < loss(0.8) && loss(0.999) > loss(0.6));
        assert!((loss(0.9) + 0.75 * 0.9f64.ln() + 0.25 * 0.1f64.ln()).abs() < 1e-12);
        // A single label says the same of presence and absence; what is not known counts for
        // nothing.
        let truth = Array2::from_shape_vec((3, 1), vec![Some(true), Some(false), None]).unwrap();
        let labels = Predictions::of_labels(truth, array![[0.9], [0.1], [0.5]]).unwrap();
        assert!((smoothed_log_loss(&labels, array![[2, 2]].view()).unwrap() - loss(0.9)).abs() < 1e-12);
    }
}
