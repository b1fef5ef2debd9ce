//! Writes the Parquet files of a cache: the same rows always give the same bytes.
//!
//! Rows come in the dataset's order in groups of a size that depends only on the bytes of a row, so
//! that memory stays flat. A file's name holds the digest of its content: a new file never
//! overwrites one that a reader may be using.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::builder::{Int8Builder, ListBuilder};
use arrow::array::{ArrayRef, FixedSizeListArray, Float16Array, Float32Array, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest as _, Sha256};

use crate::data::{Dataset, Label, Sample, Task};
use crate::embed::cache_key::CacheKey;
use crate::embed::content::ContentHash;
use crate::embed::manifest::PartRecord;
use crate::embed::schema;
use crate::embed::schema::{Layout, Precision};
use crate::error::{CacheError, Result};
use crate::support::fs;

/// Bytes of embeddings in a row group, about.
const GROUP_BYTES: usize = 8 << 20;
/// Row groups in a part.
const GROUPS: usize = 32;
/// Rows that are encoded at a time, at most: the encoder holds 32 bytes for every 16-bit float of
/// them.
const SLICE_ROWS: usize = 128;
/// Bytes of embeddings that are encoded at a time, about, where a row takes less.
const SLICE_BYTES: usize = 1 << 20;
/// Bytes of a page of embeddings, about: the least that is read for one row.
const PAGE_BYTES: usize = 128 << 10;
/// Name of the table of files that could not be embedded.
pub(crate) const QUARANTINE_FILE: &str = "quarantine.parquet";

/// A file that could not be embedded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) hash: Option<ContentHash>,
    pub(crate) reason: String,
}

/// A sample's image as the column `path` states it: relative to the root where it lies below it,
/// with `/`.
pub(crate) fn stated_path(dataset: &Dataset, sample: &Sample) -> String {
    let path = sample.path.strip_prefix(&dataset.root).unwrap_or(&sample.path);
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { text.into_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") }
}

/// Rows of a row group for rows of this size: a power of two.
pub(crate) fn group_rows(row_bytes: usize) -> usize {
    let most = (GROUP_BYTES / row_bytes.max(1)).clamp(1, 4096);
    1 << most.ilog2()
}

/// Writes parts into a directory.
pub(crate) struct PartsWriter<'a> {
    directory: PathBuf,
    dataset: &'a Dataset,
    key: &'a CacheKey,
    layout: Layout,
    schema: SchemaRef,
    open: Option<Table>,
    parts: Vec<PartRecord>,
}

impl<'a> PartsWriter<'a> {
    /// A writer of parts with the rows of `dataset`.
    pub(crate) fn new(directory: &Path, dataset: &'a Dataset, key: &'a CacheKey) -> Self {
        let layout = Layout::new(dataset);
        let schema = schema::parts(layout, &key.columns, key.dtype);
        PartsWriter { directory: directory.to_path_buf(), dataset, key, layout, schema, open: None, parts: Vec::new() }
    }

