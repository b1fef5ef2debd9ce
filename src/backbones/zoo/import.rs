//! Registers a user's ONNX file under a name: a copy in the cache directory, with what the user
//! says about it beside it.
//!
//! ```text
//! CACHE/models/imported/NAME/model.onnx     the file, to the byte; its external data beside it
//! CACHE/models/imported/NAME/model.toml     input, output, pooling, preprocessing, licence
//! CACHE/models/imported/NAME/fingerprint.json  what it gave for its known input
//! ```
//!
//! `models.lock` records the digests; a copy that was changed is not opened.

use std::path::{Path, PathBuf};

use crate::backbones::Backbone;
use crate::backbones::options::ModelOptions;
use crate::backbones::zoo::catalog::find;
use crate::backbones::zoo::fingerprint::Fingerprint;
use crate::backbones::zoo::lock;
use crate::backbones::zoo::lock::{LockedFile, Record, Source};
use crate::backbones::zoo::sidecar::Sidecar;
use crate::backbones::zoo::{onnx_file, sidecar};
use crate::error::{FileError, ModelError, Result};
use crate::graph::Model;
use crate::preprocess::Preprocess;
use crate::support::progress::Progress;
use crate::support::{env, fs, hub, json};

/// Name of the copy.
const FILE: &str = "model.onnx";
/// Name of its description.
const DESCRIPTION: &str = "model.toml";
/// Name of what it gives for its known input.
const PRINT: &str = "fingerprint.json";
/// What it is, for errors.
const PRINT_FORMAT: &str = "fingerprint (JSON)";
/// Where imported models lie in the cache directory.
const FOLDER: &str = "models/imported";

/// How a file is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name; the file's without `.onnx` if left out.
    pub name: Option<String>,
    /// Its licence, where the file or its description does not tell it.
    pub licence: Option<String>,
    /// Whether an import of that name is replaced.
    pub replace: bool,
    /// Input, output, pooling and preprocessing, as for the file itself.
    pub model: ModelOptions,
}

/// What is known of an imported model without opening it.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Length of its embedding.
    pub embedding: Option<usize>,
    /// Its licence.
    pub licence: Option<String>,
    /// Its preprocessing.
    pub preprocess: Option<Preprocess>,
}

/// What is known of an imported model; `None` where there is none of that name.
///
/// # Errors
/// [`FileError::Parse`] where its description cannot be read.
pub fn imported(name: &str) -> Result<Option<Imported>> {
    let Some(cache) = env::cache_directory() else { return Ok(None) };
    let record = lock::record(&cache, name)?.filter(|record| record.source == Source::Import && record.is_here(&cache));
    let Some(record) = record else { return Ok(None) };
    let Sidecar { licence, preprocess, .. } = sidecar::beside(&record.weights(&cache))?;
    let embedding = fingerprint(name)?.and_then(|print| print.outputs.first().map(|output| output.length));
    Ok(Some(Imported { embedding, licence, preprocess }))
}

/// Registers an ONNX file; gives the model as it will be opened by its name.
///
/// # Errors
/// [`ModelError::ImportName`] for a name that is taken or cannot be one; those of opening the file.
pub fn import(path: &Path, options: &ImportOptions, progress: &dyn Progress) -> Result<Backbone> {
    let cache = env::required_cache_directory()?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = options.name.clone().unwrap_or(stem);
    check_name(&cache, &name, options.replace)?;
    // What is wrong with the file, or with what is said about it, shows here.
    let opened = onnx_file::open(path, &options.model)?;
    let known = sidecar::beside(path)?;
    let description = Sidecar {
        input: options.model.input.clone().or(known.input),
        output: options.model.output.clone().or(known.output),
        layout: known.layout,
        pool: options.model.pool.or(known.pool),
        prefix: known.prefix,
        licence: options.licence.clone().or(opened.provenance.licence.clone()),
        preprocess: Some(opened.preprocess.clone()),
    };
    drop(opened);
    let parent = FOLDER.split('/').fold(cache.clone(), |path, part| path.join(part));
    let (folder, temporary) = (parent.join(&name), parent.join(format!(".{name}.tmp")));
    fs::remove_directory(&temporary)?;
    fs::create_directory(&temporary)?;
    let copied = copy(path, &temporary, &description, progress);
    let (files, sha256) = match copied {
        Ok(copied) => copied,
        Err(error) => {
            fs::remove_directory(&temporary)?;
            return Err(error);
        }
    };
    fs::remove_directory(&folder)?;
    fs::rename(&temporary, &folder)?;
    let record = Record {
        source: Source::Import,
        repository: fs::canonical(path)?.display().to_string(),
        revision: None,
        folder: format!("{FOLDER}/{name}"),
        weights: FILE.to_owned(),
        sha256,
        files,
    };
    lock::write(&cache, &name, record.clone())?;
    opened_record(&cache, &name, &record, &ModelOptions::default())
}

