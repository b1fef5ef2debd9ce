//! Runs a classifier's file on image files: threads decode, sessions run; a file that cannot be
//! used is told and the others go on.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::{DecodeLimits, Decoding};
use crate::deploy::assemble::IMAGES;
use crate::deploy::head::{LABEL, PROBABILITIES};
use crate::deploy::{ModelCard, pixels};
use crate::error::{DeployError, Error, Result};
use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use crate::support::progress::Progress;
use crate::tensor::DType;

/// Images of a batch on a GPU, unless another number is asked for.
const GPU_BATCH: usize = 16;

/// How to run a classifier.
#[derive(Clone, Debug, Default)]
pub struct PredictOptions {
    /// Where to compute.
    pub device: Device,
    /// Images of one size that are run at once; 0 chooses.
    pub batch: usize,
    /// Threads that compute, and as many that decode; 0 is one per core.
    pub threads: usize,
    /// How many images will come; where they are fewer than threads, several threads compute one. 0
    /// is many.
    pub images: usize,
    /// What a decoder may spend on a file.
    pub limits: DecodeLimits,
}

/// What a classifier says about an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// A probability per class.
    pub probabilities: Vec<f32>,
    /// The class decided for; where labels are decided one by one, those that are present.
    pub labels: Vec<usize>,
}

/// A file and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The file.
    pub path: PathBuf,
    /// The answer, or why there is none.
    pub outcome: Result<Answer, String>,
}

/// A classifier's file, opened.
#[derive(Debug)]
pub struct Classifier {
    card: ModelCard,
    session: Session,
    /// Images, or batches of them, that are computed at the same time.
    lanes: usize,
    batch: usize,
    threads: usize,
    limits: DecodeLimits,
}

/// A decoded image on its way to a session.
struct Decoded {
    /// Position among the files.
    at: usize,
    /// Rows and columns.
    size: [usize; 2],
    samples: Vec<u8>,
}

/// What became of the file at a position.
type Outcome = (usize, Result<Answer, String>);

impl Classifier {
    /// Opens a file.
    ///
    /// # Errors
    /// [`DeployError::NotAClassifier`] for other models; `RuntimeError` where ONNX Runtime or the
    /// device cannot run it.
    pub fn open(runtime: &Runtime, path: &Path, options: &PredictOptions) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads > 0 { options.threads } else { cores };
        let on_cpu = match options.device {
            Device::Cpu => true,
            Device::Cuda(_) => false,
            Device::Auto => !runtime.providers().iter().any(|name| name.contains("CUDA")),
        };
        let lanes = match (on_cpu, options.images) {
            (false, _) => 1,
            (true, 0) => threads,
            (true, images) => threads.min(images),
        };
        let settings = SessionOptions {
            device: options.device,
            // Each lane computes by itself; threads beyond the lanes help all of them.
            threads: threads - lanes + 1,
            spinning: false,
            ..SessionOptions::default()
        };
        let session = Session::open(runtime, ModelSource::File(path), &settings)?;
        let card = ModelCard::read(path, &session.metadata()?)?;
        let fixed = check(path, &session)?;
        let is_gpu = matches!(session.device(), Device::Cuda(_));
        let batch = match (fixed, options.batch) {
            (Some(fixed), _) => fixed,
            (None, 0) if is_gpu => GPU_BATCH,
            (None, batch) => batch.max(1),
        };
        Ok(Classifier { card, session, lanes, batch, threads, limits: options.limits })
    }

    /// What the file says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Where it computes, and why there.
    pub fn device(&self) -> (Device, &str) {
        (self.session.device(), self.session.device_reason())
    }

    /// Runs the classifier on files, in their order.
    pub fn predict(&mut self, files: &[PathBuf], progress: &dyn Progress) -> Vec<Prediction> {
        let next = AtomicUsize::new(0);
        let mut outcomes: Vec<Option<Result<Answer, String>>> = vec![None; files.len()];
        let batch = self.batch;
        let decoding = Decoding::of(&self.card.preprocess, self.limits);
        let decoding = &decoding;
        progress.begin("predicting", files.len() as u64, 0);
        std::thread::scope(|scope| {
            let (filled, images) = sync_channel::<Decoded>(self.lanes * batch);
            let images = Arc::new(Mutex::new(images));
            let (results, received) = sync_channel::<Outcome>(64);
            for _ in 0..self.threads {
                let (filled, results, next) = (filled.clone(), results.clone(), &next);
                scope.spawn(move || fill(files, (next, decoding), &filled, &results));
            }
            let mut engines: Vec<Engine<'_>> = Vec::new();
            if self.session.device() == Device::Cpu {
                engines.extend((0..self.lanes).map(|_| Engine::Shared(&self.session)));
            } else {
                engines.push(Engine::Alone(&mut self.session));
            }
            for engine in engines {
                let (images, results) = (images.clone(), results.clone());
                scope.spawn(move || Lane { engine, batch, waiting: HashMap::new() }.run(&images, &results));
            }
            drop((filled, images, results));
            for (at, outcome) in received {
                outcomes[at] = Some(outcome);
                progress.advance(1);
            }
        });
        progress.end();
        let lost = || Err("it was not run".to_owned());
        let pairs = files.iter().zip(outcomes);
        pairs.map(|(path, outcome)| Prediction { path: path.clone(), outcome: outcome.unwrap_or_else(lost) }).collect()
    }
}

