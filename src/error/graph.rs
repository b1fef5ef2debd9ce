//! Failures of ONNX graphs; every variant names the node or value.

use crate::error::Kind;

/// An ONNX graph is malformed or an edit of it is impossible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {}

impl GraphError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
