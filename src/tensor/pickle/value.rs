//! What a pickle may build: plain data, storages, tensors.

use crate::tensor::DType;
use crate::tensor::pickle::globals::Global;

/// A value of the machine; other values are referred to by their number, so that shared and cyclic
/// data are no trouble.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Boolean(bool),
    Integer(i128),
    Text(String),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    Dictionary(Vec<(usize, usize)>),
    Global(Global),
    /// A storage, by its number among the machine's storages.
    Storage(usize),
    Tensor(TensorRecord),
    /// Data without tensors of which only the existence matters: floats, bytes, sets, settings.
    Inert,
}

/// A block of elements that tensors view; its bytes lie elsewhere in the file.
#[derive(Clone, Debug)]
pub(super) struct StorageRecord {
    pub(super) key: String,
    pub(super) dtype: DType,
    pub(super) elements: usize,
}

/// A tensor: a strided view of a storage, counted in elements.
#[derive(Clone, Debug)]
pub(super) struct TensorRecord {
    pub(super) storage: usize,
    pub(super) dtype: DType,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}