/// Whether input and outputs are a classifier's; gives the number of images that it takes at once,
/// where it takes no other.
fn check(path: &Path, session: &Session) -> Result<Option<usize>> {
    let refused = |problem: &str| DeployError::NotAClassifier { path: path.to_path_buf(), problem: problem.to_owned() };
    let [input] = session.inputs() else { return Err(refused("it has not one input").into()) };
    if input.name != IMAGES || input.dtype != Some(DType::U8) || input.shape.len() != 4 {
        return Err(refused("its input is not `images` uint8 [N, H, W, 3]").into());
    }
    for name in [PROBABILITIES, LABEL] {
        if session.outputs().iter().all(|output| output.name != name) {
            return Err(refused(&format!("it has no output `{name}`")).into());
        }
    }
    Ok(input.shape[0])
}

/// Decodes files until none is left; hung-up channels end it too.
fn fill(
    files: &[PathBuf],
    (next, decoding): (&AtomicUsize, &Decoding),
    filled: &SyncSender<Decoded>,
    results: &SyncSender<Outcome>,
) {
    loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = files.get(at) else { return };
        // A decoder that panics on a damaged file must not end the run.
        let decoded = catch_unwind(AssertUnwindSafe(|| decode(file, decoding)));
        let decoded = decoded.unwrap_or_else(|_| Err("the decoder gave up on this file".to_owned()));
        let sent = match decoded {
            Ok((size, samples)) => filled.send(Decoded { at, size, samples }).is_ok(),
            Err(reason) => results.send((at, Err(reason))).is_ok(),
        };
        if !sent {
            return;
        }
    }
}

fn decode(file: &Path, decoding: &Decoding) -> Result<([usize; 2], Vec<u8>), String> {
    let decoded = decoding.decode_file(file).and_then(|image| {
        let size = [image.height as usize, image.width as usize];
        Ok((size, pixels::rgb(image)?))
    });
    decoded.map_err(|error| reason(&error))
}

/// A session as a lane has it.
enum Engine<'a> {
    /// By itself.
    Alone(&'a mut Session),
    /// Together with other lanes.
    Shared(&'a Session),
}

/// One of the places where images become answers.
struct Lane<'a> {
    engine: Engine<'a>,
    batch: usize,
    /// Images by size until there are enough of one.
    waiting: HashMap<[usize; 2], Vec<Decoded>>,
}

impl Lane<'_> {
    /// Runs images until no more come.
    fn run(mut self, images: &Mutex<Receiver<Decoded>>, results: &SyncSender<Outcome>) {
        loop {
            let image = images.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(image) = image else { break };
            let size = image.size;
            let group = self.waiting.entry(size).or_default();
            group.push(image);
            let full = (group.len() >= self.batch).then_some(size);
            // Images of rare sizes do not pile up.
            let piled = self.waiting.values().map(Vec::len).sum::<usize>() > 4 * self.batch;
            let largest = || self.waiting.iter().max_by_key(|(_, group)| group.len()).map(|(size, _)| *size);
            if let Some(size) = full.or_else(|| largest().filter(|_| piled)) {
                self.flush(size, results);
            }
        }
        let sizes: Vec<[usize; 2]> = self.waiting.keys().copied().collect();
        sizes.into_iter().for_each(|size| self.flush(size, results));
    }

    /// Runs the images of one size.
    fn flush(&mut self, size: [usize; 2], results: &SyncSender<Outcome>) {
        let group = self.waiting.remove(&size).unwrap_or_default();
        let answers = self.answers(&group, size).map_err(|error| reason(&error));
        for (place, image) in group.iter().enumerate() {
            let answer = match &answers {
                Ok(answers) => {
                    answers.get(place).cloned().ok_or_else(|| "the classifier gives no row for it".to_owned())
                }
                Err(reason) => Err(reason.clone()),
            };
            // Nobody waits for it once the run is over.
            let _ = results.send((image.at, answer));
        }
    }

    fn answers(&mut self, group: &[Decoded], size: [usize; 2]) -> Result<Vec<Answer>> {
        let samples: Vec<&[u8]> = group.iter().map(|image| image.samples.as_slice()).collect();
        let batch = pixels::batch(&samples, size)?;
        let (inputs, wanted) = ([(IMAGES, &batch)], [PROBABILITIES, LABEL]);
        let outputs = match &mut self.engine {
            Engine::Alone(session) => session.run(&inputs, &wanted)?,
            Engine::Shared(session) => session.run_shared(&inputs, &wanted)?,
        };
        let probabilities = outputs[0].to_f32().unwrap_or_default();
        let labels = outputs[1].values::<i64>().unwrap_or_default();
        let classes = probabilities.len() / group.len().max(1);
        // One number per image, or one per image and class.
        let is_one_by_one = outputs[1].shape().len() == 2;
        let rows =
            probabilities.chunks_exact(classes.max(1)).zip(labels.chunks_exact(labels.len() / group.len().max(1)));
        let answer = |(probabilities, labels): (&[f32], &[i64])| {
            let present = labels.iter().enumerate().filter(|(_, label)| **label == 1).map(|(class, _)| class);
            let chosen = labels.iter().map(|&label| label as usize);
            let labels = if is_one_by_one { present.collect() } else { chosen.collect() };
            Answer { probabilities: probabilities.to_vec(), labels }
        };
        Ok(rows.map(answer).collect())
    }
}

/// An error and its causes on one line.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
