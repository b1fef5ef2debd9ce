//! Failures of fetching models from the Hugging Face hub or from a folder, and of what was fetched
//! before.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A model's files could not be fetched, or are not those that were fetched before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The hub cannot be reached.
    #[error("cannot fetch `{what}`: `{host}` cannot be reached ({reason})")]
    Unreachable {
        /// Repository and file.
        what: String,
        /// The host that was tried.
        host: String,
        /// Why not.
        reason: String,
    },
    /// The hub answers with something else than the file.
    #[error("cannot fetch `{what}`: `{url}` answered with status {status}")]
    Status {
        /// Repository and file.
        what: String,
        /// The address that was asked.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The hub's answer makes no sense.
    #[error("cannot fetch `{what}`: `{url}` answered strangely: {reason}")]
    Answer {
        /// Repository and file.
        what: String,
        /// The address that was asked.
        url: String,
        /// What is strange.
        reason: String,
    },
    /// The connection broke again and again.
    #[error("fetching `{what}` stopped after {received} bytes{}: {reason}", Of(*.total))]
    Interrupted {
        /// Repository and file.
        what: String,
        /// Bytes that are kept.
        received: u64,
        /// Bytes of the whole file, where the hub told.
        total: Option<u64>,
        /// Why it stopped.
        reason: String,
    },
    /// What arrived is not what the hub announced.
    #[error("`{what}` arrived with {property} {found}, the hub announced {expected}")]
    Damaged {
        /// Repository and file.
        what: String,
        /// `sha256` or `size`.
        property: &'static str,
        /// What was announced.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// A file is another one than when it was first fetched.
    #[error("`{file}` of `{model}` has sha256 {found}, but {recorded} is recorded in `models.lock`")]
    Changed {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The sha256 recorded on first use.
        recorded: String,
        /// The sha256 found.
        found: String,
    },
    /// A repository has none of the files wanted.
    #[error("`{repository}` has none of the files `{}`", wanted.join("`, `"))]
    NoSuchFile {
        /// The repository, or the folder that stands for it.
        repository: String,
        /// The files, any of which would have done.
        wanted: Vec<String>,
    },
    /// A folder holds no snapshot of a repository.
    #[error("`{path}` holds no snapshot of `{repository}`: {reason}")]
    NoSnapshot {
        /// The folder.
        path: PathBuf,
        /// The repository.
        repository: String,
        /// Why not.
        reason: String,
    },
    /// A revision or repository is no name of one.
    #[error("`{name}` is not the name of a {what} of the hub")]
    Name {
        /// The name.
        name: String,
        /// `repository`, `revision` or `file`.
        what: &'static str,
    },
}

/// ` of N bytes`, or nothing.
struct Of(Option<u64>);

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |total| write!(f, " of {total}"))
    }
}

impl Diagnostic for HubError {
    fn kind(&self) -> Kind {
        match self {
            HubError::Status { status: 404, .. }
            | HubError::NoSuchFile { .. }
            | HubError::NoSnapshot { .. }
            | HubError::Name { .. } => Kind::Input,
            _ => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            HubError::Unreachable { .. } => {
                "check the network, and set `HTTPS_PROXY`, `SSL_CERT_FILE` or `HF_ENDPOINT` as yours needs it; without \
                 network, fetch the repository elsewhere and name its folder with `<from FOLDER>`"
                    .into()
            }
            HubError::Status { status: 401 | 403, .. } => {
                "the repository is private, or its terms must be accepted on its page; then set `HF_TOKEN`".into()
            }
            HubError::Status { status: 404, .. } => "check the names of repository, revision and file".into(),
            HubError::Status { status: 429, .. } => {
                "wait a while, then run the same command again; it continues".into()
            }
            HubError::Status { .. } | HubError::Answer { .. } => "try again later".into(),
            HubError::Interrupted { .. } => "run the same command again: it continues where it stopped".into(),
            HubError::Damaged { .. } => "nothing of it was kept; run the same command again".into(),
            HubError::Changed { model, .. } => format!(
                "to take the file as it is now, run `defrost models pull {model} --update`; to get the recorded one back, delete \
                 it and pull again"
            ),
            HubError::NoSnapshot { .. } => {
                "name a folder with the repository's files, or a Hugging Face cache (`~/.cache/huggingface/hub`)".into()
            }
            HubError::NoSuchFile { .. } | HubError::Name { .. } => return None,
        })
    }
}
