//! A classifier against the library, image by image: same file, decoded once; preprocessing,
//! network and probe here, one graph there.

use std::path::{Path, PathBuf};

use ndarray::ArrayView2;

use crate::deploy::assemble::IMAGES;
use crate::deploy::head::{LABEL, PROBABILITIES};
use crate::deploy::model_card::{ModelCard, Verification};
use crate::deploy::pixels;
use crate::deploy::predict::decided;
use crate::deploy::source::Source;
use crate::error::{DeployError, Error, Result};
use crate::graph::Model;
use crate::pixels::{DecodeLimits, Decoding};
use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use crate::support::progress::Progress;
use crate::tensor::Tolerance;

/// How much a probability of a classifier may differ from the library's.
pub(super) const TOLERANCE: Tolerance = Tolerance::Network;

/// How much an expected grade may be rounded in f32.
const GRADE_ROUNDING: f64 = 1e-5;

/// An image to compare on, with the recorded probabilities where it was evaluated before.
pub(super) struct Example<'a> {
    pub(super) path: PathBuf,
    pub(super) recorded: Option<&'a [f64]>,
}

/// Both ways from an image to probabilities.
struct ComparedPaths<'a> {
    source: &'a Source,
    classifier: Session,
    network: Session,
}

/// Probabilities that a classifier's are compared with.
struct Reference<'a> {
    /// Who says so, with a verb.
    name: &'static str,
    probabilities: &'a [f64],
    /// How much the classifier's may differ.
    allowed: f64,
}

/// What was found out about one image.
#[derive(Default)]
struct Differences {
    library: f64,
    record: Option<f64>,
    tied: bool,
}

/// Compares the classifier `model` with the library on images.
///
/// # Errors
/// [`DeployError::Differs`] at the first image beyond the tolerance; [`DeployError::Depth`] for
/// 16-bit images; those of decoding and of ONNX Runtime.
pub(super) fn verify(
    source: &Source,
    model: &Model,
    examples: &[Example<'_>],
    runtime: &Runtime,
    progress: &dyn Progress,
) -> Result<Verification> {
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut ways = ComparedPaths {
        source,
        classifier: Session::open(runtime, ModelSource::Detached(&model.detach()?), &options)?,
        network: Session::open(runtime, ModelSource::Detached(&source.body.model.detach()?), &options)?,
    };
    let mut verification = Verification {
        images: 0,
        largest_difference: 0.0,
        largest_difference_from_record: None,
        tolerance: TOLERANCE.name().to_owned(),
        allowed: TOLERANCE.allowed(),
        tied: 0,
        runtime: runtime.version().to_owned(),
    };
    progress.begin("verifying", examples.len() as u64, 0);
    for example in examples {
        let found = ways.compare(example)?;
        progress.advance(1);
        if found.tied {
            verification.tied += 1;
            continue;
        }
        verification.images += 1;
        verification.largest_difference = verification.largest_difference.max(found.library);
        let recorded = &mut verification.largest_difference_from_record;
        *recorded = match (*recorded, found.record) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }
    progress.end();
    if verification.images == 0 {
        let reason = format!("on each of the {} two neighbours are equally near", verification.tied);
        return Err(DeployError::NoImages { reason }.into());
    }
    Ok(verification)
}

impl ComparedPaths<'_> {
    fn compare(&mut self, example: &Example<'_>) -> Result<Differences> {
        let decoding = Decoding::of(&self.source.card.preprocess, DecodeLimits::default());
        let image = decoding.decode_file(&example.path)?;
        let size = [image.height as usize, image.width as usize];
        let input = self.source.preprocess.apply(&image)?;
        let input = input.reshaped([&[1], input.shape()].concat()).ok_or_else(|| self.no_batch())?;
        let pixels = pixels::rgb(image)?;
        let pixels = pixels::batch(&[&pixels], size)?;

        let body = &self.source.body;
        let features = self.network.run(&[(&body.input, &input)], &[&body.output])?.remove(0);
        let values = features.to_f32().ok_or_else(|| self.no_batch())?;
        let features = ArrayView2::from_shape((1, body.width), &values).map_err(|_| self.no_batch())?;
        let tied = self.source.head.is_tied(features);
        let expected: Vec<f64> = self.source.head.probabilities(features, &self.source.card)?.iter().copied().collect();
        let outputs = self.classifier.run(&[(IMAGES, &pixels)], &[PROBABILITIES, LABEL])?;
        let (found, answer) = decided(&outputs, 1, &self.source.card)?;
        if tied {
            return Ok(Differences { tied, ..Differences::default() });
        }
        if !decides(&self.source.card, &found, &answer) {
            let (image, answer, probabilities) = (example.path.clone(), format!("{answer:?}"), format!("{found:?}"));
            return Err(DeployError::Decides { image, answer, probabilities }.into());
        }
        let of_library =
            Reference { name: "the library gives", probabilities: &expected, allowed: TOLERANCE.allowed() };
        let library = self.check(example, &found, &of_library)?;
        let record = example.recorded.map(|recorded| {
            let (name, allowed) = ("the record of its evaluation states", self.source.recorded_tolerance);
            self.check(example, &found, &Reference { name, probabilities: recorded, allowed })
        });
        Ok(Differences { library, record: record.transpose()?, tied })
    }

    /// The largest difference of probabilities.
    fn check(&self, example: &Example<'_>, found: &[f32], reference: &Reference<'_>) -> Result<f64> {
        if found.len() != reference.probabilities.len() {
            return Err(self.no_batch());
        }
        let mut largest = 0.0f64;
        let pairs = found.iter().zip(reference.probabilities);
        for ((&found, &expected), class) in pairs.zip(&self.source.card.classes) {
            let found = f64::from(found);
            let difference = (found - expected).abs();
            // A NaN is no agreement.
            if difference.is_nan() || difference > reference.allowed {
                return Err(DeployError::Differs {
                    image: example.path.clone(),
                    class: class.clone(),
                    found,
                    reference: reference.name,
                    expected,
                    difference,
                    allowed: reference.allowed,
                }
                .into());
            }
            largest = largest.max(difference);
        }
        Ok(largest)
    }

    fn no_batch(&self) -> Error {
        let reason = "the network gives something else than one row per image".to_owned();
        DeployError::Inexpressible { what: "the network", reason }.into()
    }
}

