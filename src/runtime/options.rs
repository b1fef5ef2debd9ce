//! How a session runs: device, threads, memory, optimisation.

use std::thread::available_parallelism;

use crate::runtime::Device;

/// Options of a session.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Where to run.
    pub device: Device,
    /// Threads that compute one operator together; 0 is one per logical core.
    pub threads: usize,
    /// Whether threads without work keep a core busy while they wait for the next operator.
    ///
    /// Fastest when nothing else runs; wasteful when other threads decode images meanwhile.
    pub spinning: bool,
    /// What happens to working memory between runs.
    pub memory: WorkingMemory,
    /// Whether the second run of the same shapes takes all its working memory as one block, laid
    /// out by the first: a little faster, but it comes on top of what the first run took, which is
    /// as much again.
    pub memory_pattern: bool,
    /// How far the graph is rewritten before it runs.
    pub optimization: Optimization,
    /// Whether CUDA may round `f32` factors to 10 bits of mantissa (TF32) for speed.
    pub tensor_float_32: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            device: Device::Auto,
            threads: 0,
            spinning: true,
            memory: WorkingMemory::Keep,
            memory_pattern: true,
            optimization: Optimization::Full,
            tensor_float_32: false,
        }
    }
}

impl SessionOptions {
    /// The number of threads meant by `threads`, at least one.
    pub fn effective_threads(&self) -> usize {
        if self.threads > 0 { self.threads } else { available_parallelism().map_or(1, usize::from) }
    }
}

/// What a session does with the memory it computed in, once a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkingMemory {
    /// Keep it for the next run: fastest, and never given back before the session ends.
    Keep,
    /// Give back what is unused after each run.
    Shrink,
    /// Allocate every intermediate result by itself and free it at its last use.
    Release,
}

/// How far ONNX Runtime rewrites a graph before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimization {
    /// Not at all: every node runs as written.
    Off,
    /// Constant folding and removal of what has no effect.
    Basic,
    /// Fusions too.
    Extended,
    /// Memory layouts of the processor too.
    Full,
}
