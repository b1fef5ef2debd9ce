//! Which probe is run: its hyper-parameters' candidates.

use crate::probe::knn::{DEFAULT_K, DEFAULT_TEMPERATURE};
use crate::probe::linear_params::{DEFAULT_ITERATIONS, default_tolerance};
use crate::probe::linfa_solver::solver_report;
use crate::probe::samples::ValidSamples;
use crate::records::{Scale, Solver, SolverReport};

/// Logistic regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Candidates for `c`, the inverse strength of the penalty, ascending.
    pub grid: Vec<f64>,
    /// What is done to the features.
    pub scale: Scale,
    /// Largest entry of the gradient of a fitted probe; by default 1e-6, for large problems 1e-4,
    /// see [`LARGE_TOLERANCE`](crate::probe::LARGE_TOLERANCE).
    pub tolerance: Option<f64>,
    /// Steps of the solver at most, for each candidate.
    pub iterations: usize,
    /// Who fits.
    pub solver: Solver,
}

/// Nearest neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Candidates for `k`, ascending.
    pub k: Vec<usize>,
    /// Temperature of the votes.
    pub temperature: f64,
}

/// Which probe, with its candidates.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Logistic regression.
    Linear(Linear),
    /// Nearest neighbours.
    Knn(Knn),
}

/// DINOv2's grid for `c`: 45 values from 1e-6 to 1e5, evenly spaced in the logarithm.
pub fn default_grid() -> Vec<f64> {
    (0..45).map(|step| 10f64.powf(-6.0 + 11.0 * f64::from(step) / 44.0)).collect()
}

impl Default for Linear {
    /// DINOv2's grid, standardised features, the tolerance that fits the size.
    fn default() -> Self {
        Linear {
            grid: default_grid(),
            scale: Scale::Standard,
            tolerance: None,
            iterations: DEFAULT_ITERATIONS,
            solver: Solver::Own,
        }
    }
}

impl Default for Knn {
    /// The numbers of neighbours and the temperature of DINO and DINOv2.
    fn default() -> Self {
        Knn { k: DEFAULT_K.to_vec(), temperature: DEFAULT_TEMPERATURE }
    }
}

impl Linear {
    /// Largest entry of the gradient of a fitted probe of these samples.
    pub(super) fn tolerance_of(&self, samples: &ValidSamples<'_>) -> f64 {
        let by_size = || default_tolerance(samples.len(), samples.dimension(), samples.dataset().classes.len());
        self.tolerance.unwrap_or_else(by_size)
    }

    /// Candidates for `c`, > 0, in any order.
    pub fn grid(mut self, grid: impl Into<Vec<f64>>) -> Self {
        self.grid = grid.into();
        self.grid.sort_by(f64::total_cmp);
        self.grid.dedup();
        self
    }
}

impl Knn {
    /// Candidates for the number of neighbours, >= 1, in any order.
    pub fn k(mut self, k: impl Into<Vec<usize>>) -> Self {
        self.k = k.into();
        self.k.sort_unstable();
        self.k.dedup();
        self
    }
}

impl From<Linear> for Method {
    fn from(linear: Linear) -> Self {
        Method::Linear(linear)
    }
}

impl From<Knn> for Method {
    fn from(knn: Knn) -> Self {
        Method::Knn(knn)
    }
}

impl Method {
    /// Largest entry of the gradient of a fitted linear probe of these samples.
    pub(super) fn tolerance(&self, samples: &ValidSamples<'_>) -> Option<f64> {
        match self {
            Method::Linear(linear) => Some(linear.tolerance_of(samples)),
            Method::Knn(_) => None,
        }
    }

    /// Who fits, where that is not this library.
    pub(super) fn solver(&self) -> Option<SolverReport> {
        match self {
            Method::Linear(linear) => solver_report(linear.solver),
            Method::Knn(_) => None,
        }
    }

    /// Number of candidates.
    pub(super) fn candidates(&self) -> usize {
        match self {
            Method::Linear(linear) => linear.grid.len(),
            Method::Knn(knn) => knn.k.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grid_is_dinov2_s() {
        let grid = default_grid();
        assert_eq!((grid.len(), grid[0]), (45, 1e-6));
        assert!((grid[44] / 1e5 - 1.0).abs() < 1e-12 && (grid[24] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn candidates_are_put_into_order() {
        let (linear, knn) = (Linear::default().grid([1.0, 0.1, 1.0]), Knn::default().k([20, 5, 20]));
        assert_eq!((linear.grid, knn.k), (vec![0.1, 1.0], vec![5, 20]));
    }
}
