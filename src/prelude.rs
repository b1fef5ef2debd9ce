//! What most programs need: `use defrost::prelude::*;`.
//!
//! [`Dataset`] opens images, [`Embedder`] makes a [`Cache`] of them, [`LinearProbe`] and
//! [`KnnProbe`] are fitted on its [`Features`], [`FineTune`] trains a network, [`Exporter`] makes
//! one ONNX file of either, [`Classifier`] runs it.

pub use crate::backbones::{ComputeDType, ModelOptions, Pool, Taps};
pub use crate::data::{Dataset, OpenOptions, Task};
pub use crate::deploy::{Answer, Classifier, Exporter, Prediction};
pub use crate::embed::{Cache, Embedder, FeatureColumns, Features, Precision};
pub use crate::error::{Error, Result};
pub use crate::finetune::{FineTune, Freeze, Recipe};
pub use crate::metrics::Metric;
pub use crate::probe::{KnnProbe, LinearProbe};
pub use crate::runtime::Device;
