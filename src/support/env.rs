//! Every environment variable the crate reads, one documented constant each.

use std::env;
use std::path::PathBuf;

use crate::error::{FetchError, Result};

/// Directory of everything `defrost` downloads or prepares; default `$XDG_CACHE_HOME/defrost` or
/// `~/.cache/defrost`.
pub const CACHE_DIRECTORY: &str = "DEFROST_CACHE_DIR";
/// Path of the ONNX Runtime shared library, as `ort` understands it.
pub const RUNTIME_LIBRARY: &str = "ORT_DYLIB_PATH";
/// Log filter of `tracing`, for example `defrost=debug,ort=info`.
pub const LOG: &str = "DEFROST_LOG";
/// The Python interpreter whose `pip` fetches wheels; default `python3`.
pub const PYTHON: &str = "DEFROST_PYTHON";

/// Address of the Hugging Face hub, or of a mirror.
pub const HUB_ENDPOINT: &str = "HF_ENDPOINT";
/// Token for private repositories of the hub.
pub const HUB_TOKEN: &str = "HF_TOKEN";
/// Whether the hub is not to be asked.
pub const HUB_OFFLINE: &str = "HF_HUB_OFFLINE";
/// Directory of the hub's own tools; default `~/.cache/huggingface`. Only the token in it is read.
pub const HUB_HOME: &str = "HF_HOME";

/// The value of `name`, when set to something not empty.
pub fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of `name` as a path, when set to something not empty.
pub fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The token for the hub: that of the variable, or the one its own tools stored.
pub fn hub_token() -> Option<String> {
    let home = || path(HUB_HOME).or_else(|| path("HOME").map(|home| home.join(".cache").join("huggingface")));
    let stored = || std::fs::read_to_string(home()?.join("token")).ok();
    let token = text(HUB_TOKEN).or_else(stored)?.trim().to_owned();
    (!token.is_empty() && token.chars().all(|c| c.is_ascii_graphic())).then_some(token)
}

/// The user's cache directory of `defrost` (not created); `None` where neither a variable nor a
/// home directory tells it.
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
