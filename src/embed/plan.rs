//! What is embedded, how, and into which cache.

use std::path::Path;

use crate::data::Dataset;
use crate::embed::cache_lock::CacheLock;
use crate::embed::network::Network;
use crate::pixels::DecodeLimits;
use crate::runtime::Device;
use crate::support::progress::Progress;

/// How to embed.
#[derive(Clone, Debug)]
pub struct EmbedOptions {
    /// Where to compute.
    pub device: Device,
    /// Images of a batch; 0 chooses.
    pub batch: usize,
    /// Threads that compute, and as many that read and decode; 0 is one per core.
    pub threads: usize,
    /// Whether to wait for another process that writes the cache.
    pub wait: bool,
    /// Whether to try files again that could not be embedded before and have not changed.
    pub retry: bool,
    /// Whether to go on with a network in faster arithmetic that does not come close to the exact
    /// one.
    pub allow_low_fidelity: bool,
    /// What a decoder may spend on a file.
    pub limits: DecodeLimits,
}

impl Default for EmbedOptions {
    /// Everything chosen for the machine; images up to 100 megapixels and files up to 512 MiB.
    fn default() -> Self {
        EmbedOptions {
            device: Device::Auto,
            batch: 0,
            threads: 0,
            wait: true,
            retry: false,
            allow_low_fidelity: false,
            limits: DecodeLimits { max_pixels: 100_000_000, max_bytes: 512 << 20, max_time: None },
        }
    }
}

/// What is embedded, with what, and where the rows go.
#[derive(Clone, Copy, Debug)]
pub struct EmbedRun<'a> {
    /// The images.
    pub dataset: &'a Dataset,
    /// The network.
    pub network: &'a Network,
    /// The cache directory.
    pub cache: &'a Path,
}

/// A run on a locked cache.
pub(super) struct Plan<'a> {
    pub(super) run: &'a EmbedRun<'a>,
    pub(super) options: &'a EmbedOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) lock: &'a CacheLock,
}
