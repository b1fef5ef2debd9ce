//! Inputs and outputs that stay on the session's device from run to run.
//!
//! A [`Binding`] names the tensors a session reads and where its results go; running it moves
//! nothing between host and device. A result can be bound as an input of the next run, and a result
//! can be written over a tensor that is also an input, which is how a training loop updates its
//! parameters in place.

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::DynTensorValueType;

use crate::error::{Result, RuntimeError};
use crate::runtime::device_tensor::device_id;
use crate::runtime::session::run_options;
use crate::runtime::{Device, DeviceTensor, Session, value};

/// What a session reads and writes, bound by name.
#[derive(Debug)]
pub struct Binding {
    binding: IoBinding,
    device: Device,
    /// Outputs and where they go, in the order in which they were first bound.
    outputs: Vec<(String, MemoryInfo<'static>)>,
}

impl Binding {
    /// A binding of nothing yet.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] where ONNX Runtime refuses.
    pub fn new(session: &Session) -> Result<Binding> {
        let binding =
            session.session.create_binding().map_err(|error| value::refused("bind inputs and outputs", &error))?;
        Ok(Binding { binding, device: session.device(), outputs: Vec::new() })
    }

    /// Binds an input to a tensor on the device; it replaces what was bound to it before and stays
    /// bound.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownName`] for an input the model does not have.
    pub fn bind_input(&mut self, session: &Session, name: &str, tensor: &DeviceTensor) -> Result<()> {
        session.check_input_name(name)?;
        self.binding.bind_input(name, &tensor.value).map_err(|error| value::refused("bind an input", &error))
    }

    /// Lets an output stay on the device: each run allocates it anew there.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownName`] for an output the model does not have.
    pub fn bind_output_to_device(&mut self, session: &Session, name: &str) -> Result<()> {
        match self.device {
            Device::Cuda(number) => self.bind_output(session, name, AllocationDevice::CUDA, device_id(number)),
            Device::Auto | Device::Cpu => self.bind_output(session, name, AllocationDevice::CPU, 0),
        }
    }

    /// Lets an output be written into a tensor made by [`DeviceTensor::allocate`] or
    /// [`DeviceTensor::resident`]; it is not among the results of [`Binding::run`].
    ///
    /// The tensor may be bound to an input, too. ONNX Runtime does not know of it: the graph must
    /// read the input in the node that computes the output, or in nodes that the output depends on,
    /// and nowhere else.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownName`] for an output the model does not have.
    pub fn bind_output_to(&mut self, session: &Session, name: &str, tensor: &mut DeviceTensor) -> Result<()> {
        session.check_output_name(name)?;
        self.outputs.retain(|(bound, _)| bound != name);
        self.binding.bind_output(name, &mut tensor.value).map_err(|error| value::refused("bind an output", &error))
    }

    /// Lets an output be copied to host memory at the end of each run.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownName`] for an output the model does not have.
    pub fn bind_output_to_host(&mut self, session: &Session, name: &str) -> Result<()> {
        self.bind_output(session, name, AllocationDevice::CPU, 0)
    }

    fn bind_output(
        &mut self,
        session: &Session,
        name: &str,
        place: AllocationDevice<'static>,
        number: i32,
    ) -> Result<()> {
        session.check_output_name(name)?;
        let memory = MemoryInfo::new(place, number, AllocatorType::Device, MemoryType::Default);
        let memory = memory.map_err(|error| value::refused("bind an output", &error))?;
        match self.outputs.iter_mut().find(|(bound, _)| bound == name) {
            Some((_, bound)) => *bound = memory,
            None => self.outputs.push((name.to_owned(), memory)),
        }
        Ok(())
    }

    /// Runs the session that the binding was made for; gives the outputs in the order in which they
    /// were first bound.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] where ONNX Runtime fails, also for a tensor of the wrong type or shape
    /// and for an input that nothing was bound to.
    pub fn run(&mut self, session: &mut Session) -> Result<Vec<DeviceTensor>> {
        let failed = |reason: String| RuntimeError::Run { reason };
        // A run leaves its results bound: bound anew, the next run allocates instead of writing
        // over them.
        for (name, memory) in &self.outputs {
            let bound = self.binding.bind_output_to_device(name, memory);
            bound.map_err(|error| value::refused("bind an output", &error))?;
        }
        let options = run_options(session.memory, session.device())?;
        let mut results = session
            .session
            .run_binding_with_options(&self.binding, &options)
            .map_err(|error| failed(value::reason(&error)))?;
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (name, _) in &self.outputs {
            let value = results.remove(name).ok_or_else(|| failed(format!("it gave no output `{name}`")))?;
            let value = value.downcast::<DynTensorValueType>().map_err(|error| failed(value::reason(&error)))?;
            outputs.push(DeviceTensor { value });
        }
        Ok(outputs)
    }
}
