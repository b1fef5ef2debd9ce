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
    /// An experiment needs blocks and the backbone has none.
    #[error("the experiment `{experiment}` needs a backbone with blocks, and `{backbone}` names none")]
    NoBlocks {
        /// The experiment.
        experiment: &'static str,
        /// The backbone.
        backbone: String,
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
    /// A dataset can be fetched by one program only, which this system does not have.
    #[error("`{package}` cannot be fetched here: {problem}")]
    Package {
        /// The package.
        package: &'static str,
        /// Why.
        problem: String,
    },
    /// What a cell needs first did not succeed.
    #[error("it needs the cell `{key}` ({cell}), which failed: {reason}")]
    Needs {
        /// Key of that cell.
        key: String,
        /// What that cell is, in words.
        cell: String,
        /// Why it failed.
        reason: String,
    },
    /// Something is known before the run that keeps a cell from being computed.
    #[error("{reason}")]
    Problem {
        /// What.
        reason: String,
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
        match self {
            StudyError::Package { .. } => Kind::Environment,
            StudyError::Needs { .. } => Kind::Incomplete,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        let listed = |known: &[String]| known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Some(match self {
            StudyError::Unknown { known, .. } | StudyError::Nothing { known, .. } if !known.is_empty() => {
                format!("there are {}", listed(known))
            }
            StudyError::NoBlocks { .. } => "name the `backbones` of the experiment, without this one".into(),
            StudyError::NotAStudy { .. } => "name the folder that holds the study: its `study.toml` and the results of its cells".into(),
            StudyError::NothingPublished { .. } => {
                "name another table with `<published>`; its backbones and datasets are found by the names of the study file"
                    .into()
            }
            StudyError::Package { package, .. } => {
                format!("install `{package}`, or name the files with `manifest` and `root` in the study file")
            }
            _ => return None,
        })
    }
}
