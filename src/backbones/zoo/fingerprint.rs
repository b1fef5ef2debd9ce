//! What a model gives for a known input: stored when it is built, compared on another device or
//! runtime.
//!
//! The input is the same everywhere, computed from its shape alone: value `i` of image `n` is `4
//! frac((i + 1 + 7919 n) / golden ratio) - 2`. Of every output a fingerprint keeps the norm of each
//! image's values and a few of them, evenly spaced; a graph that computes something else changes
//! all of them. Differences are allowed up to a part of the output's largest value that fits the
//! arithmetic: f32, f16 or 8-bit integers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backbones::Backbone;
use crate::error::{FileError, Result};
use crate::graph::{Dim, Model, TypeKind};
use crate::runtime::{ModelSource, Runtime, Session, SessionOptions};
use crate::tensor::{DType, HostTensor};

/// Key of the model property that holds a fingerprint, as JSON.
const PROPERTY: &str = "defrost.fingerprint";
/// Values kept of each image and output.
const SAMPLES: usize = 24;
/// Images of the known input, where the model takes any number.
const IMAGES: usize = 2;
/// Height and width of the known input, where the model takes any.
const LENGTH: usize = 224;
/// The inverse of the golden ratio.
const STEP: f64 = 0.618_033_988_749_894_9;

/// What a model gives for the known input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Who computed it: `ONNX Runtime 1.32.0 on cpu`, `timm 1.0.31`.
    pub made_by: String,
    /// The sha256 of the weights it belongs to, where it is kept apart from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// Name of the input.
    pub input: String,
    /// Shape of the input: [N, C, H, W].
    pub shape: [usize; 4],
    /// Allowed differences, as a part of the largest value of an output.
    pub tolerance: f64,
    /// The outputs, in the model's order.
    pub outputs: Vec<OutputFingerprint>,
}

/// What is kept of one output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFingerprint {
    /// Its name.
    pub name: String,
    /// Values per image.
    pub length: usize,
    /// Largest absolute value.
    pub largest: f64,
    /// Euclidean norm of each image's values.
    pub norms: Vec<f64>,
    /// Evenly spaced values of each image.
    pub samples: Vec<Vec<f32>>,
}

/// The comparison of one output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Its name.
    pub output: String,
    /// Largest absolute difference of the compared values; `None` where the output is missing or of
    /// another size.
    pub max_abs: Option<f64>,
    /// What is allowed.
    pub allowed: f64,
    /// Largest difference of the norms, as a part of the norm.
    pub norm_difference: Option<f64>,
    /// Whether both are within the tolerance.
    pub holds: bool,
}

/// The known input of a shape.
pub fn known_input(shape: [usize; 4]) -> HostTensor {
    let per_image = shape[1..].iter().product::<usize>().max(1);
    HostTensor::from_fn(&shape, |flat| {
        let (image, at) = (flat / per_image, flat % per_image);
        let turn = (at + 1 + 7919 * image) as f64 * STEP;
        (4.0 * turn.fract() - 2.0) as f32
    })
}

impl Fingerprint {
    /// The fingerprint that a model carries.
    ///
    /// # Errors
    /// [`FileError::Parse`] where it cannot be read.
    pub fn stored(model: &Model) -> Result<Option<Self>> {
        let parse = |text: &str| {
            serde_json::from_str(text).map_err(|source| {
                let format = "fingerprint (property `defrost.fingerprint`)";
                FileError::Parse { path: "model".into(), format, source: Box::new(source) }.into()
            })
        };
        model.property(PROPERTY).map(parse).transpose()
    }

    /// Runs a model on its known input and keeps a few values of every output.
    ///
    /// # Errors
    /// Those of opening and running a session.
    pub fn of(backbone: &Backbone, runtime: &Runtime, options: &SessionOptions) -> Result<Self> {
        let (model, input) = (&backbone.graph, backbone.input.as_str());
        let known = shape_of(model, input);
        Fingerprint::run(model, (input, known), (runtime, options), SAMPLES)
    }

