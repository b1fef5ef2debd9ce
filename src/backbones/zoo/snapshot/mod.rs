//! A folder as a model: a Hugging Face snapshot, or a folder that spells its architecture out.
//!
//! In: a folder with a configuration and, unless they are given, weights. Out: a [`Blueprint`]
//! (family, sizes, preprocessing, licence) and the weights. Four styles of configuration are read,
//! recognised by their keys:
//!
//! | style | files | recognised by |
//! |---|---|---|
//! | timm | `config.json` | `architecture`, with `pretrained_cfg` |
//! | transformers | `config.json`, `preprocessor_config.json` | `model_type` |
//! | open_clip | `open_clip_config.json` | `model_cfg` |
//! | explicit | `config.json` | `naming` |
//!
//! Refused, by file and key: architectures, activations and options that no family has, sizes that
//! do not divide.

mod explicit;
mod focalnet;
mod open_clip;
mod timm;
mod timm_names;
mod transformer;
mod transformers;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::backbones::blueprint::Blueprint;
use crate::backbones::options::{ModelOptions, Size};
use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::sidecar;
use crate::error::{ModelError, Result};
use crate::preprocess::Preprocess;
use crate::support::fs;
use crate::support::progress::Progress;
use crate::tensor::Weights;

/// The configuration of timm, transformers and explicit folders.
const CONFIG: &str = "config.json";
/// The configuration of open_clip.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
/// Weights files of open_clip, which its repositories have beside those of another library.
const OPEN_CLIP_WEIGHTS: [&str; 3] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"];

/// A folder that was read.
pub(super) struct Snapshot {
    /// What is to be built.
    pub(super) blueprint: Blueprint,
    /// Its weights; `None` where none were asked for.
    pub(super) weights: Option<Weights>,
}

/// What a configuration says.
struct Description {
    /// Name of the family.
    family: &'static str,
    /// Its configuration.
    architecture: toml::Table,
    /// The preprocessing, where the configuration tells it.
    preprocess: Option<Described>,
    /// The licence, where the configuration tells it.
    licence: Option<String>,
}

/// A preprocessing and where it is written.
struct Described {
    specification: Preprocess,
    path: PathBuf,
    /// The key that says how large the result is.
    size_field: &'static str,
}

/// What a style needs to know besides its configuration.
struct Context<'a> {
    folder: &'a Path,
    /// Names of the weights; `None` where they are random.
    weights: Option<&'a Weights>,
    progress: &'a dyn Progress,
}

impl Context<'_> {
    /// Whether some tensor's name ends so; a network with random weights has everything.
    fn has_weight(&self, end: &str) -> bool {
        self.weights.is_none_or(|weights| weights.names().any(|name| name.ends_with(end)))
    }
}

/// Reads a folder: its configuration and, unless `options` name others or want random ones, its
/// weights.
///
/// # Errors
/// [`ModelError::NoConfiguration`]; [`ModelError::Configuration`] and [`ModelError::Processor`]
/// with file and key; those of [`Weights::open`].
pub(super) fn open(folder: &Path, options: &ModelOptions, progress: &dyn Progress) -> Result<Snapshot> {
    let (file, own_weights) = configuration(folder)?;
    let weights = match (&options.weights, options.random_weights) {
        (_, Some(_)) => None,
        (Some(path), None) => Some(Weights::open(path)?),
        (None, None) => Some(Weights::open(own_weights.as_deref().unwrap_or(folder))?),
    };
    let text = fs::read_text(&file)?;
    let fields = Fields::parse(&file, &text, "model configuration (JSON)")?;
    let context = Context { folder, weights: weights.as_ref(), progress };
    let Description { family, architecture, preprocess, licence } = describe(&fields, &context)?;
    let preprocess = match (&options.preprocess, preprocess) {
        (Some(path), _) => sidecar::preprocess(path)?,
        (None, Some(described)) => {
            check_patches(&described, &architecture, options)?;
            described.specification
        }
        (None, None) => return Err(ModelError::NoPreprocess { path: folder.to_path_buf() }.into()),
    };
    let (name, licence) = (name_of(folder)?, licence_of_card(folder)?.or(licence));
    let changes = options.changes()?;
    let blueprint = Blueprint { name, family: family.to_owned(), architecture, licence, preprocess, changes };
    Ok(Snapshot { blueprint, weights })
}

