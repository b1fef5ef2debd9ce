//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.
//!
//! Two estimators under linfa's traits (checked parameters, `Fit` on a `DatasetBase`, `Predict` of
//! probabilities): a linear probe ([`LinearParams`]) and exact weighted nearest neighbours
//! ([`KnnParams`]). Features are `[N, D] f32`, statistics f64.

mod cross_validation;
mod experiment;
mod gemm;
mod knn;
mod lbfgs;
mod linear;
mod linear_model;
mod linear_params;
mod linfa_solver;
mod method;
mod neighbours;
mod objective;
mod preconditioner;
mod projection;
mod regularization_path;
mod samples;
mod scale;
mod selection;
mod setters;
mod span;
mod weights;

pub use experiment::{Experiment, ExperimentResult};
pub use knn::{DEFAULT_K, DEFAULT_TEMPERATURE, KnnModel, KnnParams, KnnValidParams, Votes, half_a_vote, vote_scores};
pub use linear_model::LinearModel;
pub use linear_params::{DEFAULT_ITERATIONS, DEFAULT_TOLERANCE, LARGE_TOLERANCE, LinearParams, LinearValidParams};
pub use method::{Knn, Linear, Method, default_grid};
pub use neighbours::{Neighbours, nearest};
pub use projection::{MAX_ROWS, Projection};
pub use regularization_path::RegPath;
pub use samples::{Samples, ValidSamples};
pub use scale::Scaler;
pub use setters::{KnnProbe, LinearProbe};

pub use crate::metrics::Activation;
pub use crate::records::*;
