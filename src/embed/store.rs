//! Rows that exist already: in the parts of a finished cache and in the journal of an unfinished
//! run.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::array::cast::AsArray;
use arrow::array::types::{Float16Type, Float32Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::file::metadata::PageIndexPolicy;

use crate::embed::cache_key::CacheKey;
use crate::embed::content::ContentHash;
use crate::embed::manifest::{Manifest, PartRecord};
use crate::embed::schema::Precision;
use crate::embed::{schema, table};
use crate::error::{CacheError, Result};
use crate::support::fs;
use crate::support::progress::Progress;

/// Where a row's embeddings lie.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A row of a part.
    Part { part: u32, row: u32 },
    /// An offset in the journal.
    Journal(u64),
}

/// Finds the embeddings of images by their content.
pub(crate) struct Store {
    key: CacheKey,
    parts: Vec<Part>,
    places: HashMap<ContentHash, Place>,
    complete: bool,
    journal: Option<(PathBuf, File)>,
}

struct Part {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl Store {
    /// Opens the parts of a cache that are whole; the rows of the others are as good as absent, and
    /// `progress` is told.
    ///
    /// With `thorough` their digests are checked, otherwise only that they exist, have their size
    /// and can be opened.
    pub(crate) fn open(
        cache: &Path,
        key: &CacheKey,
        manifest: Option<&Manifest>,
        thorough: bool,
        progress: &dyn Progress,
    ) -> Store {
        let mut store =
            Store { key: key.clone(), parts: Vec::new(), places: HashMap::new(), complete: true, journal: None };
        for record in manifest.iter().flat_map(|manifest| &manifest.parts) {
            let opened = check_part(cache, record, thorough).and_then(|()| store.add_part(&cache.join(&record.file)));
            if let Err(error) = opened {
                store.complete = false;
                progress.note(&format!("{error}; its rows are computed again"));
            }
        }
        store
    }

    fn add_part(&mut self, path: &Path) -> Result<()> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata =
            ArrowReaderMetadata::load(&fs::open(path)?, options).map_err(|error| table::damaged(path, &error))?;
        let part = self.parts.len() as u32;
        let mut row = 0;
        let mut found = Vec::new();
        table::scan(path, &[schema::CONTENT_HASH], |rows| {
            for text in rows.texts(schema::CONTENT_HASH)? {
                found
                    .extend(text.as_deref().and_then(ContentHash::parse).map(|hash| (hash, Place::Part { part, row })));
                row += 1;
            }
            Ok(())
        })?;
        self.places.extend(found);
        self.parts.push(Part { path: path.to_path_buf(), metadata });
        Ok(())
    }

    /// Adds the rows of a journal.
    pub(crate) fn add_journal(&mut self, path: &Path, rows: &HashMap<ContentHash, u64>) -> Result<()> {
        if !rows.is_empty() {
            self.journal = Some((path.to_path_buf(), fs::open(path)?));
            self.places.extend(rows.iter().map(|(hash, offset)| (*hash, Place::Journal(*offset))));
        }
        Ok(())
    }

    /// Whether every part of the cache could be used.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Contents that there are embeddings of.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are embeddings of this content.
    pub(crate) fn contains(&self, hash: &ContentHash) -> bool {
        self.places.contains_key(hash)
    }

    /// The embeddings of these contents, one row after the other.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] where a file does not give what it should.
    pub(crate) fn fetch(&mut self, hashes: &[ContentHash]) -> Result<Vec<u8>> {
        let row_bytes = self.key.row_bytes();
        let mut out = vec![0; hashes.len() * row_bytes];
        // Per part: row to where it goes.
        let mut wanted: BTreeMap<u32, BTreeMap<u32, Vec<usize>>> = BTreeMap::new();
        for (at, (hash, target)) in hashes.iter().zip(out.chunks_exact_mut(row_bytes)).enumerate() {
            match (self.places.get(hash), &mut self.journal) {
                (Some(Place::Journal(offset)), Some((path, file))) => {
                    file.seek(SeekFrom::Start(*offset)).map_err(fs::io_error("read", path))?;
                    file.read_exact(target).map_err(fs::io_error("read", path))?;
                }
                (Some(Place::Part { part, row }), _) => {
                    wanted.entry(*part).or_default().entry(*row).or_default().push(at);
                }
                _ => {
                    let problem = format!("the row of content {hash} is gone");
                    return Err(CacheError::Damaged { path: "journal".into(), problem }.into());
                }
            }
        }
        for (part, rows) in wanted {
            self.fetch_part(&self.parts[part as usize], &rows, &mut out)?;
        }
        Ok(out)
    }

