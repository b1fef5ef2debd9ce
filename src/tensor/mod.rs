//! Tensors in host memory: element type, shape and little-endian bytes, shared without copying.

mod compare;
mod dtype;
mod pickle;
pub mod safetensors;
mod strided;
mod weights;

pub use compare::{Comparison, Tolerance, compare};
pub use dtype::DType;
pub use weights::Weights;

use std::borrow::Cow;

use bytes::Bytes;

/// A dense, row-major tensor in host memory.
///
/// The bytes are little-endian and shared: cloning a tensor, or slicing it out of a memory-mapped
/// file, copies nothing.
#[derive(Clone, PartialEq)]
pub struct HostTensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl HostTensor {
    /// A tensor over existing bytes; `None` when their number is not what `dtype` and `shape` need.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Bytes) -> Option<Self> {
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
        (elements.checked_mul(dtype.size())? == bytes.len()).then_some(HostTensor { dtype, shape, bytes })
    }

    /// A tensor that takes over `values`; `None` when their number is not the product of `shape`.
    pub fn from_vec<T: Element>(shape: Vec<usize>, values: Vec<T>) -> Option<Self> {
        HostTensor::new(T::DTYPE, shape, Bytes::from_owner(Values(values)))
    }

    /// A tensor of which `value` gives each element by its flat index.
    pub fn from_fn<T: Element>(shape: &[usize], value: impl FnMut(usize) -> T) -> Self {
        let values: Vec<T> = (0..shape.iter().product()).map(value).collect();
        HostTensor { dtype: T::DTYPE, shape: shape.to_vec(), bytes: Bytes::from_owner(Values(values)) }
    }

    /// A tensor without axes.
    pub fn scalar<T: Element>(value: T) -> Self {
        HostTensor { dtype: T::DTYPE, shape: Vec::new(), bytes: Bytes::from_owner(Values(vec![value])) }
    }

    /// A tensor with one axis.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        HostTensor { dtype: T::DTYPE, shape: vec![values.len()], bytes: Bytes::from_owner(Values(values)) }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Size of each axis, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' bytes, little-endian, row-major.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The elements as `T`, copied only if the bytes are not aligned for it; `None` for another
    /// element type.
    pub fn values<T: Element>(&self) -> Option<Cow<'_, [T]>> {
        (self.dtype == T::DTYPE).then(|| match bytemuck::try_cast_slice(&self.bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.bytes)),
        })
    }

    /// The elements as f32, converted from any floating-point type; `None` for integers and
    /// booleans.
    pub fn to_f32(&self) -> Option<Cow<'_, [f32]>> {
        Some(match self.dtype {
            DType::F32 => return self.values::<f32>(),
            DType::F64 => self.values::<f64>()?.iter().map(|&x| x as f32).collect(),
            DType::F16 => self.values::<half::f16>()?.iter().map(|x| x.to_f32()).collect(),
            DType::BF16 => self.values::<half::bf16>()?.iter().map(|x| x.to_f32()).collect(),
            _ => return None,
        })
    }

    /// The same elements under another shape; `None` when the number of elements differs.
    pub fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        HostTensor::new(self.dtype, shape, self.bytes.clone())
    }
}

impl std::fmt::Debug for HostTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostTensor({} {:?})", self.dtype, self.shape)
    }
}

/// Keeps a vector alive behind shared bytes.
struct Values<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Values<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A Rust type that is the element of a [`HostTensor`].
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The tensor element type it stands for.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),* $(,)?) => {
        $(impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements! {
    f32 => F32, f64 => F64, half::f16 => F16, half::bf16 => BF16,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misaligned_bytes_are_read_by_copy() {
        let bytes = Bytes::from([&[0u8][..], &1.5f32.to_le_bytes(), &(-2.0f32).to_le_bytes()].concat()).slice(1..);
        let tensor = HostTensor::new(DType::F32, vec![2], bytes).unwrap();
        assert_eq!(tensor.values::<f32>().unwrap().as_ref(), [1.5, -2.0]);
        assert!(tensor.values::<i32>().is_none());
    }

    #[test]
    fn wrong_number_of_bytes_is_refused() {
        assert!(HostTensor::from_vec(vec![2, 2], vec![1.0f32; 3]).is_none());
        assert!(HostTensor::new(DType::U8, vec![usize::MAX, 2], Bytes::new()).is_none());
    }
}