/// Keeps what an imported model gives for its known input, for later comparison.
///
/// # Errors
/// [`FileError::Io`] where the cache directory cannot be written.
pub fn keep_fingerprint(name: &str, fingerprint: &Fingerprint) -> Result<()> {
    let path = print_path(&env::required_cache_directory()?, name);
    json::write(&path, PRINT_FORMAT, fingerprint)
}

/// What an imported model gave for its known input; `None` where nothing was kept.
pub(crate) fn fingerprint(name: &str) -> Result<Option<Fingerprint>> {
    let Some(cache) = env::cache_directory() else { return Ok(None) };
    let is_import = lock::record(&cache, name)?.is_some_and(|record| record.source == Source::Import);
    let path = print_path(&cache, name);
    if !is_import || !path.is_file() {
        return Ok(None);
    }
    json::read(&path, PRINT_FORMAT).map(Some)
}

fn print_path(cache: &Path, name: &str) -> PathBuf {
    FOLDER.split('/').chain([name, PRINT]).fold(cache.to_path_buf(), |path, part| path.join(part))
}

/// Opens an imported model, if there is one of that name.
///
/// # Errors
/// [`FileError::Digest`] where its file is not the imported one; those of opening it.
pub(crate) fn open(name: &str, options: &ModelOptions) -> Result<Option<Backbone>> {
    let Some(cache) = env::cache_directory() else { return Ok(None) };
    match lock::record(&cache, name)?.filter(|record| record.source == Source::Import) {
        Some(record) => Ok(Some(opened_record(&cache, name, &record, options)?)),
        None => Ok(None),
    }
}

fn opened_record(cache: &Path, name: &str, record: &Record, options: &ModelOptions) -> Result<Backbone> {
    let path = record.weights(cache);
    let mut backbone = onnx_file::open(&path, options)?;
    if backbone.provenance.weights_sha256 != record.sha256 {
        let (expected, found) = (record.sha256.clone(), backbone.provenance.weights_sha256);
        return Err(FileError::Digest { path, expected, found }.into());
    }
    let source = Path::new(&record.repository).file_name().unwrap_or_default();
    backbone.provenance.weights = source.to_string_lossy().into_owned();
    name.clone_into(&mut backbone.name);
    Ok(backbone)
}

/// Copies a file with its external data and writes its description; gives all files and the digest
/// of the weights.
fn copy(
    path: &Path,
    folder: &Path,
    description: &Sidecar,
    progress: &dyn Progress,
) -> Result<(Vec<LockedFile>, String)> {
    let mut pairs: Vec<(PathBuf, String)> = vec![(path.to_path_buf(), FILE.to_owned())];
    pairs.extend(Model::external_files(path)?.into_iter().map(|file| (path.with_file_name(&file), file)));
    let mut files = Vec::new();
    for (from, name) in pairs {
        let target = name.split('/').fold(folder.to_path_buf(), |path, part| path.join(part));
        if let Some(parent) = target.parent() {
            fs::create_directory(parent)?;
        }
        let hub::Fetched { size, sha256 } = hub::copy(&from, &target, progress)?;
        files.push(LockedFile { path: name, size, sha256 });
    }
    let text = description.to_toml()?;
    fs::replace(&folder.join(DESCRIPTION), text.as_bytes())?;
    let (size, sha256) = (text.len() as u64, fs::sha256(text.as_bytes()));
    files.push(LockedFile { path: DESCRIPTION.to_owned(), size, sha256 });
    let copy = onnx_file::open(&folder.join(FILE), &ModelOptions::default())?;
    Ok((files, copy.provenance.weights_sha256))
}

/// Whether a name can be given.
fn check_name(cache: &Path, name: &str, replace: bool) -> Result<()> {
    let refuse = |reason: &str| ModelError::ImportName { name: name.to_owned(), reason: reason.to_owned() };
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts || !name.chars().all(known) || name.len() > 100 {
        return Err(refuse("it has other characters than letters, digits, `-`, `_` and `.`").into());
    }
    if name.to_ascii_lowercase().ends_with(".onnx") {
        return Err(refuse("a name that ends in `.onnx` means a file").into());
    }
    if find(name).is_ok() {
        return Err(refuse("the catalog has a model of that name").into());
    }
    match lock::record(cache, name)? {
        Some(record) if record.source != Source::Import => Err(refuse("a model of that name was pulled").into()),
        Some(_) if !replace => Err(refuse("there is an import of that name, which `replace` replaces").into()),
        _ => Ok(()),
    }
}
