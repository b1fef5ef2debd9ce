//! Linear probe: multinomial logistic regression, and one logistic regression per label for
//! multi-label tasks.
//!
//! In: features `[N, D] f32`; targets are class indices `Array1<usize>`, or labels
//! `Array2<Option<bool>>` of which `None` is unknown and left out; optional sample weights. Out:
//! [`LinearModel`] with probabilities `[N, C] f64`.
//!
//! The objective is scikit-learn's : `c * sum of losses + 1/2 |W|^2`, intercepts not penalised, one
//! row of coefficients per class; two classes are one logistic regression. Fitted means that the
//! largest absolute entry of the gradient of the objective, divided by `c` times the sum of the
//! sample weights, is at most the tolerance: the same quantity that scikit-learn's `lbfgs` compares
//! with its `tol`. Refused: fewer than two classes, values that are not finite.

use linfa::DatasetBase;
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Axis, Data, Ix2};

use crate::error::ProbeError;
use crate::probe::linear_model::{ABSENT, Form, LinearModel, Outputs};
use crate::probe::linear_params::LinearValidParams;
use crate::probe::objective::Targets;
use crate::probe::regularization_path::{RegPath, TrainingLabels};

impl LinearValidParams {
    /// A path over several penalties for class targets; each fit starts from the ones before.
    ///
    /// # Errors
    /// [`ProbeError`] when lengths differ, a value is not finite, or there are fewer than two
    /// classes.
    pub fn class_path(
        &self,
        samples: ArrayView2<'_, f32>,
        targets: &Array1<usize>,
        weights: Option<&[f32]>,
    ) -> Result<RegPath, ProbeError> {
        check_samples(samples, targets.len(), weights)?;
        let classes = self.least_classes().max(targets.iter().max().map_or(0, |last| last + 1));
        let mut counts = vec![0usize; classes];
        targets.iter().for_each(|&class| counts[class] += 1);
        let present: Vec<usize> = (0..classes).filter(|&class| counts[class] > 0).collect();
        if present.len() < 2 {
            let class = present.first().map_or_else(|| "none".to_owned(), usize::to_string);
            return Err(ProbeError::OneClass { samples: targets.len(), class });
        }
        let position = |class: &usize| present.partition_point(|other| other < class);
        let (targets, form) = if present.len() == 2 {
            let sign = |class: &usize| if *class == present[1] { 1i8 } else { -1 };
            let column: Vec<i8> = targets.iter().map(sign).collect();
            (Targets::Signs(Array1::from(column).insert_axis(Axis(1))), Form::Two)
        } else {
            (Targets::Classes(targets.iter().map(position).collect()), Form::Several)
        };
        let outputs = Outputs { form, present, classes };
        Ok(RegPath::new(self, samples, TrainingLabels { targets, weights, outputs }))
    }

    /// The same for label targets `[N, C]`, where `None` is unknown.
    ///
    /// # Errors
    /// [`ProbeError`] when lengths differ, a value is not finite, or no label has both values.
    pub fn label_path(
        &self,
        samples: ArrayView2<'_, f32>,
        targets: &Array2<Option<bool>>,
        weights: Option<&[f32]>,
    ) -> Result<RegPath, ProbeError> {
        check_samples(samples, targets.nrows(), weights)?;
        let has = |column: usize, value: bool| targets.column(column).iter().any(|&label| label == Some(value));
        let present: Vec<usize> = (0..targets.ncols()).filter(|&k| has(k, true) && has(k, false)).collect();
        if present.is_empty() {
            return Err(ProbeError::OneClass { samples: targets.nrows(), class: "every label".into() });
        }
        let sign = |label: Option<bool>| label.map_or(0i8, |present| if present { 1 } else { -1 });
        let signs = targets.select(Axis(1), &present).mapv(sign);
        let outputs = Outputs { form: Form::Labels, present, classes: targets.ncols() };
        let mut path = RegPath::new(self, samples, TrainingLabels { targets: Targets::Signs(signs), weights, outputs });
        // A label that is always the same among the known ones is predicted to stay so; one never
        // known is a coin.
        for label in 0..targets.ncols() {
            match (has(label, true), has(label, false)) {
                (true, false) => path.constant.push((label, -ABSENT)),
                (false, true) => path.constant.push((label, ABSENT)),
                _ => {}
            }
        }
        Ok(path)
    }
}

pub(super) fn check_samples(
    samples: ArrayView2<'_, f32>,
    targets: usize,
    weights: Option<&[f32]>,
) -> Result<(), ProbeError> {
    let expected = samples.nrows();
    if targets != expected {
        return Err(ProbeError::Length { what: "targets", found: targets, expected });
    }
    if let Some(weights) = weights {
        if weights.len() != expected {
            return Err(ProbeError::Length { what: "weights", found: weights.len(), expected });
        }
        if let Some(weight) = weights.iter().find(|weight| !(**weight > 0.0 && weight.is_finite())) {
            let (found, expected) = (weight.to_string(), "a number above zero");
            return Err(ProbeError::Parameter { name: "weight", found, expected });
        }
    }
    match samples.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, feature), &value)) => Err(ProbeError::NotFinite { row, id: row.to_string(), feature, value }),
        None => Ok(()),
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array1<usize>, ProbeError> for LinearValidParams {
    type Object = LinearModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array1<usize>>) -> Result<LinearModel, ProbeError> {
        self.class_path(dataset.records.view(), &dataset.targets, dataset.weights())?.fit(self.inverse_penalty())
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array2<Option<bool>>, ProbeError> for LinearValidParams {
    type Object = LinearModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array2<Option<bool>>>) -> Result<LinearModel, ProbeError> {
        self.label_path(dataset.records.view(), &dataset.targets, dataset.weights())?.fit(self.inverse_penalty())
    }
}

/// Predicts probabilities `[N, C]`. As the trait cannot fail, features of another length than
/// fitted give NaN; use [`LinearModel::probabilities`] to have them refused.
impl<D: Data<Elem = f32>> PredictInplace<ArrayBase<D, Ix2>, Array2<f64>> for LinearModel {
    fn predict_inplace<'a>(&'a self, samples: &'a ArrayBase<D, Ix2>, out: &mut Array2<f64>) {
        match self.probabilities(samples.view()) {
            Ok(probabilities) => *out = probabilities,
            Err(_) => out.fill(f64::NAN),
        }
    }

    fn default_target(&self, samples: &ArrayBase<D, Ix2>) -> Array2<f64> {
        Array2::zeros((samples.nrows(), self.coefficients().nrows()))
    }
}
