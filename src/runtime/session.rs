//! Sessions: a model opened on a device, run by names with host tensors.
//!
//! Names, element types and shapes are checked before ONNX Runtime sees them, so that a mistake is
//! told in terms of the model's inputs. Input bytes are borrowed, output bytes are handed over:
//! nothing is copied on the CPU.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{OutputSelector, RunOptions};
use ort::value::{Outlet, ValueType};

use crate::error::{Error, Result, RuntimeError};
use crate::graph::Detached;
use crate::runtime::weights::BorrowedWeights;
use crate::runtime::{Device, Optimization, Runtime, SessionOptions, WorkingMemory, provider, value, weights};
use crate::support::names;
use crate::tensor::{DType, HostTensor};

/// Where the model comes from.
#[derive(Clone, Copy, Debug)]
pub enum ModelSource<'a> {
    /// An ONNX file; external data is looked for beside it.
    File(&'a Path),
    /// A serialised model in memory, complete in itself.
    Bytes(&'a [u8]),
    /// A serialised model and its weights where they lie.
    Detached(&'a Detached),
}

impl std::fmt::Display for ModelSource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelSource::File(path) => write!(f, "`{}`", path.display()),
            ModelSource::Bytes(bytes) => write!(f, "the model in memory ({} bytes)", bytes.len()),
            ModelSource::Detached(model) => write!(f, "the model in memory ({} bytes)", model.size()),
        }
    }
}

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its element type; `None` where it is no tensor of numbers (strings, sequences, maps).
    pub dtype: Option<DType>,
    /// The size of each axis, `None` where the model leaves it open; empty for scalars and where
    /// the model declares no shape.
    pub shape: Vec<Option<usize>>,
    /// The name of each open axis, empty where it has none; as long as `shape`.
    pub symbols: Vec<String>,
}

impl TensorInfo {
    fn of(outlet: &Outlet) -> Self {
        let (dtype, shape, symbols) = match outlet.dtype() {
            ValueType::Tensor { ty, shape, dimension_symbols } => (
                value::dtype_of(*ty),
                shape.iter().map(|&size| usize::try_from(size).ok()).collect(),
                dimension_symbols.iter().map(ToString::to_string).collect(),
            ),
            _ => (None, Vec::new(), Vec::new()),
        };
        TensorInfo { name: outlet.name().to_owned(), dtype, shape, symbols }
    }

    /// Its shape as text, open axes by name or `?`: `[batch, 3, ?, ?]`.
    pub fn shape_text(&self) -> String {
        let axis = |(size, symbol): (&Option<usize>, &String)| match size {
            Some(size) => size.to_string(),
            None if symbol.is_empty() => "?".to_owned(),
            None => symbol.clone(),
        };
        format!("[{}]", self.shape.iter().zip(&self.symbols).map(axis).collect::<Vec<_>>().join(", "))
    }

    /// Whether a tensor fits.
    fn check(&self, tensor: &HostTensor) -> Result<(), RuntimeError> {
        if let Some(expected) = self.dtype.filter(|expected| *expected != tensor.dtype()) {
            return Err(RuntimeError::InputType {
                name: self.name.clone(),
                expected: expected.to_string(),
                found: tensor.dtype().to_string(),
            });
        }
        let fits = self.shape.len() == tensor.shape().len()
            && self.shape.iter().zip(tensor.shape()).all(|(size, found)| size.is_none_or(|size| size == *found));
        if fits || self.shape.is_empty() {
            return Ok(());
        }
        Err(RuntimeError::InputShape {
            name: self.name.clone(),
            expected: self.shape_text(),
            found: tensor.shape().to_vec(),
        })
    }
}

/// A model opened on a device.
pub struct Session {
    pub(super) session: ort::session::Session,
    /// Weights that the session reads in place; behind it, so that they outlive it.
    _weights: Option<Arc<BorrowedWeights>>,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    device: Device,
    device_reason: String,
    pub(super) memory: WorkingMemory,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a model.
    ///
    /// # Errors
    /// [`RuntimeError::Device`] where the device asked for cannot be used, [`RuntimeError::Model`]
    /// where ONNX Runtime does not accept the model.
    pub fn open(runtime: &Runtime, source: ModelSource<'_>, options: &SessionOptions) -> Result<Session> {
        let builder = builder(runtime, options).map_err(|error| value::refused("set session options", &error))?;
        let (mut builder, device, device_reason) = provider::register(runtime, builder, options)?;
        let opened = match source {
            ModelSource::File(path) => builder.commit_from_file(path).map(|session| (session, None)),
            ModelSource::Bytes(bytes) => builder.commit_from_memory(bytes).map(|session| (session, None)),
            ModelSource::Detached(model) => weights::open(runtime, builder, model)?,
        };
        let (session, weights) =
            opened.map_err(|error| RuntimeError::Model { model: source.to_string(), reason: value::reason(&error) })?;
        let inputs = session.inputs().iter().map(TensorInfo::of).collect();
        let outputs = session.outputs().iter().map(TensorInfo::of).collect();
        let memory = options.memory;
        Ok(Session { session, _weights: weights, inputs, outputs, device, device_reason, memory })
    }

    /// The model's inputs, in its order.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The model's outputs, in its order.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// The device the model runs on: never `auto`.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Why this device: a short sentence to show with it.
    pub fn device_reason(&self) -> &str {
        &self.device_reason
    }

