//! Parquet columns as plain values, with file and row in every complaint.
//!
//! Accepts what pandas, Polars, DuckDB and Hugging Face `datasets` write: plain, large, view and
//! dictionary strings; lists, large lists and fixed-size lists of floats of any width.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::Float32Type;
use arrow::array::{Array, ArrayRef, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::data::{other_format, unsupported};
use crate::error::{CacheError, DataError, Error, Result};
use crate::support::fs;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 1024;

/// The schema of a Parquet file.
pub(crate) fn schema_of(path: &Path) -> Result<Schema> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::open(path)?).map_err(|error| damaged(path, &error))?;
    Ok(builder.schema().as_ref().clone())
}

/// Streams the named columns of a Parquet file to `visit` and returns the number of rows; columns
/// that do not exist are left out.
pub(crate) fn scan(path: &Path, columns: &[&str], mut visit: impl FnMut(&Rows) -> Result<()>) -> Result<u64> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::open(path)?).map_err(|error| damaged(path, &error))?;
    let wanted: Vec<usize> = builder
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| columns.contains(&field.name().as_str()))
        .map(|(at, _)| at)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader =
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(|error| damaged(path, &error))?;
    let mut first = 0;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(path, &error))?;
        let count = batch.num_rows() as u64;
        visit(&Rows { path: path.to_path_buf(), first, batch })?;
        first += count;
    }
    Ok(first)
}

/// A complaint about a whole file: damaged, or whole and of a kind that is not read.
pub(crate) fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let problem = error.to_string();
    match unsupported(&problem) {
        Some(problem) => DataError::Table { path: path.to_path_buf(), problem }.into(),
        None => CacheError::Damaged { path: path.to_path_buf(), problem }.into(),
    }
}

/// Checks that a file is Parquet by its first bytes.
///
/// # Errors
/// [`CacheError::NotACache`] that says what it is instead.
pub(crate) fn check_parquet(path: &Path) -> Result<()> {
    let start = fs::start(path)?;
    let is_text = |start: &[u8]| start.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r'));
    let problem = match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => return Ok(()),
        [] => "it is empty".into(),
        start => match other_format(start) {
            Some(format) => format!("it is {format}; features are read from Parquet").into(),
            None if is_text(start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start))
                || std::str::from_utf8(start).is_ok() =>
            {
                "it is text, CSV perhaps; features are read from Parquet".into()
            }
            None => "it does not start as Parquet does".into(),
        },
    };
    Err(CacheError::NotACache { path: path.to_path_buf(), problem }.into())
}

/// Where embeddings are: in a column of lists, or in a column per feature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Embedding {
    /// A column of lists of numbers.
    Lists(String),
    /// Columns of numbers, in the order of the features.
    PerFeature(Vec<String>),
}

impl Embedding {
    /// What it is called: the column, or `f0..f383`.
    pub(crate) fn name(&self) -> String {
        match self {
            Embedding::Lists(name) => name.clone(),
            Embedding::PerFeature(names) => match names.as_slice() {
                [first, .., last] => format!("{first}..{last}"),
                names => names.concat(),
            },
        }
    }

