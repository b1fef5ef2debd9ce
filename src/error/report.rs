//! Failures of making reports.

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
}

impl Diagnostic for ReportError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}
