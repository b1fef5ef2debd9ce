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

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::support::seed::Seed;

    #[test]
    fn numbers_are_read_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.json");
        let mut draw = Seed::new(0).random();
        let mut numbers: Vec<f64> = (0..10_000).map(|_| draw.r#gen::<f64>() * 3.0).collect();
        numbers.push(1.8332778135175096);
        write(&path, "numbers", &numbers).unwrap();
        assert_eq!(read::<Vec<f64>>(&path, "numbers").unwrap(), numbers);
    }
}