    /// Runs a model on the input of this fingerprint and keeps the same values.
    ///
    /// # Errors
    /// Those of opening and running a session.
    pub fn again(&self, model: &Model, runtime: &Runtime, options: &SessionOptions) -> Result<Self> {
        let samples = self.outputs.iter().filter_map(|print| print.samples.first()).map(Vec::len).max();
        Fingerprint::run(model, (&self.input, self.shape), (runtime, options), samples.unwrap_or(SAMPLES))
    }

    /// All values, for a comparison of two ways to run a model.
    ///
    /// # Errors
    /// Those of opening and running a session.
    pub fn whole(backbone: &Backbone, runtime: &Runtime, options: &SessionOptions) -> Result<Self> {
        let (model, input) = (&backbone.graph, backbone.input.as_str());
        Fingerprint::run(model, (input, shape_of(model, input)), (runtime, options), usize::MAX)
    }

    fn run(
        model: &Model,
        (input, shape): (&str, [usize; 4]),
        (runtime, options): (&Runtime, &SessionOptions),
        samples: usize,
    ) -> Result<Self> {
        let detached = model.detach()?;
        let mut session = Session::open(runtime, ModelSource::Detached(&detached), options)?;
        let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
        let results = session.run(&[(input, &known_input(shape))], &[])?;
        let prints =
            names.into_iter().zip(&results).filter_map(|(name, tensor)| OutputFingerprint::of(name, tensor, samples));
        Ok(Fingerprint {
            made_by: format!("ONNX Runtime {} on {}", runtime.version(), session.device()),
            weights_sha256: None,
            input: input.to_owned(),
            shape,
            tolerance: tolerance(model),
            outputs: prints.collect(),
        })
    }

    /// Whether a model takes the input.
    pub fn fits(&self, model: &Model) -> bool {
        let fixed = dims(model, &self.input);
        let fits = |(dim, size): (&Dim, &usize)| match dim {
            Dim::Fixed(fixed) => usize::try_from(*fixed) == Ok(*size),
            _ => true,
        };
        fixed.len() == self.shape.len() && fixed.iter().zip(&self.shape).all(fits)
    }

    /// Whether all values are numbers: what is not cannot be stored, nor compared.
    pub fn is_finite(&self) -> bool {
        self.outputs.iter().all(|print| print.largest.is_finite())
    }

    /// Writes the fingerprint into a model.
    ///
    /// # Errors
    /// [`FileError::Parse`] where it has no JSON form.
    pub fn store(&self, model: &mut Model) -> Result<()> {
        let text = serde_json::to_string(self).map_err(|source| FileError::Parse {
            path: "fingerprint".into(),
            format: "JSON",
            source: Box::new(source),
        })?;
        model.set_property(PROPERTY, text);
        Ok(())
    }

    /// Compares what was found with this, output by output.
    pub fn compare(&self, found: &Fingerprint) -> Vec<Comparison> {
        let by_name: BTreeMap<&str, &OutputFingerprint> =
            found.outputs.iter().map(|print| (print.name.as_str(), print)).collect();
        let compare =
            |print: &OutputFingerprint| print.compare(by_name.get(print.name.as_str()).copied(), self.tolerance);
        self.outputs.iter().map(compare).collect()
    }
}

impl OutputFingerprint {
    /// Of an output [N, ..] of numbers; `None` for others.
    fn of(name: String, tensor: &HostTensor, samples: usize) -> Option<Self> {
        let values = tensor.to_f32()?;
        let images = tensor.shape().first().copied().filter(|images| *images > 0)?;
        let length = values.len() / images;
        let count = samples.min(length);
        let rows = || values.chunks(length.max(1));
        let norm = |row: &[f32]| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let largest = values.iter().map(|value| f64::from(value.abs()));
        Some(OutputFingerprint {
            name,
            length,
            // `max` would pass over what is no number.
            largest: largest.fold(0.0, |most, value| if value > most || value.is_nan() { value } else { most }),
            norms: rows().map(norm).collect(),
            samples: rows().map(|row| (0..count).map(|at| row[at * length / count]).collect()).collect(),
        })
    }

