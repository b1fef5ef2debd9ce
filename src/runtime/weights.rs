//! Weights handed to ONNX Runtime where they lie, in memory or in files: nothing is copied but what
//! its kernels pack.
//!
//! Weights in files are mapped by ONNX Runtime itself, which lets go of each as soon as it has
//! packed it; those in memory are lent.

use std::ffi::CString;
use std::sync::Arc;

use ort::AsPointer as _;
use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{DynValueRefMut, TensorRefMut};

use crate::error::{Result, RuntimeError};
use crate::graph::{Detached, DetachedWeight};
use crate::runtime::value::by_dtype;
use crate::runtime::{Runtime, value};
use crate::tensor::{DType, HostTensor};

/// The directory that places of weights are relative to.
const ROOT: &str = "/";
/// The option that names it.
const FOLDER_OPTION: &str = "session.model_external_initializers_file_folder_path";
/// The first version that has the option for models in memory.
const FOLDER_SINCE: (u32, u32) = (1, 21);

/// Opens a model.
pub(super) fn open(
    runtime: &Runtime,
    mut builder: SessionBuilder,
    model: &Detached,
) -> Result<ort::Result<(Session, Option<Arc<BorrowedWeights>>)>> {
    let maps = since(runtime.version()) >= FOLDER_SINCE;
    let is_lent = |weight: &&DetachedWeight| !(maps && weight.place.is_some());
    let lent = BorrowedWeights::new(model.weights.iter().filter(is_lent))?;
    if maps {
        let set = builder.with_config_entry(FOLDER_OPTION, ROOT);
        builder = set.map_err(|error| value::refused("set session options", &error))?;
    }
    let opened = lent.give(&mut builder).and_then(|()| builder.commit_from_memory(&model.message));
    Ok(opened.map(|session| (session, Some(Arc::new(lent)))))
}

/// Major and minor version.
fn since(version: &str) -> (u32, u32) {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Weights that ONNX Runtime reads in place: kept for as long as a session uses them.
pub(super) struct BorrowedWeights {
    values: Vec<(CString, DynValueRefMut<'static>)>,
    /// What the values point to; the last field, so that it goes last.
    _tensors: Vec<HostTensor>,
}

impl std::fmt::Debug for BorrowedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BorrowedWeights({} weights)", self.values.len())
    }
}

impl BorrowedWeights {
    fn new<'w>(weights: impl Iterator<Item = &'w DetachedWeight>) -> Result<Self> {
        let mut lent = BorrowedWeights { values: Vec::new(), _tensors: Vec::new() };
        for weight in weights {
            let name = CString::new(weight.name.as_str())
                .map_err(|error| RuntimeError::Call { action: "name a weight", reason: error.to_string() })?;
            let tensor = aligned(&weight.tensor);
            lent.values.push((name, in_place(&tensor)?));
            lent._tensors.push(tensor);
        }
        Ok(lent)
    }

    /// Names the weights to a session under construction.
    fn give(&self, builder: &mut SessionBuilder) -> ort::Result<()> {
        for (name, value) in &self.values {
            #[expect(unsafe_code, reason = "`ort` takes owned initializers only")]
            // SAFETY: the name is a C string, and the value lives in the `BorrowedWeights` that the
            // session holds until it is gone.
            unsafe {
                let add = ort::api().AddExternalInitializers;
                ort::Error::result_from_status(add(builder.ptr_mut(), &name.as_ptr(), &value.ptr(), 1))?;
            }
        }
        Ok(())
    }
}

/// The tensor with its bytes aligned for its elements.
fn aligned(tensor: &HostTensor) -> HostTensor {
    let size = tensor.dtype().size();
    if (tensor.bytes().as_ptr() as usize).is_multiple_of(size) {
        return tensor.clone();
    }
    // Vectors of the largest element are aligned for all.
    let mut words = vec![0u64; tensor.bytes().len().div_ceil(8)];
    bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..tensor.bytes().len()].copy_from_slice(tensor.bytes());
    let bytes = bytes::Bytes::from_owner(Words(words)).slice(..tensor.bytes().len());
    HostTensor::new(tensor.dtype(), tensor.shape().to_vec(), bytes).unwrap_or_else(|| tensor.clone())
}

struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A value over the bytes of a tensor, which must outlive it.
fn in_place(tensor: &HostTensor) -> Result<DynValueRefMut<'static>> {
    let shape: ort::value::Shape = tensor.shape().iter().map(|&size| size as i64).collect();
    let data = tensor.bytes().as_ptr().cast_mut().cast();
    #[expect(unsafe_code, reason = "`ort` has no view of a tensor that keeps its owner")]
    let value = by_dtype!(tensor.dtype(), E => {
        // SAFETY: the bytes are as many as shape and type ask for, aligned, kept beside the value,
        // and never written to: initializers are constant.
        unsafe { TensorRefMut::<'static, E>::from_raw(MemoryInfo::default(), data, shape) }.map(TensorRefMut::into_dyn)
    }, bool => unsafe { TensorRefMut::<'static, bool>::from_raw(MemoryInfo::default(), data, shape) }.map(TensorRefMut::into_dyn));
    value.map_err(|error| value::refused("lend a weight", &error))
}
