//! What experiments have in common, whether they probe features or train a network: how labelled
//! samples are divided, what their predictions and records look like on disk.

mod calibration;
mod comparison;
mod folds;
mod predictions;
mod probe_input;
mod record;
mod record_builder;
mod resplit;
mod selection;
mod split_config;

pub use calibration::{Calibration, CalibrationConfig, ScoredSplit, TestEvaluation};
pub use comparison::{Comparison, Subgroup, by_subgroup, compare};
pub use folds::folds;
pub use predictions::PredictionTable;
pub use probe_input::ProbeInput;
pub use record::*;
pub(crate) use record_builder::RecordBuilder;
pub use selection::{MIN_VALIDATION, deciding_metric, rank, score};
pub use split_config::{Partition, SplitConfig};
