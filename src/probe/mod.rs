//! Probes: features and labels in, classifier and its evaluation out. The only user of `linfa`.

mod projection;

pub use projection::MOST_ROWS;
pub use projection::Projection;
