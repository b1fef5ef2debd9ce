//! One model for several threads: an [`Engine`] per thread that computes.
//!
//! On the CPU the engines share one session, so that weights are in memory once and every engine
//! computes by itself, which wastes nothing on threads that wait for each other; on another device
//! there is one engine with a session of its own.

use std::sync::Arc;

use crate::error::Result;
use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use crate::tensor::HostTensor;

/// How many engines, and where.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Where to compute.
    pub device: Device,
    /// Threads that compute, all engines together, at least 1.
    pub threads: usize,
    /// Engines on the CPU at most, at least 1; threads beyond them help all of them.
    pub max_engines: usize,
}

/// A model as one thread runs it.
#[derive(Debug)]
pub struct Engine(Mode);

#[derive(Debug)]
enum Mode {
    /// Together with other engines, on the CPU.
    Shared(Arc<Session>),
    /// By itself.
    Alone(Box<Session>),
}

impl Engine {
    /// Opens a model: at least one engine, all of the same device.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open(runtime: &Runtime, source: ModelSource<'_>, options: EngineOptions) -> Result<Vec<Engine>> {
        let threads = options.threads.max(1);
        let count = if runtime.is_on_cpu(options.device) { threads.min(options.max_engines.max(1)) } else { 1 };
        let session = SessionOptions {
            device: options.device,
            threads: threads - count + 1,
            spinning: false,
            ..SessionOptions::default()
        };
        let session = Session::open(runtime, source, &session)?;
        if session.device() == Device::Cpu {
            let session = Arc::new(session);
            return Ok((0..count).map(|_| Engine(Mode::Shared(session.clone()))).collect());
        }
        Ok(vec![Engine(Mode::Alone(Box::new(session)))])
    }

    /// The session behind it.
    pub fn session(&self) -> &Session {
        match &self.0 {
            Mode::Shared(session) => session,
            Mode::Alone(session) => session,
        }
    }

    /// Runs the model on one input and gives the outputs named.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run(&mut self, input: &str, tensor: &HostTensor, outputs: &[&str]) -> Result<Vec<HostTensor>> {
        match &mut self.0 {
            Mode::Shared(session) => session.run_shared(&[(input, tensor)], outputs),
            Mode::Alone(session) => session.run(&[(input, tensor)], outputs),
        }
    }
}
