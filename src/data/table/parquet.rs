//! Parquet tables: texts, numbers, booleans and lists of them become text.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::data::table::{Column, Table};
use crate::error::{DataError, FileError, Result};
use crate::support::fs;

/// The first bytes of every Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";

/// Whether the file starts as a Parquet file does.
pub(super) fn is_parquet(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    fs::open(path)?.take(4).read_to_end(&mut start).map_err(fs::io_error("read", path))?;
    Ok(start == MAGIC)
}

/// The names of the top-level columns.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    Ok(builder(path)?.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// An entry of the file's metadata.
pub(super) fn metadata(path: &Path, key: &str) -> Result<Option<String>> {
    let builder = builder(path)?;
    let entries = builder.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    Ok(entries.filter(|entry| entry.key == key).find_map(|entry| entry.value.clone()))
}

/// Reads the columns of these indices.
///
/// # Errors
/// [`FileError::Parse`] for a damaged file, [`DataError::Table`] for a column that is no text,
/// number, boolean or list of them.
pub(super) fn read(path: &Path, names: Vec<String>, indices: &[usize]) -> Result<Table> {
    let builder = builder(path)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), indices.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(damaged(path))?;
    let mut columns = vec![None; names.len()];
    let mut count = 0;
    for batch in reader {
        let batch = batch.map_err(damaged(path))?;
        count += batch.num_rows() as u64;
        for (array, &index) in batch.columns().iter().zip(indices) {
            let cells = cells(array).ok_or_else(|| DataError::Table {
                path: path.to_path_buf(),
                problem: format!("column `{}` has type {}, which is no text", names[index], array.data_type()),
            })?;
            append(&mut columns[index], cells);
        }
    }
    Ok(Table { path: path.to_path_buf(), names, columns, rows: (1..=count).collect() })
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>> {
    Ok(ParquetRecordBatchReaderBuilder::try_new(fs::open(path)?).map_err(damaged(path))?)
}

fn damaged<E: std::error::Error + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> FileError {
    let path = path.to_path_buf();
    move |source| FileError::Parse { path, format: "Parquet", source: Box::new(source) }
}

/// The cells as text; `None` where the type has no text form.
fn cells(array: &ArrayRef) -> Option<Column> {
    let values = match array.data_type() {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Some(field),
        _ => None,
    };
    let Some(field) = values else {
        let text = cast(array, &DataType::Utf8)?;
        return Some(Column::Text(texts(text.as_string()).collect()));
    };
    let lists = cast(array, &DataType::List(Arc::new(Field::new(field.name(), DataType::Utf8, true))))?;
    let lists = lists.as_list::<i32>();
    let rows = (0..lists.len()).map(|row| {
        let list = lists.is_valid(row).then(|| lists.value(row))?;
        Some(texts(list.as_string()).flatten().map(str::to_owned).collect())
    });
    Some(Column::Lists(rows.collect()))
}

fn cast(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, to, &strict).ok()
}

/// Trimmed texts; null and blank are `None`.
fn texts(array: &StringArray) -> impl Iterator<Item = Option<&str>> {
    array.iter().map(|cell| cell.map(str::trim).filter(|cell| !cell.is_empty()))
}

/// Adds the cells of one batch.
fn append(column: &mut Option<Column>, cells: Column) {
    match (column.as_mut(), cells) {
        (Some(Column::Text(all)), Column::Text(more)) => all.append(&more),
        (Some(Column::Lists(all)), Column::Lists(more)) => all.extend(more),
        (_, cells) => *column = Some(cells),
    }
}
