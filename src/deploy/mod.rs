//! Classifiers to deploy: a probe or a fine-tuned network as one ONNX file that takes raw pixels,
//! verified against the library.
//!
//! ```text
//! images u8 [N, H, W, 3] ──▶ resize, crop, normalize ──▶ network ──▶ head ──▶ probabilities f32 [N, K], label i64
//! ```
//!
//! [`open`] finds out what a classifier is made of ([`Source`]), [`export`] joins, verifies and
//! saves it, [`Classifier`] runs the file. Its metadata, a [`Card`], says what the outputs mean and
//! where they come from.

mod assemble;
mod card;
mod export;
mod head;
mod pixels;
mod predict;
mod probes;
mod runs;
mod source;
mod table;
mod verify;

pub use assemble::IMAGES;
pub use card::{Card, FittedOn, Origin, Verification};
pub use export::{Exported, Plan, export};
pub use head::{Head, LABEL, PROBABILITIES};
pub use predict::{Answer, Classifier, PredictOptions, Prediction};
pub use source::{Asked, Body, Source, Tested, open};
pub use table::{csv, write_parquet};
