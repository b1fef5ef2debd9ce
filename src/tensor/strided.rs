//! Tensors as weight files store them: views into stored bytes, which only strides make dense; and
//! what readers of such files say of damaged ones.

use std::path::Path;

use bytes::Bytes;

use crate::error::ModelError;
use crate::tensor::{DType, HostTensor};

/// A view of stored elements: `strides` in elements, or row-major when there are none.
#[derive(Clone)]
pub(super) struct Strided {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    /// First element within `storage`, in elements.
    pub(super) offset: usize,
    pub(super) strides: Vec<usize>,
    pub(super) storage: Bytes,
}

impl Strided {
    pub(super) fn dense(tensor: HostTensor) -> Self {
        let strides = row_major(tensor.shape());
        let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
        Strided { dtype, shape, offset: 0, strides, storage: tensor.bytes().clone() }
    }

    /// Number of elements; `None` when it overflows.
    pub(super) fn elements(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
    }

    /// Whether every element lies within the storage.
    pub(super) fn fits(&self) -> bool {
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (&size, &stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
        });
        let stored = self.storage.len() / self.dtype.size();
        match (self.elements(), last) {
            (Some(0), _) => true,
            // A view with more elements than its storage repeats some of them: no checkpoint needs
            // that, and a small file could ask for any amount of memory with it.
            (Some(elements), Some(last)) => elements <= stored && last < stored,
            _ => false,
        }
    }

    pub(super) fn materialise(&self) -> Option<HostTensor> {
        if !self.fits() {
            return None;
        }
        let (size, elements) = (self.dtype.size(), self.elements()?);
        if elements == 0 {
            return HostTensor::new(self.dtype, self.shape.clone(), Bytes::new());
        }
        if self.strides == row_major(&self.shape) {
            let start = self.offset * size;
            return HostTensor::new(self.dtype, self.shape.clone(), self.storage.slice(start..start + elements * size));
        }
        let mut bytes = Vec::with_capacity(elements * size);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..elements {
            let at = self.offset + index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum::<usize>();
            bytes.extend_from_slice(&self.storage[at * size..(at + 1) * size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        HostTensor::new(self.dtype, self.shape.clone(), Bytes::from(bytes))
    }
}

/// Strides of a dense tensor; axes of size 1 count as dense whatever their stride.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1].saturating_mul(shape[axis + 1]);
    }
    strides
}

/// An error about the content of a weights file.
pub(super) fn malformed(path: &Path, format: &'static str, reason: impl Into<String>) -> crate::error::Error {
    ModelError::Malformed { path: path.to_path_buf(), format, reason: reason.into() }.into()
}