    /// Appends one row group: samples with their content and the bytes of their embeddings.
    pub(crate) fn append(&mut self, samples: &[(&Sample, ContentHash)], embeddings: &[u8]) -> Result<()> {
        let batch = self.batch(samples, embeddings)?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Table::create(&self.directory, self.schema.clone(), self.key)?,
        };
        open.write(&batch)?;
        if open.groups == GROUPS {
            self.parts.push(open.finish(&self.directory, &part_name(self.parts.len()))?);
        } else {
            self.open = Some(open);
        }
        Ok(())
    }

    /// Closes the last part; there is one even without rows.
    pub(crate) fn finish(mut self) -> Result<Vec<PartRecord>> {
        if self.open.is_none() && self.parts.is_empty() {
            self.open = Some(Table::create(&self.directory, self.schema.clone(), self.key)?);
        }
        if let Some(open) = self.open.take() {
            self.parts.push(open.finish(&self.directory, &part_name(self.parts.len()))?);
        }
        Ok(self.parts)
    }

    fn batch(&self, samples: &[(&Sample, ContentHash)], embeddings: &[u8]) -> Result<RecordBatch> {
        let optional = |text: &dyn Fn(&Sample) -> Option<String>| -> ArrayRef {
            Arc::new(samples.iter().map(|(sample, _)| text(sample)).collect::<StringArray>())
        };
        let mut columns: Vec<ArrayRef> = vec![
            optional(&|sample| Some(sample.id.clone())),
            optional(&|sample| Some(stated_path(self.dataset, sample))),
            Arc::new(samples.iter().map(|(_, hash)| Some(hash.to_string())).collect::<StringArray>()),
            optional(&|sample| sample.split.map(|split| split.name().to_owned())),
            optional(&|sample| sample.group.clone()),
        ];
        match self.layout.task {
            Task::Unlabelled => {}
            Task::Multiclass | Task::Ordinal => columns.push(optional(&|sample| match sample.label {
                Label::Class(class) => self.dataset.classes.get(class).cloned(),
                _ => None,
            })),
            Task::MultiLabel => columns.push(multi_labels(samples)),
        }
        if self.layout.weighted {
            columns.push(Arc::new(samples.iter().map(|(sample, _)| Some(sample.weight)).collect::<Float32Array>()));
        }
        columns.extend(self.embeddings(embeddings)?);
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| self.refused(&error))
    }

    /// The columns of embeddings from rows of bytes.
    fn embeddings(&self, rows: &[u8]) -> Result<Vec<ArrayRef>> {
        let mut start = 0;
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for column in &self.key.columns {
            let end = start + column.dimension * self.key.dtype.size();
            let of_column = rows.chunks_exact(self.key.row_bytes()).map(|row| &row[start..end]);
            let values: ArrayRef = match self.key.dtype {
                Precision::F32 => Arc::new(Float32Array::from(
                    of_column.flat_map(bytemuck::pod_collect_to_vec::<u8, f32>).collect::<Vec<f32>>(),
                )),
                Precision::F16 => Arc::new(Float16Array::from(
                    of_column.flat_map(bytemuck::pod_collect_to_vec::<u8, half::f16>).collect::<Vec<half::f16>>(),
                )),
            };
            let width = i32::try_from(column.dimension).unwrap_or(i32::MAX);
            let item = schema::embedding_item(self.key.dtype);
            let list = FixedSizeListArray::try_new(item, width, values, None).map_err(|error| self.refused(&error))?;
            arrays.push(Arc::new(list));
            start = end;
        }
        Ok(arrays)
    }

    fn refused(&self, error: &dyn std::fmt::Display) -> crate::Error {
        CacheError::Write { path: self.directory.clone(), reason: error.to_string() }.into()
    }
}

fn part_name(number: usize) -> String {
    format!("part-{number:05}")
}

fn multi_labels(samples: &[(&Sample, ContentHash)]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int8Builder::new()).with_field(schema::labels_item());
    for (sample, _) in samples {
        match &sample.label {
            Label::Classes(flags) => {
                flags.iter().for_each(|flag| lists.values().append_option(flag.map(i8::from)));
                lists.append(true);
            }
            _ => lists.append(false),
        }
    }
    Arc::new(lists.finish())
}

/// Writes the quarantine table into a directory under its final name.
pub(crate) fn write_quarantine(directory: &Path, rows: &[Quarantined], key: &CacheKey) -> Result<PartRecord> {
    let text = |value: &dyn Fn(&Quarantined) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let columns = vec![
        text(&|row| Some(row.id.clone())),
        text(&|row| Some(row.path.clone())),
        text(&|row| row.hash.map(|hash| hash.to_string())),
        text(&|row| Some(row.reason.clone())),
    ];
    let batch = RecordBatch::try_new(schema::quarantine(), columns)
        .map_err(|error| CacheError::Write { path: directory.to_path_buf(), reason: error.to_string() })?;
    let mut table = Table::create(directory, schema::quarantine(), key)?;
    table.write(&batch)?;
    let mut record = table.finish(directory, "quarantine")?;
    fs::rename(&directory.join(&record.file), &directory.join(QUARANTINE_FILE))?;
    record.file = QUARANTINE_FILE.to_owned();
    Ok(record)
}

