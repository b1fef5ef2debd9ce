//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.
//!
//! Two estimators under linfa's traits (checked parameters, `Fit` on a `DatasetBase`, `Predict` of
//! probabilities): a linear probe ([`LinearParams`]) and exact weighted nearest neighbours
//! ([`KnnParams`]). Features are `[N, D] f32`, statistics f64.

mod contest;
mod curvature;
mod experiment;
mod knn;
mod lbfgs;
mod linear;
mod neighbours;
mod objective;
mod path;
mod product;
mod projection;
mod samples;
mod scale;
mod weights;

pub use experiment::{Experiment, Findings, Method, default_grid};
pub use knn::{Ballots, DEFAULT_K, DEFAULT_TEMPERATURE, KnnModel, KnnParams, KnnValidParams, half_a_vote, vote_scores};
pub use linear::{DEFAULT_ITERATIONS, DEFAULT_TOLERANCE, LinearModel, LinearParams, LinearValidParams};
pub use neighbours::{Neighbours, nearest};
pub use path::Path;
pub use projection::{MOST_ROWS, Projection};
pub use samples::Samples;
pub use scale::Scaler;

pub use crate::metrics::Activation;
pub use crate::records::*;
