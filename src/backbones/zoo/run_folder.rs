//! The folder of a fine-tuning run as a backbone: the network that the run started from, with the
//! weights of its best epoch in place of its own, without the head.
//!
//! In: `config.toml`, of which `[model]` is read, and `checkpoints/best/model.safetensors`, whose
//! names are those of the network's initializers. The network is built again as the run built it,
//! so that taps, image sizes and blocks can be chosen as ever. A run that started from a run leads
//! to what that one started from. Weights that the run's features do not depend on, and which it
//! therefore did not keep, stay what they were.
//!
//! Refused: a run without a best epoch; options that say what the run has decided (weights, input
//! channels); more blocks than it kept; a run that starts from itself.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::backbones::Backbone;
use crate::backbones::options::{ModelOptions, Taps};
use crate::backbones::zoo::catalog::find;
use crate::error::{FileError, FinetuneError, ModelError, Result};
use crate::graph::{Tensor, needed_nodes};
use crate::support::fs;
use crate::tensor::{DType, Weights};

/// Name of the file that says how a run was made, in its folder.
pub const RUN_CONFIG: &str = "config.toml";
/// The weights of a run's best epoch, below its folder.
pub const BEST_WEIGHTS: &str = "checkpoints/best/model.safetensors";
/// What the words for weights end in where these were trained further.
const FINE_TUNED: &str = ", fine-tuned";
/// Properties of a graph that hold for the weights it came with.
const OF_WEIGHTS: [&str; 2] = ["defrost.licence", "defrost.fingerprint"];

/// What is read of `config.toml`.
#[derive(Deserialize)]
struct Configuration {
    model: Start,
}

/// What a run started from.
#[derive(Deserialize)]
struct Start {
    name: String,
    #[serde(default)]
    options: ModelOptions,
}

/// The words for weights that were trained further.
pub fn fine_tuned(weights: &str) -> String {
    if weights.ends_with(FINE_TUNED) { weights.to_owned() } else { format!("{weights}{FINE_TUNED}") }
}

/// Whether words for weights, in a model's properties, tell of random ones that nothing trained.
pub(super) fn are_random(weights: &str) -> bool {
    weights.starts_with("random weights") && !weights.ends_with(FINE_TUNED)
}

/// Whether a folder is that of a run.
pub(super) fn is_run(folder: &Path) -> bool {
    folder.join(RUN_CONFIG).is_file()
}

/// The network that a run started from, as `start` was opened from the run's [`Origin`], with the
/// weights of the run's best epoch.
pub(super) fn learned(folder: &Path, origin: &Origin, start: &Backbone) -> Result<Backbone> {
    let weights = Weights::open(&folder.join(BEST_WEIGHTS))?;
    let mut backbone = start.trainable()?;
    if !origin.is_cut {
        check_complete(&backbone, &weights)?;
    }
    replace_weights(&mut backbone, &weights)?;
    let folder = fs::canonical(folder)?;
    backbone.name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let provenance = &mut backbone.provenance;
    provenance.weights = fine_tuned(&provenance.weights);
    provenance.weights_sha256 = weights.digest().to_owned();
    provenance.random = false;
    let graph = &mut backbone.graph;
    graph.metadata.retain(|property| !OF_WEIGHTS.contains(&property.key.as_str()));
    graph.set_property("defrost.model", backbone.name.as_str());
    graph.set_property("defrost.weights", provenance.weights.as_str());
    graph.set_property("defrost.weights_sha256", provenance.weights_sha256.as_str());
    if let Some(licence) = &provenance.licence {
        graph.set_property("defrost.licence", licence.as_str());
    }
    Ok(backbone)
}

/// The network that a run started from, which is no run.
pub(super) struct Origin {
    /// What it is opened by.
    pub(super) name: String,
    /// What the runs on the way to it say about it, and the user.
    pub(super) options: ModelOptions,
    /// Whether the user keeps fewer blocks than the run.
    is_cut: bool,
}

