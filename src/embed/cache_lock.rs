//! The directory of a cache while it is written: the lock, the journal, and the moment new files
//! take the place of old ones.
//!
//! Everything unfinished lies in the hidden folder `.work`. The operating system drops the lock of
//! a process that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::embed::manifest::{MANIFEST_FILE, Manifest};
use crate::embed::parts::{QUARANTINE_FILE, is_part};
use crate::embed::store::check_part;
use crate::error::{CacheError, Result};
use crate::support::fs;
use crate::support::progress::Progress;

/// A cache directory that this process alone may write.
#[derive(Debug)]
pub(crate) struct CacheLock {
    cache: PathBuf,
    _lock: File,
}

/// The journal of a cache.
pub(super) fn journal(cache: &Path) -> PathBuf {
    cache.join(".work").join("journal")
}

impl CacheLock {
    /// Creates the directory where there is none and locks it; with `wait`, another process that
    /// writes it is waited for.
    ///
    /// # Errors
    /// [`CacheError::NotEmpty`] for a directory that holds other things, [`CacheError::Locked`]
    /// without `wait`.
    pub(crate) fn open(cache: &Path, wait: bool, progress: &dyn Progress) -> Result<CacheLock> {
        let work = cache.join(".work");
        if cache.exists() && !work.exists() && !cache.join(MANIFEST_FILE).exists() && !fs::list(cache)?.is_empty() {
            return Err(CacheError::NotEmpty { path: cache.to_path_buf() }.into());
        }
        fs::create_directory(&work)?;
        let path = work.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(fs::io_error("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if wait => {
                progress.note(&format!("`{}` is being written by another process; waiting", cache.display()));
                lock.lock().map_err(fs::io_error("lock", &path))?;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(CacheError::Locked { path: cache.to_path_buf() }.into());
            }
            Err(TryLockError::Error(error)) => return Err(fs::io_error("lock", &path)(error).into()),
        }
        Ok(CacheLock { cache: cache.to_path_buf(), _lock: lock })
    }

    /// The journal of the run.
    pub(crate) fn journal(&self) -> PathBuf {
        journal(&self.cache)
    }

    /// The memory of files whose content hash is known.
    pub(crate) fn files(&self) -> PathBuf {
        self.cache.join(".work").join("files")
    }

    /// An empty directory for the files of the next state.
    pub(crate) fn next(&self) -> Result<PathBuf> {
        let next = self.cache.join(".work").join("next");
        fs::remove_directory(&next)?;
        fs::create_directory(&next)?;
        Ok(next)
    }

    /// Makes the files in `next` the cache: parts first, then the quarantine table, then the
    /// manifest that lists them.
    ///
    /// Killed before the manifest is replaced, the cache is still the old one; killed after it, the
    /// new one. The next run clears away what neither needs.
    pub(crate) fn publish(&self, next: &Path, manifest: &Manifest) -> Result<()> {
        let text = manifest.to_text()?;
        for part in manifest.parts.iter().chain([&manifest.quarantine]) {
            fs::rename(&next.join(&part.file), &self.cache.join(&part.file))?;
        }
        let path = self.cache.join(MANIFEST_FILE);
        fs::sync_directory(&path)?;
        fs::replace(&path, text.as_bytes())?;
        self.clear(manifest)
    }

    /// Removes what `manifest` does not need: parts of other states, the journal, unfinished files.
    pub(crate) fn clear(&self, manifest: &Manifest) -> Result<()> {
        for path in fs::list(&self.cache)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let unfinished = name.starts_with(&format!(".{MANIFEST_FILE}.")) && name.ends_with(".tmp");
            let listed = manifest.parts.iter().any(|part| part.file == name);
            if unfinished || (is_part(&name) && !listed) {
                fs::remove_file(&path)?;
            }
        }
        fs::remove_file(&self.journal())?;
        for path in fs::list(&self.cache.join(".work"))? {
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path)?;
            }
        }
        fs::remove_directory(&self.cache.join(".work").join("next"))
    }

    /// Whether the files that the manifest lists are there, of the stated sizes.
    pub(crate) fn is_whole(&self, manifest: &Manifest) -> bool {
        let quarantine = &manifest.quarantine;
        manifest.parts.iter().all(|part| check_part(&self.cache, part, false).is_ok())
            && quarantine.file == QUARANTINE_FILE
            && check_part(&self.cache, quarantine, true).is_ok()
    }
}
