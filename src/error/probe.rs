//! Failures of fitting and evaluating probes.

use crate::error::Kind;

/// A probe cannot be fitted or evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {}

impl ProbeError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
