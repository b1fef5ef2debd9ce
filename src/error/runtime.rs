//! Failures of ONNX Runtime: its library, its devices, its sessions.

use crate::error::Kind;

/// ONNX Runtime is missing, unusable or refused a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {}

impl RuntimeError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
