//! Logistic regressions along a grid of penalties on the same samples, each started from the ones
//! before.
//!
//! What does not depend on the penalty (scaled features, their second moments) is computed once. A
//! fit starts where the line through the last two solutions, over the logarithm of `c`, leads to.
//! It runs in f32 until the gradient is at 1e-6, or at the rounding of f32, and where the tolerance
//! asks for more continues in f64.
//!
//! With fewer samples than features the same problem is solved in the span of the samples, see
//! [`span`](crate::probe::span), in f64; its end is the gradient by the features all the same.

use std::cell::OnceCell;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use crate::error::ProbeError;
use crate::probe::lbfgs::{Geometry, Lbfgs, Status, Stop};
use crate::probe::linear_model::{LinearModel, Outputs};
use crate::probe::linear_params::LinearValidParams;
use crate::probe::linfa_solver::linfa_solution;
use crate::probe::objective::{Evaluation, Features, Objective, Precision, Targets};
use crate::probe::preconditioner::{Moments, Preconditioner};
use crate::probe::scale::Scaler;
use crate::probe::span::Span;
use crate::records;
use crate::records::FitReport;

/// Gradient below which products in f32 are not trusted.
const SINGLE_FLOOR: f64 = 1e-6;
/// Relative rounding error of a loss whose products are f32.
const SINGLE_NOISE: f64 = 1e-6;
/// Relative rounding error of a loss in f64.
const DOUBLE_NOISE: f64 = 1e-13;
/// Largest ratio by which a solution is extrapolated beyond the step between the last two.
const LARGEST_STRIDE: f64 = 2.0;

/// What the samples of a fit are labelled with.
pub(super) struct TrainingLabels<'a> {
    pub targets: Targets,
    /// Sample weights, > 0.
    pub weights: Option<&'a [f32]>,
    pub outputs: Outputs,
}

/// Fits of one set of samples under several penalties.
pub struct RegPath {
    objective: Objective,
    /// What the objective's features are coordinates in, where there are fewer samples than
    /// features.
    span: Option<Span>,
    scaler: Scaler,
    outputs: Outputs,
    /// Labels that are not fitted, with their intercept.
    pub(super) constant: Vec<(usize, f64)>,
    moments: Moments,
    tolerance: f64,
    iterations: usize,
    fitted_by: records::Solver,
    /// The last two solutions `[rows, D + 1]` with their `c`, newest last.
    solved: Vec<(f64, Array2<f64>)>,
}

impl RegPath {
    /// Fits of `samples: [N, D] f32`, which are scaled first.
    pub(super) fn new(params: &LinearValidParams, samples: ArrayView2<'_, f32>, labels: TrainingLabels<'_>) -> Self {
        let TrainingLabels { targets, weights, outputs } = labels;
        let weights: Option<Vec<f64>> =
            weights.map(|weights| weights.iter().map(|&weight| f64::from(weight)).collect());
        let rows = match &targets {
            Targets::Classes(_) => outputs.present.len(),
            Targets::Signs(signs) => signs.ncols(),
        };
        let scaler = Scaler::new(params.features_scale(), samples);
        let x = scaler.apply(samples);
        let (features, span) = if x.nrows() < x.ncols() {
            let (span, coordinates) = Span::new(x.view());
            (Features::Double(coordinates), Some(span))
        } else {
            (Features::Single(x), None)
        };
        let objective = Objective::new(features, targets, weights, rows);
        RegPath {
            moments: Moments::new(objective.x(), objective.weights()),
            objective,
            span,
            scaler,
            outputs,
            constant: Vec::new(),
            tolerance: params.gradient_tolerance(),
            iterations: params.max_iterations(),
            fitted_by: params.fitted_by(),
            solved: Vec::new(),
        }
    }

