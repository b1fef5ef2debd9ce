//! The embedding cache: dataset x backbone to Parquet, and [`Features`], which reads it and feature
//! tables made elsewhere.
//!
//! ```text
//! files ──read, hash, decode, preprocess──▶ batches ──sessions──▶ rows ──▶ journal ──in the dataset's order──▶ parts
//! ```
//!
//! A row is keyed by the content of its image and by the [`Recipe`] of the cache: a file that was
//! renamed, images that were added, and a process that was killed cost only the rows that are
//! missing.

mod cache_lock;
mod compute;
mod content;
mod features;
mod fidelity;
mod finish;
mod journal;
mod labels;
mod manifest;
mod network;
mod parts;
mod pipeline;
mod quarantine;
mod recipe;
mod run;
pub mod schema;
mod store;
mod table;
mod unfinished;
mod verify;

pub use features::{FeatureColumns, Features, embedding_columns};
pub use fidelity::{
    ColumnFidelity, FIDELITY_IMAGES, FIDELITY_NEIGHBOURS, Fidelity, MIN_AGREEMENT, MIN_COSINE, fidelity,
};
pub use manifest::{DatasetRecord, EmbeddingColumn, Manifest, ModelRecord, PartRecord, Precision, Producer};
pub use network::Network;
pub use quarantine::quarantine;
pub use recipe::Recipe;
pub use run::{EmbedOptions, Job, Summary, embed};
pub use unfinished::{Unfinished, unfinished};
pub use verify::verify;