/// Whether `answer` is what a card's thresholds or cut-points make of probabilities, without them
/// the largest.
fn decides(card: &ModelCard, probabilities: &[f32], answer: &[i64]) -> bool {
    let place = |answer: &[i64]| match answer {
        [class] => usize::try_from(*class).ok().filter(|&class| class < probabilities.len()),
        _ => None,
    };
    match (&card.cut_points, &card.thresholds) {
        (Some(points), _) => {
            let grades = probabilities.iter().enumerate().map(|(grade, &p)| grade as f64 * f64::from(p));
            let expected: f64 = grades.sum();
            let reached = |point: &f32| f64::from(*point) <= expected + GRADE_ROUNDING;
            let missed = |point: &f32| f64::from(*point) > expected - GRADE_ROUNDING;
            place(answer).is_some_and(|grade| points[..grade].iter().all(reached) && points[grade..].iter().all(missed))
        }
        (None, Some(thresholds)) if card.decides_one_by_one() => {
            let present = probabilities.iter().zip(thresholds).map(|(p, least)| i64::from(p > least));
            answer.len() == probabilities.len() && present.eq(answer.iter().copied())
        }
        (None, Some(thresholds)) => match (probabilities, thresholds.as_slice()) {
            ([_, second], [least]) => answer == [i64::from(second >= least)],
            _ => false,
        },
        (None, None) => place(answer).is_some_and(|class| probabilities.iter().all(|p| *p <= probabilities[class])),
    }
}

/// `count` of all, evenly spread.
pub(super) fn spread<T>(mut all: Vec<T>, count: usize) -> Vec<T> {
    let total = all.len();
    if total <= count {
        return all;
    }
    let mut at = 0;
    all.retain(|_| {
        at += 1;
        at * count / total > (at - 1) * count / total
    });
    all
}

/// The example of a file.
pub(super) fn example(path: &Path) -> Example<'static> {
    Example { path: path.to_path_buf(), recorded: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_spread_evenly() {
        assert_eq!(spread((1..=10).collect(), 3), [4, 7, 10]);
        assert_eq!(spread(vec![1, 2], 3), [1, 2]);
        assert_eq!(spread((0..1000).collect::<Vec<_>>(), 16).len(), 16);
    }
}