    /// The model for one `c` > 0.
    ///
    /// # Errors
    /// [`ProbeError::Solver`] where `linfa-logistic` does not fit it.
    pub fn fit(&mut self, c: f64) -> Result<LinearModel, ProbeError> {
        let rows = self.objective.rows();
        let mut solver = Solver {
            objective: &self.objective,
            moments: &self.moments,
            span: self.span.as_ref(),
            penalties: self.objective.totals().iter().map(|total| 1.0 / (c * total)).collect(),
            problem_rows: if self.objective.totals().len() == 1 { rows } else { 1 },
            iterations: self.iterations,
            report: FitReport { converged: false, iterations: 0, evaluations: 0, objective: 0.0, gradient: 0.0 },
        };
        if self.fitted_by == records::Solver::Linfa {
            let point = linfa_solution(&self.objective, c, self.tolerance, self.iterations)?;
            solver.judge(&point, self.tolerance);
            return Ok(self.model(&point, solver.report));
        }
        let mut point = start(&self.solved, c, (rows, self.objective.x().dim().1 + 1));
        let single = self.span.is_none() && solver.run(&mut point, Precision::Single, self.tolerance.max(SINGLE_FLOOR));
        if !single || self.tolerance < SINGLE_FLOOR {
            solver.run(&mut point, Precision::Double, self.tolerance);
        }
        let model = self.model(&point, solver.report);
        self.solved.push((c, point));
        if self.solved.len() > 2 {
            self.solved.remove(0);
        }
        Ok(model)
    }

    /// The model of a solution `[rows, D + 1]`.
    fn model(&self, point: &Array2<f64>, report: FitReport) -> LinearModel {
        let expanded = self.span.as_ref().map(|span| span.expand(point.view()));
        let solution = expanded.as_ref().unwrap_or(point);
        let mut model = LinearModel::new(self.scaler.clone(), solution.view(), &self.outputs, report);
        model.set_constant(&self.constant);
        model
    }
}

/// Where to start for `c`: on the line through the last two solutions over ln c, at the last one,
/// or at zero.
fn start(solved: &[(f64, Array2<f64>)], c: f64, shape: (usize, usize)) -> Array2<f64> {
    match solved {
        [] => Array2::zeros(shape),
        [(_, last)] => last.clone(),
        [.., (before_c, before), (last_c, last)] => {
            let stride = (c / last_c).ln() / (last_c / before_c).ln();
            if !(0.0..=LARGEST_STRIDE).contains(&stride) {
                return last.clone();
            }
            last + &((last - before) * stride)
        }
    }
}

/// The coefficients of one problem, `[rows, D + 1]`.
struct Space<'a> {
    preconditioner: &'a dyn Fn() -> &'a Preconditioner,
    span: Option<&'a Span>,
    tolerance: f64,
    rows: usize,
}

impl Geometry for Space<'_> {
    fn precondition(&self, values: &mut [f64]) {
        let shape = (self.rows, values.len() / self.rows);
        #[expect(clippy::expect_used, reason = "a machine's vectors are as long as the block of a problem")]
        let mut values = ArrayViewMut2::from_shape(shape, values).expect("a whole number of rows");
        (self.preconditioner)().apply(&mut values);
    }

    fn largest(&self, gradient: &[f64]) -> f64 {
        largest(gradient, self.span, self.rows, self.tolerance)
    }
}

/// Largest absolute entry of a gradient `[rows, D + 1]` by the features.
///
/// In the span of the samples the gradient by the features is a row of coordinates times
/// orthonormal rows: no entry of it is above the coordinates' length, and its largest is at least
/// that length divided by the root of D. Only between the two it must be computed.
fn largest(gradient: &[f64], span: Option<&Span>, rows: usize, tolerance: f64) -> f64 {
    let Some(span) = span else { return gradient.iter().fold(0.0f64, |most, value| most.max(value.abs())) };
    let columns = gradient.len() / rows;
    let length = |row: &[f64]| row[..columns - 1].iter().map(|value| value * value).sum::<f64>().sqrt();
    let longest = gradient.chunks_exact(columns).map(length).fold(0.0, f64::max);
    let least = longest / (span.features() as f64).sqrt();
    if least > tolerance {
        return least;
    }
    #[expect(clippy::expect_used, reason = "a machine's vectors are as long as the block of a problem")]
    let gradient = ArrayView2::from_shape((rows, columns), gradient).expect("a whole number of rows");
    span.expand(gradient).iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// One fit.
struct Solver<'a> {
    objective: &'a Objective,
    moments: &'a Moments,
    span: Option<&'a Span>,
    /// `1 / (c S)` of each problem.
    penalties: Vec<f64>,
    /// Rows of coefficients of one problem.
    problem_rows: usize,
    iterations: usize,
    report: FitReport,
}

