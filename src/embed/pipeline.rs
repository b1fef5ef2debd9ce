//! From files to rows: threads that read, decode and preprocess, then engines that turn batches
//! into rows.
//!
//! ```text
//! files ──read, hash, decode, preprocess──▶ images ──joined──▶ batches ──engines──▶ rows
//! ```
//!
//! Both stages are [`ordered_map`]s: everything between the threads is bounded and the images'
//! buffers go round, so that memory does not depend on the number of images. Who receives the
//! events is the only one who writes.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::embed::content::{ContentHash, KnownFile, Stamp};
use crate::embed::row_engine::{BatchRows, RowEngine};
use crate::error::{CacheError, Error, PixelError, Result};
use crate::pixels::{DecodeLimits, Decoding, frame};
use crate::preprocess::{Image, Scratch, ValidPreprocess};
use crate::support::fs;
use crate::support::ordered_pool::{BufferPool, PooledBuffer, ordered_map};
use crate::tensor::{DType, HostTensor};

/// Pixels from which on images are decoded one at a time, so that several large ones do not fill
/// the memory together.
const LARGE_PIXELS: u64 = 24_000_000;

/// Bytes of images between the threads, about, beyond one per thread.
const SLACK_BYTES: usize = 64 << 20;

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
    Embedded { images: Vec<BatchImage>, rows: BatchRows },
}

/// An image of a batch.
pub(crate) struct BatchImage {
    pub(crate) sample: usize,
    pub(crate) file: Option<KnownFile>,
    pub(crate) hash: ContentHash,
}

/// What is done with every image.
pub(crate) struct Pipeline<'a> {
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
    /// Counts the images that are the first of several of their file.
    pub(crate) first_of_several: &'a AtomicUsize,
}

/// What a decoder says of a task: an image for the network, or that there is none.
enum Decoded {
    Image(BatchImage, PooledBuffer),
    Event(Event),
}

/// What goes to an engine, or past it.
enum Step {
    Batch(Vec<BatchImage>, HostTensor),
    Event(Event),
}

impl Pipeline<'_> {
    /// Runs the tasks; `receive` is called on this thread with every event and stops the run by an
    /// error.
    ///
    /// # Errors
    /// What an engine gives, or what `receive` returns.
    pub(crate) fn run(
        &self,
        tasks: &[Task<'_>],
        engines: Vec<RowEngine<'_>>,
        mut receive: impl FnMut(Event) -> Result<()>,
    ) -> Result<()> {
        let [batch, ..] = self.shape;
        let shared = Shared {
            pipeline: self,
            claimed: Mutex::default(),
            large: Mutex::default(),
            buffers: BufferPool::new(self.shape[1..].iter().product()),
        };
        let decoders: Vec<Decoder> = (0..self.threads.max(1)).map(|_| Decoder::default()).collect();
        // Slack for files that take longer than others, and for a receiver that is kept waiting.
        let image_bytes = size_of::<f32>() * self.shape[1..].iter().product::<usize>();
        let slack = (SLACK_BYTES / image_bytes.max(1)).min(4 * self.threads.max(1));
        let decoded_ahead = decoders.len() + batch * engines.len() + slack;
        let waiting = WAITING_BYTES / (batch * self.row_bytes).max(1);
        let batches_ahead = waiting.clamp(engines.len(), 2 * engines.len() + slack / batch);
        std::thread::scope(|scope| {
            let shared = &shared;
            let look = |decoder: &mut Decoder, task: &Task<'_>| decoder.look(shared, task);
            let decoded = ordered_map(scope, tasks.iter(), decoders, decoded_ahead, look);
            let batches = BufferPool::new(self.shape.iter().product());
            let steps = Steps { decoded, shape: self.shape, batches, waiting: Vec::new() };
            let run = |engine: &mut RowEngine<'_>, step| -> Result<Event> {
                Ok(match step {
                    Step::Event(event) => event,
                    Step::Batch(images, pixels) => Event::Embedded { rows: engine.run(&pixels, images.len())?, images },
                })
            };
            let events = ordered_map(scope, steps, engines, batches_ahead, run);
            for event in events {
                receive(event?)?;
            }
            Ok(())
        })
    }
}

/// Joins images to batches; what is no image goes past them.
struct Steps<I> {
    decoded: I,
    shape: [usize; 4],
    /// Buffers of whole batches.
    batches: BufferPool,
    waiting: Vec<(BatchImage, PooledBuffer)>,
}

impl<I: Iterator<Item = Decoded>> Iterator for Steps<I> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            match self.decoded.next() {
                Some(Decoded::Event(event)) => return Some(Step::Event(event)),
                Some(Decoded::Image(image, pixels)) => self.waiting.push((image, pixels)),
                None if self.waiting.is_empty() => return None,
                None => return Some(self.batch()),
            }
            if self.waiting.len() == self.shape[0] {
                return Some(self.batch());
            }
        }
    }
}

