//! The part of a run that computes: engines are opened, the pipeline runs, what it finds goes to
//! the journal.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::embed::content::{ContentHash, KnownFile};
use crate::embed::fidelity::{Fidelity, fidelity};
use crate::embed::journal::Journal;
use crate::embed::manifest::Producer;
use crate::embed::pipeline::{Event, Pipeline, Task};
use crate::embed::plan::Plan;
use crate::embed::row_engine::RowEngine;
use crate::embed::state::{CacheState, Computed, SampleState};
use crate::error::{CacheError, Result};
use crate::pixels::frame;
use crate::runtime::{Device, EngineOptions, Runtime};

/// How often the journal is flushed to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Images on the CPU at once, at most; from there on several threads compute one together.
const MAX_ENGINES: usize = 16;
/// Images of a batch on a GPU, unless another number is asked for.
const GPU_BATCH: usize = 32;

/// Computes what is missing of the samples `todo` into the journal.
pub(super) fn compute(
    plan: &Plan<'_>,
    state: &CacheState,
    todo: &[usize],
    runtime: &dyn Fn() -> Result<Runtime>,
) -> Result<Computed> {
    let Plan { run, options, progress, .. } = *plan;
    let (samples, key) = (&run.dataset.samples, &run.network.key);
    let tasks: Vec<Task<'_>> =
        todo.iter().map(|&sample| Task { sample, file: &samples[sample].path, path: &state.paths[sample] }).collect();
    let preprocess = key.preprocess.clone().check()?;
    let [channels, height, width] = preprocess.output_shape().ok_or(CacheError::NoFixedSize)?;
    let runtime = runtime()?;
    let fidelity = check_fidelity(plan, state, &runtime)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if options.threads > 0 { options.threads } else { cores };
    let at = EngineOptions { device: options.device, threads, max_engines: MAX_ENGINES };
    let mut engines = RowEngine::open(&runtime, run.network, key.dtype, at)?;
    let session = engines[0].session();
    let device = session.device();
    progress.note(&format!("computing on {device}: {}", session.device_reason()));
    let batch = match (run.network.fixed_batch, options.batch) {
        (Some(fixed), _) => fixed,
        (None, 0) if matches!(device, Device::Cuda(_)) => GPU_BATCH,
        (None, 0) => 1,
        (None, batch) => batch,
    };
    let shape = [batch, channels, height, width];
    if !engines[0].is_independent(&shape)? {
        progress.note("the network's results depend on the other images of a batch; embedding one image at a time");
        engines.iter_mut().for_each(RowEngine::run_one_by_one);
    }
    let producer = Producer {
        defrost: env!("CARGO_PKG_VERSION").into(),
        runtime: runtime.version().into(),
        device: device.to_string(),
    };
    let mut journal = Journal::open(&plan.lock.journal(), &state.journal, key)?;
    journal.producer(&producer);

    let start = Instant::now();
    progress.begin("embedding", samples.len() as u64, (samples.len() - todo.len()) as u64);
    let pipeline = Pipeline {
        settled: &|hash: &ContentHash| state.is_settled(hash),
        preprocess: &preprocess,
        shape,
        row_bytes: key.row_bytes(),
        limits: options.limits,
        threads,
        first_of_several: &AtomicUsize::new(0),
    };
    let computed = Computed {
        rows: HashMap::new(),
        failures: HashMap::new(),
        samples: Vec::new(),
        files: Vec::new(),
        producer,
        seconds: 0.0,
        fidelity,
    };
    let mut ledger = Ledger { journal, synced: Instant::now(), row_bytes: key.row_bytes(), computed };
    let outcome = pipeline.run(&tasks, engines, |event| {
        progress.advance(ledger.take(event)?);
        Ok(())
    });
    progress.end();
    outcome?;
    if let Some(note) = frame::note_of_several(pipeline.first_of_several.load(Ordering::Relaxed)) {
        progress.note(&note);
    }
    Ok(Computed { seconds: start.elapsed().as_secs_f64(), ..ledger.computed })
}

/// Measures how close a network in faster arithmetic comes to the exact one, before the first row
/// of a cache.
///
/// # Errors
/// [`CacheError::LowFidelity`] where it does not come close, unless that is allowed.
fn check_fidelity(plan: &Plan<'_>, state: &CacheState, runtime: &Runtime) -> Result<Option<Fidelity>> {
    let network = plan.run.network;
    let Some(exact) = network.exact.as_deref().filter(|_| state.store.len() == 0) else { return Ok(None) };
    let images = plan.run.dataset.samples.iter().map(|sample| sample.path.as_path());
    let found = fidelity(exact, network, images, runtime, plan.options.device)?;
    plan.progress.note(&format!("fidelity to f32 {found}"));
    if !found.holds() && !plan.options.allow_low_fidelity {
        return Err(CacheError::LowFidelity { found: found.to_string() }.into());
    }
    Ok(Some(found))
}

/// What the pipeline found out so far; the only writer of the journal.
struct Ledger {
    journal: Journal,
    synced: Instant,
    row_bytes: usize,
    computed: Computed,
}

impl Ledger {
    /// Writes down an event and returns the number of samples it settles.
    fn take(&mut self, event: Event) -> Result<u64> {
        let before = self.computed.samples.len();
        match event {
            Event::Seen { sample, file, hash } => self.settle(sample, file, hash),
            Event::Failed { sample, known: Some((file, hash)), reason } => {
                self.fail(hash, reason);
                self.settle(sample, file, hash);
            }
            Event::Failed { sample, known: None, reason } => {
                self.computed.samples.push((sample, SampleState::Unreadable(reason)));
            }
            Event::Embedded { images, rows } => {
                let mut flaws: HashMap<usize, String> = HashMap::new();
                for (row, reason) in rows.flaws {
                    flaws.entry(row).or_insert(reason);
                }
                let bytes = rows.bytes.chunks_exact(self.row_bytes);
                for (row, (image, bytes)) in images.into_iter().zip(bytes).enumerate() {
                    match flaws.remove(&row) {
                        Some(reason) => self.fail(image.hash, reason),
                        None => {
                            let offset = self.journal.row(&image.hash, bytes);
                            self.computed.rows.insert(image.hash, offset);
                        }
                    }
                    self.settle(image.sample, image.file, image.hash);
                }
            }
        }
        self.journal.commit()?;
        if self.synced.elapsed() > SYNC_INTERVAL {
            self.journal.sync()?;
            self.synced = Instant::now();
        }
        Ok((self.computed.samples.len() - before) as u64)
    }

    fn fail(&mut self, hash: ContentHash, reason: String) {
        self.journal.failure(&hash, &reason);
        self.computed.failures.insert(hash, reason);
    }

    fn settle(&mut self, sample: usize, file: Option<KnownFile>, hash: ContentHash) {
        if let Some(file) = file {
            self.journal.file(&file);
            self.computed.files.push(file);
        }
        self.computed.samples.push((sample, SampleState::Content(hash)));
    }
}
