//! The network as the pipeline runs it: batches of preprocessed images in, rows of bytes out.
//!
//! The bytes of a row depend on its image alone: every batch has the same shape, the last one
//! filled up with zeros, and a network whose rows depend on each other (dynamic quantisation over
//! the batch does that) is found out before the first batch and given one image at a time.

use std::sync::{Arc, OnceLock};

use rand::Rng;

use crate::backbones::{Backbone, Output};
use crate::embed::{EmbeddingColumn, ModelRecord, Precision, Recipe};
use crate::error::{CacheError, Result};
use crate::graph::Detached;
use crate::runtime::{Binding, Device, DeviceTensor, ModelSource, Runtime, Session, SessionOptions};
use crate::support::progress::Progress;
use crate::support::seed::Seed;
use crate::tensor::{DType, HostTensor};

/// A network that embeds images, ready to be opened.
#[derive(Clone, Debug)]
pub struct Network {
    /// The ONNX model, its weights where they lie.
    pub model: Detached,
    /// Name of its input, `[N, C, H, W] f32`.
    pub input: String,
    /// Names of its outputs, `[N, D] f32` each, one per column of the recipe.
    pub outputs: Vec<String>,
    /// The number of images it takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
    /// The network that this one comes close to in faster arithmetic; a run that starts a cache
    /// measures how close.
    pub exact: Option<Arc<Network>>,
}

impl Network {
    /// The network of a backbone and the recipe of caches made with it: its embedding in the column
    /// `embedding`, its taps in columns of their own names. Taps with several vectors per image
    /// must have been pooled.
    ///
    /// # Errors
    /// `GraphError` where the graph has no serialised form.
    pub fn of(backbone: &Backbone, dtype: Precision) -> Result<(Network, Recipe)> {
        let model = backbone.graph.detach()?;
        let outputs = || [&backbone.embedding].into_iter().chain(&backbone.taps);
        let column =
            |output: &Output| EmbeddingColumn { name: output.tap.clone(), dimension: output.width, pool: output.pool };
        let recipe = Recipe {
            model: ModelRecord {
                name: backbone.name.clone(),
                weights: backbone.provenance.weights_sha256.clone(),
                graph: model.digest.clone(),
                changes: backbone.provenance.changes.clone(),
            },
            preprocess: backbone.preprocess.clone(),
            dtype,
            columns: outputs().map(column).collect(),
        };
        let network = Network {
            model,
            input: backbone.input.clone(),
            outputs: outputs().map(|output| output.name.clone()).collect(),
            fixed_batch: backbone.fixed_batch,
            exact: None,
        };
        Ok((network, recipe))
    }
}

/// What was found out about a network, shared by its lanes.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    independent: OnceLock<bool>,
}

/// Who computes: a session of its own on a GPU, or one that several lanes share on the CPU.
enum Engine {
    Bound(Box<(Session, Binding)>),
    Shared(Arc<Session>),
}

/// One of the places where batches become rows.
pub(crate) struct Lane<'a> {
    engine: Engine,
    network: &'a Network,
    recipe: &'a Recipe,
    findings: &'a Findings,
}

/// The rows of a batch.
pub(crate) struct Rows {
    /// One row after the other, as the recipe stores them.
    pub(crate) bytes: Vec<u8>,
    /// Rows that cannot be stored, and why.
    pub(crate) flaws: Vec<(usize, String)>,
}

impl<'a> Lane<'a> {
    /// Opens a session and makes a lane of it, or on the CPU `count` lanes that share it.
    pub(crate) fn open(
        runtime: &Runtime,
        (network, recipe): (&'a Network, &'a Recipe),
        (options, count): (&SessionOptions, usize),
        findings: &'a Findings,
    ) -> Result<Vec<Self>> {
        let session = Session::open(runtime, ModelSource::Detached(&network.model), options)?;
        let lane = |engine| Lane { engine, network, recipe, findings };
        if !matches!(session.device(), Device::Cuda(_)) {
            let session = Arc::new(session);
            return Ok((0..count).map(|_| lane(Engine::Shared(session.clone()))).collect());
        }
        let mut binding = Binding::new(&session)?;
        for name in &network.outputs {
            binding.bind_output_to_device(&session, name)?;
        }
        Ok(vec![lane(Engine::Bound(Box::new((session, binding))))])
    }

    pub(crate) fn session(&self) -> &Session {
        match &self.engine {
            Engine::Bound(bound) => &bound.0,
            Engine::Shared(session) => session,
        }
    }

