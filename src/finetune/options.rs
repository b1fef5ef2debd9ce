//! How a run is computed.

use crate::finetune::engine_kind::EngineKind;
use crate::runtime::Device;

/// What does not change the numbers, or only their last digits.
#[derive(Clone, Copy, Debug)]
pub struct TrainOptions {
    /// Who trains.
    pub engine: EngineKind,
    /// Where to train.
    pub device: Device,
    /// Threads that compute, and as many that prepare images; 0 is one per core.
    pub threads: usize,
    /// Whether threads without work keep a core busy.
    pub spinning: bool,
    /// Steps after which a checkpoint is written within an epoch; 0 for none.
    pub checkpoint_steps: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            engine: EngineKind::Graph,
            device: Device::Auto,
            threads: 0,
            spinning: true,
            checkpoint_steps: 0,
        }
    }
}