/// The configuration of a folder, and the weights that belong to it where the folder has others
/// too.
fn configuration(folder: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let config = Some(folder.join(CONFIG)).filter(|path| path.is_file());
    let open_clip = Some(folder.join(OPEN_CLIP_CONFIG)).filter(|path| path.is_file());
    let open_clip_weights = OPEN_CLIP_WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    match (config, open_clip) {
        // Repositories of open_clip's models often hold the same network for another library, too.
        (Some(config), _) if Weights::well_known(folder).is_some() => Ok((config, Weights::well_known(folder))),
        (_, Some(open_clip)) => Ok((open_clip, open_clip_weights)),
        (Some(config), None) => Ok((config, None)),
        (None, None) => {
            let looked_for = [CONFIG, OPEN_CLIP_CONFIG].map(str::to_owned).to_vec();
            Err(ModelError::NoConfiguration { path: folder.to_path_buf(), looked_for }.into())
        }
    }
}

/// What a configuration of any style says.
fn describe(fields: &Fields<'_>, context: &Context<'_>) -> Result<Description> {
    if fields.has("naming") {
        explicit::describe(fields, context)
    } else if fields.has("model_cfg") {
        open_clip::describe(fields)
    } else if fields.has("architecture") {
        timm::describe(fields)
    } else if fields.has("model_type") {
        transformers::describe(fields, context)
    } else {
        let reason = "it is missing, and so are `architecture` (timm), `model_cfg` (open_clip) and `naming`".to_owned();
        Err(fields.refuse("model_type", reason))
    }
}

/// Whether preprocessed images are whole patches, unless the user asks for another size.
fn check_patches(described: &Described, architecture: &toml::Table, options: &ModelOptions) -> Result<()> {
    let patch =
        architecture.get("patch").and_then(toml::Value::as_integer).and_then(|patch| usize::try_from(patch).ok());
    let (Some(patch), None) = (patch, options.size) else { return Ok(()) };
    match Size::of(&described.specification)? {
        Size::Fixed { height, width } if height % patch != 0 || width % patch != 0 => {
            let reason = format!("{height}x{width} pixels are not whole patches of {patch}x{patch} pixels");
            let (path, field) = (described.path.clone(), described.size_field.to_owned());
            Err(ModelError::Processor { path, field, reason }.into())
        }
        _ => Ok(()),
    }
}

/// The repository's name where the folder lies in a Hugging Face cache, else the folder's.
fn name_of(folder: &Path) -> Result<String> {
    let folder = fs::canonical(folder)?;
    let parts: Vec<String> = folder.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if let [.., repository, snapshots, _] = parts.as_slice()
        && let (Some(repository), "snapshots") = (repository.strip_prefix("models--"), snapshots.as_str())
    {
        return Ok(repository.replacen("--", "/", 1));
    }
    Ok(parts.last().cloned().unwrap_or_default())
}

/// The licence that the model card's front matter names.
fn licence_of_card(folder: &Path) -> Result<Option<String>> {
    let card = folder.join("README.md");
    if !card.is_file() {
        return Ok(None);
    }
    let text = fs::read_text(&card)?;
    let Some(front) = text.strip_prefix("---").and_then(|rest| rest.split("\n---").next()) else { return Ok(None) };
    let of = |key: &str| front.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned());
    let named = of("license:").filter(|licence| !licence.is_empty() && licence != "other");
    Ok(named.or_else(|| of("license_name:")))
}

/// A value as an integer of a catalog entry.
fn integer(value: usize) -> toml::Value {
    toml::Value::Integer(value as i64)
}

/// Values as a list of a catalog entry.
fn list(values: &[usize]) -> toml::Value {
    toml::Value::Array(values.iter().map(|value| integer(*value)).collect())
}

/// Refuses images of other than three channels.
fn three_channels(fields: &Fields<'_>, key: &str) -> Result<()> {
    fields.only(key, &Value::from(3))
}
