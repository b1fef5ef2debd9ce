//! What experiments have in common, whether they probe features or train a network: how labelled
//! samples are divided, what their predictions and records look like on disk.

mod adjustment;
mod again;
mod comparison;
mod division;
mod predictions;
mod record;
mod selection;

pub use adjustment::{Adjusting, Adjustment, Judged, Scored};
pub use comparison::{Comparison, Subgroup, by_subgroup, compare};
pub use division::{Division, Labelled, Partition};
pub use predictions::PredictionTable;
pub use record::*;
pub use selection::{deciding_metric, score};
