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

use linfa::traits::{Fit, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2, ArrayBase, ArrayView2, Axis, Data, Ix2, s};
use rayon::prelude::*;

use crate::error::ProbeError;
use crate::metrics::Activation;
use crate::probe::gemm::multiply;
use crate::probe::objective::Targets;
use crate::probe::regularization_path::{RegPath, TrainingLabels};
use crate::probe::scale::Scaler;
use crate::records::{FitReport, Scale};

/// Largest entry of the gradient of a fitted probe, unless another is asked for: 1e-6, a hundredth
/// of scikit-learn's default.
pub const DEFAULT_TOLERANCE: f64 = 1e-6;
/// The same where samples x features x classes are more than 2^28 (70,000 x 1,280 x 10, say):
/// scikit-learn's default.
pub const LARGE_TOLERANCE: f64 = 1e-4;
/// Values of features, times classes, from which a problem is large.
const LARGE: f64 = (1u64 << 28) as f64;
/// Steps of the solver for one penalty, unless another number is asked for.
pub const DEFAULT_ITERATIONS: usize = 1000;
/// Intercept of a class without any sample: its probability is zero.
const ABSENT: f64 = -1e30;
/// Rows that are predicted at once.
const BLOCK: usize = 256;

/// Hyper-parameters of a linear probe, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearParams(LinearValidParams);

/// Hyper-parameters of a linear probe.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearValidParams {
    c: f64,
    scale: Scale,
    tolerance: f64,
    iterations: usize,
    classes: Option<usize>,
}

/// The tolerance for a problem of some size, unless another is asked for.
pub(super) fn default_tolerance(samples: usize, features: usize, classes: usize) -> f64 {
    let size = samples as f64 * features as f64 * classes as f64;
    if size > LARGE { LARGE_TOLERANCE } else { DEFAULT_TOLERANCE }
}

impl Default for LinearParams {
    fn default() -> Self {
        LinearParams::new()
    }
}

impl LinearParams {
    /// `c` 1, standardised features, tolerance 1e-6, as many classes as the targets have.
    pub fn new() -> Self {
        LinearParams(LinearValidParams {
            c: 1.0,
            scale: Scale::Standard,
            tolerance: DEFAULT_TOLERANCE,
            iterations: DEFAULT_ITERATIONS,
            classes: None,
        })
    }

    /// Inverse strength of the penalty, > 0.
    pub fn c(mut self, c: f64) -> Self {
        self.0.c = c;
        self
    }

    /// What is done to the features.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.0.scale = scale;
        self
    }

    /// Largest absolute entry of the gradient at the end, > 0.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.0.tolerance = tolerance;
        self
    }

    /// Steps of the solver at most, >= 1.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.0.iterations = iterations;
        self
    }

    /// Number of classes, where the targets may lack the last ones.
    pub fn classes(mut self, classes: usize) -> Self {
        self.0.classes = Some(classes);
        self
    }
}

impl ParamGuard for LinearParams {
    type Checked = LinearValidParams;
    type Error = ProbeError;

    fn check_ref(&self) -> Result<&LinearValidParams, ProbeError> {
        check_positive("c", self.0.c)?;
        check_positive("tolerance", self.0.tolerance)?;
        if self.0.iterations == 0 {
            return Err(ProbeError::Parameter { name: "iterations", found: "0".into(), expected: "at least 1" });
        }
        Ok(&self.0)
    }

    fn check(self) -> Result<LinearValidParams, ProbeError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

pub(super) fn check_positive(name: &'static str, value: f64) -> Result<(), ProbeError> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(ProbeError::Parameter { name, found: value.to_string(), expected: "a number above zero" })
}

impl LinearValidParams {
    /// Largest absolute entry of the gradient at the end.
    pub(super) fn gradient_tolerance(&self) -> f64 {
        self.tolerance
    }

    /// What is done to the features.
    pub(super) fn features_scale(&self) -> Scale {
        self.scale
    }

    /// Steps at most.
    pub(super) fn max_iterations(&self) -> usize {
        self.iterations
    }

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
        let classes = self.classes.unwrap_or(0).max(targets.iter().max().map_or(0, |last| last + 1));
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

/// How rows of coefficients become columns of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One row per class, softmax.
    Several,
    /// One row for two classes, sigmoid: it stands for half of itself with both signs under a
    /// softmax.
    Two,
    /// One row per label, sigmoid.
    Labels,
}

/// The columns of a model: those that are fitted, and how many there are in all.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outputs {
    pub form: Form,
    pub present: Vec<usize>,
    pub classes: usize,
}

