//! Safetensors files: read as slices of the file's bytes, written atomically in a stated order.
//!
//! Format: <https://huggingface.co/docs/safetensors>. A header of JSON (names, types, shapes,
//! offsets), then the data, row-major and little-endian. Truncated files, overlapping tensors and
//! types without a host counterpart are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use safetensors::Dtype;
use safetensors::tensor::SafeTensors;
use serde::Deserialize;

use crate::error::{FileError, Result};
use crate::support::{fs, mapped};
use crate::tensor::strided::malformed;
use crate::tensor::{DType, HostTensor};

/// Tensors by name.
pub type Tensors = BTreeMap<String, HostTensor>;
/// What a file says about itself: free text by key.
pub type Metadata = BTreeMap<String, String>;

/// Reads a whole file, memory-mapped: tensors and metadata.
///
/// # Errors
/// [`ModelError::Malformed`](crate::error::ModelError::Malformed) for a truncated or inconsistent
/// file.
pub fn read(path: &Path) -> Result<(Tensors, Metadata)> {
    parse(path, &mapped::read_shared(path)?)
}

/// The tensors in a file's bytes, as slices of them.
pub(super) fn parse(path: &Path, bytes: &Bytes) -> Result<(Tensors, Metadata)> {
    let (header, description) = SafeTensors::read_metadata(bytes).map_err(|error| {
        let reason = match error {
            safetensors::SafeTensorError::MetadataIncompleteBuffer => {
                "its header and its length disagree: it is truncated or has trailing bytes".to_owned()
            }
            safetensors::SafeTensorError::InvalidHeaderLength => "it ends within its header".to_owned(),
            other => other.to_string(),
        };
        malformed(path, "safetensors file", reason)
    })?;
    let data = bytes.slice(8 + header..);
    let mut tensors = Tensors::new();
    for (name, info) in description.tensors() {
        let dtype = host_type(info.dtype).ok_or_else(|| {
            malformed(path, "safetensors file", format!("tensor `{name}` has the unsupported type `{}`", info.dtype))
        })?;
        let (start, end) = info.data_offsets;
        let tensor = HostTensor::new(dtype, info.shape.clone(), data.slice(start..end)).ok_or_else(|| {
            malformed(path, "safetensors file", format!("tensor `{name}` has a wrong number of bytes"))
        })?;
        tensors.insert(name, tensor);
    }
    let metadata = description.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((tensors, metadata))
}

/// Writes a file atomically; the same tensors and metadata give the same bytes: tensors lie in
/// order of falling element size, then of name, so that each is aligned.
pub fn write(path: &Path, tensors: &Tensors, metadata: &Metadata) -> Result<()> {
    let header = header(tensors, metadata);
    fs::replace_with(path, |file| {
        let mut writer = std::io::BufWriter::new(file);
        let mut put = |bytes: &[u8]| writer.write_all(bytes).map_err(fs::io_error("write", path));
        put(&(header.len() as u64).to_le_bytes())?;
        put(&header)?;
        for (_, tensor) in ordered(tensors) {
            put(tensor.bytes())?;
        }
        Ok(writer.flush().map_err(fs::io_error("write", path))?)
    })
}

/// The bytes [`write()`] would write.
pub fn to_bytes(tensors: &Tensors, metadata: &Metadata) -> Vec<u8> {
    let header = header(tensors, metadata);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    for (_, tensor) in ordered(tensors) {
        bytes.extend_from_slice(tensor.bytes());
    }
    bytes
}

fn ordered(tensors: &Tensors) -> Vec<(&String, &HostTensor)> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().size()));
    order
}

