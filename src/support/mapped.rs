//! Memory-mapped files that are remembered: where in which file some bytes lie, and their digest
//! read past the mapping.
//!
//! Weights stay in the file they came in: whoever needs them as a file (ONNX Runtime maps them
//! itself and lets go of them when it has packed them) is told where they are, and hashing them
//! does not bring the whole mapping into memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use memmap2::Mmap;
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::support::fs;

/// The mappings of this process.
static MAPPINGS: Mutex<Vec<Mapping>> = Mutex::new(Vec::new());

/// Files of at least this many bytes are mapped by [`read_shared`] instead of read.
const MAPPED_FROM: u64 = 1 << 20;

/// Bytes that are hashed at a time.
const BLOCK: usize = 1 << 20;

/// A mapping: addresses, and the file behind it.
#[derive(Clone)]
struct Mapping {
    start: usize,
    length: usize,
    path: PathBuf,
    file: Arc<File>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, absolute, links followed.
    pub path: PathBuf,
    /// Bytes before it.
    pub offset: u64,
}

/// Keeps a mapping alive behind shared bytes and forgets it with them.
struct Mapped(Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let start = self.0.as_ptr() as usize;
        MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner).retain(|mapping| mapping.start != start);
    }
}

/// The content of a file as shared bytes: a large file is memory-mapped, so that only what is used
/// is read.
///
/// A mapped file must not be shortened while the bytes are in use; replacing it by
/// [`fs::replace_with`] is safe.
pub fn read_shared(path: &Path) -> Result<Bytes> {
    let file = fs::open(path)?;
    let size = file.metadata().map_err(fs::io_error("read", path))?.len();
    if size < MAPPED_FROM {
        return Ok(fs::read(path)?.into());
    }
    map(path, file)
}

/// Maps a file; it must not be shortened while the bytes are in use.
fn map(path: &Path, file: File) -> Result<Bytes> {
    #[expect(unsafe_code, reason = "mapping a file is only sound while nobody shortens it, which callers are told")]
    let map = unsafe { Mmap::map(&file) }.map_err(fs::io_error("map", path))?;
    let mapping =
        Mapping { start: map.as_ptr() as usize, length: map.len(), path: fs::canonical(path)?, file: Arc::new(file) };
    MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner).push(mapping);
    Ok(Bytes::from_owner(Mapped(map)))
}

/// The mapping that holds these bytes, and how many lie before them.
fn find(bytes: &[u8]) -> Option<(Mapping, usize)> {
    let start = bytes.as_ptr() as usize;
    let mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let holds = |mapping: &&Mapping| start >= mapping.start && start + bytes.len() <= mapping.start + mapping.length;
    mappings.iter().find(holds).map(|mapping| (mapping.clone(), start - mapping.start))
}

/// Where these bytes lie in a file; `None` where they were not mapped, or where another file has
/// taken its name since.
pub fn place_of(bytes: &[u8]) -> Option<Place> {
    let (mapping, offset) = find(bytes).filter(|_| !bytes.is_empty())?;
    let (mapped, now) = (mapping.file.metadata().ok()?, std::fs::metadata(&mapping.path).ok()?);
    is_same_file(&mapped, &now).then_some(Place { path: mapping.path, offset: offset as u64 })
}

#[cfg(unix)]
fn is_same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino(), one.size()) == (other.dev(), other.ino(), other.size())
}

#[cfg(not(unix))]
fn is_same_file(one: &std::fs::Metadata, other: &std::fs::Metadata) -> bool {
    one.len() == other.len() && one.modified().ok() == other.modified().ok()
}

/// Feeds bytes to a digest; mapped ones are read from their file, so that they take no memory.
pub fn update(hasher: &mut Sha256, bytes: &[u8]) {
    if bytes.len() < BLOCK || !update_from_file(hasher, bytes).unwrap_or(false) {
        hasher.update(bytes);
    }
}

/// Whether the bytes could be read from their file; the digest is as it was where they could not.
#[cfg(unix)]
fn update_from_file(hasher: &mut Sha256, bytes: &[u8]) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let Some((mapping, offset)) = find(bytes) else { return Ok(false) };
    let mut fed = hasher.clone();
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    while done < bytes.len() {
        let count = BLOCK.min(bytes.len() - done);
        mapping.file.read_exact_at(&mut block[..count], (offset + done) as u64)?;
        fed.update(&block[..count]);
        done += count;
    }
    *hasher = fed;
    Ok(true)
}

#[cfg(not(unix))]
fn update_from_file(_: &mut Sha256, _: &[u8]) -> std::io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_bytes_know_their_place_until_the_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.bin");
        let content: Vec<u8> = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
        fs::replace(&path, &content).unwrap();
        let bytes = read_shared(&path).unwrap();
        let slice = bytes.slice(1000..2_500_000);
        let place = Place { path: fs::canonical(&path).unwrap(), offset: 1000 };
        assert_eq!(place_of(&slice), Some(place));
        assert_eq!(place_of(&content[1000..2000]), None);
        let mut hasher = Sha256::new();
        hasher.update(b"before");
        update(&mut hasher, &slice);
        let expected = fs::sha256(&[b"before", &content[1000..2_500_000]].concat());
        assert_eq!(fs::hexadecimal(&hasher.finalize()), expected);
        fs::replace(&path, &content).unwrap();
        assert_eq!(place_of(&slice), None, "another file has its name");
        let start = bytes.as_ptr() as usize;
        drop((bytes, slice));
        assert!(MAPPINGS.lock().unwrap().iter().all(|mapping| mapping.start != start));
    }
}