    fn compare(&self, found: Option<&OutputFingerprint>, tolerance: f64) -> Comparison {
        let allowed = tolerance * self.largest.max(f64::from(f32::MIN_POSITIVE));
        let same = found.filter(|found| found.length == self.length && found.samples.len() == self.samples.len());
        let largest = |differences: &mut dyn Iterator<Item = f64>| {
            differences.fold(0.0f64, |most, value| if value > most || value.is_nan() { value } else { most })
        };
        let max_abs = same.map(|found| {
            let pairs = self.samples.iter().flatten().zip(found.samples.iter().flatten());
            largest(&mut pairs.map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs()))
        });
        let norm_difference = same.map(|found| {
            let pairs = self.norms.iter().zip(&found.norms);
            largest(&mut pairs.map(|(x, y)| (x - y).abs() / x.max(f64::MIN_POSITIVE)))
        });
        let within = |value: Option<f64>, most: f64| value.is_some_and(|value| value <= most);
        let holds = within(max_abs, allowed) && within(norm_difference, tolerance);
        Comparison { output: self.name.clone(), max_abs, allowed, norm_difference, holds }
    }
}

/// The axes of an input.
fn dims<'m>(model: &'m Model, input: &str) -> &'m [Dim] {
    let value = model.graph.inputs.iter().find(|value| value.name == input);
    match value.and_then(|value| value.r#type.as_ref()).and_then(|r#type| r#type.kind.as_ref()) {
        Some(TypeKind::Tensor(tensor)) => tensor.shape.as_deref().unwrap_or_default(),
        _ => &[],
    }
}

/// The shape of the known input for a model.
fn shape_of(model: &Model, input: &str) -> [usize; 4] {
    let dims = dims(model, input);
    let open = [IMAGES, 3, LENGTH, LENGTH];
    std::array::from_fn(|axis| match dims.get(axis) {
        Some(Dim::Fixed(size)) => usize::try_from(*size).unwrap_or(open[axis]),
        _ => open[axis],
    })
}

/// What the arithmetic of a model allows: other devices and fusions round otherwise, 8-bit products
/// saturate on some.
fn tolerance(model: &Model) -> f64 {
    const INTEGER: [&str; 4] = ["Integer", "NBits", "QLinear", "Quantize"];
    let functions = model.functions.iter().flat_map(|function| &function.nodes);
    let mut nodes = model.graph.nodes.iter().chain(functions);
    if nodes.any(|node| INTEGER.iter().any(|part| node.operator.contains(part))) {
        5e-2
    } else if model.graph.initializers.iter().any(|tensor| tensor.element.dtype() == Some(DType::F16)) {
        1e-2
    } else {
        1e-3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(values: &[f32]) -> OutputFingerprint {
        OutputFingerprint::of(
            "embedding".to_owned(),
            &HostTensor::from_vec(vec![2, values.len() / 2], values.to_vec()).unwrap(),
            2,
        )
        .unwrap()
    }

    #[test]
    fn the_known_input_is_the_documented_one() {
        let tensor = known_input([2, 1, 1, 3]);
        let values = tensor.values::<f32>().unwrap();
        assert_eq!(values[0], (4.0 * 0.618_033_988_749_894_9f64 - 2.0) as f32);
        assert_eq!(values[3], (4.0 * (7920.0 * STEP).fract() - 2.0) as f32);
        assert!(values.iter().all(|value| (-2.0..=2.0).contains(value)));
    }

    #[test]
    fn differences_in_a_sample_and_in_the_norm_are_found() {
        let reference = print(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(reference.samples, [[1.0, 3.0], [5.0, 7.0]]);
        let same = reference.compare(Some(&reference), 1e-3);
        assert!(same.holds && same.max_abs == Some(0.0) && (same.allowed - 8e-3).abs() < 1e-12);
        let sampled = print(&[1.0, 2.0, 3.1, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert!(!reference.compare(Some(&sampled), 1e-3).holds);
        let unsampled = print(&[1.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let found = reference.compare(Some(&unsampled), 1e-3);
        assert!(!found.holds && found.max_abs == Some(0.0));
        let not_a_number = print(&[1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert!(!reference.compare(Some(&not_a_number), 1e-3).holds);
        assert!(!reference.compare(None, 1e-3).holds);
        assert!(!reference.compare(Some(&print(&[1.0, 2.0])), 1e-3).holds);
    }
}