/// What the run in `folder` started from, with what is asked for beyond what the run decided.
pub(super) fn origin(folder: &Path, asked: &ModelOptions) -> Result<Origin> {
    if !folder.join(BEST_WEIGHTS).is_file() {
        return Err(ModelError::UntrainedRun { path: folder.to_path_buf() }.into());
    }
    let start = read(folder)?;
    let is_cut = asked.keep_blocks.is_some() && asked.keep_blocks != start.options.keep_blocks;
    let (mut options, mut name) = (inherited(folder, start.options, asked)?, start.name);
    let mut met = vec![fs::canonical(folder)?];
    while find(&name).is_err() && is_run(Path::new(&name)) {
        let run = PathBuf::from(&name);
        let place = fs::canonical(&run)?;
        if met.contains(&place) {
            let (path, field) = (folder.join(RUN_CONFIG), "model.name".to_owned());
            let reason = format!("the run in `{name}` starts from itself");
            return Err(ModelError::Configuration { path, field, reason }.into());
        }
        met.push(place);
        let start = read(&run)?;
        options = inherited(&run, start.options, &options)?;
        name = start.name;
    }
    Ok(Origin { name, options, is_cut })
}

fn read(folder: &Path) -> Result<Start> {
    let path = folder.join(RUN_CONFIG);
    let text = fs::read_text(&path)?;
    let read: Result<Configuration, _> = toml::from_str(&text);
    let malformed = |source| FileError::Parse { path, format: "configuration of a run", source: Box::new(source) };
    Ok(read.map_err(malformed)?.model)
}

/// What a run says about its model, with what is asked for beyond that.
fn inherited(run: &Path, own: ModelOptions, asked: &ModelOptions) -> Result<ModelOptions> {
    for (given, option) in [
        (asked.weights.is_some(), "weights"),
        (asked.weights_prefix.is_some(), "weights-prefix"),
        (asked.random_weights.is_some(), "random-weights"),
        (asked.input.is_some(), "input"),
        (asked.output.is_some(), "output"),
        (asked.channels.is_some(), "channels"),
        (asked.channel_rule.is_some(), "channel-rule"),
    ] {
        if given {
            let reason = format!("`{}` is a run, which has decided that", run.display());
            return Err(ModelError::Misplaced { option, reason }.into());
        }
    }
    if let (Some(has), Some(asked)) = (own.keep_blocks, asked.keep_blocks)
        && asked > has
    {
        return Err(ModelError::Blocks { model: run.display().to_string(), asked, has }.into());
    }
    Ok(ModelOptions {
        preprocess: asked.preprocess.clone().or(own.preprocess),
        size: asked.size.or(own.size),
        // What says how the run's taps are pooled does not concern its embedding.
        pool: asked.pool.or(own.pool.filter(|_| own.taps == Taps::None)),
        taps: asked.taps.clone(),
        keep_blocks: asked.keep_blocks.or(own.keep_blocks),
        ..own
    })
}

/// Checks that the weights have every parameter that the embedding depends on.
fn check_complete(backbone: &Backbone, weights: &Weights) -> Result<(), FinetuneError> {
    let graph = &backbone.graph.graph;
    let needed = needed_nodes(graph, [backbone.embedding.name.as_str()], &HashSet::new());
    let nodes = graph.nodes.iter().zip(needed).filter(|(_, needed)| *needed);
    let read: HashSet<&String> = nodes.flat_map(|(node, _)| &node.inputs).collect();
    let parameters = backbone.parameters.iter().filter(|name| read.contains(name));
    let missing = parameters.filter(|name| !weights.contains(name)).find_map(|name| graph.initializer(name));
    missing.map_or(Ok(()), |tensor| Err(misfit(weights, &tensor.name, &tensor.shape)))
}

/// Puts the weights in the place of the parameters of their names.
fn replace_weights(backbone: &mut Backbone, weights: &Weights) -> Result<()> {
    let initializers = backbone.graph.graph.initializers.iter_mut();
    let mut initializers: HashMap<String, &mut Tensor> =
        initializers.map(|tensor| (tensor.name.clone(), tensor)).collect();
    for name in backbone.parameters.iter().filter(|name| weights.contains(name)) {
        let Some(tensor) = initializers.get_mut(name) else { continue };
        if weights.shape(name) != Some(&tensor.shape) || weights.dtype(name) != Some(DType::F32) {
            return Err(misfit(weights, name, &tensor.shape).into());
        }
        **tensor = Tensor::new(name, &weights.get(name)?);
    }
    Ok(())
}

fn misfit(weights: &Weights, name: &str, shape: &[usize]) -> FinetuneError {
    let (path, expected) = (weights.source().to_path_buf(), format!("{} {shape:?}", DType::F32));
    FinetuneError::Checkpoint { path, name: name.to_owned(), expected }
}
