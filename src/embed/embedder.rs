//! The way from images to a cache in one place: open a model, make its outputs vectors, leave out
//! what nobody reads, choose its arithmetic, embed.
//!
//! ```no_run
//! use defrost::prelude::*;
//!
//! # fn main() -> defrost::Result<()> {
//! let images = Dataset::open("photos")?;
//! let cache = Embedder::new("efficientnet-lite0")?.compute(ComputeDType::F16).embed(&images, "cache")?;
//! println!("{} rows", cache.manifest().rows);
//! # Ok(())
//! # }
//! ```

use std::path::Path;
use std::sync::Arc;

use crate::backbones;
use crate::backbones::{Backbone, ComputeDType, ModelOptions, Pool, Taps};
use crate::data::Dataset;
use crate::embed::cache::Cache;
use crate::embed::network::Network;
use crate::embed::plan::{EmbedOptions, EmbedRun};
use crate::embed::run::{EmbedSummary, embed};
use crate::embed::schema::Precision;
use crate::error::Result;
use crate::preprocess::{Border, Window};
use crate::runtime::{Device, Runtime};
use crate::support::progress::{Progress, Silent};

/// What a cache makes of a backbone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedSpec {
    /// The numbers that the network computes with.
    pub compute: ComputeDType,
    /// Element type of the stored embeddings.
    pub dtype: Precision,
}

/// A backbone as caches and classifiers use it: every output one vector per image, nothing computed
/// that none of them reads.
#[derive(Clone, Debug)]
pub struct EmbeddingModel {
    /// The backbone.
    pub backbone: Backbone,
    /// The same, ready to be opened.
    pub network: Network,
}

impl EmbedSpec {
    /// Prepares a backbone: taps that are not pooled give their class token, or their mean where
    /// they have none; work that no output reads is left out; then the arithmetic is changed. This
    /// is the one order in which all of it works: shapes are known before integers compute.
    ///
    /// # Errors
    /// As [`Backbone::pool_taps`], [`Backbone::slice_pushdown`] and [`Backbone::compute_in`].
    pub fn prepare(self, mut backbone: Backbone) -> Result<EmbeddingModel> {
        backbone.pool_taps(None)?;
        backbone.slice_pushdown()?;
        let exact = match self.compute {
            ComputeDType::F32 => None,
            ComputeDType::F16 | ComputeDType::Int8 => Some(Arc::new(Network::new(&backbone, self.dtype)?)),
        };
        backbone.compute_in(self.compute)?;
        let network = Network { exact, ..Network::new(&backbone, self.dtype)? };
        Ok(EmbeddingModel { backbone, network })
    }
}

/// Embeds images with a model. Made with [`Embedder::new`], changed by setters, used by
/// [`Embedder::embed`].
#[derive(Clone)]
pub struct Embedder<'a> {
    model: String,
    model_options: ModelOptions,
    spec: EmbedSpec,
    window: Option<Window>,
    border: Option<Border>,
    fast_decode: bool,
    options: EmbedOptions,
    progress: &'a dyn Progress,
}

impl Embedder<'static> {
    /// An embedder with a model of the catalog, a folder with a model's `config.json` and weights,
    /// or an ONNX file; weights are fetched on first need.
    ///
    /// # Errors
    /// `ModelError::UnknownModel` where there is no such model.
    pub fn new(model: impl Into<String>) -> Result<Self> {
        let model = model.into();
        backbones::check_name(&model)?;
        Ok(Embedder {
            model,
            model_options: ModelOptions::default(),
            spec: EmbedSpec::default(),
            window: None,
            border: None,
            fast_decode: false,
            options: EmbedOptions::default(),
            progress: &Silent,
        })
    }
}

impl<'a> Embedder<'a> {
    /// The numbers that the network computes with, f32 unless given.
    #[must_use]
    pub fn compute(mut self, numbers: ComputeDType) -> Self {
        self.spec.compute = numbers;
        self
    }

    /// Element type of the stored embeddings, f32 unless given.
    #[must_use]
    pub fn dtype(mut self, dtype: Precision) -> Self {
        self.spec.dtype = dtype;
        self
    }

    /// Further outputs, each a column of the cache.
    #[must_use]
    pub fn taps(mut self, taps: Taps) -> Self {
        self.model_options.taps = taps;
        self
    }

    /// How taps with several vectors per image become one.
    #[must_use]
    pub fn pool(mut self, pool: Pool) -> Self {
        self.model_options.pool = Some(pool);
        self
    }

    /// Everything that can be said about a model, taps and pooling included.
    #[must_use]
    pub fn model_options(mut self, options: ModelOptions) -> Self {
        self.model_options = options;
        self
    }

    /// Which values of grey DICOM and 16-bit images become black and white.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Crops dark borders before anything else.
    #[must_use]
    pub fn crop_border(mut self, border: Border) -> Self {
        self.border = Some(border);
        self
    }

    /// Whether JPEGs far larger than needed are decoded at a part of their size.
    #[must_use]
    pub fn fast_decode(mut self, fast: bool) -> Self {
        self.fast_decode = fast;
        self
    }

    /// Images that the network embeds at once; chosen for the device unless given. It does not
    /// change the embeddings.
    #[must_use]
    pub fn batch(mut self, images: usize) -> Self {
        self.options.batch = images;
        self
    }

    /// Where to compute.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.options.device = device;
        self
    }

    /// How to run, device and batch included.
    #[must_use]
    pub fn options(mut self, options: EmbedOptions) -> Self {
        self.options = options;
        self
    }

    /// Who is told how far the work is; nobody unless given.
    #[must_use]
    pub fn progress<'b>(self, progress: &'b dyn Progress) -> Embedder<'b> {
        Embedder { progress, ..self }
    }

    /// Opens the model and prepares it as caches need it.
    ///
    /// # Errors
    /// As [`backbones::open`] and [`EmbedSpec::prepare`]; those of a preprocessing that contradicts
    /// itself.
    pub fn model(&self) -> Result<EmbeddingModel> {
        let mut backbone = backbones::open(&self.model, &self.model_options, self.progress)?;
        backbone.note_random_weights(self.progress);
        let preprocess = &mut backbone.preprocess;
        preprocess.window = self.window.unwrap_or(preprocess.window);
        preprocess.border = self.border.or(preprocess.border);
        preprocess.fast_decode |= self.fast_decode;
        preprocess.clone().check()?;
        self.spec.prepare(backbone)
    }

    /// Embeds images into a cache, or what is missing of them, and tells how it went. Files that
    /// cannot be embedded are listed in its quarantine table and counted.
    ///
    /// # Errors
    /// As [`Embedder::model`] and [`embed()`].
    pub fn run(&self, images: &Dataset, cache: impl AsRef<Path>) -> Result<EmbedSummary> {
        // The backbone goes: its weights lie in the file, or in the network's model.
        let EmbeddingModel { network, .. } = self.model()?;
        let run = EmbedRun { dataset: images, network: &network, cache: cache.as_ref() };
        embed(&run, &self.options, &|| Runtime::ensure(None, self.progress), self.progress)
    }

    /// As [`Embedder::run`]; gives the cache.
    ///
    /// # Errors
    /// As [`Embedder::run`].
    pub fn embed(&self, images: &Dataset, cache: impl AsRef<Path>) -> Result<Cache> {
        self.run(images, cache.as_ref())?;
        Cache::open(cache)
    }
}