impl Solver<'_> {
    /// Minimises from `point` in one precision; gives whether all problems converged.
    fn run(&mut self, point: &mut Array2<f64>, precision: Precision, tolerance: f64) -> bool {
        let noise = if precision == Precision::Single { SINGLE_NOISE } else { DOUBLE_NOISE };
        let stop = Stop { tolerance, iterations: self.iterations, noise };
        let block = |problem: usize| s![problem * self.problem_rows..(problem + 1) * self.problem_rows, ..];
        let mut machines: Vec<Lbfgs> = (0..self.penalties.len())
            .map(|problem| Lbfgs::new(point.slice(block(problem)).iter().copied().collect(), stop))
            .collect();
        // Made at the first step, with the curvature at the start: a start that is good enough
        // needs none.
        let preconditioners = OnceCell::new();
        let mut curvature = None;
        while machines.iter().any(|machine| machine.status() == Status::Running) {
            let evaluation = self.evaluate(point, precision);
            let curvature = *curvature.get_or_insert(evaluation.curvature);
            let precondition = || self.precondition(curvature);
            for (problem, machine) in machines.iter_mut().enumerate() {
                if machine.status() != Status::Running {
                    continue;
                }
                let gradient = evaluation.gradient.slice(block(problem));
                let gradient: Vec<f64> = gradient.iter().copied().collect();
                let preconditioner = || {
                    let ready: &Vec<Preconditioner> = preconditioners.get_or_init(precondition);
                    &ready[problem.min(ready.len() - 1)]
                };
                let space =
                    Space { preconditioner: &preconditioner, span: self.span, tolerance, rows: self.problem_rows };
                machine.observe(evaluation.losses[problem], &gradient, &space);
                let next = machine.point();
                point.slice_mut(block(problem)).iter_mut().zip(next).for_each(|(value, next)| *value = *next);
            }
            self.report.evaluations += 1;
        }
        let converged = machines.iter().all(|machine| machine.status() == Status::Converged);
        self.report.converged = converged;
        self.report.iterations += machines.iter().map(Lbfgs::iterations).max().unwrap_or_default();
        self.report.objective = machines.iter().map(Lbfgs::value).sum();
        self.report.gradient = machines.iter().map(Lbfgs::gradient).fold(0.0, f64::max);
        converged
    }

    /// Reports a solution of another solver by this one's measure.
    fn judge(&mut self, point: &Array2<f64>, tolerance: f64) {
        let evaluation = self.evaluate(point, Precision::Double);
        let gradient: Vec<f64> = evaluation.gradient.iter().copied().collect();
        self.report.objective = evaluation.losses.iter().sum();
        self.report.gradient = largest(&gradient, self.span, point.nrows(), tolerance);
        self.report.converged = self.report.gradient <= tolerance;
        self.report.evaluations = 1;
    }

    /// Objective of each problem and its gradient, penalty included.
    fn evaluate(&self, point: &Array2<f64>, precision: Precision) -> Evaluation {
        let mut evaluation = self.objective.evaluate(point.view(), precision);
        let features = point.ncols() - 1;
        for row in 0..point.nrows() {
            let problem = row / self.problem_rows;
            let penalty = self.penalties[problem];
            let coefficients = point.slice(s![row, ..features]);
            evaluation.losses[problem] += 0.5 * penalty * coefficients.dot(&coefficients);
            evaluation.gradient.slice_mut(s![row, ..features]).scaled_add(penalty, &coefficients);
        }
        evaluation
    }

    /// One preconditioner for all problems with (about) the same penalty, else one each.
    fn precondition(&self, curvature: f64) -> Vec<Preconditioner> {
        let scale = curvature.max(f64::MIN_POSITIVE);
        let smallest = self.penalties.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = self.penalties.iter().copied().fold(0.0, f64::max);
        if largest <= 2.0 * smallest {
            return vec![self.moments.factorise(scale, smallest)];
        }
        self.penalties.iter().map(|&penalty| self.moments.factorise(scale, penalty)).collect()
    }
}
