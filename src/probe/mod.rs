//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.
//!
//! Two estimators under linfa's traits (checked parameters, `Fit` on a `DatasetBase`, `Predict` of probabilities): a linear
//! probe ([`LinearParams`]) and exact weighted nearest neighbours. Features are `[N, D] f32`, statistics f64.

mod curvature;
mod lbfgs;
mod linear;
mod objective;
mod path;
mod predictions;
mod product;
mod projection;
mod record;
mod scale;

pub use linear::Activation;
pub use linear::DEFAULT_ITERATIONS;
pub use linear::DEFAULT_TOLERANCE;
pub use linear::LinearModel;
pub use linear::LinearParams;
pub use linear::LinearValidParams;
pub use path::Path;
pub use predictions::PredictionTable;
pub use projection::MOST_ROWS;
pub use projection::Projection;
pub use record::*;
pub use scale::Scale;
pub use scale::Scaler;
