//! JSON files, with the path in every error.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{FileError, Result};
use crate::support::fs;

/// Reads a JSON file; `format` is what it should be, for the error.
///
/// # Errors
/// [`FileError`] when the file cannot be read or is none of these.
pub fn read<T: DeserializeOwned>(path: &Path, format: &'static str) -> Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?).map_err(|source| malformed(path, format, source))?)
}

/// Writes a value as indented JSON, replacing an older file atomically.
///
/// # Errors
/// [`FileError`] when the file cannot be written or the value has no JSON form.
pub fn write<T: Serialize>(path: &Path, format: &'static str, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|source| malformed(path, format, source))?;
    fs::replace(path, &text)
}

fn malformed(path: &Path, format: &'static str, source: serde_json::Error) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format, source: source.into() }
}
