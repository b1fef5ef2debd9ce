//! Host tensors as values of ONNX Runtime and back, without copies where alignment allows.

use bytes::Bytes;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, DynValue, IntoTensorElementType, Tensor, TensorElementType, TensorRef, ValueType};

use crate::error::{Result, RuntimeError};
use crate::tensor::{DType, HostTensor};

/// Runs `$body` with `$element` standing for the Rust type of `$dtype`; `bool` has its own branch.
macro_rules! by_dtype {
    ($dtype:expr, $element:ident => $body:expr, bool => $boolean:expr) => {
        by_dtype!(@arms $dtype, $element, $body, $boolean,
            F32 f32, F64 f64, F16 half::f16, BF16 half::bf16, I8 i8, I16 i16, I32 i32, I64 i64,
            U8 u8, U16 u16, U32 u32, U64 u64)
    };
    (@arms $dtype:expr, $element:ident, $body:expr, $boolean:expr, $($variant:ident $rust:ty),*) => {
        match $dtype {
            $(DType::$variant => { type $element = $rust; $body })*
            DType::Bool => $boolean,
        }
    };
}

pub(super) use by_dtype;

/// The element type, where a host tensor can hold it.
pub(super) fn dtype_of(element: TensorElementType) -> Option<DType> {
    Some(match element {
        TensorElementType::Float32 => DType::F32,
        TensorElementType::Float64 => DType::F64,
        TensorElementType::Float16 => DType::F16,
        TensorElementType::Bfloat16 => DType::BF16,
        TensorElementType::Int8 => DType::I8,
        TensorElementType::Int16 => DType::I16,
        TensorElementType::Int32 => DType::I32,
        TensorElementType::Int64 => DType::I64,
        TensorElementType::Uint8 => DType::U8,
        TensorElementType::Uint16 => DType::U16,
        TensorElementType::Uint32 => DType::U32,
        TensorElementType::Uint64 => DType::U64,
        TensorElementType::Bool => DType::Bool,
        _ => return None,
    })
}

/// The tensor as a session's input: its bytes are borrowed if they are aligned for the element
/// type, else copied.
pub(super) fn borrowed(tensor: &HostTensor) -> Result<SessionInputValue<'_>> {
    let shape = tensor.shape().to_vec();
    let value = by_dtype!(tensor.dtype(), E => match bytemuck::try_cast_slice::<u8, E>(tensor.bytes()) {
        Ok(values) => TensorRef::from_array_view((shape, values)).map(SessionInputValue::from),
        Err(_) => {
            let values: Vec<E> = bytemuck::pod_collect_to_vec(tensor.bytes());
            Tensor::from_array((shape, values)).map(SessionInputValue::from)
        }
    }, bool => {
        let values: Vec<bool> = tensor.bytes().iter().map(|&byte| byte != 0).collect();
        Tensor::from_array((shape, values)).map(SessionInputValue::from)
    });
    value.map_err(|error| refused("make a tensor", &error))
}

/// The tensor as a value that owns a copy of its elements.
pub(super) fn owned(tensor: &HostTensor) -> Result<DynTensor> {
    let shape = tensor.shape().to_vec();
    let value = by_dtype!(tensor.dtype(), E => {
        let values: Vec<E> = bytemuck::pod_collect_to_vec(tensor.bytes());
        Tensor::from_array((shape, values)).map(Tensor::upcast)
    }, bool => {
        let values: Vec<bool> = tensor.bytes().iter().map(|&byte| byte != 0).collect();
        Tensor::from_array((shape, values)).map(Tensor::upcast)
    });
    value.map_err(|error| refused("make a tensor", &error))
}

/// The element type as ONNX Runtime names it.
pub(super) fn element_of(dtype: DType) -> TensorElementType {
    by_dtype!(dtype, E => <E as IntoTensorElementType>::into_tensor_element_type(), bool => TensorElementType::Bool)
}

