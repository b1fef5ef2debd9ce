//! A repository's files in a folder: as they are, or in the layout of a Hugging Face cache.
//!
//! ```text
//! FOLDER/FILE                                              a snapshot
//! FOLDER/models--ORG--NAME/snapshots/COMMIT/FILE           a cache, `refs/BRANCH` names the commit
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{HubError, Result};
use crate::support::fs;
use crate::support::hub::Fetched;
use crate::support::progress::Progress;

/// A folder that holds one revision of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    folder: PathBuf,
    /// The commit, where the layout tells it.
    pub commit: Option<String>,
}

impl Snapshot {
    /// Finds a repository's snapshot in `folder`: the folder itself, a repository's folder of a
    /// Hugging Face cache, a cache, or a directory that has the cache as `hub`; of several
    /// snapshots the one of `revision`, a branch or a commit.
    ///
    /// # Errors
    /// [`HubError::NoSnapshot`].
    pub fn find(folder: &Path, repository: &str, revision: Option<&str>) -> Result<Self> {
        let missing = |reason: String| HubError::NoSnapshot {
            path: folder.to_path_buf(),
            repository: repository.to_owned(),
            reason,
        };
        if !folder.is_dir() {
            return Err(missing("it is no folder".to_owned()).into());
        }
        let own = format!("models--{}", repository.replace('/', "--"));
        let cached = [folder.join(&own), folder.join("hub").join(&own), folder.to_path_buf()];
        let Some(cached) = cached.into_iter().find(|path| path.join("snapshots").is_dir()) else {
            return Ok(Snapshot { folder: folder.to_path_buf(), commit: commit_of(folder) });
        };
        let name = cached.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("models--") && name != own {
            return Err(missing(format!("it is the cache of `{name}`")).into());
        }
        let snapshots: Vec<PathBuf> =
            fs::list(&cached.join("snapshots"))?.into_iter().filter(|path| path.is_dir()).collect();
        let wanted = revision.unwrap_or("main");
        let reference = cached.join("refs").join(wanted);
        let commit = if reference.is_file() { fs::read_text(&reference)?.trim().to_owned() } else { wanted.to_owned() };
        let of_commit = |path: &&PathBuf| path.file_name().is_some_and(|name| name == commit.as_str());
        let found = match (snapshots.iter().find(of_commit), snapshots.as_slice(), revision) {
            (Some(found), ..) => found,
            (None, [only], None) => only,
            _ => return Err(missing(format!("it has {} snapshots, none of `{wanted}`", snapshots.len())).into()),
        };
        Ok(Snapshot { folder: found.clone(), commit: commit_of(found) })
    }

    /// The path of a file; `None` where the snapshot does not have it.
    pub fn find_file(&self, file: &str) -> Option<PathBuf> {
        Some(self.folder.join(file)).filter(|path| path.is_file())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The commit that a folder of a cache is named after.
fn commit_of(folder: &Path) -> Option<String> {
    let parent = folder.parent().and_then(Path::file_name)?;
    (parent == "snapshots").then(|| folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Copies a file to `target`, which appears complete or not at all.
///
/// # Errors
/// [`FileError`](crate::error::FileError).
pub fn copy(from: &Path, target: &Path, progress: &dyn Progress) -> Result<Fetched> {
    let mut reader: File = fs::open(from)?;
    let total = fs::size(from)?;
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (mut hasher, mut size) = (Sha256::new(), 0u64);
    progress.begin_bytes(&name, total, 0);
    let outcome = fs::replace_with(target, |file| {
        let mut block = vec![0; 1 << 20];
        loop {
            let count = reader.read(&mut block).map_err(fs::io_error("read", from))?;
            if count == 0 {
                return Ok(());
            }
            file.write_all(&block[..count]).map_err(fs::io_error("write", target))?;
            hasher.update(&block[..count]);
            size += count as u64;
            progress.advance(count as u64);
        }
    });
    progress.end();
    outcome?;
    Ok(Fetched { size, sha256: fs::hexadecimal(&hasher.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_found_in_every_layout() {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("hub/models--org--net");
        let snapshot = repository.join("snapshots/0123");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123\n").unwrap();
        std::fs::write(snapshot.join("config.json"), "{}").unwrap();
        for folder in [home.path().to_path_buf(), home.path().join("hub"), repository.clone(), snapshot.clone()] {
            let found = Snapshot::find(&folder, "org/net", None).unwrap();
            assert_eq!((found.folder(), found.commit.as_deref()), (snapshot.as_path(), Some("0123")), "{folder:?}");
            assert!(found.find_file("config.json").is_some() && found.find_file("other").is_none());
        }
        let other = repository.join("snapshots/4567");
        std::fs::create_dir_all(&other).unwrap();
        assert_eq!(Snapshot::find(&repository, "org/net", Some("4567")).unwrap().folder(), other);
        assert_eq!(Snapshot::find(&repository, "org/net", None).unwrap().folder(), snapshot);
        let unknown = Snapshot::find(&repository, "org/net", Some("v2")).unwrap_err().to_string();
        assert!(unknown.ends_with("it has 2 snapshots, none of `v2`"), "{unknown}");
        let stranger = Snapshot::find(&repository, "org/other", None).unwrap_err().to_string();
        assert!(stranger.ends_with("it is the cache of `models--org--net`"), "{stranger}");
        let plain = Snapshot::find(&home.path().join("hub/models--org--net/refs"), "org/net", None).unwrap();
        assert_eq!(plain.commit, None);
        assert!(Snapshot::find(&home.path().join("none"), "org/net", None).is_err());
    }
}
