//! Every environment variable the crate reads, one documented constant each.

use std::env;
use std::path::PathBuf;

use crate::error::{FetchError, Result};

/// Directory of everything `defrost` downloads or prepares; default `$XDG_CACHE_HOME/defrost` or `~/.cache/defrost`.
pub const CACHE_DIRECTORY: &str = "DEFROST_CACHE_DIR";
/// Path of the ONNX Runtime shared library, as `ort` understands it.
pub const RUNTIME_LIBRARY: &str = "ORT_DYLIB_PATH";
/// Log filter of `tracing`, for example `defrost=debug,ort=info`.
pub const LOG: &str = "DEFROST_LOG";
/// The Python interpreter whose `pip` fetches wheels; default `python3`.
pub const PYTHON: &str = "DEFROST_PYTHON";

/// The value of `name`, when set to something not empty.
pub fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of `name` as a path, when set to something not empty.
pub fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The user's cache directory of `defrost` (not created); `None` where neither a variable nor a home directory tells it.
pub fn cache_directory() -> Option<PathBuf> {
    path(CACHE_DIRECTORY)
        .or_else(|| path("XDG_CACHE_HOME").map(|base| base.join("defrost")))
        .or_else(|| path("HOME").map(|home| home.join(".cache").join("defrost")))
        .or_else(|| path("LOCALAPPDATA").map(|base| base.join("defrost")))
}

/// The user's cache directory of `defrost` (not created).
///
/// # Errors
/// [`FetchError::NoCacheDirectory`] where neither a variable nor a home directory tells it.
pub fn required_cache_directory() -> Result<PathBuf> {
    Ok(cache_directory().ok_or(FetchError::NoCacheDirectory)?)
}
