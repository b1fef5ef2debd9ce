//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.
//!
//! Two estimators under linfa's traits (checked parameters, `Fit` on a `DatasetBase`, `Predict` of probabilities): a linear
//! probe ([`LinearParams`]) and exact weighted nearest neighbours
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

pub use experiment::Experiment;
pub use experiment::Findings;
pub use experiment::Method;
pub use experiment::default_grid;
pub use knn::Ballots;
pub use knn::DEFAULT_K;
pub use knn::DEFAULT_TEMPERATURE;
pub use knn::KnnModel;
pub use knn::KnnParams;
pub use knn::KnnValidParams;
pub use knn::half_a_vote;
pub use knn::vote_scores;
pub use linear::DEFAULT_ITERATIONS;
pub use linear::DEFAULT_TOLERANCE;
pub use linear::LinearModel;
pub use linear::LinearParams;
pub use linear::LinearValidParams;
pub use neighbours::Neighbours;
pub use neighbours::nearest;
pub use path::Path;
pub use projection::MOST_ROWS;
pub use projection::Projection;
pub use samples::Samples;
pub use scale::Scaler;

pub use crate::metrics::Activation;
pub use crate::records::*;
