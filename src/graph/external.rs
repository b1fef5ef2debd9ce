//! Weights outside of the protobuf file: found, checked and memory-mapped on loading; one side file
//! on saving.
//!
//! Refuses paths that leave the model's directory, also by symbolic links, and ranges behind the
//! end of a file.

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::{GraphError, Result};
use crate::graph::initializer::Tensor;
use crate::graph::proto;
use crate::support::{fs, mapped};

/// Tensors below this many bytes stay in the protobuf file.
const SMALLEST_EXTERNAL: usize = 1024;
/// Offsets are multiples of a page, so that each tensor can be mapped by itself.
const PAGE: u64 = 4096;
/// Offsets of large tensors are multiples of the granularity with which Windows maps files.
const LARGE_PAGE: u64 = 65536;
/// What a large tensor is.
const LARGE: usize = 1 << 20;

/// The files with external data of one model, each opened once.
pub(super) struct ExternalFiles {
    /// Where locations start; then, if the model is a link, where the file it points to lies.
    directories: Vec<PathBuf>,
    opened: HashMap<String, (PathBuf, Bytes)>,
}

impl ExternalFiles {
    /// The files beside `model`.
    pub(super) fn beside(model: &Path) -> Result<Self> {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let directories = vec![parent(model), parent(&fs::canonical(model)?)];
        Ok(ExternalFiles { directories, opened: HashMap::new() })
    }

    /// The locations that were opened, sorted.
    pub(super) fn locations(&self) -> Vec<String> {
        let mut locations: Vec<String> = self.opened.keys().cloned().collect();
        locations.sort();
        locations
    }

    /// The bytes of `tensor` that the entries of its `external_data` describe.
    pub(super) fn read(&mut self, tensor: &Tensor, entries: &[proto::Entry]) -> Result<Bytes> {
        let entry = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let number = |key: &'static str| {
            let parse = |value: &str| {
                let wrong = |_| GraphError::ExternalEntry { tensor: tensor.name.clone(), key, value: value.to_owned() };
                value.trim().parse::<u64>().map_err(wrong)
            };
            entry(key).map(parse).transpose()
        };
        let location = entry("location").unwrap_or_default();
        let (path, bytes) = self.open(&tensor.name, location)?;
        let expected = tensor.expected_size().unwrap_or(usize::MAX) as u64;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(expected);
        let size = bytes.len() as u64;
        match offset.checked_add(length) {
            Some(end) if end <= size && length == expected => Ok(bytes.slice(offset as usize..end as usize)),
            _ => {
                let (tensor, path) = (tensor.name.clone(), path.clone());
                Err(GraphError::ExternalRange { tensor, path, offset, length, expected, size }.into())
            }
        }
    }

    fn open(&mut self, tensor: &str, location: &str) -> Result<&(PathBuf, Bytes)> {
        if !self.opened.contains_key(location) {
            let path = self.confined(tensor, location)?;
            let bytes = mapped::read_shared(&path)?;
            self.opened.insert(location.to_owned(), (path, bytes));
        }
        Ok(&self.opened[location])
    }

    /// The path of `location`, if neither its components nor links lead out of the directories.
    fn confined(&self, tensor: &str, location: &str) -> Result<PathBuf> {
        let outside = || GraphError::ExternalPath { tensor: tensor.to_owned(), location: location.to_owned() };
        let inner = |component| matches!(component, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(inner) {
            return Err(outside().into());
        }
        let path = self.directories[0].join(location);
        let resolved = fs::canonical(&path)?;
        for directory in &self.directories {
            if resolved.starts_with(fs::canonical(directory)?) {
                return Ok(path);
            }
        }
        Err(outside().into())
    }
}

/// Moves the weights of the main graph out of `model` and gives what belongs into the side file,
/// with its offsets.
pub(super) fn extract(model: &mut proto::Model, location: &str) -> Vec<(u64, Bytes)> {
    let mut pieces = Vec::new();
    let mut end = 0u64;
    for tensor in model.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        let Some(bytes) = tensor.raw_data.take_if(|bytes| bytes.len() >= SMALLEST_EXTERNAL) else { continue };
        let offset = end.next_multiple_of(if bytes.len() >= LARGE { LARGE_PAGE } else { PAGE });
        end = offset + bytes.len() as u64;
        let entry = |key: &str, value: String| proto::Entry { key: key.to_owned(), value };
        tensor.external_data = vec![
            entry("location", location.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", bytes.len().to_string()),
        ];
        tensor.data_location = 1;
        pieces.push((offset, bytes));
    }
    pieces
}

/// Writes the pieces at their offsets, zeros between them.
pub(super) fn write(path: &Path, file: &mut impl Write, pieces: &[(u64, Bytes)]) -> Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let mut position = 0u64;
    let mut put = || -> std::io::Result<()> {
        for (offset, bytes) in pieces {
            std::io::copy(&mut std::io::Read::take(std::io::repeat(0), offset - position), &mut writer)?;
            writer.write_all(bytes)?;
            position = offset + bytes.len() as u64;
        }
        writer.flush()
    };
    Ok(put().map_err(fs::io_error("write", path))?)
}
