//! The part of a run that computes: sessions are opened, the pipeline runs, what it finds goes to
//! the journal.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::embed::content::{ContentHash, KnownFile, KnownFiles};
use crate::embed::journal::Journal;
use crate::embed::network::{Findings, Lane};
use crate::embed::pipeline::{self, Event, Plan, Task};
use crate::embed::run::{Computing, Run, State};
use crate::embed::{Fidelity, Producer, fidelity};
use crate::error::{CacheError, Result};
use crate::runtime::{Device, Runtime, SessionOptions};

/// How often the journal is flushed to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(5);
/// Images on the CPU at once, at most; from there on several threads compute one together.
const MAX_LANES: usize = 16;

impl<'a> Run<'a> {
    /// Computes what is missing of the samples `todo` into the journal.
    pub(super) fn compute(&mut self, todo: &[usize], runtime: &dyn Fn() -> Result<Runtime>) -> Result<Computing> {
        let job = self.job;
        let samples = &job.dataset.samples;
        let tasks: Vec<Task<'_>> = todo
            .iter()
            .map(|&sample| Task { sample, file: &samples[sample].path, path: &self.paths[sample] })
            .collect();
        let [channels, height, width] = self.preprocess.output_shape().ok_or(CacheError::NoFixedSize)?;
        let runtime = runtime()?;
        let fidelity = self.check_fidelity(&runtime)?;
        let findings = Findings::default();
        let mut lanes = self.open_lanes(&runtime, &findings)?;
        let device = lanes[0].session().device();
        let batch = match (job.network.fixed_batch, self.options.batch) {
            (Some(fixed), _) => fixed,
            (None, 0) if matches!(device, Device::Cuda(_)) => 32,
            (None, 0) => 1,
            (None, batch) => batch,
        };
        let shape = [batch, channels, height, width];
        lanes[0].check_independence(&shape, self.progress)?;
        let producer = Producer {
            defrost: env!("CARGO_PKG_VERSION").into(),
            runtime: runtime.version().into(),
            device: device.to_string(),
        };
        let path = self.workplace.journal();
        let mut journal = Journal::open(&path, &self.contents, job.recipe)?;
        journal.producer(&producer);

        let start = Instant::now();
        let known = std::mem::take(&mut self.known);
        self.progress.begin("embedding", samples.len() as u64, (samples.len() - todo.len()) as u64);
        let settled = |hash: &ContentHash| self.is_settled(hash);
        let plan = Plan {
            tasks: &tasks,
            settled: &settled,
            preprocess: &self.preprocess,
            shape,
            row_bytes: job.recipe.row_bytes(),
            limits: self.options.limits,
            threads: self.threads(),
        };
        let mut ledger = Ledger::new(journal, job.recipe.row_bytes(), known);
        let outcome = pipeline::run(&plan, lanes, |event| {
            self.progress.advance(ledger.take(event)?);
            Ok(())
        });
        self.progress.end();
        self.known = ledger.known;
        outcome?;
        let seconds = start.elapsed().as_secs_f64();
        if !ledger.rows.is_empty() {
            self.producers.insert(producer);
        }
        self.store.add_journal(&path, &ledger.rows)?;
        self.failures.extend(ledger.failures);
        for (sample, state) in ledger.states {
            self.states[sample] = state;
        }
        Ok(Computing { images: ledger.rows.len(), seconds, device: device.to_string(), fidelity })
    }

