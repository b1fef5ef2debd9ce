//! Classifiers to deploy: a probe or a fine-tuned network as one ONNX file that takes raw pixels, verified against the library.
//!
//! ```text
//! images u8 [N, H, W, 3] ──▶ resize, crop, normalize ──▶ network ──▶ head ──▶ probabilities f32 [N, K], label i64
//! ```
//!
//! [`open`] finds out what a classifier is made of ([`Source`]), [`export`] joins, verifies and saves it, [`Classifier`] runs the
//! file. Its metadata, a [`Card`], says what the outputs mean and where they come from.

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
pub use card::Card;
pub use card::FittedOn;
pub use card::Origin;
pub use card::Verification;
pub use export::Exported;
pub use export::Plan;
pub use export::export;
pub use head::Head;
pub use head::LABEL;
pub use head::PROBABILITIES;
pub use predict::Answer;
pub use predict::Classifier;
pub use predict::PredictOptions;
pub use predict::Prediction;
pub use source::Asked;
pub use source::Body;
pub use source::Source;
pub use source::Tested;
pub use source::open;
pub use table::csv;
pub use table::write_parquet;
