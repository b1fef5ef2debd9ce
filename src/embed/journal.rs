//! The journal of a run: finished rows, appended as they come, so that a killed run loses almost
//! nothing.
//!
//! One file of records, each `[length: u32][kind: u8][payload][checksum: 8 bytes]`, little-endian;
//! the checksum is the start of the sha256 over kind and payload. The first record holds the
//! key. What follows the first record that is cut or damaged is ignored and overwritten. Rows
//! stay on disk: only where they lie is kept in memory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::embed::cache_key::CacheKey;
use crate::embed::content::{ContentHash, KnownFile};
use crate::embed::manifest::Producer;
use crate::error::Result;
use crate::support::fs;

/// Largest payload that is believed.
const MAX_BYTES: usize = 1 << 28;
const HASH_BYTES: usize = 32;

const KEY: u8 = 1;
const PRODUCER: u8 = 2;
const ROW: u8 = 3;
const FAILURE: u8 = 4;
const FILE: u8 = 5;

/// What a journal tells about the runs that wrote it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// What they computed.
    pub(crate) key: Option<CacheKey>,
    /// Offset of each row's embeddings by content.
    pub(crate) rows: HashMap<ContentHash, u64>,
    /// Why content could not be embedded.
    pub(crate) failures: HashMap<ContentHash, String>,
    /// Files whose content hash is known.
    pub(crate) files: Vec<KnownFile>,
    /// What computed the rows.
    pub(crate) producers: Vec<Producer>,
    /// Where the valid records end.
    end: u64,
}

/// A journal that is open for appending.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    end: u64,
    pending: Vec<u8>,
}

impl Journal {
    /// Reads what earlier runs left; nothing where there is no journal.
    pub(crate) fn read(path: &Path) -> Result<Contents> {
        let mut contents = Contents::default();
        if !path.exists() {
            return Ok(contents);
        }
        let mut reader = BufReader::with_capacity(1 << 20, fs::open(path)?);
        let mut producer = None;
        while let Some((kind, payload)) = record(&mut reader) {
            let start = contents.end + 5;
            if contents.accept(kind, &payload, start, &mut producer).is_none() {
                break;
            }
            contents.end = start + payload.len() as u64 + 8;
        }
        Ok(contents)
    }

    /// Opens the journal behind the valid records of `contents`, and starts it with `key` where
    /// it is new.
    pub(crate) fn open(path: &Path, contents: &Contents, key: &CacheKey) -> Result<Journal> {
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = opened.map_err(fs::io_error("open", path))?;
        file.set_len(contents.end).map_err(fs::io_error("write", path))?;
        file.seek(SeekFrom::End(0)).map_err(fs::io_error("write", path))?;
        let mut journal = Journal { path: path.to_path_buf(), file, end: contents.end, pending: Vec::new() };
        if contents.key.is_none() {
            journal.json(KEY, key);
            journal.commit()?;
        }
        Ok(journal)
    }

    /// Adds what computes the rows that follow.
    pub(crate) fn producer(&mut self, producer: &Producer) {
        self.json(PRODUCER, producer);
    }

    /// Adds a row and returns the offset of its embeddings.
    pub(crate) fn row(&mut self, hash: &ContentHash, embeddings: &[u8]) -> u64 {
        let offset = self.end + self.pending.len() as u64 + 5 + HASH_BYTES as u64;
        self.append(ROW, &[hash.as_bytes(), embeddings]);
        offset
    }

    /// Adds the reason why content cannot be embedded.
    pub(crate) fn failure(&mut self, hash: &ContentHash, reason: &str) {
        self.append(FAILURE, &[hash.as_bytes(), reason.as_bytes()]);
    }

    /// Adds a file whose content hash was computed.
    pub(crate) fn file(&mut self, file: &KnownFile) {
        self.json(FILE, file);
    }

    /// Hands what was added to the operating system: from here on it survives the death of this
    /// process.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.file.write_all(&self.pending).map_err(fs::io_error("write", &self.path))?;
        self.end += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Flushes to disk: from here on it survives the loss of power.
    pub(crate) fn sync(&mut self) -> Result<()> {
        Ok(self.file.sync_data().map_err(fs::io_error("write", &self.path))?)
    }

