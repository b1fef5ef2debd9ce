//! Files mapped into memory as shared bytes: read on demand, cloned and sliced without copying.

use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use crate::error::Result;
use crate::support::fs;

/// Maps a whole file; an empty file gives no bytes.
///
/// The file must stay as it is while the bytes are in use: the system reads it lazily.
pub fn map(path: &Path) -> Result<Bytes> {
    let file = fs::open(path)?;
    if file.metadata().map_err(fs::io_error("read", path))?.len() == 0 {
        return Ok(Bytes::new());
    }
    #[expect(
        unsafe_code,
        reason = "mapping is sound as long as no process truncates the file; weights are not rewritten in place"
    )]
    let mapping = unsafe { Mmap::map(&file) }.map_err(fs::io_error("map", path))?;
    Ok(Bytes::from_owner(mapping))
}