    /// The model's metadata entries.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] where ONNX Runtime does not tell them.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let refused = |error| value::refused("read the model's metadata", &error);
        let metadata = self.session.metadata().map_err(refused)?;
        let keys = metadata.custom_keys().map_err(refused)?;
        Ok(keys.into_iter().filter_map(|key| metadata.custom(&key).map(|text| (key, text))).collect())
    }

    /// Runs the model: `inputs` by name in any order, `outputs` the names wanted (none: all, in the
    /// model's order).
    ///
    /// # Errors
    /// [`RuntimeError::UnknownName`], [`RuntimeError::MissingInput`],
    /// [`RuntimeError::RepeatedInput`], [`RuntimeError::InputType`] and
    /// [`RuntimeError::InputShape`] before anything runs, [`RuntimeError::Run`] where ONNX Runtime
    /// fails, [`RuntimeError::ElementType`] for an output that is no tensor of numbers.
    pub fn run(&mut self, inputs: &[(&str, &HostTensor)], outputs: &[&str]) -> Result<Vec<HostTensor>> {
        self.check_inputs(inputs)?;
        let wanted = self.wanted(outputs)?;
        let mut values = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            values.push((Cow::Borrowed(*name), value::borrowed(tensor)?));
        }
        let mut selector = OutputSelector::no_default();
        for (at, name) in wanted.iter().enumerate() {
            if !wanted[..at].contains(name) {
                selector = selector.with(name);
            }
        }
        let options = run_options(self.memory, self.device)?.with_outputs(selector);
        let mut results = self
            .session
            .run_with_options(values, &options)
            .map_err(|error| RuntimeError::Run { reason: value::reason(&error) })?;
        let mut tensors: Vec<HostTensor> = Vec::with_capacity(wanted.len());
        for (at, name) in wanted.iter().enumerate() {
            let tensor = match wanted[..at].iter().position(|earlier| earlier == name) {
                Some(earlier) => tensors[earlier].clone(),
                None => match results.remove(name) {
                    Some(result) => value::into_host(name, result)?,
                    None => {
                        let reason = format!("it gave no output `{name}`");
                        return Err(RuntimeError::Run { reason }.into());
                    }
                },
            };
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// The names of the outputs asked for, all where none is named.
    pub(super) fn wanted(&self, outputs: &[&str]) -> Result<Vec<String>> {
        if outputs.is_empty() {
            return Ok(self.outputs.iter().map(|output| output.name.clone()).collect());
        }
        outputs.iter().try_for_each(|name| self.check_output_name(name))?;
        Ok(outputs.iter().map(|&name| name.to_owned()).collect())
    }

    /// Whether the inputs are those of the model, each once, each of the right type and shape.
    pub(super) fn check_inputs(&self, given: &[(&str, &HostTensor)]) -> Result<()> {
        for (at, (name, tensor)) in given.iter().enumerate() {
            self.input(name)?.check(tensor)?;
            if given[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(RuntimeError::RepeatedInput { name: (*name).to_owned() }.into());
            }
        }
        match self.inputs.iter().find(|input| given.iter().all(|(name, _)| *name != input.name)) {
            Some(missing) => Err(RuntimeError::MissingInput { name: missing.name.clone() }.into()),
            None => Ok(()),
        }
    }

    /// The input of this name.
    fn input(&self, name: &str) -> Result<&TensorInfo> {
        Ok(self.inputs.iter().find(|input| input.name == name).ok_or_else(|| self.unknown("input", name))?)
    }

    /// Whether there is an input of this name.
    pub(super) fn check_input_name(&self, name: &str) -> Result<()> {
        self.input(name).map(|_| ())
    }

    /// Whether there is an output of this name.
    pub(super) fn check_output_name(&self, name: &str) -> Result<()> {
        if self.outputs.iter().any(|output| output.name == name) {
            return Ok(());
        }
        Err(self.unknown("output", name).into())
    }

    fn unknown(&self, direction: &'static str, name: &str) -> RuntimeError {
        let infos = if direction == "input" { &self.inputs } else { &self.outputs };
        let known: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
        let nearest = names::nearest(name, known.iter().map(String::as_str));
        RuntimeError::UnknownName { direction, name: name.to_owned(), nearest, known }
    }
}

/// Options of one run.
pub(super) fn run_options(memory: WorkingMemory, device: Device) -> Result<RunOptions> {
    let refused = |error: ort::Error| -> Error { value::refused("set run options", &error) };
    let mut options = RunOptions::new().map_err(refused)?;
    if memory == WorkingMemory::Shrink {
        let arenas = match device {
            Device::Cuda(number) => format!("cpu:0;gpu:{number}"),
            Device::Auto | Device::Cpu => "cpu:0".to_owned(),
        };
        options.set("memory.enable_memory_arena_shrinkage", arenas).map_err(refused)?;
    }
    Ok(options)
}

/// A session builder with everything set but the device.
pub(super) fn builder(runtime: &Runtime, options: &SessionOptions) -> ort::Result<SessionBuilder> {
    let level = match options.optimization {
        Optimization::Off => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::Full => GraphOptimizationLevel::All,
    };
    let builder = ort::session::Session::builder(runtime.environment())?
        .with_optimization_level(level)?
        .with_intra_threads(options.effective_threads())?
        .with_inter_threads(1)?
        .with_intra_op_spinning(options.spinning)?
        // Patterns assume that shapes repeat and hold the largest seen; without an arena they have
        // no use.
        .with_memory_pattern(options.memory_pattern && options.memory == WorkingMemory::Keep)?;
    Ok(builder)
}