    fn json(&mut self, kind: u8, value: &impl serde::Serialize) {
        #[expect(clippy::expect_used, reason = "plain structs of texts and numbers always have a JSON form")]
        let text = serde_json::to_vec(value).expect("a record of the journal has a JSON form");
        self.append(kind, &[&text]);
    }

    fn append(&mut self, kind: u8, payload: &[&[u8]]) {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let mut hasher = Sha256::new().chain_update([kind]);
        self.pending.extend((length as u32).to_le_bytes());
        self.pending.push(kind);
        for part in payload {
            hasher.update(part);
            self.pending.extend_from_slice(part);
        }
        self.pending.extend(&hasher.finalize()[..8]);
    }
}

impl Contents {
    /// Takes in one record; `None` where its payload makes no sense.
    fn accept(&mut self, kind: u8, payload: &[u8], start: u64, producer: &mut Option<Producer>) -> Option<()> {
        match kind {
            KEY => self.key = Some(serde_json::from_slice(payload).ok()?),
            PRODUCER => *producer = Some(serde_json::from_slice(payload).ok()?),
            ROW => {
                let (hash, embeddings) = payload.split_at_checked(HASH_BYTES)?;
                if embeddings.len() != self.key.as_ref()?.row_bytes() {
                    return None;
                }
                self.rows.insert(ContentHash::from_bytes(hash)?, start + HASH_BYTES as u64);
                self.producers.extend(producer.take());
            }
            FAILURE => {
                let (hash, reason) = payload.split_at_checked(HASH_BYTES)?;
                self.failures.insert(ContentHash::from_bytes(hash)?, String::from_utf8(reason.to_vec()).ok()?);
            }
            FILE => self.files.push(serde_json::from_slice(payload).ok()?),
            _ => return None,
        }
        Some(())
    }
}

/// The next record; `None` at the end and where the file is cut or damaged.
fn record(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    reader.read_exact(&mut head).ok()?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length > MAX_BYTES {
        return None;
    }
    let mut payload = vec![0; length];
    let mut checksum = [0; 8];
    reader.read_exact(&mut payload).ok()?;
    reader.read_exact(&mut checksum).ok()?;
    let digest = Sha256::new().chain_update([head[4]]).chain_update(&payload).finalize();
    (digest[..8] == checksum).then_some((head[4], payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embed::manifest::ModelRecord;
    use crate::embed::schema::{EmbeddingColumn, Precision};
    use crate::preprocess::Preprocess;

    fn key() -> CacheKey {
        CacheKey {
            model: ModelRecord { name: "m".into(), weights: "1".into(), graph: "2".into(), changes: Vec::new() },
            preprocess: Preprocess::imagenet(8, 8),
            dtype: Precision::F32,
            columns: vec![EmbeddingColumn::new("embedding", 2)],
        }
    }

    #[test]
    fn any_cut_keeps_the_records_before_it_and_the_journal_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &Contents::default(), &key()).unwrap();
        let hashes: Vec<ContentHash> = (0..3u8).map(|n| ContentHash::new(&[n])).collect();
        let first = journal.row(&hashes[0], &[7; 8]);
        journal.failure(&hashes[1], "empty");
        journal.commit().unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole[first as usize..][..8], [7; 8]);
        for cut in 0..=whole.len() {
            fs::replace(&path, &whole[..cut]).unwrap();
            let contents = Journal::read(&path).unwrap();
            let mut journal = Journal::open(&path, &contents, &key()).unwrap();
            journal.row(&hashes[2], &[9; 8]);
            journal.commit().unwrap();
            let again = Journal::read(&path).unwrap();
            assert!(again.rows.contains_key(&hashes[2]), "cut at {cut}");
            assert_eq!(again.rows.len(), contents.rows.len() + 1);
            assert_eq!(again.failures.contains_key(&hashes[1]), cut == whole.len());
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path, &Contents::default(), &key()).unwrap();
        journal.row(&ContentHash::new(b"a"), &[1; 8]);
        let second = journal.row(&ContentHash::new(b"b"), &[2; 8]);
        journal.commit().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[second as usize] ^= 1;
        fs::replace(&path, &bytes).unwrap();
        let contents = Journal::read(&path).unwrap();
        assert!(contents.rows.contains_key(&ContentHash::new(b"a")) && contents.rows.len() == 1);
    }
}
