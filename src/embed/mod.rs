//! The embedding cache: dataset x backbone to Parquet, and [`Features`], which reads it and feature
//! tables made elsewhere. [`Embedder`] is the way in.
//!
//! ```text
//! files ──read, hash, decode, preprocess──▶ batches ──engines──▶ rows ──▶ journal ──in the dataset's order──▶ parts
//! ```
//!
//! A row is keyed by the content of its image and by the [`CacheKey`] of the cache: a file that was
//! renamed, images that were added, and a process that was killed cost only the rows that are
//! missing.

mod cache;
mod cache_key;
mod cache_lock;
mod compute;
mod content;
mod embedder;
mod features;
mod fidelity;
mod finish;
mod journal;
mod manifest;
mod network;
mod parts;
mod pipeline;
mod plan;
mod quarantine;
mod row_engine;
mod run;
pub mod schema;
mod state;
mod store;
mod table;
mod unfinished;
mod verify;

pub use cache::Cache;
pub use cache_key::CacheKey;
pub use embedder::{EmbedSpec, Embedder, EmbeddingModel};
pub use features::{FeatureColumns, Features, embedding_columns};
pub use fidelity::{
    ColumnFidelity, FIDELITY_IMAGES, FIDELITY_NEIGHBOURS, Fidelity, MIN_AGREEMENT, MIN_COSINE, fidelity,
};
pub(crate) use manifest::MANIFEST_FILE;
pub use manifest::{DatasetRecord, Manifest, ModelRecord, PartRecord, Producer};
pub use network::Network;
pub use plan::{EmbedOptions, EmbedRun};
pub use quarantine::quarantine;
pub use run::{EmbedSummary, embed};
pub use schema::{EmbeddingColumn, Precision};
pub use unfinished::{Unfinished, unfinished};
pub use verify::verify;