/// A fitted linear probe.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearModel {
    scaler: Scaler,
    /// `[C, D]`, for scaled features.
    coefficients: Array2<f64>,
    /// `[C]`.
    intercepts: Array1<f64>,
    activation: Activation,
    report: FitReport,
}

impl LinearModel {
    /// The model of a solution `[rows, D + 1]`, intercepts last.
    pub(super) fn new(scaler: Scaler, solution: ArrayView2<'_, f64>, outputs: &Outputs, report: FitReport) -> Self {
        let features = solution.ncols() - 1;
        let labels = outputs.form == Form::Labels;
        let mut coefficients = Array2::zeros((outputs.classes, features));
        let mut intercepts = Array1::from_elem(outputs.classes, if labels { 0.0 } else { ABSENT });
        for (position, &class) in outputs.present.iter().enumerate() {
            let (row, factor) = match outputs.form {
                Form::Two => (0, if position == 0 { -0.5 } else { 0.5 }),
                Form::Several | Form::Labels => (position, 1.0),
            };
            coefficients.row_mut(class).assign(&solution.slice(s![row, ..features]));
            coefficients.row_mut(class).mapv_inplace(|value| value * factor);
            intercepts[class] = factor * solution[[row, features]];
        }
        let activation = if labels { Activation::Sigmoid } else { Activation::Softmax };
        LinearModel { scaler, coefficients, intercepts, activation, report }
    }

    /// Labels that are not fitted, with their intercepts.
    pub(super) fn set_constant(&mut self, constant: &[(usize, f64)]) {
        constant.iter().for_each(|&(label, intercept)| self.intercepts[label] = intercept);
    }

    /// A model that was fitted before.
    pub(super) fn stored(
        scaler: Scaler,
        coefficients: Array2<f64>,
        intercepts: Array1<f64>,
        activation: Activation,
        report: FitReport,
    ) -> Self {
        LinearModel { scaler, coefficients, intercepts, activation, report }
    }

    /// What is done to the features first.
    pub fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    /// `[C, D]`, for scaled features; of two classes the rows are opposite.
    pub fn coefficients(&self) -> ArrayView2<'_, f64> {
        self.coefficients.view()
    }

    /// `[C]`; -1e30 for a class without any sample to learn from.
    pub fn intercepts(&self) -> &Array1<f64> {
        &self.intercepts
    }

    /// From scores to probabilities.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// How the fit went.
    pub fn report(&self) -> FitReport {
        self.report
    }

    /// Scores `[N, C]` of `samples: [N, D]`, before the activation.
    ///
    /// # Errors
    /// [`ProbeError::Dimension`] for features of another length.
    pub fn scores(&self, samples: ArrayView2<'_, f32>) -> Result<Array2<f64>, ProbeError> {
        if samples.ncols() != self.coefficients.ncols() {
            let (found, expected) = (samples.ncols(), self.coefficients.ncols());
            return Err(ProbeError::Dimension { found, expected });
        }
        let mut out = Array2::zeros((samples.nrows(), self.coefficients.nrows()));
        let blocks: Vec<_> =
            out.axis_chunks_iter_mut(Axis(0), BLOCK).zip(samples.axis_chunks_iter(Axis(0), BLOCK)).collect();
        blocks.into_par_iter().for_each(|(mut out, rows)| {
            let scaled = self.scaler.apply(rows).mapv(f64::from);
            multiply(1.0, scaled.view(), self.coefficients.t(), out.view_mut());
            out += &self.intercepts;
        });
        Ok(out)
    }

    /// Probabilities `[N, C]` of `samples: [N, D]`.
    ///
    /// # Errors
    /// [`ProbeError::Dimension`] for features of another length.
    pub fn probabilities(&self, samples: ArrayView2<'_, f32>) -> Result<Array2<f64>, ProbeError> {
        Ok(self.activation.apply(self.scores(samples)?))
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array1<usize>, ProbeError> for LinearValidParams {
    type Object = LinearModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array1<usize>>) -> Result<LinearModel, ProbeError> {
        Ok(self.class_path(dataset.records.view(), &dataset.targets, dataset.weights())?.fit(self.c))
    }
}

impl<D: Data<Elem = f32>> Fit<ArrayBase<D, Ix2>, Array2<Option<bool>>, ProbeError> for LinearValidParams {
    type Object = LinearModel;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, Array2<Option<bool>>>) -> Result<LinearModel, ProbeError> {
        Ok(self.label_path(dataset.records.view(), &dataset.targets, dataset.weights())?.fit(self.c))
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
        Array2::zeros((samples.nrows(), self.coefficients.nrows()))
    }
}
