//! Failures of making reports.

use crate::error::Kind;

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
}

impl ReportError {
    pub(super) fn kind(&self) -> Kind {
        Kind::Environment
    }

    pub(super) fn hint(&self) -> Option<String> {
        None
    }
}
