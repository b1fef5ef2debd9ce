//! Failures of studies: what a study file asks for that cannot be had.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A study cannot be planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// A key of the study file has a value that it cannot have.
    #[error("`{path}`: `{key}` is {found}, expected {expected}")]
    Value {
        /// The study file.
        path: PathBuf,
        /// The key, with what it belongs to: `dataset.lesions.metric`.
        key: String,
        /// What was found.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Two things of one kind have one name.
    #[error("`{path}` has two entries `[[{kind}]]` of the name `{name}`")]
    Twice {
        /// The study file.
        path: PathBuf,
        /// `dataset`, `backbone` or `experiment`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name is used that nothing has.
    #[error("`{path}`: `{key}` names `{name}`, and there is no such {kind}")]
    Unknown {
        /// The study file.
        path: PathBuf,
        /// The key that uses it.
        key: String,
        /// What it should name.
        kind: &'static str,
        /// The name.
        name: String,
        /// The names that there are, the nearest first.
        known: Vec<String>,
    },
    /// A folder holds no study.
    #[error("`{path}` holds no study: there is no `{file}` in it")]
    NotAStudy {
        /// The folder.
        path: PathBuf,
        /// The file that is missing.
        file: &'static str,
    },
    /// Not one published number is of something that the study has.
    #[error("`{path}` has nothing that {published} has numbers of")]
    NothingPublished {
        /// The folder of the study.
        path: PathBuf,
        /// Where the numbers come from.
        published: String,
    },
    /// A part of the cells is asked for that there is not.
    #[error("no cell has {what} `{name}`")]
    Nothing {
        /// What was asked for, in words.
        what: &'static str,
        /// Its name.
        name: String,
        /// The names that there are, the nearest first.
        known: Vec<String>,
    },
}

impl Diagnostic for StudyError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hint(&self) -> Option<String> {
        let listed = |known: &[String]| known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Some(match self {
            StudyError::Unknown { known, .. } | StudyError::Nothing { known, .. } if !known.is_empty() => {
                format!("there are {}", listed(known))
            }
            StudyError::NotAStudy { .. } => {
                "name the folder that holds the study: its `study.toml` and the results of its cells".into()
            }
            StudyError::NothingPublished { .. } => {
                "name another table with `<published>`; backbones and datasets are found by the names of the study file"
                    .into()
            }
            _ => return None,
        })
    }
}
