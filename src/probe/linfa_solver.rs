//! Logistic regression by `linfa-logistic`: the reference that the own solver is compared with.
//!
//! In: an objective's features, targets and `c`. Out: `[rows, D + 1]`, intercepts last.
//!
//! It minimises `sum of losses + alpha / 2 |W|^2` with `alpha = 1 / c`, intercepts not penalised, in
//! f64, from zero: the own objective times the number of samples, scikit-learn's divided by `C`. It
//! ends where the Euclidean norm of the gradient is below its tolerance, or where the objective
//! does not change any more. Refused: weights of samples.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use crate::error::ProbeError;
use crate::probe::objective::{Features, Objective, Targets};
use crate::records::{Solver, SolverReport};

/// What is said of it in a record.
pub(super) fn solver_report(solver: Solver) -> Option<SolverReport> {
    (solver == Solver::Linfa).then(|| SolverReport {
        name: solver,
        penalty: "sum of losses + |W|^2 / (2 c)".to_owned(),
        criterion: "Euclidean norm of the gradient of that below tolerance x samples, or no change of the objective"
            .to_owned(),
    })
}

/// Minimises; the norm of the gradient of the sum is asked to be below `tolerance` times the
/// samples.
///
/// # Errors
/// [`ProbeError::Solver`] for weights, and where the crate gives up.
pub(super) fn linfa_solution(
    objective: &Objective,
    c: f64,
    tolerance: f64,
    iterations: usize,
) -> Result<Array2<f64>, ProbeError> {
    if objective.weights().is_some() {
        return Err(ProbeError::Solver { reason: "it takes no weights of samples".to_owned() });
    }
    let x = match objective.x() {
        Features::Single(x) => x.mapv(f64::from),
        Features::Double(x) => x.clone(),
    };
    let (alpha, tolerance) = (1.0 / c, tolerance * x.nrows() as f64);
    let refused = |error: linfa_logistic::error::Error| ProbeError::Solver { reason: error.to_string() };
    let mut point = Array2::zeros((objective.rows(), x.ncols() + 1));
    let mut set = |row: usize, coefficients: ArrayView1<'_, f64>, intercept: f64| {
        point.slice_mut(s![row, ..-1]).assign(&coefficients);
        point[[row, x.ncols()]] = intercept;
    };
    match objective.targets() {
        Targets::Classes(classes) => {
            let model = MultiLogisticRegression::default().alpha(alpha).gradient_tolerance(tolerance);
            let dataset = DatasetBase::new(x.view(), Array1::from(classes.clone()));
            let fitted = model.max_iterations(iterations as u64).fit(&dataset).map_err(refused)?;
            for (row, coefficients) in fitted.params().columns().into_iter().enumerate() {
                set(row, coefficients, fitted.intercept()[row]);
            }
        }
        Targets::Signs(signs) => {
            for (row, signs) in signs.columns().into_iter().enumerate() {
                let known: Vec<usize> = (0..signs.len()).filter(|&sample| signs[sample] != 0).collect();
                let model = LogisticRegression::default().alpha(alpha).gradient_tolerance(tolerance);
                let dataset = DatasetBase::new(x.select(Axis(0), &known), signs.select(Axis(0), &known));
                let fitted = model.max_iterations(iterations as u64).fit(&dataset).map_err(refused)?;
                let side = f64::from(fitted.labels().pos.class);
                set(row, (fitted.params() * side).view(), fitted.intercept() * side);
            }
        }
    }
    Ok(point)
}
