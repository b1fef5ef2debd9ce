//! Classifiers to deploy: a probe or a fine-tuned network as one ONNX file that takes raw pixels,
//! verified against the library.
//!
//! ```text
//! images u8 [N, H, W, 3] ──▶ resize, crop, normalize ──▶ network ──▶ head ──▶ probabilities f32 [N, K], label i64
//! ```
//!
//! [`Exporter`] finds out what a classifier is made of ([`open`], [`Source`]), joins, verifies and
//! saves it; [`Classifier`] runs the file. Its metadata, a [`ModelCard`], says what the outputs
//! mean and where they come from.

mod assemble;
mod export;
mod from_probe;
mod from_run;
mod head;
mod model_card;
mod pixels;
mod predict;
mod record_files;
mod source;
mod table;
mod verify;

pub use assemble::IMAGES;
pub use export::{Exported, Exporter};
pub use head::{Head, LABEL, PROBABILITIES};
pub use model_card::{FittedOn, ModelCard, ModelOrigin, Verification};
pub use predict::{Answer, Classifier, PredictOptions, Prediction};
pub use source::{ExportOptions, ExportedNetwork, RecordedPrediction, Source};
pub use table::{csv, write_parquet};

use std::path::Path;

use crate::error::Result;
use crate::records::Chosen;
use crate::support::progress::Progress;

/// Finds out what the classifier of a probe's record or of a run's directory is made of.
///
/// # Errors
/// [`DeployError`](crate::error::DeployError): it is neither; the model is not the one that made
/// the embeddings. Those of reading caches, records and models.
pub fn open(path: &Path, options: &ExportOptions, progress: &dyn Progress) -> Result<Source> {
    if path.is_dir() {
        return from_run::open(path, options);
    }
    let files = record_files::RecordFiles::read(path)?;
    match files.record.chosen {
        Chosen::Linear { .. } | Chosen::Knn { .. } => from_probe::open(&files, options, progress),
        Chosen::Finetune { .. } => from_run::open(path.parent().unwrap_or(Path::new("")), options),
    }
}
