//! The embedding cache: dataset x backbone to Parquet, and [`Features`], which reads it and feature tables made elsewhere.

mod features;
mod labels;
mod manifest;
mod quarantine;
pub mod schema;
mod table;

pub use features::{FeatureColumns, Features};
pub use manifest::{DatasetRecord, EmbeddingColumn, Manifest, ModelRecord, PartRecord, Precision, Producer};
pub use quarantine::quarantine;
