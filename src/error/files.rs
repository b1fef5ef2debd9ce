//! Failures of files and directories; every variant carries the path.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

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
    /// A result could not be written to stdout.
    #[error("cannot write the result to stdout")]
    Stdout {
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

impl Diagnostic for FileError {
    fn kind(&self) -> Kind {
        match self {
            FileError::Io { source, .. } => match source.kind() {
                ErrorKind::NotFound | ErrorKind::InvalidInput => Kind::Input,
                _ => Kind::Environment,
            },
            FileError::Stdout { .. } | FileError::Digest { .. } => Kind::Environment,
            FileError::Parse { .. } => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            FileError::Io { source, path, .. } => match source.kind() {
                ErrorKind::NotFound => Some("check the path; relative paths start at the current directory".into()),
                ErrorKind::PermissionDenied => {
                    Some(format!("check the permissions of `{}` and of the directories above it", path.display()))
                }
                kind => full(kind).map(Into::into),
            },
            FileError::Stdout { source } => full(source.kind()).map(Into::into),
            FileError::Digest { path, .. } => Some(format!(
                "the download is damaged or not the known version; delete `{}` and run again",
                path.display()
            )),
            FileError::Parse { .. } => None,
        }
    }
}

/// What to do where a file system, a quota or a limit takes no more.
fn full(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::StorageFull => Some("free disk space and run the same command again"),
        ErrorKind::QuotaExceeded => Some("your quota is used up: free space in it and run the same command again"),
        ErrorKind::FileTooLarge => Some("a limit on the size of files (`ulimit -f`) is reached: raise it"),
        ErrorKind::ReadOnlyFilesystem => Some("the file system is mounted read-only: choose another place"),
        _ => None,
    }
}
