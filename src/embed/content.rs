//! What image files contain, told by their sha256, and a memory of files that need not be read
//! again to know it.
//!
//! A file with the size, inode, and times of its last modification and last change it had when it
//! was hashed is taken to be unchanged. On Unix the time of the last change is the system's own
//! (`ctime`): a file that is written in place with its old size and modification time is noticed.
//! Elsewhere such a file is not, until it is embedded into a new cache.

use std::collections::HashMap;
use std::fmt;
use std::fs::Metadata;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::support::fs;

/// sha256 of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        ContentHash(Sha256::digest(bytes).into())
    }

    /// The hash of frame `number` (from 0) of a file of this hash.
    pub(crate) fn of_frame(self, number: u32) -> Self {
        ContentHash(Sha256::new().chain_update(self.0).chain_update(number.to_le_bytes()).finalize().into())
    }

    /// A hash from its 32 bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(ContentHash(bytes.try_into().ok()?))
    }

    /// A hash from 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(ContentHash(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fs::hexadecimal(&self.0))
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for ContentHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        ContentHash::parse(&text).ok_or("expected 64 hexadecimal digits")
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What tells whether a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Last modification, nanoseconds since 1970.
    modified: u64,
    /// Number of the file in its file system, 0 where there is none.
    inode: u64,
    /// Last change of content, name or permissions, nanoseconds since 1970; 0 where the system does
    /// not tell, and in memories of before it was recorded.
    #[serde(default)]
    changed: i64,
}

impl Stamp {
    /// The stamp of a file; `None` where the system does not tell when it was modified.
    pub(crate) fn new(metadata: &Metadata) -> Option<Self> {
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        #[cfg(unix)]
        let (inode, changed) = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.ino(), metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (inode, changed) = (0, 0);
        Some(Stamp { size: metadata.len(), modified: u64::try_from(modified.as_nanos()).ok()?, inode, changed })
    }
}

/// A file whose content hash was computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    /// The file as the cache's column `path` states it.
    pub(crate) path: String,
    /// What it looked like when it was read.
    pub(crate) stamp: Stamp,
    /// sha256 of its content.
    pub(crate) hash: ContentHash,
}

/// Files whose content hash is known, by path.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles(HashMap<String, (Stamp, ContentHash)>);

impl KnownFiles {
    /// Reads the memory of an earlier run; empty where there is none, lines that make no sense are
    /// left out.
    pub(crate) fn read(path: &Path) -> Self {
        let mut known = KnownFiles::default();
        let text = fs::read_text(path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|file| known.insert(file));
        known
    }

    /// Remembers a file.
    pub(crate) fn insert(&mut self, file: KnownFile) {
        self.0.insert(file.path, (file.stamp, file.hash));
    }

    /// The content hash of a file that has not changed.
    pub(crate) fn get(&self, path: &str, stamp: &Stamp) -> Option<ContentHash> {
        self.0.get(path).filter(|(known, _)| known == stamp).map(|(_, hash)| *hash)
    }

    /// Writes the files of these paths, a line each, in this order.
    pub(crate) fn write<'a>(&self, to: &Path, paths: impl Iterator<Item = &'a str>) -> Result<()> {
        let mut text = String::new();
        for path in paths {
            if let Some((stamp, hash)) = self.0.get(path) {
                let file = KnownFile { path: path.to_owned(), stamp: *stamp, hash: *hash };
                #[expect(clippy::expect_used, reason = "texts and numbers always have a JSON form")]
                text.push_str(&serde_json::to_string(&file).expect("a known file has a JSON form"));
                text.push('\n');
            }
        }
        fs::replace(to, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text() {
        let hash = ContentHash::new(b"");
        assert_eq!(hash.to_string(), fs::sha256(b""));
        assert_eq!(ContentHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(ContentHash::parse("xyz"), None);
    }

    #[test]
    fn a_changed_file_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let stamp = |bytes: &[u8]| {
            fs::replace(&file, bytes).unwrap();
            Stamp::new(&std::fs::metadata(&file).unwrap()).unwrap()
        };
        let before = stamp(b"one");
        let hash = ContentHash::new(b"one");
        let mut known = KnownFiles::default();
        known.insert(KnownFile { path: "a".into(), stamp: before, hash });
        let memory = folder.path().join("memory");
        known.write(&memory, ["a", "b"].into_iter()).unwrap();
        let known = KnownFiles::read(&memory);
        assert_eq!(known.get("a", &before), Some(hash));
        assert_eq!(known.get("a", &stamp(b"three")), None);
    }
}
