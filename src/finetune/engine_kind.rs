//! Which engine trains, and what it can.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{FinetuneError, Result};
use crate::runtime::{Device, Runtime};
use crate::support::progress::Progress;

/// Which engine trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Gradients and updates as standard operators: on any ONNX Runtime and every device.
    #[default]
    Graph,
    /// ONNX Runtime's training API: on the CPU, by a library that has it.
    Ort,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Graph => "graph",
            EngineKind::Ort => "ort",
        })
    }
}

impl EngineKind {
    /// A library that this engine trains with, installed where there is none.
    ///
    /// # Errors
    /// Those of [`Runtime::ensure`] and [`Runtime::ensure_training`].
    pub fn runtime(self, progress: &dyn Progress) -> Result<Runtime> {
        match self {
            EngineKind::Graph => Runtime::ensure(None, progress),
            EngineKind::Ort => Runtime::ensure_training(progress),
        }
    }

    /// Refuses what the engine does not do.
    ///
    /// # Errors
    /// [`FinetuneError::Engine`].
    pub fn check(self, device: Device, mixed_precision: bool) -> Result<(), FinetuneError> {
        let refused = |what: String| Err(FinetuneError::Engine { engine: self.to_string(), what });
        match (self, device) {
            (EngineKind::Ort, Device::Cuda(_)) => refused(format!("on the device `{device}`")),
            (EngineKind::Ort, _) if mixed_precision => refused("in mixed precision".into()),
            _ => Ok(()),
        }
    }
}
