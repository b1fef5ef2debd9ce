//! From files to rows: threads that read, decode and preprocess fill batches, sessions turn them
//! into rows.
//!
//! Everything between the threads is bounded and the batches' buffers go round, so that memory does
//! not depend on the number of images. Who receives the events is the only one who writes.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::data::{DecodeLimits, Decoding, source};
use crate::embed::content::{ContentHash, KnownFile, Stamp};
use crate::embed::network::{Lane, Rows};
use crate::error::{CacheError, Error, PixelError, Result};
use crate::preprocess::{Image, Scratch, ValidPreprocess};
use crate::support::fs;
use crate::tensor::{DType, HostTensor};

/// Pixels from which on images are decoded one at a time, so that several large ones do not fill
/// the memory together.
const LARGE_PIXELS: u64 = 24_000_000;

/// Bytes of rows that wait to be written, about, where single batches take less.
const WAITING_BYTES: usize = 64 << 20;

/// One image to look at.
#[derive(Clone, Debug)]
pub(crate) struct Task<'a> {
    /// Index of the sample.
    pub(crate) sample: usize,
    /// The file, `FILE#N` for a frame.
    pub(crate) file: &'a Path,
    /// The file as the cache states it.
    pub(crate) path: &'a str,
}

/// What was found out about a task.
pub(crate) enum Event {
    /// Its content is embedded already, or by another task of this run.
    Seen { sample: usize, file: Option<KnownFile>, hash: ContentHash },
    /// It cannot be embedded.
    Failed { sample: usize, known: Option<(Option<KnownFile>, ContentHash)>, reason: String },
    /// A batch was embedded.
    Embedded { tasks: Vec<Filled>, rows: Rows },
    /// The run cannot go on.
    Fatal(Error),
}

/// A task whose image lies in a batch.
pub(crate) struct Filled {
    pub(crate) sample: usize,
    pub(crate) file: Option<KnownFile>,
    pub(crate) hash: ContentHash,
}

/// What the threads share.
pub(crate) struct Plan<'a> {
    /// The images, in order.
    pub(crate) tasks: &'a [Task<'a>],
    /// Whether content needs no work.
    pub(crate) settled: &'a (dyn Fn(&ContentHash) -> bool + Sync),
    /// What happens to an image before the network.
    pub(crate) preprocess: &'a ValidPreprocess,
    /// `[B, C, H, W]` of a batch.
    pub(crate) shape: [usize; 4],
    /// Bytes of a row.
    pub(crate) row_bytes: usize,
    /// What a decoder may spend on a file.
    pub(crate) limits: DecodeLimits,
    /// Threads that read, decode and preprocess.
    pub(crate) threads: usize,
}

/// A batch on its way to a session.
struct Batch {
    tasks: Vec<Filled>,
    images: HostTensor,
}

/// State of a run.
struct Shared<'a> {
    plan: &'a Plan<'a>,
    next: AtomicUsize,
    stop: AtomicBool,
    claimed: Mutex<HashSet<ContentHash>>,
    large: Mutex<()>,
    buffers: Mutex<Receiver<Vec<f32>>>,
    returned: Sender<Vec<f32>>,
}