    /// Measures how close a network in faster arithmetic comes to the exact one, before the first
    /// row of a cache.
    ///
    /// # Errors
    /// [`CacheError::LowFidelity`] where it does not come close, unless that is allowed.
    fn check_fidelity(&self, runtime: &Runtime) -> Result<Option<Fidelity>> {
        let network = self.job.network;
        let Some(exact) = network.exact.as_deref().filter(|_| self.rows_known() == 0) else { return Ok(None) };
        let images = self.job.dataset.samples.iter().map(|sample| sample.path.as_path());
        let found = fidelity((exact, network), self.job.recipe, images, (runtime, self.options.device))?;
        self.progress.note(&format!("fidelity to f32 {found}"));
        if !found.holds() && !self.options.allow_low_fidelity {
            return Err(CacheError::LowFidelity { found: found.to_string() }.into());
        }
        Ok(Some(found))
    }

    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if self.options.threads > 0 { self.options.threads } else { cores }
    }

    /// Opens the session; on the CPU every thread computes an image by itself, which wastes nothing
    /// on threads that wait for each other.
    fn open_lanes<'b>(&self, runtime: &Runtime, findings: &'b Findings) -> Result<Vec<Lane<'b>>>
    where
        'a: 'b,
    {
        let threads = self.threads();
        let network = self.job.network;
        let on_cpu = match self.options.device {
            Device::Cpu => true,
            Device::Cuda(_) => false,
            Device::Auto => !runtime.providers().iter().any(|name| name.contains("CUDA")),
        };
        let count = if on_cpu { threads.min(MAX_LANES) } else { 1 };
        let options = SessionOptions {
            device: self.options.device,
            // Each lane computes by itself; threads beyond the lanes help all of them.
            threads: threads - count + 1,
            spinning: false,
            ..SessionOptions::default()
        };
        let lanes = Lane::open(runtime, (network, self.job.recipe), (&options, count), findings)?;
        let session = lanes[0].session();
        self.progress.note(&format!("computing on {}: {}", session.device(), session.device_reason()));
        Ok(lanes)
    }
}

/// What the pipeline found out so far; the only writer of the journal.
struct Ledger {
    journal: Journal,
    synced: Instant,
    row_bytes: usize,
    rows: HashMap<ContentHash, u64>,
    failures: HashMap<ContentHash, String>,
    states: Vec<(usize, State)>,
    known: KnownFiles,
}

impl Ledger {
    fn new(journal: Journal, row_bytes: usize, known: KnownFiles) -> Self {
        Ledger {
            journal,
            synced: Instant::now(),
            row_bytes,
            rows: HashMap::new(),
            failures: HashMap::new(),
            states: Vec::new(),
            known,
        }
    }

    /// Writes down an event and returns the number of samples it settles.
    fn take(&mut self, event: Event) -> Result<u64> {
        let before = self.states.len();
        match event {
            Event::Seen { sample, file, hash } => self.settle(sample, file, hash),
            Event::Failed { sample, known: Some((file, hash)), reason } => {
                self.fail(hash, reason);
                self.settle(sample, file, hash);
            }
            Event::Failed { sample, known: None, reason } => self.states.push((sample, State::Unreadable(reason))),
            Event::Embedded { tasks, rows } => {
                let mut flaws: HashMap<usize, String> = HashMap::new();
                for (row, reason) in rows.flaws {
                    flaws.entry(row).or_insert(reason);
                }
                for (row, (task, bytes)) in tasks.into_iter().zip(rows.bytes.chunks_exact(self.row_bytes)).enumerate() {
                    match flaws.remove(&row) {
                        Some(reason) => self.fail(task.hash, reason),
                        None => {
                            let offset = self.journal.row(&task.hash, bytes);
                            self.rows.insert(task.hash, offset);
                        }
                    }
                    self.settle(task.sample, task.file, task.hash);
                }
            }
            Event::Fatal(error) => return Err(error),
        }
        self.journal.commit()?;
        if self.synced.elapsed() > SYNC_INTERVAL {
            self.journal.sync()?;
            self.synced = Instant::now();
        }
        Ok((self.states.len() - before) as u64)
    }

    fn fail(&mut self, hash: ContentHash, reason: String) {
        self.journal.failure(&hash, &reason);
        self.failures.insert(hash, reason);
    }

    fn settle(&mut self, sample: usize, file: Option<KnownFile>, hash: ContentHash) {
        if let Some(file) = file {
            self.journal.file(&file);
            self.known.insert(file);
        }
        self.states.push((sample, State::Content(hash)));
    }
}