/// One Parquet file being written.
struct Table {
    path: PathBuf,
    writer: ArrowWriter<HashingFile>,
    slice_rows: usize,
    rows: u64,
    groups: usize,
}

impl Table {
    fn create(directory: &Path, schema: SchemaRef, key: &CacheKey) -> Result<Table> {
        let path = directory.join("unfinished");
        let file = File::create(&path).map_err(fs::io_error("create", &path))?;
        let file = HashingFile { file, hasher: Sha256::new(), bytes: 0 };
        let writer =
            ArrowWriter::try_new(file, schema, Some(properties(key)?)).map_err(|error| failed(&path, error))?;
        let slice_rows = (SLICE_BYTES / key.row_bytes().max(1)).clamp(1, SLICE_ROWS);
        Ok(Table { path, writer, slice_rows, rows: 0, groups: 0 })
    }

    /// Writes one row group.
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for start in (0..batch.num_rows()).step_by(self.slice_rows) {
            let slice = batch.slice(start, self.slice_rows.min(batch.num_rows() - start));
            self.writer.write(&slice).map_err(|error| failed(&self.path, error))?;
        }
        self.writer.flush().map_err(|error| failed(&self.path, error))?;
        self.rows += batch.num_rows() as u64;
        self.groups += 1;
        Ok(())
    }

    /// Closes the file and gives it its name: `stem`, the start of its digest, `.parquet`.
    fn finish(self, directory: &Path, stem: &str) -> Result<PartRecord> {
        let HashingFile { file, hasher, bytes } =
            self.writer.into_inner().map_err(|error| failed(&self.path, error))?;
        file.sync_all().map_err(fs::io_error("write", &self.path))?;
        let sha256 = fs::hexadecimal(&hasher.finalize());
        let name = format!("{stem}-{}.parquet", &sha256[..12]);
        fs::rename(&self.path, &directory.join(&name))?;
        Ok(PartRecord { file: name, rows: self.rows, bytes, sha256 })
    }
}

/// Whether a file name is that of a part.
pub(crate) fn is_part(name: &str) -> bool {
    let middle = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".parquet"));
    middle.and_then(|middle| middle.split_once('-')).is_some_and(|(number, digest)| {
        number.len() >= 5
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && digest.len() == 12
            && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// The fixed properties of every file: nothing in them depends on time or machine.
fn properties(key: &CacheKey) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(3).map_err(|error| failed(Path::new("zstd"), error))?;
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("defrost version {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(1 << 20));
    for text in [schema::ID, schema::PATH, schema::CONTENT_HASH] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(text), false);
    }
    for column in &key.columns {
        // Floats do not compress, and uncompressed pages are read fastest.
        let path = ColumnPath::new(vec![column.name.clone(), "list".into(), "item".into()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_data_page_size_limit(path.clone(), PAGE_BYTES)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// A writer's failure: what the operating system said, where it is its fault.
fn failed(path: &Path, error: parquet::errors::ParquetError) -> crate::Error {
    if let parquet::errors::ParquetError::External(source) = error {
        return match source.downcast::<std::io::Error>() {
            Ok(source) => fs::io_error("write", path)(*source).into(),
            Err(source) => CacheError::Write { path: path.to_path_buf(), reason: source.to_string() }.into(),
        };
    }
    CacheError::Write { path: path.to_path_buf(), reason: error.to_string() }.into()
}

/// A file whose digest is taken while it is written.
struct HashingFile {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_names_are_told_from_other_files() {
        assert!(is_part("part-00000-0123456789ab.parquet"));
        for other in ["part-00000.parquet", "part-0-0123456789ab.parquet", "quarantine.parquet", "mine.parquet"] {
            assert!(!is_part(other), "{other}");
        }
    }

    #[test]
    fn groups_hold_about_the_same_number_of_bytes() {
        assert_eq!(group_rows(1280 * 4), 1024);
        assert_eq!(group_rows(384 * 2), 4096);
        assert_eq!(group_rows(10 << 20), 1);
    }
}