/// Runs the plan; `receive` is called on this thread with every event and stops the run by an
/// error.
///
/// # Errors
/// The first [`Event::Fatal`], or what `receive` returns.
pub(crate) fn run(plan: &Plan<'_>, lanes: Vec<Lane<'_>>, mut receive: impl FnMut(Event) -> Result<()>) -> Result<()> {
    let (returned, buffers) = channel();
    let size = plan.shape.iter().product();
    for _ in 0..plan.threads + 2 * lanes.len() {
        // The receiver lives as long as `shared`.
        let _ = returned.send(vec![0.0; size]);
    }
    let shared = Shared {
        plan,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        claimed: Mutex::default(),
        large: Mutex::default(),
        buffers: Mutex::new(buffers),
        returned,
    };
    std::thread::scope(|scope| {
        let (filled, batches) = sync_channel(lanes.len());
        let batches = std::sync::Arc::new(Mutex::new(batches));
        let waiting = (WAITING_BYTES / (plan.shape[0] * plan.row_bytes).max(1)).max(lanes.len());
        let (events, received) = sync_channel(waiting.min(4 * plan.threads + 4 * lanes.len()));
        for _ in 0..plan.threads {
            let (shared, filled, events) = (&shared, filled.clone(), events.clone());
            scope.spawn(move || shared.fill(&filled, &events));
        }
        for lane in lanes {
            let (shared, batches, events) = (&shared, batches.clone(), events.clone());
            scope.spawn(move || shared.embed(lane, &batches, &events));
        }
        drop((filled, batches, events));
        let mut outcome = Ok(());
        for event in received {
            if outcome.is_ok() {
                outcome = match event {
                    Event::Fatal(error) => Err(error),
                    event => receive(event),
                };
                if outcome.is_err() {
                    shared.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        outcome
    })
}

impl Shared<'_> {
    /// Takes tasks until none is left and sends batches; a hung-up channel ends it too.
    fn fill(&self, filled: &SyncSender<Batch>, events: &SyncSender<Event>) {
        let mut worker =
            Worker { shared: self, scratch: Scratch::default(), buffer: None, tasks: Vec::new(), last: None };
        while !self.stop.load(Ordering::Relaxed) {
            let Some(task) = self.plan.tasks.get(self.next.fetch_add(1, Ordering::Relaxed)) else { break };
            if worker.take(task).is_some_and(|event| events.send(event).is_err()) {
                return;
            }
            if worker.tasks.len() == self.plan.shape[0] && !worker.send(filled) {
                return;
            }
        }
        if !self.stop.load(Ordering::Relaxed) {
            worker.send(filled);
        }
    }

    /// Embeds batches until no more come.
    fn embed(&self, mut lane: Lane<'_>, batches: &Mutex<Receiver<Batch>>, events: &SyncSender<Event>) {
        loop {
            let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Batch { tasks, images }) = batch else { return };
            if self.stop.load(Ordering::Relaxed) {
                continue;
            }
            let event = match lane.run(&images, tasks.len()) {
                Ok(rows) => Event::Embedded { tasks, rows },
                Err(error) => {
                    self.stop.store(true, Ordering::Relaxed);
                    Event::Fatal(error)
                }
            };
            drop(images);
            if events.send(event).is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// A buffer that goes back to the others when the last tensor over it is dropped.
struct Borrowed {
    values: Vec<f32>,
    home: Sender<Vec<f32>>,
}

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Nobody waits for it once the run is over.
        let _ = self.home.send(std::mem::take(&mut self.values));
    }
}

/// One thread that fills batches.
struct Worker<'a> {
    shared: &'a Shared<'a>,
    scratch: Scratch,
    buffer: Option<Vec<f32>>,
    tasks: Vec<Filled>,
    /// The last file of several frames.
    last: Option<Content>,
}

/// What a file contains.
#[derive(Clone)]
struct Content {
    file: PathBuf,
    bytes: Arc<Vec<u8>>,
    stamp: Option<Stamp>,
    hash: ContentHash,
}

impl Worker<'_> {
    /// Looks at one image: into the batch, or an event that says why not.
    fn take(&mut self, task: &Task<'_>) -> Option<Event> {
        let sample = task.sample;
        let plan = self.shared.plan;
        let (file, frame) = source(task.file);
        let content = match self.content(file, frame.is_some()) {
            Ok(content) => content,
            Err(error) => return Some(Event::Failed { sample, known: None, reason: reason(&error) }),
        };
        let hash = frame.map_or(content.hash, |frame| content.hash.of_frame(frame));
        let file = content.stamp.map(|stamp| KnownFile { path: task.path.to_owned(), stamp, hash });
        if (plan.settled)(&hash) || !self.claim(hash) {
            return Some(Event::Seen { sample, file, hash });
        }
        match self.prepare(&content.bytes, frame) {
            Ok(()) => {
                self.tasks.push(Filled { sample, file, hash });
                None
            }
            Err(reason) => Some(Event::Failed { sample, known: Some((file, hash)), reason }),
        }
    }

    /// Reads a file, or takes the last one again for its next frame.
    fn content(&mut self, file: PathBuf, is_kept: bool) -> Result<Content> {
        if let Some(last) = self.last.take_if(|last| last.file == file && is_kept) {
            return Ok(self.last.insert(last).clone());
        }
        let (bytes, stamp) = read(&file, self.shared.plan.limits.max_bytes)?;
        let hash = ContentHash::of(&bytes);
        let content = Content { file, bytes: Arc::new(bytes), stamp, hash };
        self.last = is_kept.then(|| content.clone());
        Ok(content)
    }

    fn claim(&self, hash: ContentHash) -> bool {
        self.shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(hash)
    }

    /// Decodes an image into the next place of the batch.
    fn prepare(&mut self, bytes: &[u8], frame: Option<u32>) -> Result<(), String> {
        let plan = self.shared.plan;
        // A decoder that panics on a damaged file must not end the run.
        let image = catch_unwind(AssertUnwindSafe(|| self.decode(bytes, frame)))
            .map_err(|_| "the decoder gave up on this file".to_owned())?
            .map_err(|error| reason(&error))?;
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            None => {
                let buffers = self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner);
                buffers.recv().map_err(|error| error.to_string())?
            }
        };
        let buffer = self.buffer.insert(buffer);
        let size = plan.shape[1..].iter().product::<usize>();
        let place = &mut buffer[self.tasks.len() * size..][..size];
        plan.preprocess.apply_into(&image, &mut self.scratch, place).map_err(|error| reason(&error))
    }

    fn decode(&self, bytes: &[u8], frame: Option<u32>) -> Result<Image> {
        let Plan { limits, preprocess, .. } = *self.shared.plan;
        let small = DecodeLimits { max_pixels: limits.max_pixels.min(LARGE_PIXELS), ..limits };
        let decoding = Decoding { frame, ..Decoding::of(preprocess.specification(), limits) };
        match (Decoding { limits: small, ..decoding }).decode(bytes) {
            Err(Error::Pixels(PixelError::TooManyPixels { .. })) if small != limits => {
                let _alone = self.shared.large.lock().unwrap_or_else(PoisonError::into_inner);
                decoding.decode(bytes)
            }
            decoded => decoded,
        }
    }

    /// Sends the batch, its last places filled with zeros; false where nobody takes it.
    fn send(&mut self, filled: &SyncSender<Batch>) -> bool {
        let Some(mut values) = self.buffer.take() else { return true };
        let shape = self.shared.plan.shape;
        values[self.tasks.len() * shape[1..].iter().product::<usize>()..].fill(0.0);
        let owner = Borrowed { values, home: self.shared.returned.clone() };
        if self.tasks.is_empty() {
            return true;
        }
        match HostTensor::new(DType::F32, shape.to_vec(), Bytes::from_owner(owner)) {
            Some(images) => filled.send(Batch { tasks: std::mem::take(&mut self.tasks), images }).is_ok(),
            None => false,
        }
    }
}

/// A file's content, and what it looked like before it was read.
fn read(path: &Path, most: u64) -> Result<(Vec<u8>, Option<Stamp>)> {
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(fs::io_error("read", path))?.is_file() {
        return Err(CacheError::NotAFile { path: path.to_path_buf() }.into());
    }
    let file: File = fs::open(path)?;
    let metadata = file.metadata().map_err(fs::io_error("read", path))?;
    let mut bytes = Vec::with_capacity(metadata.len().min(most) as usize);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(fs::io_error("read", path))?;
    if bytes.len() as u64 > most {
        return Err(PixelError::TooManyBytes { found: metadata.len(), most }.into());
    }
    Ok((bytes, Stamp::of(&metadata)))
}

/// An error and its causes on one line.
pub(crate) fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