impl<I> Steps<I> {
    /// The images that wait as one batch, its last places filled with zeros.
    fn batch(&mut self) -> Step {
        let (images, mut buffers): (Vec<BatchImage>, Vec<PooledBuffer>) = self.waiting.drain(..).unzip();
        let values = match (self.shape[0], buffers.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                let mut values = self.batches.take();
                let size = self.shape[1..].iter().product();
                let mut places = values.chunks_exact_mut(size);
                for (image, place) in buffers.iter().chain(&last).zip(&mut places) {
                    place.copy_from_slice(image);
                }
                places.for_each(|place| place.fill(0.0));
                values
            }
        };
        #[expect(clippy::expect_used, reason = "the values were joined and filled up for this shape")]
        let pixels = HostTensor::new(DType::F32, self.shape.to_vec(), Bytes::from_owner(values))
            .expect("a batch is of its shape");
        Step::Batch(images, pixels)
    }
}

/// What the decoders share.
struct Shared<'a> {
    pipeline: &'a Pipeline<'a>,
    claimed: Mutex<HashSet<ContentHash>>,
    large: Mutex<()>,
    buffers: BufferPool,
}

/// One thread that reads, decodes and preprocesses.
#[derive(Default)]
struct Decoder {
    scratch: Scratch,
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

impl Decoder {
    /// Looks at one image.
    fn look(&mut self, shared: &Shared<'_>, task: &Task<'_>) -> Decoded {
        let sample = task.sample;
        let (file, frame) = frame::source(task.file);
        let content = match self.content(file, frame.is_some(), shared.pipeline.limits.max_bytes) {
            Ok(content) => content,
            Err(error) => {
                return Decoded::Event(Event::Failed { sample, known: None, reason: error.with_causes() });
            }
        };
        let hash = frame.map_or(content.hash, |frame| content.hash.of_frame(frame));
        let file = content.stamp.map(|stamp| KnownFile { path: task.path.to_owned(), stamp, hash });
        if (shared.pipeline.settled)(&hash) || !shared.claim(hash) {
            return Decoded::Event(Event::Seen { sample, file, hash });
        }
        match self.prepare(shared, &content.bytes, frame) {
            Ok(pixels) => Decoded::Image(BatchImage { sample, file, hash }, pixels),
            Err(reason) => Decoded::Event(Event::Failed { sample, known: Some((file, hash)), reason }),
        }
    }

    /// Reads a file, or takes the last one again for its next frame.
    fn content(&mut self, file: PathBuf, is_kept: bool, max_bytes: u64) -> Result<Content> {
        if let Some(last) = self.last.take_if(|last| last.file == file && is_kept) {
            return Ok(self.last.insert(last).clone());
        }
        let (bytes, stamp) = read(&file, max_bytes)?;
        let hash = ContentHash::new(&bytes);
        let content = Content { file, bytes: Arc::new(bytes), stamp, hash };
        self.last = is_kept.then(|| content.clone());
        Ok(content)
    }

    /// Decodes and preprocesses an image.
    fn prepare(&mut self, shared: &Shared<'_>, bytes: &[u8], frame: Option<u32>) -> Result<PooledBuffer, String> {
        // A decoder that panics on a damaged file must not end the run.
        let image = catch_unwind(AssertUnwindSafe(|| shared.decode(bytes, frame)))
            .map_err(|_| "the decoder gave up on this file".to_owned())?
            .map_err(|error| error.with_causes())?;
        let mut pixels = shared.buffers.take();
        let applied = shared.pipeline.preprocess.apply_into(&image, &mut self.scratch, &mut pixels);
        applied.map_err(|error| error.with_causes())?;
        if frame.is_none() && frame::has_several(bytes) {
            shared.pipeline.first_of_several.fetch_add(1, Ordering::Relaxed);
        }
        Ok(pixels)
    }
}

impl Shared<'_> {
    fn claim(&self, hash: ContentHash) -> bool {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(hash)
    }

    fn decode(&self, bytes: &[u8], frame: Option<u32>) -> Result<Image> {
        let Pipeline { limits, preprocess, .. } = *self.pipeline;
        let small = DecodeLimits { max_pixels: limits.max_pixels.min(LARGE_PIXELS), ..limits };
        let decoding = Decoding { frame, ..Decoding::of(preprocess.specification(), limits) };
        match (Decoding { limits: small, ..decoding }).decode(bytes) {
            Err(Error::Pixels(PixelError::TooManyPixels { .. })) if small != limits => {
                let _alone = self.large.lock().unwrap_or_else(PoisonError::into_inner);
                decoding.decode(bytes)
            }
            decoded => decoded,
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
    Ok((bytes, Stamp::new(&metadata)))
}