/// Writes elements over those of a value in host memory.
///
/// # Errors
/// [`RuntimeError::Call`] where type or number of the elements differ.
pub(super) fn overwrite(value: &mut DynTensor, tensor: &HostTensor) -> Result<()> {
    let differs = || {
        let reason = format!("the tensor to write is {tensor:?}");
        RuntimeError::Call { action: "write a tensor", reason }
    };
    let fits =
        value.shape().iter().map(|&size| usize::try_from(size).ok()).eq(tensor.shape().iter().map(|&size| Some(size)));
    if !fits || value.data_type() != &element_of(tensor.dtype()) {
        return Err(differs().into());
    }
    by_dtype!(tensor.dtype(), E => {
        let (_, target) = value.try_extract_tensor_mut::<E>().map_err(|error| refused("write a tensor", &error))?;
        bytemuck::cast_slice_mut::<E, u8>(target).copy_from_slice(tensor.bytes());
    }, bool => {
        let (_, target) = value.try_extract_tensor_mut::<bool>().map_err(|error| refused("write a tensor", &error))?;
        target.iter_mut().zip(tensor.bytes()).for_each(|(target, &byte)| *target = byte != 0);
    });
    Ok(())
}

/// Writes f32 elements over those of a value in host memory.
pub(super) fn overwrite_values(value: &mut DynTensor, values: &[f32]) -> Result<()> {
    let (_, target) = value.try_extract_tensor_mut::<f32>().map_err(|error| refused("write a tensor", &error))?;
    if target.len() != values.len() {
        return Err(differs(values.len()).into());
    }
    target.copy_from_slice(values);
    Ok(())
}

/// That elements do not fit the tensor they are to be written to.
pub(super) fn differs(found: usize) -> RuntimeError {
    RuntimeError::Call { action: "write a tensor", reason: format!("it has another number of elements than {found}") }
}

/// A value in host memory as a host tensor; the value stays alive behind the tensor's bytes,
/// nothing is copied.
///
/// # Errors
/// [`RuntimeError::ElementType`] for anything but a tensor of numbers or booleans.
pub(super) fn into_host(name: &str, value: DynValue) -> Result<HostTensor> {
    let foreign =
        |value: &DynValue| RuntimeError::ElementType { name: name.to_owned(), found: value.dtype().to_string() };
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else { return Err(foreign(&value).into()) };
    let Some(dtype) = dtype_of(*ty) else { return Err(foreign(&value).into()) };
    let shape: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let bytes = Bytes::from_owner(Elements { value, dtype });
    let found = bytes.len();
    HostTensor::new(dtype, shape.clone(), bytes).ok_or_else(|| {
        let reason = format!("output `{name}` of shape {shape:?} has {found} bytes in host memory");
        RuntimeError::Call { action: "hand over an output", reason }.into()
    })
}

/// A copy of a value in host memory.
///
/// # Errors
/// As [`into_host`].
pub(super) fn copied(name: &str, value: &DynTensor) -> Result<HostTensor> {
    let foreign = || RuntimeError::ElementType { name: name.to_owned(), found: value.dtype().to_string() };
    let dtype = dtype_of(*value.data_type()).ok_or_else(foreign)?;
    let shape: Vec<usize> = value.shape().iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let bytes = by_dtype!(dtype, E => {
        let (_, elements) = value.try_extract_tensor::<E>().map_err(|error| refused("read a tensor", &error))?;
        Bytes::copy_from_slice(bytemuck::cast_slice(elements))
    }, bool => {
        let (_, elements) = value.try_extract_tensor::<bool>().map_err(|error| refused("read a tensor", &error))?;
        elements.iter().map(|&element| u8::from(element)).collect()
    });
    Ok(HostTensor::new(dtype, shape, bytes).ok_or_else(foreign)?)
}

/// Keeps a value alive behind shared bytes.
struct Elements {
    value: DynValue,
    dtype: DType,
}

impl AsRef<[u8]> for Elements {
    fn as_ref(&self) -> &[u8] {
        fn cast<E: bytemuck::NoUninit, S, X>(extracted: Result<(S, &[E]), X>) -> &[u8] {
            extracted.map_or(&[], |(_, values)| bytemuck::cast_slice(values))
        }
        by_dtype!(self.dtype, E => cast(self.value.try_extract_tensor::<E>()),
            bool => cast(self.value.try_extract_tensor::<bool>()))
    }
}

/// An error of ONNX Runtime with what was tried.
pub(super) fn refused<R>(action: &'static str, error: &ort::Error<R>) -> crate::error::Error {
    RuntimeError::Call { action, reason: reason(error) }.into()
}

/// What ONNX Runtime said.
pub(super) fn reason<R>(error: &ort::Error<R>) -> String {
    error.message().trim().to_owned()
}
