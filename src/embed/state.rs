//! What is known of a dataset's samples: from the cache and its journal, then from the files that
//! have not changed, then from what was computed.

use std::collections::{BTreeSet, HashMap};

use crate::data::Dataset;
use crate::embed::cache_key::CacheKey;
use crate::embed::content::{ContentHash, KnownFile, KnownFiles, Stamp};
use crate::embed::fidelity::Fidelity;
use crate::embed::journal::{Contents, Journal};
use crate::embed::manifest::{Manifest, Producer};
use crate::embed::parts::stated_path;
use crate::embed::plan::Plan;
use crate::embed::quarantine::reasons_by_content;
use crate::embed::store::Store;
use crate::error::Result;
use crate::pixels::frame;

/// What is known of a sample.
#[derive(Clone, Debug)]
pub(super) enum SampleState {
    /// Nothing yet.
    Open,
    /// The content of its file.
    Content(ContentHash),
    /// Its file cannot be read, for this reason.
    Unreadable(String),
}

/// What was computed in a run.
pub(super) struct Computed {
    /// Offset in the journal of each row, by content.
    pub(super) rows: HashMap<ContentHash, u64>,
    /// Why content cannot be embedded.
    pub(super) failures: HashMap<ContentHash, String>,
    /// What was found out about samples.
    pub(super) samples: Vec<(usize, SampleState)>,
    /// Files whose content hash was computed.
    pub(super) files: Vec<KnownFile>,
    /// What computed the rows.
    pub(super) producer: Producer,
    /// Wall time.
    pub(super) seconds: f64,
    /// How close the network comes to the exact one, where that was measured.
    pub(super) fidelity: Option<Fidelity>,
}

/// What is known of the samples of a dataset and of the rows that there are.
pub(super) struct CacheState {
    /// Each sample's file as the cache states it.
    pub(super) paths: Vec<String>,
    /// What is known of each sample.
    pub(super) samples: Vec<SampleState>,
    /// The cache as it is.
    pub(super) manifest: Option<Manifest>,
    /// What computed the rows.
    pub(super) producers: BTreeSet<Producer>,
    pub(super) files: KnownFiles,
    /// Why content cannot be embedded.
    pub(super) failures: HashMap<ContentHash, String>,
    pub(super) store: Store,
    pub(super) journal: Contents,
}

impl CacheState {
    /// What earlier runs left.
    ///
    /// # Errors
    /// `CacheError::RowTooLarge`, `CacheError::Mixed`; `FileError` where a file cannot be read.
    pub(super) fn open(plan: &Plan<'_>) -> Result<CacheState> {
        let (cache, key) = (plan.run.cache, &plan.run.network.key);
        key.check_size()?;
        let manifest = Manifest::read(cache)?;
        let mut journal = Journal::read(&plan.lock.journal())?;
        for cached in manifest.as_ref().map(CacheKey::from_manifest).iter().chain(&journal.key) {
            key.check_same(cached, cache)?;
        }
        let mut files = KnownFiles::read(&plan.lock.files());
        std::mem::take(&mut journal.files).into_iter().for_each(|file| files.insert(file));
        let mut failures = HashMap::new();
        if !plan.options.retry {
            failures = reasons_by_content(cache);
            failures.extend(journal.failures.iter().map(|(hash, reason)| (*hash, reason.clone())));
        }
        let producers = manifest.iter().flat_map(|manifest| &manifest.producers).chain(&journal.producers).cloned();
        let dataset = plan.run.dataset;
        let mut state = CacheState {
            paths: dataset.samples.iter().map(|sample| stated_path(dataset, sample)).collect(),
            samples: vec![SampleState::Open; dataset.samples.len()],
            producers: producers.collect(),
            store: Store::open(cache, key, manifest.as_ref(), false, plan.progress),
            manifest,
            files,
            failures,
            journal,
        };
        state.store.add_journal(&plan.lock.journal(), &state.journal.rows)?;
        Ok(state)
    }

    /// Opens the rows again, every part compared with its digest.
    pub(super) fn check_store(&mut self, plan: &Plan<'_>) -> Result<()> {
        let key = &plan.run.network.key;
        self.store = Store::open(plan.run.cache, key, self.manifest.as_ref(), true, plan.progress);
        self.store.add_journal(&plan.lock.journal(), &self.journal.rows)
    }

    /// Whether content needs no work: it is embedded, or known to be impossible.
    pub(super) fn is_settled(&self, hash: &ContentHash) -> bool {
        self.store.contains(hash) || self.failures.contains_key(hash)
    }

    /// Settles the samples whose files have not changed and returns the others.
    pub(super) fn classify(&mut self, dataset: &Dataset) -> Vec<usize> {
        let mut todo = Vec::new();
        for (at, sample) in dataset.samples.iter().enumerate() {
            let stamp =
                std::fs::metadata(frame::source(&sample.path).0).ok().and_then(|metadata| Stamp::new(&metadata));
            let hash = stamp.and_then(|stamp| self.files.get(&self.paths[at], &stamp));
            self.samples[at] = match hash.filter(|hash| self.is_settled(hash)) {
                Some(hash) => SampleState::Content(hash),
                None => {
                    todo.push(at);
                    SampleState::Open
                }
            };
        }
        todo
    }

    /// Takes in what was computed.
    pub(super) fn add(&mut self, computed: Computed, plan: &Plan<'_>) -> Result<()> {
        if !computed.rows.is_empty() {
            self.producers.insert(computed.producer);
        }
        self.store.add_journal(&plan.lock.journal(), &computed.rows)?;
        self.failures.extend(computed.failures);
        computed.files.into_iter().for_each(|file| self.files.insert(file));
        for (sample, state) in computed.samples {
            self.samples[sample] = state;
        }
        Ok(())
    }

    /// The samples that have embeddings.
    pub(super) fn rows(&self) -> impl Iterator<Item = (usize, ContentHash)> {
        self.samples.iter().enumerate().filter_map(|(at, state)| match state {
            SampleState::Content(hash) if self.store.contains(hash) => Some((at, *hash)),
            _ => None,
        })
    }
}
