//! Failures of weights, catalog entries and model descriptions.

use crate::error::Kind;

/// Weights or a model description do not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {}

impl ModelError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