    /// Finds out whether the rows of a batch of this shape depend on each other.
    ///
    /// # Errors
    /// [`CacheError::DependentRows`] where they do and the network takes no batch of one.
    pub(crate) fn check_independence(&mut self, shape: &[usize], progress: &dyn Progress) -> Result<()> {
        let (count, size) = (shape[0], shape[1..].iter().product::<usize>());
        if count == 1 || self.findings.independent.get().is_some() {
            return Ok(());
        }
        let mut random = Seed::new(0).named("batch independence").random();
        let image: Vec<f32> = (0..size).map(|_| random.gen_range(-2.0..2.0)).collect();
        // The same image first in a batch of bright neighbours and last in one of dark ones.
        let mut bright: Vec<f32> =
            image.iter().rev().map(|value| 5.0 + 3.0 * value).cycle().take(count * size).collect();
        let mut dark: Vec<f32> = bright.iter().map(|value| -value).collect();
        bright[..size].copy_from_slice(&image);
        dark[(count - 1) * size..].copy_from_slice(&image);
        let first = self.raw(&batch(shape, bright)?, count)?.bytes;
        let last = self.raw(&batch(shape, dark)?, count)?.bytes;
        let row = self.recipe.row_bytes();
        let independent = first[..row] == last[(count - 1) * row..];
        if !independent && self.network.fixed_batch.is_some() {
            return Err(CacheError::DependentRows { batch: count }.into());
        }
        if self.findings.independent.set(independent).is_ok() && !independent {
            progress.note("the network's results depend on the other images of a batch; embedding one image at a time");
        }
        Ok(())
    }

    /// Embeds the first `count` images of a batch `[B, C, H, W]`.
    pub(crate) fn run(&mut self, images: &HostTensor, count: usize) -> Result<Rows> {
        if self.findings.independent.get() != Some(&false) {
            return self.raw(images, count);
        }
        let mut shape = images.shape().to_vec();
        let size = images.bytes().len() / shape[0];
        shape[0] = 1;
        let mut rows = Rows { bytes: Vec::with_capacity(count * self.recipe.row_bytes()), flaws: Vec::new() };
        for at in 0..count {
            let one = images.bytes().slice(at * size..(at + 1) * size);
            let one = HostTensor::new(DType::F32, shape.clone(), one).ok_or(CacheError::DependentRows { batch: 1 })?;
            let row = self.raw(&one, 1)?;
            rows.bytes.extend(row.bytes);
            rows.flaws.extend(row.flaws.into_iter().map(|(_, reason)| (at, reason)));
        }
        Ok(rows)
    }

    fn raw(&mut self, images: &HostTensor, count: usize) -> Result<Rows> {
        let outputs = match &mut self.engine {
            Engine::Bound(bound) => {
                let (session, binding) = bound.as_mut();
                let input = DeviceTensor::from_host(images, session)?;
                binding.bind_input(session, &self.network.input, &input)?;
                let results = binding.run(session)?;
                results.into_iter().map(DeviceTensor::into_host).collect::<Result<Vec<HostTensor>>>()?
            }
            Engine::Shared(session) => {
                let names: Vec<&str> = self.network.outputs.iter().map(String::as_str).collect();
                session.run_shared(&[(&self.network.input, images)], &names)?
            }
        };
        let batch = images.shape()[0];
        let mut columns = Vec::with_capacity(outputs.len());
        for (output, column) in outputs.iter().zip(&self.recipe.columns) {
            let expected = [batch, column.dimension];
            match output.to_f32().filter(|_| output.shape() == expected) {
                Some(values) => columns.push((values, column)),
                None => {
                    return Err(CacheError::Output {
                        name: column.name.clone(),
                        expected: expected.to_vec(),
                        dtype: output.dtype().to_string(),
                        found: output.shape().to_vec(),
                    }
                    .into());
                }
            }
        }
        let mut rows = Rows { bytes: Vec::with_capacity(count * self.recipe.row_bytes()), flaws: Vec::new() };
        for row in 0..count {
            for (values, column) in &columns {
                let values = &values[row * column.dimension..(row + 1) * column.dimension];
                if let Some(flaw) = store(values, self.recipe.dtype, &mut rows.bytes) {
                    rows.flaws.push((row, format!("the network gives {flaw} in `{}`", column.name)));
                }
            }
        }
        Ok(rows)
    }
}

/// Appends values in the stored form; tells of the first that is not finite in it.
fn store(values: &[f32], precision: Precision, bytes: &mut Vec<u8>) -> Option<String> {
    let mut flaw = values.iter().find(|value| !value.is_finite()).map(|value| format!("the value {value}"));
    match precision {
        Precision::F32 => bytes.extend_from_slice(bytemuck::cast_slice(values)),
        Precision::F16 => {
            for &value in values {
                let half = half::f16::from_f32(value);
                if !half.is_finite() && flaw.is_none() {
                    flaw = Some(format!("the value {value}, too large for f16"));
                }
                bytes.extend(half.to_le_bytes());
            }
        }
    }
    flaw
}

fn batch(shape: &[usize], values: Vec<f32>) -> Result<HostTensor> {
    Ok(HostTensor::from_vec(shape.to_vec(), values).ok_or(CacheError::DependentRows { batch: shape[0] })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_and_what_they_cannot_hold_is_told() {
        let mut bytes = Vec::new();
        assert_eq!(store(&[1.0 + 1e-5, -2.5], Precision::F16, &mut bytes), None);
        assert_eq!(bytes, [0x00, 0x3c, 0x00, 0xc1]);
        assert_eq!(store(&[1e6], Precision::F16, &mut bytes).unwrap(), "the value 1000000, too large for f16");
        assert_eq!(store(&[1.0, f32::NAN], Precision::F32, &mut bytes).unwrap(), "the value NaN");
    }
}