    /// The columns to read.
    pub(crate) fn columns(&self) -> Vec<&str> {
        match self {
            Embedding::Lists(name) => vec![name],
            Embedding::PerFeature(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// What can be embeddings in a file: columns of lists of floats; where there are none, those of
/// lists of integers that are not called like labels; where there are none either, columns of
/// floats that are counted through (`f0`, `f1`, ...), from 0 or 1 without a gap, two at least.
pub(crate) fn candidates(schema: &Schema) -> Vec<Embedding> {
    let lists = |accepts: &dyn Fn(&DataType) -> bool| -> Vec<Embedding> {
        let item = |field: &&Arc<Field>| item_type(field.data_type()).is_some_and(accepts);
        schema.fields().iter().filter(item).map(|field| Embedding::Lists(field.name().clone())).collect()
    };
    let floats = lists(&DataType::is_floating);
    if !floats.is_empty() {
        return floats;
    }
    let is_label = |embedding: &Embedding| {
        let name = embedding.name();
        name.eq_ignore_ascii_case("label") || name.eq_ignore_ascii_case("labels")
    };
    let integers: Vec<Embedding> = lists(&DataType::is_integer).into_iter().filter(|found| !is_label(found)).collect();
    if !integers.is_empty() {
        return integers;
    }
    let mut families: BTreeMap<&str, BTreeMap<usize, &str>> = BTreeMap::new();
    for field in schema.fields().iter().filter(|field| field.data_type().is_floating()) {
        let stem = field.name().trim_end_matches(|c: char| c.is_ascii_digit());
        if let Ok(number) = field.name()[stem.len()..].parse() {
            families.entry(stem).or_default().insert(number, field.name());
        }
    }
    let is_counted = |family: &&BTreeMap<usize, &str>| {
        let first = family.keys().next().copied().unwrap_or(2);
        family.len() > 1 && first < 2 && family.keys().copied().eq(first..first + family.len())
    };
    let columns = |family: &BTreeMap<usize, &str>| family.values().map(|name| (*name).to_owned()).collect();
    families.values().filter(is_counted).map(|family| Embedding::PerFeature(columns(family))).collect()
}

/// Embeddings that were read, row by row.
#[derive(Debug, Default)]
pub(crate) struct EmbeddingRows {
    /// Values of a row; `None` before the first.
    pub(crate) dimension: Option<usize>,
    /// The rows one behind the other.
    pub(crate) values: Vec<f32>,
    /// Rows of f16 that hold nothing but zeros and numbers below the smallest that f16 keeps in
    /// full.
    pub(crate) vanished: usize,
}

/// The type of the values of lists; `None` for anything else.
fn item_type(kind: &DataType) -> Option<&DataType> {
    match kind {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item.data_type()),
        _ => None,
    }
}

/// What an infinite value may come from, by the type it was stored in.
fn overflow(value: f32, stored: &DataType) -> &'static str {
    match stored {
        DataType::Float16 if value.is_infinite() => ", f16 ends at 65504: write the embeddings as f32",
        DataType::Float64 if value.is_infinite() => " as f32, which ends at 3.4e38: scale the embeddings",
        _ => "",
    }
}

/// Whether a row has no value that f16 keeps in full.
fn are_below_f16(row: &[f32]) -> bool {
    row.iter().all(|value| value.abs() < half::f16::MIN_POSITIVE.to_f32())
}

/// Some rows of a Parquet file.
pub(crate) struct Rows {
    path: PathBuf,
    first: u64,
    batch: RecordBatch,
}

impl Rows {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(name)
    }

    /// A complaint about a row, counted from 0 in this batch.
    pub(crate) fn complaint(&self, row: usize, column: &str, problem: impl Into<String>) -> CacheError {
        CacheError::Row {
            path: self.path.clone(),
            row: self.first + row as u64 + 1,
            column: column.to_owned(),
            problem: problem.into(),
        }
    }

    fn converted(&self, name: &str, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        cast(array, to).map_err(|_| {
            let problem = format!("column `{name}` holds {}, which cannot be read as {to}", array.data_type());
            CacheError::Damaged { path: self.path.clone(), problem }.into()
        })
    }

    /// A column as text, `None` for null; numbers become their decimal text. All `None` where there
    /// is no such column.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let Some(array) = self.column(name) else { return Ok(vec![None; self.len()]) };
        let array = self.converted(name, array, &DataType::Utf8)?;
        Ok(array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// Appends the rows of embeddings to `read`; all must have the same length.
    ///
    /// # Errors
    /// [`CacheError::Row`] for a null row or value, a length that differs, a value that is not
    /// finite.
    pub(crate) fn embeddings(&self, embedding: &Embedding, read: &mut EmbeddingRows) -> Result<()> {
        let name = match embedding {
            Embedding::Lists(name) => name,
            Embedding::PerFeature(names) => return self.features(names, read),
        };
        let Some(array) = self.column(name) else {
            let problem = format!("it has no column `{name}`, which the files before it have");
            return Err(CacheError::Damaged { path: self.path.clone(), problem }.into());
        };
        let lists = self.lists(name, array, DataType::Float32)?;
        let values = lists.values().as_primitive::<Float32Type>();
        let kind = item_type(array.data_type()).unwrap_or(array.data_type());
        for row in 0..lists.len() {
            if lists.is_null(row) {
                return Err(self.complaint(row, name, "the embedding is null").into());
            }
            let (start, end) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
            let expected = *read.dimension.get_or_insert(end - start);
            if end - start != expected {
                let problem = format!("the embedding has {} values, those before it {expected}", end - start);
                return Err(self.complaint(row, name, problem).into());
            }
            if values.null_count() > 0 && (start..end).any(|at| values.is_null(at)) {
                return Err(self.complaint(row, name, "the embedding has a null value").into());
            }
            let found = &values.values()[start..end];
            if let Some(value) = found.iter().find(|value| !value.is_finite()) {
                let problem = format!("the embedding has the value {value}{}", overflow(*value, kind));
                return Err(self.complaint(row, name, problem).into());
            }
            read.vanished += usize::from(*kind == DataType::Float16 && are_below_f16(found));
            read.values.extend_from_slice(found);
        }
        Ok(())
    }

    /// Appends rows whose features are in columns of their own.
    fn features(&self, names: &[String], read: &mut EmbeddingRows) -> Result<()> {
        let mut kinds = Vec::with_capacity(names.len());
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let Some(array) = self.column(name) else {
                let problem = format!("it has no column `{name}`, which the files before it have");
                return Err(CacheError::Damaged { path: self.path.clone(), problem }.into());
            };
            let kind = array.data_type();
            kinds.push(kind);
            let array = self.converted(name, array, &DataType::Float32)?;
            let values = array.as_primitive::<Float32Type>().clone();
            let is_wrong = |row: &usize| values.is_null(*row) || !values.value(*row).is_finite();
            if let Some(row) = (0..self.len()).find(is_wrong) {
                let value = values.value(row);
                let found =
                    if values.is_null(row) { "null".to_owned() } else { format!("{value}{}", overflow(value, kind)) };
                return Err(self.complaint(row, name, format!("the feature is {found}")).into());
            }
            columns.push(values);
        }
        read.dimension = Some(names.len());
        let are_half = kinds.iter().all(|kind| **kind == DataType::Float16);
        for row in 0..self.len() {
            let start = read.values.len();
            read.values.extend(columns.iter().map(|column| column.value(row)));
            read.vanished += usize::from(are_half && are_below_f16(&read.values[start..]));
        }
        Ok(())
    }

    fn lists(&self, name: &str, array: &ArrayRef, item: DataType) -> Result<ListArray> {
        let list = DataType::List(Field::new("item", item, true).into());
        Ok(self.converted(name, array, &list)?.as_list::<i32>().clone())
    }
}
