//! Files with the path in every error: read, write by atomic replacement, sha256.
//!
//! `std::fs` is used nowhere else in the crate for these operations, so that no error lacks its
//! path.

use std::fs::{File, TryLockError};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{FileError, Result};

/// Turns an I/O error into a [`FileError::Io`] with what was tried and where.
pub fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Io { action, path, source }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File> {
    Ok(File::open(path).map_err(io_error("open", path))?)
}

/// The size of a file in bytes.
pub fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(io_error("read", path))?.len())
}

/// The first 64 bytes of a file, by which its format is told; fewer where it has fewer.
pub fn start(path: &Path) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    open(path)?.take(64).read_to_end(&mut start).map_err(io_error("read", path))?;
    Ok(start)
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(std::fs::read(path).map_err(io_error("read", path))?)
}

/// Reads a whole UTF-8 text file.
pub fn read_text(path: &Path) -> Result<String> {
    Ok(std::fs::read_to_string(path).map_err(io_error("read", path))?)
}

/// The absolute path of an existing file or directory, links followed.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    Ok(std::fs::canonicalize(path).map_err(io_error("resolve", path))?)
}

/// The absolute path of a file or directory, which need not exist; links are not followed.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let start = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(std::path::absolute(start).map_err(io_error("find", path))?)
}

/// Creates a directory and those above it.
pub fn create_directory(path: &Path) -> Result<()> {
    Ok(std::fs::create_dir_all(path).map_err(io_error("create directory", path))?)
}

/// Removes a file; a file that does not exist is no error.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", path)(error).into()),
        _ => Ok(()),
    }
}

/// Removes a directory and all in it; one that does not exist is no error.
pub fn remove_directory(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", path)(error).into()),
        _ => Ok(()),
    }
}

/// The entries of a directory, sorted by name.
pub fn list(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(io_error("list", path))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(io_error("list", path))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Moves a file over another one atomically; both must lie on one file system.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    Ok(std::fs::rename(from, to).map_err(io_error("rename", from))?)
}

/// The path under which a file is prepared before it replaces `path`: beside it, so that the rename
/// is atomic.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// A file being written that remembers why the system refused a write.
///
/// Encoders wrap that reason in errors of their own, or in text; [`replace_with`] tells the reason
/// itself, so that a full disk is a full disk whatever was being written.
#[derive(Debug)]
pub struct Output {
    file: File,
    refused: Option<std::io::Error>,
}

impl Output {
    fn new(file: File) -> Self {
        Output { file, refused: None }
    }

    /// What `write` gave, unless the system refused a write: then that.
    fn finish(&mut self, path: &Path, outcome: Result<()>) -> Result<()> {
        match self.refused.take() {
            Some(reason) => Err(io_error("write", path)(reason).into()),
            None => outcome,
        }
    }

    fn noted<T>(&mut self, outcome: std::io::Result<T>) -> std::io::Result<T> {
        if let Err(error) = &outcome
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            self.refused = Some(match error.raw_os_error() {
                Some(code) => std::io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            });
        }
        outcome
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let outcome = self.file.write(bytes);
        self.noted(outcome)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let outcome = self.file.flush();
        self.noted(outcome)
    }
}

/// Replaces `path` by what `write` produces: readers see the old file or the whole new one, also
/// after a crash.
///
/// The file is flushed to disk before the rename and the directory after it. On failure nothing is
/// left behind. A device or a pipe is written to instead of being replaced.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut Output) -> Result<()>) -> Result<()> {
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let mut output = Output::new(File::options().write(true).open(path).map_err(io_error("open", path))?);
        let outcome = write(&mut output);
        return output.finish(path, outcome);
    }
    let temporary = temporary_beside(path);
    let result = (|| {
        let mut output = Output::new(File::create(&temporary).map_err(io_error("create", &temporary))?);
        let outcome = write(&mut output);
        output.finish(path, outcome)?;
        output.file.sync_all().map_err(io_error("write", path))?;
        rename(&temporary, path)
    })();
    match result {
        Ok(()) => sync_directory(path),
        Err(error) => {
            // The first failure is the one to tell; what cannot be removed is found by its name.
            let _ = std::fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Replaces `path` by `bytes` atomically, see [`replace_with`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |file| Ok(file.write_all(bytes).map_err(io_error("write", path))?))
}

/// Writes a file that is written again where it is found to be unfinished: neither atomic nor
/// flushed to disk.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(std::fs::write(path, bytes).map_err(io_error("write", path))?)
}

/// Waits until this process alone holds the lock file `path`; it is held until the file is dropped.
/// `waiting` is called once where another process holds it.
pub fn lock(path: &Path, waiting: impl FnOnce()) -> Result<File> {
    let file = File::create(path).map_err(io_error("create", path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => return Err(io_error("lock", path)(error).into()),
    }
    file.lock().map_err(io_error("lock", path))?;
    Ok(file)
}

/// Flushes the directory of `path` to disk, so that a rename in it survives a power failure.
pub fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        open(parent)?.sync_all().map_err(io_error("write", parent))?;
    }
    Ok(())
}

/// The sha256 of `bytes`, lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The sha256 of a file's content, lower-case hexadecimal, read in blocks.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut reader = BufReader::new(open(path)?);
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let count = reader.read(&mut block).map_err(io_error("read", path))?;
        if count == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&block[..count]);
    }
}

/// Checks a file's sha256.
///
/// # Errors
/// [`FileError::Digest`] when it differs from `expected`.
pub fn check_sha256(path: &Path, expected: &str) -> Result<()> {
    let found = sha256_of_file(path)?;
    if found == expected {
        return Ok(());
    }
    Err(FileError::Digest { path: path.to_path_buf(), expected: expected.to_owned(), found }.into())
}

/// Lower-case hexadecimal text of `bytes`.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_replacement_keeps_the_old_content_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record.json");
        replace(&path, b"old").unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(b"half").unwrap();
            Err(FileError::Io { action: "write", path: path.clone(), source: std::io::ErrorKind::StorageFull.into() }
                .into())
        });
        assert!(failed.is_err());
        assert_eq!(read(&path).unwrap(), b"old");
        assert_eq!(list(directory.path()).unwrap(), [path]);
    }

    #[test]
    fn sha256_of_the_empty_string_is_the_published_one() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