fn header(tensors: &Tensors, metadata: &Metadata) -> Vec<u8> {
    let mut entries = serde_json::Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut offset = 0;
    for (name, tensor) in ordered(tensors) {
        let end = offset + tensor.bytes().len();
        let record = serde_json::json!({
            "dtype": code(tensor.dtype()), "shape": tensor.shape(), "data_offsets": [offset, end]
        });
        entries.insert(name.clone(), record);
        offset = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// The shard files that an index (`*.index.json`) names, in order of name.
///
/// # Errors
/// [`FileError::Parse`], [`ModelError::Malformed`](crate::error::ModelError::Malformed) for a name
/// that leaves the folder.
pub fn shards(index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = fs::read_text(index)?;
    let parsed: Index = serde_json::from_str(&text).map_err(|source| FileError::Parse {
        path: index.to_path_buf(),
        format: "index of shards",
        source: Box::new(source),
    })?;
    let folder = index.parent().unwrap_or(Path::new(""));
    let files: BTreeSet<String> = parsed.weight_map.into_values().collect();
    for file in &files {
        if Path::new(file).components().count() != 1 || file == ".." {
            return Err(malformed(index, "index of shards", format!("`{file}` is not the name of a file beside it")));
        }
    }
    Ok(files.into_iter().map(|file| folder.join(file)).collect())
}

fn host_type(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::BOOL => DType::Bool,
        Dtype::U8 => DType::U8,
        Dtype::I8 => DType::I8,
        Dtype::I16 => DType::I16,
        Dtype::U16 => DType::U16,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I32 => DType::I32,
        Dtype::U32 => DType::U32,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::U64 => DType::U64,
        _ => return None,
    })
}

fn code(dtype: DType) -> String {
    dtype.to_string().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Tensors, Metadata) {
        let tensors = Tensors::from([
            ("a".to_owned(), HostTensor::vector(vec![1u8, 2, 3])),
            ("b".to_owned(), HostTensor::from_vec(vec![2, 1], vec![1.5f32, -2.0]).unwrap()),
            ("empty".to_owned(), HostTensor::from_vec(vec![0, 4], Vec::<f64>::new()).unwrap()),
            ("flag".to_owned(), HostTensor::new(DType::Bool, vec![], Bytes::from_static(&[1])).unwrap()),
        ]);
        (tensors, Metadata::from([("format".to_owned(), "pt".to_owned()), ("author".to_owned(), "me".to_owned())]))
    }

    #[test]
    fn what_is_written_is_read_back_and_the_reference_reader_agrees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let (tensors, metadata) = example();
        write(&path, &tensors, &metadata).unwrap();
        let first = fs::read(&path).unwrap();
        assert_eq!(read(&path).unwrap(), (tensors.clone(), metadata.clone()));
        write(&path, &tensors, &metadata).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        let reference = SafeTensors::deserialize(&first).unwrap();
        assert_eq!(reference.tensor("b").unwrap().data(), tensors["b"].bytes());
    }

    #[test]
    fn truncation_at_any_byte_is_an_error() {
        let (tensors, metadata) = example();
        let bytes = Bytes::from(to_bytes(&tensors, &metadata));
        assert!(parse(Path::new("x"), &bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(parse(Path::new("x"), &bytes.slice(..end)).is_err(), "accepted {end} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn shards_are_opened_together_and_must_lie_beside_the_index() {
        let directory = tempfile::tempdir().unwrap();
        for (file, name) in [("m-1.safetensors", "a"), ("m-2.safetensors", "b")] {
            let tensors = Tensors::from([(name.to_owned(), HostTensor::vector(vec![1.0f32]))]);
            write(&directory.path().join(file), &tensors, &Metadata::new()).unwrap();
        }
        let index = directory.path().join("model.safetensors.index.json");
        fs::replace(&index, br#"{"weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors"}}"#).unwrap();
        let weights = crate::tensor::Weights::open(directory.path()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
        fs::replace(&index, br#"{"weight_map": {"b": "../secret.safetensors"}}"#).unwrap();
        assert!(crate::tensor::Weights::open(&index).unwrap_err().to_string().contains("../secret.safetensors"));
    }
}
