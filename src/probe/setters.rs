//! The ways to state an experiment.
//!
//! ```no_run
//! # fn run(samples: &defrost::probe::Samples) -> defrost::Result<()> {
//! use defrost::metrics::Metric;
//! use defrost::probe::{KnnProbe, LinearProbe};
//!
//! let linear = LinearProbe::default().repeats(5).run(samples)?;
//! let nearest = KnnProbe::default().k([5, 20]).repeats(5).run(samples)?;
//! println!("{:.3} and {:.3}", linear.metric(Metric::Accuracy)?, nearest.metric(Metric::Accuracy)?);
//! # Ok(())
//! # }
//! ```

use crate::metrics::{Bootstrap, Metric};
use crate::probe::experiment::Experiment;
use crate::probe::method::{Knn, Linear};
use crate::records::{CalibrationConfig, Scale, Solver, SplitConfig};

/// Logistic regression on frozen features, its penalty chosen on validation data.
pub type LinearProbe = Experiment<Linear>;
/// Exact weighted nearest neighbours, their number chosen on validation data.
pub type KnnProbe = Experiment<Knn>;

impl<M: Default> Default for Experiment<M> {
    fn default() -> Self {
        Experiment::new(M::default())
    }
}

impl<M> Experiment<M> {
    /// An experiment with this probe: splits of 70, 10 and 20 % unless the samples have some, one
    /// repeat, seed 0, 1,000 resamples behind each interval, the final probe fitted on train and
    /// validation, nothing else fitted on validation data.
    pub fn new(method: M) -> Self {
        Experiment {
            method,
            metric: None,
            division: SplitConfig::default(),
            seed: 0,
            repeats: 1,
            bootstrap: Bootstrap::default(),
            refit: true,
            adjusting: CalibrationConfig::default(),
        }
    }

    /// The metric that decides between candidates.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = Some(metric);
        self
    }

    /// How samples are divided.
    pub fn splits(mut self, splits: SplitConfig) -> Self {
        self.division = splits;
        self
    }

    /// Seed of the first repeat's splits; the others count up from it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Number of repeats with splits of their own, >= 1.
    pub fn repeats(mut self, repeats: usize) -> Self {
        self.repeats = repeats;
        self
    }

    /// How intervals are computed.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    /// Whether the final probe is fitted on train and validation together.
    pub fn refit(mut self, refit: bool) -> Self {
        self.refit = refit;
        self
    }

    /// What else is fitted on validation data.
    pub fn calibration(mut self, calibration: CalibrationConfig) -> Self {
        self.adjusting = calibration;
        self
    }
}

impl Experiment<Linear> {
    /// Candidates for `c`, the inverse strength of the penalty, > 0; one fixes it.
    pub fn grid(mut self, grid: impl Into<Vec<f64>>) -> Self {
        self.method = self.method.grid(grid);
        self
    }

    /// What is done to the features.
    pub fn scale(mut self, scale: Scale) -> Self {
        self.method.scale = scale;
        self
    }

    /// Largest entry of the gradient of a fitted probe, > 0.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.method.tolerance = Some(tolerance);
        self
    }

    /// Who fits: this library, or `linfa-logistic` as a reference.
    pub fn solver(mut self, solver: Solver) -> Self {
        self.method.solver = solver;
        self
    }

    /// Steps of the solver for one candidate, at most, >= 1.
    pub fn iterations(mut self, iterations: usize) -> Self {
        self.method.iterations = iterations;
        self
    }
}

impl Experiment<Knn> {
    /// Candidates for the number of neighbours, >= 1; one fixes it.
    pub fn k(mut self, k: impl Into<Vec<usize>>) -> Self {
        self.method = self.method.k(k);
        self
    }

    /// Temperature of the votes, > 0.
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.method.temperature = temperature;
        self
    }
}
