//! Runs a classifier's file on image files: threads decode, engines run images of one size
//! together; a file that cannot be used is told and the others go on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::deploy::assemble::IMAGES;
use crate::deploy::head::{LABEL, PROBABILITIES};
use crate::deploy::model_card::ModelCard;
use crate::deploy::pixels;
use crate::error::{DeployError, Result};
use crate::pixels::{DecodeLimits, Decoding};
use crate::runtime::{Device, Engine, EngineOptions, ModelSource, Runtime, Session};
use crate::support::ordered_pool::ordered_map;
use crate::support::progress::{Progress, Silent};
use crate::tensor::{DType, HostTensor};

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
    /// At least one, all of the same device.
    engines: Vec<Engine>,
    batch: usize,
    threads: usize,
    limits: DecodeLimits,
}

/// A decoded image on its way to an engine.
struct Decoded {
    /// Position among the files.
    at: usize,
    samples: Vec<u8>,
}

/// What became of the file at a position.
type Outcome = (usize, Result<Answer, String>);

/// What goes to an engine, or past it.
enum Step {
    /// Images of one size.
    Batch([usize; 2], Vec<Decoded>),
    Failed(Outcome),
}

impl Classifier {
    /// Opens a file with everything chosen for the machine; ONNX Runtime is fetched where there is
    /// none.
    ///
    /// # Errors
    /// As [`Classifier::open_with`] and [`Runtime::ensure`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let runtime = Runtime::ensure(None, &Silent)?;
        Classifier::open_with(&runtime, path.as_ref(), &PredictOptions::default())
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`DeployError::NotAClassifier`] for other models; `RuntimeError` where ONNX Runtime or the
    /// device cannot run it.
    pub fn open_with(runtime: &Runtime, path: &Path, options: &PredictOptions) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads > 0 { options.threads } else { cores };
        let max_engines = if options.images > 0 { options.images } else { threads };
        let at = EngineOptions { device: options.device, threads, max_engines };
        let engines = Engine::open(runtime, ModelSource::File(path), at)?;
        let session = engines[0].session();
        let card = ModelCard::read(path, &session.metadata()?)?;
        let batch = match (check(path, session)?, options.batch) {
            (Some(fixed), _) => fixed,
            (None, 0) if matches!(session.device(), Device::Cuda(_)) => GPU_BATCH,
            (None, batch) => batch.max(1),
        };
        Ok(Classifier { card, engines, batch, threads, limits: options.limits })
    }

    /// What the file says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.engines[0].session().device()
    }

    /// Why it computes there.
    pub fn device_reason(&self) -> &str {
        self.engines[0].session().device_reason()
    }

    /// Runs the classifier on files, in their order; what cannot be used is told in its prediction.
    pub fn predict<P: AsRef<Path>>(&mut self, files: &[P]) -> Vec<Prediction> {
        self.predict_with(files, &Silent)
    }

    /// As [`Classifier::predict`]; tells how far it is.
    pub fn predict_with<P: AsRef<Path>>(&mut self, files: &[P], progress: &dyn Progress) -> Vec<Prediction> {
        let mut outcomes: Vec<Option<Result<Answer, String>>> = vec![None; files.len()];
        let decoding = Decoding::of(&self.card.preprocess, self.limits);
        let (batch, card) = (self.batch, &self.card);
        let paths: Vec<&Path> = files.iter().map(AsRef::as_ref).collect();
        progress.begin("predicting", files.len() as u64, 0);
        std::thread::scope(|scope| {
            let engines: Vec<&mut Engine> = self.engines.iter_mut().collect();
            let count = engines.len();
            let decode = |(): &mut (), (at, file): (usize, &&Path)| (at, decode(file, &decoding));
            let ahead = self.threads + count * batch;
            let decoded = ordered_map(scope, paths.iter().enumerate(), vec![(); self.threads], ahead, decode);
            let steps = Steps { decoded, batch, waiting: BTreeMap::new() };
            let run = |engine: &mut &mut Engine, step| match step {
                Step::Failed(outcome) => vec![outcome],
                Step::Batch(size, images) => outcomes_of(engine, &images, size, card),
            };
            for (at, outcome) in ordered_map(scope, steps, engines, 2 * count, run).flatten() {
                outcomes[at] = Some(outcome);
                progress.advance(1);
            }
        });
        progress.end();
        #[expect(clippy::expect_used, reason = "every file gives one outcome")]
        let outcomes = outcomes.into_iter().map(|outcome| outcome.expect("each file was run or failed"));
        paths.iter().zip(outcomes).map(|(path, outcome)| Prediction { path: path.to_path_buf(), outcome }).collect()
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

/// Size and RGB samples of an image file, or why there are none.
fn decode(file: &Path, decoding: &Decoding) -> Result<([usize; 2], Vec<u8>), String> {
    // A decoder that panics on a damaged file must not end the run.
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        let image = decoding.decode_file(file)?;
        let size = [image.height as usize, image.width as usize];
        Ok((size, pixels::rgb(image)?))
    }));
    let decoded = decoded.map_err(|_| "the decoder gave up on this file".to_owned())?;
    decoded.map_err(|error: crate::Error| error.with_causes())
}

