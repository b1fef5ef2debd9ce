//! A dataset and a network in, an embedding cache out.
//!
//! What is known of earlier runs (parts, journal, quarantine) is looked up by content; only what is
//! missing is computed. The final files are made from the dataset's order and the rows alone, so
//! that it does not matter how often a run was interrupted.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, DecodeLimits, source};
use crate::embed::cache_lock::CacheLock;
use crate::embed::content::{ContentHash, KnownFiles, Stamp};
use crate::embed::journal::{Contents, Journal};
use crate::embed::network::Network;
use crate::embed::parts::stated_path;
use crate::embed::quarantine::reasons_by_content;
use crate::embed::store::Store;
use crate::embed::{Fidelity, Manifest, Producer, Recipe};
use crate::error::Result;
use crate::preprocess::ValidPreprocess;
use crate::runtime::{Device, Runtime};
use crate::support::memory::peak_resident_mib;
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
            limits: DecodeLimits { max_pixels: 100_000_000, max_bytes: 512 << 20 },
        }
    }
}

/// What to embed.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The images.
    pub dataset: &'a Dataset,
    /// The network.
    pub network: &'a Network,
    /// What the cache's rows are keyed by; its columns are outputs of the network.
    pub recipe: &'a Recipe,
    /// The cache directory.
    pub cache: &'a Path,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
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

/// What is known of a sample.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Nothing yet.
    Open,
    /// The content of its file.
    Content(ContentHash),
    /// Its file cannot be read, for this reason.
    Unreadable(String),
}

/// Embeds a dataset into a cache.
///
/// `runtime` is called when something must be computed. A file that cannot be embedded goes to the
/// quarantine table and the run goes on.
///
/// # Errors
/// `CacheError::Mixed` for a cache of another recipe, `CacheError::RowTooLarge`,
/// `CacheError::LowFidelity`, `CacheError::Locked`, `CacheError::NoFixedSize`, `RuntimeError` where
/// the network does not run, `FileError` where the cache cannot be written.
pub fn embed(
    job: &Job<'_>,
    options: &EmbedOptions,
    runtime: &dyn Fn() -> Result<Runtime>,
    progress: &dyn Progress,
) -> Result<Summary> {
    let start = Instant::now();
    let workplace = CacheLock::open(job.cache, options.wait, progress)?;
    let mut run = Run::open(job, options, workplace, progress)?;
    let mut computing = None;
    if !(run.classify().is_empty() && run.is_finished()) {
        // Old rows go into new files: they must be what they were.
        run.check_store()?;
        let todo = run.classify();
        if !todo.is_empty() {
            computing = Some(run.compute(&todo, runtime)?);
        }
    }
    run.finish()?;
    let rows = run.rows().count();
    let computed = computing.as_ref().map_or(0, |computing| computing.images);
    let rate = computing.as_ref().filter(|computing| computing.images > 0);
    let images_per_second = rate.map(|computing| computing.images as f64 / computing.seconds);
    Ok(Summary {
        rows,
        computed,
        reused: rows.saturating_sub(computed),
        failed: job.dataset.samples.len() - rows,
        seconds: start.elapsed().as_secs_f64(),
        images_per_second,
        peak_rss_mib: peak_resident_mib(),
        fidelity: computing.as_mut().and_then(|computing| computing.fidelity.take()),
        device: computing.map(|computing| computing.device),
    })
}

/// What was computed in a run.
pub(super) struct Computing {
    pub(super) images: usize,
    pub(super) seconds: f64,
    pub(super) device: String,
    pub(super) fidelity: Option<Fidelity>,
}

/// A run on a locked cache.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) options: &'a EmbedOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) workplace: CacheLock,
    pub(super) preprocess: ValidPreprocess,
    pub(super) paths: Vec<String>,
    pub(super) manifest: Option<Manifest>,
    pub(super) contents: Contents,
    pub(super) known: KnownFiles,
    pub(super) failures: HashMap<ContentHash, String>,
    pub(super) store: Store,
    pub(super) states: Vec<State>,
    pub(super) producers: BTreeSet<Producer>,
}

impl<'a> Run<'a> {
    fn open(
        job: &'a Job<'a>,
        options: &'a EmbedOptions,
        workplace: CacheLock,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        job.recipe.check_size()?;
        let manifest = Manifest::read(job.cache)?;
        let mut contents = Journal::read(&workplace.journal())?;
        for cached in manifest.as_ref().map(Recipe::of).iter().chain(&contents.recipe) {
            job.recipe.check_same(cached, job.cache)?;
        }
        let mut known = KnownFiles::read(&workplace.files());
        std::mem::take(&mut contents.files).into_iter().for_each(|file| known.insert(file));
        let mut failures = HashMap::new();
        if !options.retry {
            failures = reasons_by_content(job.cache);
            failures.extend(contents.failures.iter().map(|(hash, reason)| (*hash, reason.clone())));
        }
        let producers = manifest.iter().flat_map(|manifest| &manifest.producers).chain(&contents.producers).cloned();
        let store = Store::open(job.cache, job.recipe, manifest.as_ref(), (false, progress));
        let mut run = Run {
            job,
            options,
            progress,
            preprocess: job.recipe.preprocess.clone().check()?,
            paths: job.dataset.samples.iter().map(|sample| stated_path(job.dataset, sample)).collect(),
            states: vec![State::Open; job.dataset.samples.len()],
            producers: producers.collect(),
            workplace,
            manifest,
            contents,
            known,
            failures,
            store,
        };
        run.store.add_journal(&run.workplace.journal(), &run.contents.rows)?;
        Ok(run)
    }

    /// Opens the store again, every part compared with its digest.
    fn check_store(&mut self) -> Result<()> {
        let how = (true, self.progress);
        self.store = Store::open(self.job.cache, self.job.recipe, self.manifest.as_ref(), how);
        self.store.add_journal(&self.workplace.journal(), &self.contents.rows)
    }

    /// Rows that there are already.
    pub(super) fn rows_known(&self) -> usize {
        self.store.len()
    }

    /// Whether content needs no work: it is embedded, or known to be impossible.
    pub(super) fn is_settled(&self, hash: &ContentHash) -> bool {
        self.store.contains(hash) || self.failures.contains_key(hash)
    }

    /// Settles the samples whose files have not changed and returns the others.
    pub(super) fn classify(&mut self) -> Vec<usize> {
        let mut todo = Vec::new();
        for (at, sample) in self.job.dataset.samples.iter().enumerate() {
            let stamp = std::fs::metadata(source(&sample.path).0).ok().and_then(|metadata| Stamp::of(&metadata));
            let hash = stamp.and_then(|stamp| self.known.get(&self.paths[at], &stamp));
            self.states[at] = match hash.filter(|hash| self.is_settled(hash)) {
                Some(hash) => State::Content(hash),
                None => {
                    todo.push(at);
                    State::Open
                }
            };
        }
        todo
    }

    /// The samples that have embeddings.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, ContentHash)> {
        self.states.iter().enumerate().filter_map(|(at, state)| match state {
            State::Content(hash) if self.store.contains(hash) => Some((at, *hash)),
            _ => None,
        })
    }
}
