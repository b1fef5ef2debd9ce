//! Studies: every experiment of a study file, over its datasets and backbones, as cells that are
//! computed once.
//!
//! ```text
//! study.toml ──▶ Study ──▶ plan: cells with keys ──▶ run: cells/KEY/record.json ──▶ StudyResults ──▶ tables, figures
//! ```
//!
//! A [`Cell`] is one computation, told by what it computes, so that experiments share cells. Its key
//! is a digest of what determines its numbers: a finished cell is never computed again.
//!
//! The experiments are those of Palés Huix et al., "Are Natural Domain Foundation Models Useful for
//! Medical Image Classification?", WACV 2024 (arXiv 2310.19522), with label fractions and
//! transferability scores.

mod cell;
pub mod config;
pub mod index;
pub mod record;
mod results;
pub mod summary;

pub use cell::{Cell, TrainingWork, Work};
pub use config::{Experiment, Study};
pub use record::{CellRecord, Failure, InferenceTime, Measurement, SimilarityMatrix};
pub use results::{CellResult, CellState, StudyResults};
