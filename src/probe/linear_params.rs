//! Hyper-parameters of a linear probe.

use linfa::ParamGuard;

use crate::error::ProbeError;
use crate::records::{Scale, Solver};

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
    solver: Solver,
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
            solver: Solver::Own,
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

    /// Who fits.
    pub fn solver(mut self, solver: Solver) -> Self {
        self.0.solver = solver;
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

    /// Who fits.
    pub(super) fn fitted_by(&self) -> Solver {
        self.solver
    }

    /// Inverse strength of the penalty.
    pub(super) fn inverse_penalty(&self) -> f64 {
        self.c
    }

    /// Classes that there are at least.
    pub(super) fn least_classes(&self) -> usize {
        self.classes.unwrap_or(0)
    }
}
