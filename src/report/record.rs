//! What a report is made from: plain data, independent of where it was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::{ClassScores, Difference, Estimate, Metric, ReliabilityBin};
use crate::records::Calibration;

/// Everything one report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The headline, normally the name of the dataset.
    pub title: String,
    /// Class (or label) names; everything below refers to them by position.
    pub classes: Vec<String>,
    /// The images and labels.
    pub dataset: DatasetFacts,
    /// How the embeddings were made, where that is known.
    pub embedding: Option<EmbeddingFacts>,
    /// The probes, in the order of their columns.
    pub probes: Vec<ProbeResult>,
    /// How the network was trained, where one was.
    pub training: Option<TrainingFacts>,
    /// How the probes fare along the layers, where several columns were probed.
    pub layers: Vec<LayerCurve>,
    /// The last probe compared with the first on the same test samples.
    pub difference: BTreeMap<Metric, Difference>,
    /// The embeddings on a plane.
    pub projection: Option<Plane>,
    /// Command lines that make the same again, in order.
    pub commands: Vec<String>,
    /// What else is needed to make the same again: versions, digests, seeds.
    pub provenance: Vec<Fact>,
}

/// One named piece of information.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

impl Fact {
    /// A fact of anything that can be printed.
    pub fn new(name: &str, value: impl ToString) -> Self {
        Fact { name: name.into(), value: value.to_string() }
    }
}

/// The images and labels behind a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Number of images, unlabelled ones included.
    pub samples: usize,
    /// Number of images without a label.
    pub unlabelled: usize,
    /// Whether an image can have several labels; counts per class then overlap.
    pub multi_label: bool,
    /// The splits in their order.
    pub splits: Vec<SplitFacts>,
    /// What the reader should know of the data.
    pub notes: Vec<String>,
    /// Some images of each class, by position of the class.
    pub gallery: Vec<Vec<Picture>>,
}

/// One split of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitFacts {
    /// `train`, `validation`, `test`.
    pub name: String,
    /// Labelled samples.
    pub samples: usize,
    /// Distinct groups, where there are groups.
    pub groups: Option<usize>,
    /// Samples per class.
    pub per_class: Vec<usize>,
}

/// An image with its id; `data` is a data URI of a small version, `None` where the file cannot be
/// read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Id of the sample.
    pub id: String,
    /// `data:image/jpeg;base64,...`
    pub data: Option<String>,
}

/// How embeddings were made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingFacts {
    /// Name of the model.
    pub model: String,
    /// Length of an embedding.
    pub dimension: usize,
    /// Speed of the run that computed them, in images per second.
    pub images_per_second: Option<f64>,
    /// Further facts: preprocessing, device, element type.
    pub facts: Vec<Fact>,
    /// Number of files that could not be embedded.
    pub failed: usize,
    /// Some of them, with the reason as value.
    pub failures: Vec<Fact>,
}

/// One probe and how it fared on the test split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Name in print: `Linear`, `k-NN`.
    pub title: String,
    /// The chosen hyper-parameters in words.
    pub chosen: String,
    /// Metrics with intervals.
    pub metrics: BTreeMap<Metric, Estimate>,
    /// Mean and standard deviation over repeats with other splits, where there are several.
    pub repeats: BTreeMap<Metric, Spread>,
    /// How the hyper-parameter was chosen.
    pub curve: Option<Curve>,
    /// Number of samples by true class (row) and predicted class (column).
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Each class by itself.
    pub per_class: Vec<ClassScores>,
    /// The reliability diagram.
    pub reliability: Vec<ReliabilityBin>,
    /// What was fitted on validation predictions; the figures are with it.
    pub adjustment: Option<Calibration>,
    /// Wrong predictions, the most confident first.
    pub mistakes: Vec<Mistake>,
    /// What the reader should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Leaks between splits that were allowed, shown in red.
    pub leaks: Vec<String>,
}

/// How a network was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingFacts {
    /// Learning rate, epochs, time.
    pub facts: Vec<Fact>,
    /// Step and loss.
    pub loss: Vec<(f64, f64)>,
    /// Step and learning rate.
    pub learning_rate: Vec<(f64, f64)>,
    /// Epoch and deciding metric on validation data.
    pub validation: Vec<(f64, f64)>,
    /// The deciding metric in print.
    pub metric: String,
    /// The epoch that was kept.
    pub best: f64,
}

/// Mean and standard deviation over repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub standard_deviation: Option<f64>,
    /// Number of repeats.
    pub repeats: usize,
}

/// A score along the candidates of a hyper-parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The hyper-parameter: `C`, `k`.
    pub parameter: String,
    /// What is scored, in print.
    pub score: String,
    /// Candidate and score, candidates positive and ascending.
    pub points: Vec<(f64, Option<f64>)>,
    /// The chosen candidate.
    pub chosen: f64,
}

/// A probe along the layers of the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerCurve {
    /// Name of the probe in print: `Linear`, `k-NN`.
    pub title: String,
    /// The metric in print.
    pub metric: String,
    /// The layers, the first one first.
    pub points: Vec<LayerPoint>,
}

/// A probe of one layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerPoint {
    /// The column: `block_05`, `embedding`.
    pub column: String,
    /// Place among all layers, from 0.
    pub place: usize,
    /// Values per image.
    pub dimension: usize,
    /// The score on validation data that chose the hyper-parameter.
    pub validation: Option<f64>,
    /// The metric on the test split.
    pub estimate: Estimate,
}

/// A wrong prediction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mistake {
    /// The image.
    pub picture: Picture,
    /// The truth in words.
    pub truth: String,
    /// The prediction in words.
    pub predicted: String,
    /// The probability of the prediction.
    pub probability: f64,
}

/// Samples on the plane of the first two principal components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// The samples shown.
    pub points: Vec<PlanePoint>,
    /// Share of the variance along each axis, from 0 to 1.
    pub explained: [f64; 2],
    /// Number of samples that the shown ones were drawn from.
    pub samples: usize,
}

/// One sample on the plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanePoint {
    /// Along the first axis.
    pub x: f64,
    /// Along the second axis.
    pub y: f64,
    /// Position of the class; `None` without label or with several.
    pub class: Option<usize>,
    /// Id of the sample.
    pub id: String,
}
