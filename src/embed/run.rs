//! A dataset and a network in, an embedding cache out.
//!
//! What is known of earlier runs (parts, journal, quarantine) is looked up by content; only what is
//! missing is computed. The final files are made from the dataset's order and the rows alone, so
//! that it does not matter how often a run was interrupted.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::embed::cache_lock::CacheLock;
use crate::embed::compute::compute;
use crate::embed::fidelity::Fidelity;
use crate::embed::finish::{finish, is_finished};
use crate::embed::plan::{EmbedOptions, EmbedRun, Plan};
use crate::embed::state::{CacheState, Computed};
use crate::error::Result;
use crate::runtime::Runtime;
use crate::support::memory::peak_resident_mib;
use crate::support::progress::Progress;

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedSummary {
    /// Rows of the cache.
    pub rows: usize,
    /// Images that the network embedded in this run.
    pub computed: usize,
    /// Rows that needed no computation: from an earlier run, or of the same content as another row.
    pub reused: usize,
    /// Files in the quarantine table.
    pub failed: usize,
    /// Wall time of the run.
    pub seconds: f64,
    /// Computed images per second of computing; `None` where nothing was computed.
    pub images_per_second: Option<f64>,
    /// Peak memory of the process in MiB; `None` where the system does not tell.
    pub peak_rss_mib: Option<f64>,
    /// Where it was computed; `None` where nothing was computed.
    pub device: Option<String>,
    /// How close the network comes to the exact one, where this run started a cache in faster
    /// arithmetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
}

/// Embeds a dataset into a cache.
///
/// `runtime` is called when something must be computed. A file that cannot be embedded goes to the
/// quarantine table and the run goes on.
///
/// # Errors
/// `CacheError::Mixed` for a cache of another key, `CacheError::RowTooLarge`,
/// `CacheError::LowFidelity`, `CacheError::Locked`, `CacheError::NoFixedSize`, `RuntimeError` where
/// the network does not run, `FileError` where the cache cannot be written.
pub fn embed(
    run: &EmbedRun<'_>,
    options: &EmbedOptions,
    runtime: &dyn Fn() -> Result<Runtime>,
    progress: &dyn Progress,
) -> Result<EmbedSummary> {
    let start = Instant::now();
    let lock = CacheLock::open(run.cache, options.wait, progress)?;
    let plan = Plan { run, options, progress, lock: &lock };
    let mut state = CacheState::open(&plan)?;
    let mut summary = EmbedSummary::default();
    if !(state.classify(run.dataset).is_empty() && is_finished(&plan, &state)?) {
        // Old rows go into new files: they must be what they were.
        state.check_store(&plan)?;
        let todo = state.classify(run.dataset);
        if !todo.is_empty() {
            let computed = compute(&plan, &state, &todo, runtime)?;
            summary.add(&computed);
            state.add(computed, &plan)?;
        }
    }
    finish(&plan, &mut state)?;
    summary.rows = state.rows().count();
    summary.reused = summary.rows.saturating_sub(summary.computed);
    summary.failed = run.dataset.samples.len() - summary.rows;
    summary.seconds = start.elapsed().as_secs_f64();
    summary.peak_rss_mib = peak_resident_mib();
    Ok(summary)
}

impl EmbedSummary {
    fn add(&mut self, computed: &Computed) {
        self.computed = computed.rows.len();
        self.images_per_second = (self.computed > 0).then(|| self.computed as f64 / computed.seconds);
        self.device = Some(computed.producer.device.clone());
        self.fidelity.clone_from(&computed.fidelity);
    }
}
