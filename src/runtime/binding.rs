//! Inputs and outputs that stay on the session's device from run to run.
//!
//! A [`DeviceTensor`] lives where its session computes. A [`Binding`] names the tensors a session reads and where its
//! results go; running it moves nothing between host and device. A result can be bound as an input of the next run, which
//! is how a training loop swaps two sets of parameters.

use ort::memory::AllocationDevice;
use ort::memory::AllocatorType;
use ort::memory::MemoryInfo;
use ort::memory::MemoryType;
use ort::session::IoBinding;
use ort::value::DynTensor;
use ort::value::DynTensorValueType;

use crate::error::{Result, RuntimeError};
use crate::runtime::Device;
use crate::runtime::Session;
use crate::runtime::session::run_options;
use crate::runtime::value;
use crate::tensor::HostTensor;

/// A tensor in the memory of a device.
#[derive(Debug)]
pub struct DeviceTensor {
    value: DynTensor,
}

impl DeviceTensor {
    /// Copies a tensor to the device of a session.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] where the device refuses, for example for lack of memory.
    pub fn from_host(tensor: &HostTensor, session: &Session) -> Result<DeviceTensor> {
        let value = value::owned(tensor)?;
        let Device::Cuda(number) = session.device() else { return Ok(DeviceTensor { value }) };
        let value = value
            .to(AllocationDevice::CUDA, device_id(number))
            .map_err(|error| value::refused("copy a tensor to the device", &error))?;
        Ok(DeviceTensor { value })
    }

    /// The tensor in host memory: handed over without a copy on the CPU, copied from any other device.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] where the device refuses, [`RuntimeError::ElementType`] for a tensor of other things than
    /// numbers.
    pub fn into_host(self) -> Result<HostTensor> {
        let value = if self.value.memory_info().is_cpu_accessible() {
            self.value
        } else {
            let copied = self.value.to(AllocationDevice::CPU, 0);
            copied.map_err(|error| value::refused("copy a tensor from the device", &error))?
        };
        value::into_host("tensor", value.into_dyn())
    }
}

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

    /// Binds an input to a tensor on the device; it replaces what was bound to it before and stays bound.
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

    /// Runs the session that the binding was made for; gives the outputs in the order in which they were first bound.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] where ONNX Runtime fails, also for a tensor of the wrong type or shape and for an input that
    /// nothing was bound to.
    pub fn run(&mut self, session: &mut Session) -> Result<Vec<DeviceTensor>> {
        let failed = |reason: String| RuntimeError::Run { reason };
        // A run leaves its results bound: bound anew, the next run allocates instead of writing over them.
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

/// The number of a device as ONNX Runtime counts; `Device` admits no larger one.
fn device_id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
