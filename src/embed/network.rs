//! A network as caches use it: a model with its input and outputs, and the key of caches made with
//! it.

use std::sync::Arc;

use crate::backbones::{Backbone, Output};
use crate::embed::cache_key::CacheKey;
use crate::embed::manifest::ModelRecord;
use crate::embed::schema::{EmbeddingColumn, Precision};
use crate::error::Result;
use crate::graph::Detached;

/// A network that embeds images, ready to be opened.
#[derive(Clone, Debug)]
pub struct Network {
    /// The ONNX model, its weights where they lie.
    pub model: Detached,
    /// Name of its input, `[N, C, H, W] f32`.
    pub input: String,
    /// Names of its outputs, `[N, D] f32` each, one per column of the key.
    pub outputs: Vec<String>,
    /// The number of images it takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
    /// The key of caches made with it.
    pub key: CacheKey,
    /// The network that this one comes close to in faster arithmetic; a run that starts a cache
    /// measures how close.
    pub exact: Option<Arc<Network>>,
}

impl Network {
    /// The network of a backbone: its embedding in the column `embedding`, its taps in columns of
    /// their own names, stored as `dtype`. Taps with several vectors per image must have been
    /// pooled.
    ///
    /// # Errors
    /// `GraphError` where the graph has no serialised form.
    pub fn new(backbone: &Backbone, dtype: Precision) -> Result<Network> {
        let model = backbone.graph.detach()?;
        let column =
            |output: &Output| EmbeddingColumn { name: output.tap.clone(), dimension: output.width, pool: output.pool };
        let key = CacheKey {
            model: ModelRecord {
                name: backbone.name.clone(),
                weights: backbone.provenance.weights_sha256.clone(),
                graph: model.digest.clone(),
                changes: backbone.provenance.changes.clone(),
            },
            preprocess: backbone.preprocess.clone(),
            dtype,
            columns: backbone.outputs().map(column).collect(),
        };
        Ok(Network {
            model,
            input: backbone.input.clone(),
            outputs: backbone.outputs().map(|output| output.name.clone()).collect(),
            fixed_batch: backbone.fixed_batch,
            key,
            exact: None,
        })
    }
}
