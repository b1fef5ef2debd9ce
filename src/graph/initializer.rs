//! Tensors stored in a graph: initializers and tensor attributes, dense and sparse.
//!
//! The data is one run of little-endian bytes, whichever field of the file it came from; it is
//! shared, never copied.

use bytes::Bytes;

use crate::graph::types::{ElementType, Property};
use crate::tensor::HostTensor;

/// A tensor stored in a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The name of the value it defines; empty for an attribute.
    pub name: String,
    /// Element type.
    pub element: ElementType,
    /// Size of each axis, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: TensorData,
    /// Which part of a larger tensor this is: first element and the one behind the last.
    pub segment: Option<(i64, i64)>,
    /// Documentation.
    pub doc: String,
    /// Free properties.
    pub metadata: Vec<Property>,
}

/// The elements of a stored tensor.
#[derive(Clone, PartialEq)]
pub enum TensorData {
    /// Little-endian, row-major, elements below a byte packed from the low bits.
    Bytes(Bytes),
    /// One string per element.
    Strings(Vec<Bytes>),
}

impl std::fmt::Debug for TensorData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TensorData::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            TensorData::Strings(strings) => write!(f, "{} strings", strings.len()),
        }
    }
}

impl TensorData {
    /// Bytes of the elements.
    pub fn size(&self) -> usize {
        match self {
            TensorData::Bytes(bytes) => bytes.len(),
            TensorData::Strings(strings) => strings.iter().map(Bytes::len).sum(),
        }
    }
}

impl Tensor {
    /// A stored tensor that shares the bytes of `host`.
    pub fn new(name: &str, host: &HostTensor) -> Self {
        Tensor {
            name: name.to_owned(),
            element: host.dtype().into(),
            shape: host.shape().to_vec(),
            data: TensorData::Bytes(host.bytes().clone()),
            segment: None,
            doc: String::new(),
            metadata: Vec::new(),
        }
    }

    /// The tensor in host memory, sharing its bytes; `None` for strings and types that only ONNX
    /// has.
    pub fn to_host(&self) -> Option<HostTensor> {
        match &self.data {
            TensorData::Bytes(bytes) => HostTensor::new(self.element.dtype()?, self.shape.clone(), bytes.clone()),
            TensorData::Strings(_) => None,
        }
    }

    /// Number of elements; `None` on overflow.
    pub fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
    }

    /// Bytes or strings that shape and element type ask for; `None` for the undefined type and on
    /// overflow.
    pub fn expected_size(&self) -> Option<usize> {
        match self.element {
            ElementType::String => self.elements(),
            element => element.bytes_of(self.elements()?),
        }
    }

    /// The elements as i64, converted from any integer type; `None` for other types.
    pub fn to_integers(&self) -> Option<Vec<i64>> {
        let host = self.to_host()?;
        Some(match self.element {
            ElementType::I64 => host.values::<i64>()?.to_vec(),
            ElementType::I32 => host.values::<i32>()?.iter().map(|&x| x.into()).collect(),
            ElementType::I16 => host.values::<i16>()?.iter().map(|&x| x.into()).collect(),
            ElementType::I8 => host.values::<i8>()?.iter().map(|&x| x.into()).collect(),
            ElementType::U8 | ElementType::Bool => host.bytes().iter().map(|&x| x.into()).collect(),
            ElementType::U16 => host.values::<u16>()?.iter().map(|&x| x.into()).collect(),
            ElementType::U32 => host.values::<u32>()?.iter().map(|&x| x.into()).collect(),
            _ => return None,
        })
    }
}

/// A tensor of which only the elements that are not zero are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseTensor {
    /// The stored elements, shape `[N]`; its name is the value's.
    pub values: Tensor,
    /// Where they lie: shape `[N]` (flat) or `[N, rank]`, i64.
    pub indices: Option<Tensor>,
    /// Size of each axis of the whole tensor.
    pub shape: Vec<usize>,
}
