//! Downloads that can be interrupted at any moment and continued: what arrived is kept beside the
//! target, by the file's tag.
//!
//! The target appears by one rename, complete and checked against the size and the sha256 that the
//! hub announced. A broken connection is taken up again where it broke, as long as bytes arrive; a
//! server that cannot start in the middle starts anew.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::http::StatusCode;

use crate::error::{Error, HubError, Result};
use crate::support::fs;
use crate::support::hub::{Fetched, Hub, Remote, text};
use crate::support::progress::Progress;

/// Attempts in a row without a byte, after which a download stops.
const MAX_ATTEMPTS: u32 = 4;
/// How long the first pause between attempts is; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
const BLOCK: usize = 1 << 18;

impl Hub {
    /// Fetches a file to `target`, whose directory exists; what an earlier attempt left is
    /// continued.
    ///
    /// # Errors
    /// [`HubError`]; [`FileError`](crate::error::FileError) where the target's directory cannot be
    /// written.
    pub fn fetch(&self, remote: &Remote, target: &Path, progress: &dyn Progress) -> Result<Fetched> {
        let mut partial = Partial::open(remote, target)?;
        progress.begin_bytes(&remote.place.to_string(), remote.size.unwrap_or(0), partial.length);
        let outcome = self.fill(remote, &mut partial, progress);
        progress.end();
        outcome?;
        partial.finish(remote, target)
    }

    /// Appends to the partial file until it is whole.
    fn fill(&self, remote: &Remote, partial: &mut Partial, progress: &dyn Progress) -> Result<()> {
        let mut attempts = 0;
        loop {
            if remote.size == Some(partial.length) && partial.length > 0 {
                return Ok(());
            }
            let before = partial.length;
            let error = match self.append(remote, partial, progress) {
                Ok(Ending::Whole) => return Ok(()),
                Ok(Ending::Broken(reason)) => interrupted(remote, partial, reason),
                Err(Error::Hub(HubError::Unreachable { reason, .. })) if partial.length > 0 => {
                    interrupted(remote, partial, reason)
                }
                Err(Error::Hub(HubError::Status { status, .. })) if status >= 500 && partial.length > 0 => {
                    interrupted(remote, partial, format!("status {status}"))
                }
                Err(error @ Error::Hub(HubError::Status { status: 500.., .. })) => error,
                Err(error) => return Err(error),
            };
            attempts = if partial.length > before { 1 } else { attempts + 1 };
            if attempts >= MAX_ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(PAUSE * 2u32.pow(attempts - 1));
        }
    }

    /// Asks for what is missing and appends what arrives.
    fn append(&self, remote: &Remote, partial: &mut Partial, progress: &dyn Progress) -> Result<Ending> {
        let response = self.open(&remote.place, partial.length)?;
        let continues = response.status() == StatusCode::PARTIAL_CONTENT;
        let range = text(response.headers(), "content-range");
        if continues && !range.as_deref().is_some_and(|range| range.starts_with(&format!("bytes {}-", partial.length)))
        {
            let reason = format!("it was asked for bytes from {} on and sent {range:?}", partial.length);
            let (what, url) = (remote.place.to_string(), self.url(&remote.place));
            return Err(HubError::Answer { what, url, reason }.into());
        }
        if !continues && partial.length > 0 {
            // The whole file comes, or nothing lies behind what is there although it is not the
            // whole.
            partial.clear()?;
            progress.end();
            progress.begin_bytes(&remote.place.to_string(), remote.size.unwrap_or(0), 0);
            if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
                return Ok(Ending::Broken("the part that was kept is longer than the file".to_owned()));
            }
        }
        let announced = response.body().content_length().map(|length| partial.length + length);
        let mut reader = response.into_body().into_reader();
        let mut block = vec![0; BLOCK];
        loop {
            match reader.read(&mut block) {
                Ok(0) if remote.size.or(announced).is_some_and(|size| partial.length < size) => {
                    return Ok(Ending::Broken("the connection was closed too early".to_owned()));
                }
                Ok(0) => return Ok(Ending::Whole),
                Ok(count) => {
                    partial.write(&block[..count])?;
                    progress.advance(count as u64);
                }
                Err(error) => return Ok(Ending::Broken(error.to_string())),
            }
        }
    }
}

fn interrupted(remote: &Remote, partial: &Partial, reason: String) -> Error {
    let (what, received, total) = (remote.place.to_string(), partial.length, remote.size);
    HubError::Interrupted { what, received, total, reason }.into()
}

/// How an answer ended.
enum Ending {
    Whole,
    Broken(String),
}

/// What arrived of a file so far.
struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Sha256,
}

impl Partial {
    /// The partial file of that tag beside the target, and what it holds.
    fn open(remote: &Remote, target: &Path) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let tag = &fs::sha256(remote.tag.as_bytes())[..16];
        let path = target.with_file_name(format!(".{name}.{tag}.partial"));
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(fs::io_error("open", &path))?;
        let (mut length, mut hasher, mut block) = (0, Sha256::new(), vec![0; BLOCK]);
        loop {
            let count = file.read(&mut block).map_err(fs::io_error("read", &path))?;
            if count == 0 {
                break;
            }
            hasher.update(&block[..count]);
            length += count as u64;
        }
        Ok(Partial { path, file, length, hasher })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(fs::io_error("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        let empty = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        empty.map_err(fs::io_error("write", &self.path))?;
        (self.length, self.hasher) = (0, Sha256::new());
        Ok(())
    }

    /// Checks the whole and gives it its name.
    fn finish(self, remote: &Remote, target: &Path) -> Result<Fetched> {
        self.file.sync_all().map_err(fs::io_error("write", &self.path))?;
        let sha256 = fs::hexadecimal(&self.hasher.finalize());
        let size = self.length;
        let damaged = |property, expected: String, found: String| {
            let what = remote.place.to_string();
            HubError::Damaged { what, property, expected, found }
        };
        let wrong = match (remote.size, &remote.sha256) {
            (Some(expected), _) if expected != size => Some(damaged("size", expected.to_string(), size.to_string())),
            (_, Some(expected)) if *expected != sha256 => Some(damaged("sha256", expected.clone(), sha256.clone())),
            _ => None,
        };
        if let Some(error) = wrong {
            fs::remove_file(&self.path)?;
            return Err(error.into());
        }
        fs::rename(&self.path, target)?;
        fs::sync_directory(target)?;
        Ok(Fetched { size, sha256 })
    }
}
