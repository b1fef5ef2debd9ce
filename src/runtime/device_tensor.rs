//! Tensors in the memory of the device that a session computes on.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::value::DynTensor;

use crate::error::Result;
use crate::runtime::{Device, Session, value};
use crate::tensor::{DType, HostTensor};

/// A tensor in the memory of a device.
#[derive(Debug)]
pub struct DeviceTensor {
    pub(super) value: DynTensor,
}

impl DeviceTensor {
    /// Copies a tensor to the device of a session.
    ///
    /// # Errors
    /// [`RuntimeError::Call`](crate::error::RuntimeError::Call) where the device refuses, for
    /// example for lack of memory.
    pub fn from_host(tensor: &HostTensor, session: &Session) -> Result<DeviceTensor> {
        let value = value::owned(tensor)?;
        let Device::Cuda(number) = session.device() else { return Ok(DeviceTensor { value }) };
        let value = value
            .to(AllocationDevice::CUDA, device_id(number))
            .map_err(|error| value::refused("copy a tensor to the device", &error))?;
        Ok(DeviceTensor { value })
    }

    /// A tensor on the device of a session that outputs can be written to; its content is zeros or
    /// undefined.
    ///
    /// # Errors
    /// [`RuntimeError::Call`](crate::error::RuntimeError::Call) where the device refuses, for
    /// example for lack of memory.
    pub fn allocate(dtype: DType, shape: &[usize], session: &Session) -> Result<DeviceTensor> {
        let refused = |error: ort::Error| value::refused("allocate a tensor", &error);
        // On the CPU the plain allocator is taken, not the session's arena, which would grow by
        // more than is asked for.
        let allocator = match session.device() {
            Device::Cuda(number) => {
                let (kind, memory) = (AllocatorType::Device, MemoryType::Default);
                let place =
                    MemoryInfo::new(AllocationDevice::CUDA, device_id(number), kind, memory).map_err(refused)?;
                Allocator::new(&session.session, place).map_err(refused)?
            }
            Device::Auto | Device::Cpu => Allocator::default(),
        };
        let shape: Vec<i64> = shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        let value = DynTensor::new(&allocator, value::element_of(dtype), shape).map_err(refused)?;
        Ok(DeviceTensor { value })
    }

    /// As [`DeviceTensor::from_host`], into a tensor that outputs can be written to.
    ///
    /// # Errors
    /// As [`DeviceTensor::allocate`].
    pub fn resident(tensor: &HostTensor, session: &Session) -> Result<DeviceTensor> {
        let mut resident = DeviceTensor::allocate(tensor.dtype(), tensor.shape(), session)?;
        resident.write(tensor)?;
        Ok(resident)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.value.shape().num_elements()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the elements of a tensor of the same type and shape over these.
    ///
    /// # Errors
    /// [`RuntimeError::Call`](crate::error::RuntimeError::Call) where type or shape differ, or the
    /// device refuses.
    pub fn write(&mut self, tensor: &HostTensor) -> Result<()> {
        if !self.value.memory_info().is_cpu_accessible() {
            let source = value::owned(tensor)?;
            let copied = source.copy_into(&mut self.value);
            return copied.map_err(|error| value::refused("write a tensor", &error));
        }
        value::overwrite(&mut self.value, tensor)
    }

    /// Writes f32 elements over these.
    ///
    /// # Errors
    /// As [`DeviceTensor::write`].
    pub fn write_values(&mut self, values: &[f32]) -> Result<()> {
        if self.value.memory_info().is_cpu_accessible() {
            return value::overwrite_values(&mut self.value, values);
        }
        let shape = self.value.shape().iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let tensor = HostTensor::from_vec(shape, values.to_vec()).ok_or_else(|| value::differs(values.len()))?;
        self.write(&tensor)
    }

    /// A copy of the tensor in host memory.
    ///
    /// # Errors
    /// [`RuntimeError::Call`](crate::error::RuntimeError::Call) where the device refuses,
    /// [`RuntimeError::ElementType`](crate::error::RuntimeError::ElementType) for a tensor of other
    /// things than numbers.
    pub fn to_host(&self) -> Result<HostTensor> {
        if self.value.memory_info().is_cpu_accessible() {
            return value::copied("tensor", &self.value);
        }
        let copied = self.value.to(AllocationDevice::CPU, 0);
        let copied = copied.map_err(|error| value::refused("copy a tensor from the device", &error))?;
        value::into_host("tensor", copied.into_dyn())
    }

    /// The tensor in host memory: handed over without a copy on the CPU, copied from any other
    /// device.
    ///
    /// # Errors
    /// [`RuntimeError::Call`](crate::error::RuntimeError::Call) where the device refuses,
    /// [`RuntimeError::ElementType`](crate::error::RuntimeError::ElementType) for a tensor of other
    /// things than numbers.
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

/// The number of a device as ONNX Runtime counts; `Device` admits no larger one.
pub(super) fn device_id(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
