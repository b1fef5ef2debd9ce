//! PyTorch checkpoints without Python: tensors only, nothing executed.
//!
//! Two containers hold the same kind of pickle. Since PyTorch 1.6 a zip archive: `NAME/data.pkl`
//! beside one member per storage (`NAME/data/KEY`). Before, one stream: magic number, protocol
//! version and system description, each pickled, the object, the list of storage keys, then per
//! storage its number of elements and its bytes. Names of nested dictionaries are joined with dots:
//! `{"model": {"fc.bias": ...}}` gives `model.fc.bias`.
//!
//! Refused: TorchScript archives, big-endian files, and pickles that refer to anything but tensors
//! and plain data.

mod globals;
mod machine;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::path::Path;

use bytes::Bytes;

use crate::error::{FileError, Result};
use crate::tensor::pickle::machine::Machine;
use crate::tensor::pickle::value::{StorageRecord, TensorRecord, Value};
use crate::tensor::strided::{Strided, malformed};

const ZIP: &str = "PyTorch checkpoint (zip)";
const STREAM: &str = "PyTorch checkpoint (older stream format)";
/// First pickle of the older format.
const MAGIC_NUMBER: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// Second pickle of the older format.
const PROTOCOL_VERSION: i128 = 1001;

/// Reads the tensors of a checkpoint in the zip format.
pub(super) fn read_zip(path: &Path, bytes: &Bytes) -> Result<BTreeMap<String, Strided>> {
    let parse = |source: zip::result::ZipError| FileError::Parse {
        path: path.to_path_buf(),
        format: "PyTorch checkpoint: the zip archive is damaged or cut short",
        source: Box::new(source),
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes.clone())).map_err(parse)?;
    let found = archive.file_names().find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
    let folder = found.ok_or_else(|| malformed(path, ZIP, "the archive has no `data.pkl`"))?;
    if archive.index_for_name(&format!("{folder}constants.pkl")).is_some() {
        return Err(malformed(path, ZIP, "it is a TorchScript archive: a program, not a set of tensors"));
    }
    let mut member = |name: &str, most: usize| -> Result<Bytes> {
        let mut file = archive.by_name(&format!("{folder}{name}")).map_err(parse)?;
        let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
        if file.compression() == zip::CompressionMethod::Stored {
            let start = file.data_start() as usize;
            let end = start.checked_add(size).filter(|&end| end <= bytes.len());
            let end = end.ok_or_else(|| malformed(path, ZIP, format!("member `{name}` is cut short")))?;
            return Ok(bytes.slice(start..end));
        }
        let mut content = Vec::new();
        file.by_ref()
            .take(most as u64)
            .read_to_end(&mut content)
            .map_err(crate::support::fs::io_error("read", path))?;
        Ok(Bytes::from(content))
    };
    if member("byteorder", 16).is_ok_and(|order| order.as_ref() == b"big") {
        return Err(malformed(path, ZIP, "its numbers are big-endian"));
    }
    let program = member("data.pkl", 1 << 30)?;
    let (machine, root, _) = Machine::run(path, &program)?;
    let mut storages = Vec::new();
    for record in machine.storages() {
        let size = storage_size(path, ZIP, record)?;
        let content = member(&format!("data/{}", record.key), size)?;
        if content.len() < size {
            let reason = format!("storage `{}` has {} bytes of {size}", record.key, content.len());
            return Err(malformed(path, ZIP, reason));
        }
        storages.push(content.slice(..size));
    }
    tensors(path, ZIP, &machine, root, &storages)
}

/// Reads the tensors of a checkpoint in the older stream format.
pub(super) fn read_stream(path: &Path, bytes: &Bytes) -> Result<BTreeMap<String, Strided>> {
    let mut position = 0;
    let mut next = || -> Result<(Machine, usize)> {
        let (machine, root, consumed) = Machine::run(path, &bytes[position..])?;
        position += consumed;
        Ok((machine, root))
    };
    let (magic, root) = next()?;
    if !matches!(magic.value(root), Value::Integer(MAGIC_NUMBER)) {
        return Err(malformed(path, STREAM, "it is a pickle, but not one that `torch.save` wrote"));
    }
    let (version, root) = next()?;
    if !matches!(version.value(root), Value::Integer(PROTOCOL_VERSION)) {
        return Err(malformed(path, STREAM, "it has an unknown protocol version"));
    }
    let (system, root) = next()?;
    if !matches!(system.entry(root, "little_endian"), Some(Value::Boolean(true))) {
        return Err(malformed(path, STREAM, "its numbers are not little-endian"));
    }
    let (machine, root) = next()?;
    let (keys, list) = next()?;
    let Value::List(order) = keys.value(list) else {
        return Err(malformed(path, STREAM, "the list of storages is missing"));
    };
    let known: HashMap<&str, usize> =
        machine.storages().iter().enumerate().map(|(index, record)| (record.key.as_str(), index)).collect();
    let mut storages = vec![Bytes::new(); machine.storages().len()];
    let mut rest = bytes.slice(position..);
    for &key in order {
        let Value::Text(key) = keys.value(key) else {
            return Err(malformed(path, STREAM, "a storage has no name"));
        };
        let index = *known
            .get(key.as_str())
            .ok_or_else(|| malformed(path, STREAM, format!("storage `{key}` is listed but not used")))?;
        let record = &machine.storages()[index];
        let size = storage_size(path, STREAM, record)?;
        let count = rest.get(..8).and_then(|count| count.try_into().ok()).map(u64::from_le_bytes);
        if count.is_some_and(|count| count != record.elements as u64) {
            let reason = format!("storage `{key}` announces another number of elements than the tensors need");
            return Err(malformed(path, STREAM, reason));
        }
        if count.is_none() || rest.len() - 8 < size {
            return Err(malformed(path, STREAM, format!("it ends within storage `{key}`")));
        }
        storages[index] = rest.slice(8..8 + size);
        rest = rest.slice(8 + size..);
    }
    tensors(path, STREAM, &machine, root, &storages)
}

fn storage_size(path: &Path, format: &'static str, record: &StorageRecord) -> Result<usize> {
    record
        .elements
        .checked_mul(record.dtype.size())
        .ok_or_else(|| malformed(path, format, format!("storage `{}` has an impossible size", record.key)))
}

/// All tensors below `root`, named by their path, each checked against its storage.
fn tensors(
    path: &Path,
    format: &'static str,
    machine: &Machine,
    root: usize,
    storages: &[Bytes],
) -> Result<BTreeMap<String, Strided>> {
    let mut found = BTreeMap::new();
    for (name, record) in machine.tensors(root) {
        let TensorRecord { storage, dtype, offset, shape, strides } = record.clone();
        let tensor = Strided { dtype, shape, offset, strides, storage: storages[storage].clone() };
        if !tensor.fits() {
            return Err(malformed(path, format, format!("tensor `{name}` reaches beyond its storage")));
        }
        found.insert(name, tensor);
    }
    if found.is_empty() {
        return Err(malformed(path, format, "it holds no tensor"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
