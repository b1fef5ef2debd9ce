//! What a classifier is made of, found out from the record of a probe or from the directory of a
//! fine-tuning run.

use std::path::PathBuf;

use crate::backbones::ModelOptions;
use crate::deploy::head::Head;
use crate::deploy::model_card::ModelCard;
use crate::graph::Model;
use crate::preprocess::ValidPreprocess;

/// What a user says beyond the probe or run.
#[derive(Clone, Debug, Default)]
pub struct ExportOptions {
    /// The model that made the embeddings; by default as the cache names it.
    pub model: Option<String>,
    /// What else there is to say about that model; its taps follow from the cache.
    pub options: ModelOptions,
    /// The embedding cache; by default the one that the record lies in or names.
    pub cache: Option<PathBuf>,
    /// Above which probabilities labels count as present: one for all, or one per label; from which
    /// probability on the second of two classes is the answer. As the record says unless given.
    pub thresholds: Vec<f32>,
}

/// The network of a classifier.
#[derive(Clone, Debug)]
pub struct ExportedNetwork {
    /// The graph.
    pub model: Model,
    /// Its input, f32 [N, C, H, W].
    pub input: String,
    /// The output that the head reads, f32 [N, D].
    pub output: String,
    /// Length of a row of that output.
    pub width: usize,
    /// The number of images that it takes at once, where it takes no other; that of a classifier takes
    /// one where it is stated, see `for_one_image`.
    pub fixed_batch: Option<usize>,
}

/// What a classifier is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// What happens to pixels first.
    pub preprocess: ValidPreprocess,
    /// The network.
    pub body: ExportedNetwork,
    /// What makes probabilities of the network's output.
    pub head: Head,
    /// What the file will say about itself.
    pub card: ModelCard,
    /// Images of the test split that it was evaluated on, in order, with the probabilities found
    /// then; or why they are not known.
    pub tested: Result<Vec<RecordedPrediction>, String>,
    /// How much the probabilities found then may differ from those found now.
    pub recorded_tolerance: f64,
}

/// An image of the test split.
#[derive(Clone, Debug)]
pub struct RecordedPrediction {
    /// The file.
    pub path: PathBuf,
    /// The probabilities that the metrics were computed from.
    pub probabilities: Vec<f64>,
}
