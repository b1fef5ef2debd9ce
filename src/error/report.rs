//! Failures of making reports.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A report cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The page's template does not fit the record.
    #[error("cannot fill in the report's page")]
    Template {
        /// The template engine's reason.
        source: minijinja::Error,
    },
    /// A folder is neither an embedding cache nor that of a fine-tuning run.
    #[error("`{path}` is neither an embedding cache nor the folder of a fine-tuning run")]
    NothingThere {
        /// The folder.
        path: PathBuf,
    },
}

impl Diagnostic for ReportError {
    fn kind(&self) -> Kind {
        match self {
            ReportError::Template { .. } => Kind::Environment,
            ReportError::NothingThere { .. } => Kind::Input,
        }
    }
}
