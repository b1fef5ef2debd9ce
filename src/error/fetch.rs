//! Failures of fetching files from the Python package index.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A wheel could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// There is no Python interpreter.
    #[error("cannot fetch {what}: the Python interpreter `{python}` cannot be started")]
    NoPython {
        /// What was to be fetched.
        what: String,
        /// The interpreter that was tried.
        python: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The interpreter has no `pip`.
    #[error("cannot fetch {what}: `{python}` has no `pip`")]
    NoPip {
        /// What was to be fetched.
        what: String,
        /// The interpreter.
        python: PathBuf,
    },
    /// The package index cannot be reached.
    #[error("cannot fetch {what}: the Python package index cannot be reached ({reason})")]
    NoNetwork {
        /// What was to be fetched.
        what: String,
        /// The telling line of what `pip` said.
        reason: String,
    },
    /// The package index has no such wheel.
    #[error("cannot fetch {what}: the Python package index has no wheel of it for {platform}")]
    NoWheel {
        /// What was to be fetched.
        what: String,
        /// This machine's operating system and processor.
        platform: String,
    },
    /// The disk is full.
    #[error("cannot fetch {what}: no space is left for `{path}`")]
    DiskFull {
        /// What was to be fetched.
        what: String,
        /// Where it was to go.
        path: PathBuf,
    },
    /// `pip` failed for another reason.
    #[error("cannot fetch {what}: `pip` failed: {reason}")]
    Pip {
        /// What was to be fetched.
        what: String,
        /// What `pip` said.
        reason: String,
    },
    /// The fetched file is not the one that is known.
    #[error("the wheel `{file}` has sha256 {found}, which is not one of the {known} known ones of {what}")]
    Digest {
        /// What was fetched.
        what: String,
        /// The file's name.
        file: String,
        /// The sha256 found, lower-case hexadecimal.
        found: String,
        /// How many are known.
        known: usize,
    },
    /// The fetched file cannot be unpacked.
    #[error("the wheel of {what} cannot be unpacked: {reason}")]
    Archive {
        /// What was fetched.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The library that a wheel holds cannot be taken out of it.
    #[error("{what} cannot be derived: {reason}")]
    Underivable {
        /// What was to be derived, and from what.
        what: String,
        /// What does not look as expected.
        reason: String,
    },
    /// The directory for downloads cannot be written.
    #[error("cannot fetch {what}: `{path}` cannot be written")]
    Cache {
        /// What was to be fetched.
        what: String,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing tells where downloads belong.
    #[error("there is no cache directory: neither `DEFROST_CACHE_DIR` nor `HOME` is set")]
    NoCacheDirectory,
}

impl Diagnostic for FetchError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            FetchError::NoPython { .. } => {
                "install Python 3 with pip (it is used for downloads only), or name an interpreter with `DEFROST_PYTHON`".into()
            }
            FetchError::NoPip { python, .. } => format!(
                "install it (`{} -m ensurepip`, or your system's package `python3-pip`), or name another interpreter with `DEFROST_PYTHON`",
                python.display()
            ),
            FetchError::NoNetwork { .. } => {
                "check the network, or set `PIP_INDEX_URL` or `HTTPS_PROXY` as your network needs it; without network, copy the cache directory (`defrost doctor` shows it) from a machine that has one".into()
            }
            FetchError::NoWheel { .. } => {
                "upgrade pip; for ONNX Runtime, a library from elsewhere works too: name it with `ORT_DYLIB_PATH`; \
                 `<engine graph>` trains with any"
                    .into()
            }
            FetchError::DiskFull { .. } => "free disk space, or name another place with `DEFROST_CACHE_DIR`".into(),
            FetchError::Digest { .. } => {
                "nothing was installed; try again, and check which package index `pip` uses (`pip config list`)".into()
            }
            FetchError::Cache { path, .. } => {
                format!("make `{}` writable, or name another place with `DEFROST_CACHE_DIR`", path.display())
            }
            FetchError::NoCacheDirectory => "set `DEFROST_CACHE_DIR` to a directory that can be written".into(),
            FetchError::Underivable { .. } => {
                "nothing was installed; a library with the training API from elsewhere works too: name it with `ORT_DYLIB_PATH`".into()
            }
            FetchError::Pip { .. } | FetchError::Archive { .. } => return None,
        })
    }
}