    fn fetch_part(&self, part: &Part, rows: &BTreeMap<u32, Vec<usize>>, out: &mut [u8]) -> Result<()> {
        let damaged = |error: &dyn std::fmt::Display| table::damaged(&part.path, error);
        let total = usize::try_from(part.metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let ranges = rows.keys().map(|&row| row as usize..row as usize + 1);
        let selection = RowSelection::from_consecutive_ranges(ranges, total);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(fs::open(&part.path)?, part.metadata.clone());
        let names = self.key.columns.iter().map(|column| column.name.as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let reader = builder
            .with_projection(mask)
            .with_row_selection(selection)
            .with_batch_size(rows.len())
            .build()
            .map_err(|error| damaged(&error))?;
        let mut targets = rows.values();
        for batch in reader {
            let batch = batch.map_err(|error| damaged(&error))?;
            let columns = self.column_bytes(&batch, &part.path)?;
            for row in 0..batch.num_rows() {
                for &target in targets.next().into_iter().flatten() {
                    let mut start = target * self.key.row_bytes();
                    for (bytes, width) in &columns {
                        out[start..start + width].copy_from_slice(&bytes[row * width..(row + 1) * width]);
                        start += width;
                    }
                }
            }
        }
        match targets.next() {
            None => Ok(()),
            Some(_) => Err(damaged(&"it has fewer rows than its footer states")),
        }
    }

    /// The values of each column of embeddings, and the bytes of one row of it.
    fn column_bytes<'a>(&self, batch: &'a RecordBatch, path: &Path) -> Result<Vec<(&'a [u8], usize)>> {
        let mut columns = Vec::new();
        for column in &self.key.columns {
            let lists = batch.column_by_name(&column.name).and_then(|array| array.as_fixed_size_list_opt());
            let values = lists.map(|lists| lists.values());
            let bytes: Option<&[u8]> = match self.key.dtype {
                Precision::F32 => values
                    .and_then(|values| values.as_primitive_opt::<Float32Type>())
                    .map(|values| bytemuck::cast_slice(values.values())),
                Precision::F16 => values
                    .and_then(|values| values.as_primitive_opt::<Float16Type>())
                    .map(|values| bytemuck::cast_slice(values.values())),
            };
            let width = column.dimension * self.key.dtype.size();
            match bytes.filter(|bytes| bytes.len() == batch.num_rows() * width) {
                Some(bytes) => columns.push((bytes, width)),
                None => {
                    let problem = format!("column `{}` is not what the cache states", column.name);
                    return Err(CacheError::Damaged { path: path.to_path_buf(), problem }.into());
                }
            }
        }
        Ok(columns)
    }
}

/// Whether a file of a cache is there and whole; `thorough` compares its digest.
pub(crate) fn check_part(cache: &Path, record: &PartRecord, thorough: bool) -> Result<()> {
    let path = cache.join(&record.file);
    let damaged = |problem: String| CacheError::Damaged { path: path.clone(), problem }.into();
    let found = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing".into())),
        Err(error) => return Err(fs::io_error("read", &path)(error).into()),
    };
    if found != record.bytes {
        return Err(damaged(format!("it has {found} bytes, the cache states {}", record.bytes)));
    }
    if thorough {
        let found = fs::sha256_of_file(&path)?;
        if found != record.sha256 {
            return Err(damaged(format!("its sha256 is {found}, the cache states {}", record.sha256)));
        }
    }
    Ok(())
}
