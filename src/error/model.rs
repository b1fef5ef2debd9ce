//! Failures of weights, catalog entries and model descriptions.

use std::path::PathBuf;

use crate::error::Kind;

/// Weights or a model description do not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A checkpoint holds something else than plain tensors: unpickling it as Python does would run code.
    #[error("`{path}` refers to `{global}`, which is neither a tensor nor plain data; nothing of it was executed")]
    ForbiddenGlobal {
        /// The checkpoint.
        path: PathBuf,
        /// The Python name it refers to, as `module.name`.
        global: String,
    },
    /// A weights file is damaged or of a kind that is not read.
    #[error("`{path}` is not a readable {format}: {reason}")]
    Malformed {
        /// The weights file.
        path: PathBuf,
        /// The format it seemed to have.
        format: &'static str,
        /// What is wrong, with the position where there is one.
        reason: String,
    },
    /// A tensor asked for is not among the weights.
    #[error("`{source_path}` has no tensor `{name}`{}", Suggestions(nearest))]
    UnknownWeight {
        /// The weights file or folder.
        source_path: PathBuf,
        /// The name asked for.
        name: String,
        /// Names it has that resemble it.
        nearest: Vec<String>,
    },
    /// A folder holds no weights, or several to choose from.
    #[error("`{path}` holds {} weights files{}", found.len(), Listed(found))]
    WeightsFile {
        /// The folder.
        path: PathBuf,
        /// The weights files in it.
        found: Vec<String>,
    },
}

impl ModelError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            ModelError::ForbiddenGlobal { .. }
            | ModelError::Malformed { .. }
            | ModelError::UnknownWeight { .. }
            | ModelError::WeightsFile { .. } => Kind::Input,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            ModelError::ForbiddenGlobal { .. } => Some(
                "if you trust its origin, load it once in Python and save the state dict alone: \
                 `torch.save(model.state_dict(), ...)` or `safetensors.torch.save_file(...)`"
                    .into(),
            ),
            ModelError::Malformed { .. } => Some("fetch the file again and compare its size with the source's".into()),
            ModelError::UnknownWeight { .. } => None,
            ModelError::WeightsFile { found, .. } if found.is_empty() => Some(
                "a folder of weights has `model.safetensors`, an index of shards (`*.index.json`) or a PyTorch \
                 checkpoint (`.pth`, `.pt`, `.bin`)"
                    .into(),
            ),
            ModelError::WeightsFile { .. } => Some("name the file itself instead of the folder".into()),
        }
    }
}

/// `; nearest: ...`, or nothing.
struct Suggestions<'a>(&'a [String]);

impl std::fmt::Display for Suggestions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; nearest: `{}`", self.0.join("`, `")) }
    }
}

/// `: ...`, or nothing.
struct Listed<'a>(&'a [String]);

impl std::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": `{}`", self.0.join("`, `")) }
    }
}
