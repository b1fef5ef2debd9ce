//! A fitted linear probe.

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::error::ProbeError;
use crate::metrics::Activation;
use crate::probe::gemm::multiply;
use crate::probe::scale::Scaler;
use crate::records::FitReport;

/// Rows that are predicted at once.
const BLOCK: usize = 256;
/// Intercept of a class without any sample: its probability is zero.
pub(super) const ABSENT: f64 = -1e30;

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
