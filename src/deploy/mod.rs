//! Classifiers to deploy: a probe or a fine-tuned network as one ONNX file that takes raw pixels,
//! verified against the library.
//!
//! ```text
//! images u8 [N, H, W, 3] ──▶ resize, crop, normalize ──▶ network ──▶ head ──▶ probabilities f32 [N, K], label i64
//! ```
//!
//! [`open`] finds out what a classifier is made of ([`Source`]), [`export`] joins, verifies and
//! saves it, [`Classifier`] runs the file. Its metadata, a [`ModelCard`], says what the outputs mean and
//! where they come from.

mod assemble;
mod export;
mod from_probe;
mod from_run;
mod head;
mod model_card;
mod pixels;
mod predict;
mod source;
mod table;
mod verify;

pub use assemble::IMAGES;
pub use export::{Exported, Plan, export};
pub use head::{Head, LABEL, PROBABILITIES};
pub use model_card::{FittedOn, ModelCard, Origin, Verification};
pub use predict::{Answer, Classifier, PredictOptions, Prediction};
pub use source::{ExportOptions, ExportedNetwork, RecordedPrediction, Source, open};
pub use table::{csv, write_parquet};
