//! Parquet columns as plain values, with file and row in every complaint.
//!
//! Accepts what pandas, Polars, DuckDB and Hugging Face `datasets` write: plain, large, view and
//! dictionary strings; lists, large lists and fixed-size lists of floats of any width.

use std::path::{Path, PathBuf};

use arrow::array::cast::AsArray;
use arrow::array::types::{Float32Type, Int64Type};
use arrow::array::{Array, ArrayRef, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::embed::labels::RawLabel;
use crate::error::{CacheError, Result};
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

/// A complaint about a whole file.
pub(crate) fn damaged(path: &Path, error: &dyn std::fmt::Display) -> CacheError {
    CacheError::Damaged { path: path.to_path_buf(), problem: error.to_string() }
}

/// Whether a column can hold embeddings.
pub(crate) fn is_embedding(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type().is_floating()
        }
        _ => false,
    }
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

    /// A column as f32; `otherwise` where there is no such column or the value is null.
    pub(crate) fn numbers(&self, name: &str, otherwise: f32) -> Result<Vec<f32>> {
        let Some(array) = self.column(name) else { return Ok(vec![otherwise; self.len()]) };
        let array = self.converted(name, array, &DataType::Float32)?;
        Ok(array.as_primitive::<Float32Type>().iter().map(|number| number.unwrap_or(otherwise)).collect())
    }

    /// Appends the rows of a column of embeddings to `x`; all must have the same length, which
    /// `dimension` remembers.
    ///
    /// # Errors
    /// [`CacheError::Row`] for a null row or value, a length that differs, a value that is not
    /// finite.
    pub(crate) fn embeddings(&self, name: &str, dimension: &mut Option<usize>, x: &mut Vec<f32>) -> Result<()> {
        let Some(array) = self.column(name) else { return Ok(()) };
        let lists = self.lists(name, array, DataType::Float32)?;
        let values = lists.values().as_primitive::<Float32Type>();
        for row in 0..lists.len() {
            if lists.is_null(row) {
                return Err(self.complaint(row, name, "the embedding is null").into());
            }
            let (start, end) = (lists.value_offsets()[row] as usize, lists.value_offsets()[row + 1] as usize);
            let expected = *dimension.get_or_insert(end - start);
            if end - start != expected {
                let problem = format!("the embedding has {} values, those before it {expected}", end - start);
                return Err(self.complaint(row, name, problem).into());
            }
            if values.null_count() > 0 && (start..end).any(|at| values.is_null(at)) {
                return Err(self.complaint(row, name, "the embedding has a null value").into());
            }
            let found = &values.values()[start..end];
            if let Some(value) = found.iter().find(|value| !value.is_finite()) {
                return Err(self.complaint(row, name, format!("the embedding has the value {value}")).into());
            }
            x.extend_from_slice(found);
        }
        Ok(())
    }

    /// A column of labels of any kind.
    pub(crate) fn labels(&self, name: &str) -> Result<Vec<RawLabel>> {
        let Some(array) = self.column(name) else { return Ok(vec![RawLabel::Unknown; self.len()]) };
        let item = match array.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type(),
            DataType::Dictionary(_, values) => return self.scalar_labels(name, array, values),
            other => return self.scalar_labels(name, array, other),
        };
        if matches!(item, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            let lists = self.lists(name, array, DataType::Utf8)?;
            return Ok((0..lists.len())
                .map(|row| match lists.is_null(row) {
                    true => RawLabel::Unknown,
                    false => {
                        let names = lists.value(row);
                        RawLabel::Names(names.as_string::<i32>().iter().flatten().map(str::to_owned).collect())
                    }
                })
                .collect());
        }
        let lists = self.lists(name, array, DataType::Float32)?;
        let mut labels = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            if lists.is_null(row) {
                labels.push(RawLabel::Unknown);
                continue;
            }
            let mut flags = Vec::new();
            for value in lists.value(row).as_primitive::<Float32Type>() {
                flags.push(match value {
                    None => None,
                    Some(1.0) => Some(true),
                    Some(0.0) => Some(false),
                    Some(other) => {
                        let problem = format!("`{other}` is not one of 0, 1 and null");
                        return Err(self.complaint(row, name, problem).into());
                    }
                });
            }
            labels.push(RawLabel::Flags(flags));
        }
        Ok(labels)
    }

    fn scalar_labels(&self, name: &str, array: &ArrayRef, values: &DataType) -> Result<Vec<RawLabel>> {
        if values.is_integer() {
            let array = self.converted(name, array, &DataType::Int64)?;
            let numbers = array.as_primitive::<Int64Type>();
            return Ok(numbers.iter().map(|n| n.map_or(RawLabel::Unknown, RawLabel::Number)).collect());
        }
        if values.is_floating() {
            let problem = format!("column `{name}` holds {values}: labels are text, integers, booleans or lists");
            return Err(CacheError::Damaged { path: self.path.clone(), problem }.into());
        }
        Ok(self.texts(name)?.into_iter().map(|text| text.map_or(RawLabel::Unknown, RawLabel::Text)).collect())
    }

    fn lists(&self, name: &str, array: &ArrayRef, item: DataType) -> Result<ListArray> {
        let list = DataType::List(Field::new("item", item, true).into());
        Ok(self.converted(name, array, &list)?.as_list::<i32>().clone())
    }
}
