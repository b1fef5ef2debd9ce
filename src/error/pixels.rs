//! Failures of decoding and preprocessing images.

use crate::error::Kind;

/// An image could not be decoded or preprocessed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {}

impl PixelError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
