//! Failures of files and directories; every variant carries the path.

use std::path::PathBuf;

use crate::error::Kind;

/// A file or directory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The operating system refused an operation.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create directory`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file's content does not have the expected digest.
    #[error("`{path}` has sha256 {found}, expected {expected}")]
    Digest {
        /// The file.
        path: PathBuf,
        /// Expected sha256, lower-case hexadecimal.
        expected: String,
        /// Found sha256, lower-case hexadecimal.
        found: String,
    },
    /// A text or structured file could not be parsed.
    #[error("`{path}` is not valid {format}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The expected format: `TOML`, `JSON`, `safetensors`.
        format: &'static str,
        /// The parser's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl FileError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            FileError::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidInput => Kind::Input,
                _ => Kind::Environment,
            },
            FileError::Digest { .. } => Kind::Environment,
            FileError::Parse { .. } => Kind::Input,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            FileError::Io { source, path, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => {
                    Some("check the path; relative paths start at the current directory".into())
                }
                std::io::ErrorKind::PermissionDenied => {
                    Some(format!("check the permissions of `{}` and of the directories above it", path.display()))
                }
                std::io::ErrorKind::StorageFull => Some("free disk space and run the same command again".into()),
                _ => None,
            },
            FileError::Digest { path, .. } => Some(format!(
                "the download is damaged or not the known version; delete `{}` and run again",
                path.display()
            )),
            FileError::Parse { .. } => None,
        }
    }
}