/// Joins images of one size to batches; what cannot be decoded goes past them.
struct Steps<I> {
    decoded: I,
    batch: usize,
    /// Images by size until there are enough of one.
    waiting: BTreeMap<[usize; 2], Vec<Decoded>>,
}

impl<I: Iterator<Item = (usize, Result<([usize; 2], Vec<u8>), String>)>> Iterator for Steps<I> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let (at, size, samples) = match self.decoded.next() {
                Some((at, Ok((size, samples)))) => (at, size, samples),
                Some((at, Err(reason))) => return Some(Step::Failed((at, Err(reason)))),
                None => return self.waiting.pop_first().map(|(size, images)| Step::Batch(size, images)),
            };
            let group = self.waiting.entry(size).or_default();
            group.push(Decoded { at, samples });
            let full = (group.len() >= self.batch).then_some(size);
            // Images of rare sizes do not pile up.
            let piled = self.waiting.values().map(Vec::len).sum::<usize>() > 4 * self.batch;
            let largest = || self.waiting.iter().max_by_key(|(_, group)| group.len()).map(|(size, _)| *size);
            let ready = full.or_else(|| largest().filter(|_| piled));
            if let Some((size, images)) = ready.and_then(|size| self.waiting.remove_entry(&size)) {
                return Some(Step::Batch(size, images));
            }
        }
    }
}

/// What the classifier says of images of one size.
fn outcomes_of(engine: &mut Engine, images: &[Decoded], size: [usize; 2], card: &ModelCard) -> Vec<Outcome> {
    match answers(engine, images, size, card) {
        Ok(answers) => images.iter().zip(answers).map(|(image, answer)| (image.at, Ok(answer))).collect(),
        Err(error) => {
            let reason = error.with_causes();
            images.iter().map(|image| (image.at, Err(reason.clone()))).collect()
        }
    }
}

/// One answer per image.
fn answers(engine: &mut Engine, images: &[Decoded], size: [usize; 2], card: &ModelCard) -> Result<Vec<Answer>> {
    let samples: Vec<&[u8]> = images.iter().map(|image| image.samples.as_slice()).collect();
    let outputs = engine.run(IMAGES, &pixels::batch(&samples, size)?, &[PROBABILITIES, LABEL])?;
    let (probabilities, labels) = decided(&outputs, images.len(), card)?;
    let rows = probabilities.chunks_exact(card.classes.len()).zip(labels.chunks_exact(labels.len() / images.len()));
    let answer = |(probabilities, labels): (&[f32], &[i64])| {
        let present = labels.iter().enumerate().filter(|(_, label)| **label == 1).map(|(class, _)| class);
        let chosen = labels.iter().map(|&label| label as usize);
        let labels = if card.decides_one_by_one() { present.collect() } else { chosen.collect() };
        Answer { probabilities: probabilities.to_vec(), labels }
    };
    Ok(rows.map(answer).collect())
}

/// The values of a classifier's outputs: probabilities f32 `[N, K]`, and i64 labels `[N]`, or
/// `[N, K]` where they are decided one by one.
///
/// # Errors
/// [`DeployError::Output`] for another type or shape.
pub(super) fn decided(outputs: &[HostTensor], images: usize, card: &ModelCard) -> Result<(Vec<f32>, Vec<i64>)> {
    let classes = card.classes.len();
    let refused = |name: &str, expected: String, output: Option<&HostTensor>| DeployError::Output {
        name: name.to_owned(),
        expected,
        found: output.map_or("nothing".to_owned(), |output| format!("{} {:?}", output.dtype(), output.shape())),
    };
    let probabilities = outputs.first().filter(|output| output.shape() == [images, classes]);
    let probabilities = probabilities
        .and_then(|output| output.values::<f32>())
        .ok_or_else(|| refused(PROBABILITIES, format!("f32 [{images}, {classes}]"), outputs.first()))?;
    let shape = if card.decides_one_by_one() { vec![images, classes] } else { vec![images] };
    let labels = outputs.get(1).filter(|output| output.shape() == shape);
    let labels = labels
        .and_then(|output| output.values::<i64>())
        .ok_or_else(|| refused(LABEL, format!("i64 {shape:?}"), outputs.get(1)))?;
    Ok((probabilities.to_vec(), labels.to_vec()))
}
