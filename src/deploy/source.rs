//! What a classifier is made of, found out from the record of a probe or from the directory of a fine-tuning run.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;

use crate::backbones::ModelOptions;
use crate::data::Task;
use crate::deploy::Card;
use crate::deploy::Head;
use crate::deploy::probes;
use crate::deploy::runs;
use crate::error::DeployError;
use crate::error::Result;
use crate::graph::Model;
use crate::preprocess::Preprocess;
use crate::preprocess::ValidPreprocess;
use crate::preprocess::Window;
use crate::records::Chosen;
use crate::records::Record;
use crate::support::progress::Progress;

/// What a user says beyond the probe or run.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The model that made the embeddings; by default as the cache names it.
    pub model: Option<String>,
    /// What else there is to say about that model; its taps follow from the cache.
    pub options: ModelOptions,
    /// The embedding cache; by default the one that the record lies in or names.
    pub cache: Option<PathBuf>,
    /// Files of the images that a run was tested on, by id, as far as they are known; those of probes are known by their cache.
    pub images: HashMap<String, PathBuf>,
    /// Above which probabilities labels count as present: one for all, or one per label; 0.5 unless said.
    pub thresholds: Vec<f32>,
}

/// The network of a classifier.
#[derive(Clone, Debug)]
pub struct Body {
    /// The graph.
    pub model: Model,
    /// Its input, f32 [N, C, H, W].
    pub input: String,
    /// The output that the head reads, f32 [N, D].
    pub output: String,
    /// Length of a row of that output.
    pub width: usize,
    /// The number of images that it takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
}

/// What a classifier is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// What happens to pixels first.
    pub preprocess: ValidPreprocess,
    /// The network.
    pub body: Body,
    /// What makes probabilities of the network's output.
    pub head: Head,
    /// What the file will say about itself.
    pub card: Card,
    /// Images of the test split that it was evaluated on, in order, with the probabilities found then.
    pub tested: Vec<Tested>,
    /// How much the probabilities found then may differ from those found now.
    pub recorded_tolerance: f64,
}

/// An image of the test split.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The file.
    pub path: PathBuf,
    /// The probabilities that the metrics were computed from.
    pub probabilities: Vec<f64>,
}

/// Finds out what the classifier of a probe's record or of a run's directory is made of.
///
/// # Errors
/// [`DeployError`]: it is neither; the model is not the one that made the embeddings. Those of reading caches, records and
/// models.
pub fn open(path: &Path, asked: &Asked, progress: &dyn Progress) -> Result<Source> {
    if path.is_dir() {
        return runs::open(path, asked);
    }
    let record = Record::read(path)?;
    match record.chosen {
        Chosen::Linear { .. } | Chosen::Knn { .. } => probes::open(path, &record, asked, progress),
        Chosen::Finetune { .. } => runs::open(path.parent().unwrap_or(Path::new("")), asked),
    }
}

/// What a user of the file should know.
pub(super) fn warnings(record: &Record, preprocess: &Preprocess) -> Vec<String> {
    let mut warnings = record.warnings.clone();
    if preprocess.fast_decode {
        warnings.push(
            "large JPEGs were decoded at a reduced size: decoded in full, they give slightly other results".into(),
        );
    }
    if preprocess.window != Window::File {
        warnings
            .push("grey values were windowed while decoding: images must be given with the same window applied".into());
    }
    warnings
}

/// Thresholds for every label of a task where labels are decided one by one; none for the others.
///
/// # Errors
/// [`DeployError::Thresholds`] for thresholds where there is nothing to threshold, for a number that is neither one nor that
/// of the labels, and for values outside of 0 to 1.
pub(super) fn thresholds(task: Task, classes: usize, asked: &[f32]) -> Result<Option<Vec<f32>>, DeployError> {
    let refused = |expected: String| DeployError::Thresholds { found: format!("{asked:?}"), expected };
    if task != Task::MultiLabel {
        return match asked {
            [] => Ok(None),
            _ => Err(refused("none: an image has one class, the one of the highest probability".into())),
        };
    }
    if asked.iter().any(|threshold| !(0.0..=1.0).contains(threshold)) {
        return Err(refused("numbers from 0 to 1".into()));
    }
    match asked {
        [] => Ok(Some(vec![0.5; classes])),
        [one] => Ok(Some(vec![*one; classes])),
        several if several.len() == classes => Ok(Some(several.to_vec())),
        _ => Err(refused(format!("one, or {classes}: one per label"))),
    }
}
