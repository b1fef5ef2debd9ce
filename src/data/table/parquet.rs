//! Parquet tables: texts, numbers, booleans and lists of them become text.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::data::table::string_column::ListColumn;
use crate::data::table::{Column, Table};
use crate::error::{DataError, Error, FileError, Result};
use crate::support::fs;

/// The first bytes of every Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";

/// Whether the file starts as a Parquet file does.
pub(super) fn is_parquet(path: &Path) -> Result<bool> {
    Ok(fs::start(path)?.starts_with(MAGIC))
}

/// What the first bytes of a file that is no Parquet are those of, where that is known.
pub(crate) fn other_format(start: &[u8]) -> Option<&'static str> {
    Some(match start {
        [b'P', b'A', b'R', b'E', ..] => "encrypted Parquet",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "a NumPy array",
        [b'P', b'K', 3, 4, ..] => "an Excel workbook, a NumPy archive or another ZIP file",
        [0x89, b'H', b'D', b'F', ..] => "HDF5",
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => "an Arrow (Feather) file",
        [b'O', b'R', b'C', ..] => "ORC",
        [b'S', b'Q', b'L', b'i', ..] => "an SQLite database",
        [0x1f, 0x8b, ..] => "a gzip archive",
        [0x80, 2..=5, ..] => "a Python pickle",
        [b'{' | b'[', ..] => "JSON",
        _ => return None,
    })
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

/// Reads the columns of these indices; `trims` takes blanks off the ends of texts.
///
/// # Errors
/// [`FileError::Parse`] for a damaged file, [`DataError::Table`] for a column that is no text,
/// number, boolean or list of them.
pub(super) fn read(path: &Path, names: Vec<String>, indices: &[usize], trims: bool) -> Result<Table> {
    let builder = builder(path)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), indices.iter().copied());
    let reader = builder.with_projection(mask).build().map_err(damaged(path))?;
    let mut columns = vec![None; names.len()];
    let mut count = 0;
    for batch in reader {
        let batch = batch.map_err(damaged(path))?;
        count += batch.num_rows() as u64;
        for (array, &index) in batch.columns().iter().zip(indices) {
            let cells = cells(array, trims).ok_or_else(|| DataError::Table {
                path: path.to_path_buf(),
                problem: format!("column `{}` holds {}", names[index], described(array.data_type())),
            })?;
            match &mut columns[index] {
                Some(column) => Column::append(column, cells),
                column => *column = Some(cells),
            }
        }
    }
    Ok(Table {
        path: path.to_path_buf(),
        names,
        columns,
        rows: (1..=count).collect(),
        has_nulls: true,
        parts: Vec::new(),
    })
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>> {
    ParquetRecordBatchReaderBuilder::try_new(fs::open(path)?).map_err(damaged(path))
}

fn damaged<E: std::error::Error + Send + Sync + 'static>(path: &Path) -> impl FnOnce(E) -> Error {
    let path = path.to_path_buf();
    move |source| match unsupported(&source.to_string()) {
        Some(problem) => DataError::Table { path, problem }.into(),
        None => FileError::Parse { path, format: "Parquet", source: Box::new(source) }.into(),
    }
}

/// What a reader's error says of a file that is whole and uses what is not read here; `None` for a
/// damaged one.
pub(crate) fn unsupported(error: &str) -> Option<String> {
    const SIGNS: [&str; 6] = ["NYI", "not implemented", "not supported", "unsupported", "Disabled feature", "LZO"];
    let is_unsupported = SIGNS.iter().any(|sign| error.to_lowercase().contains(&sign.to_lowercase()));
    is_unsupported.then(|| format!("it uses a part of Parquet that is not read here: {error}"))
}

/// A type that is no text, in words.
fn described(kind: &DataType) -> String {
    let what = match kind {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => "dates",
        DataType::Time32(_) | DataType::Time64(_) => "times",
        DataType::Duration(_) | DataType::Interval(_) => "durations",
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => "records",
        _ => "values",
    };
    format!("{what} ({kind}) where text, numbers, truth values or lists of them are read")
}

/// The cells as text; `None` where the type has no text form.
fn cells(array: &ArrayRef, trims: bool) -> Option<Column> {
    let clean = |cell: Option<&'_ str>| cell.map(|cell| if trims { cell.trim() } else { cell }.to_owned());
    let item = match array.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    };
    let Some(item) = item else {
        let text = cast(array, &DataType::Utf8)?;
        return Some(Column::Text(text.as_string::<i32>().iter().map(clean).collect()));
    };
    if !is_text(item.data_type()) {
        return None;
    }
    let lists = cast(array, &DataType::List(Arc::new(Field::new(item.name(), DataType::Utf8, true))))?;
    let lists = lists.as_list::<i32>();
    let mut column = ListColumn::default();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            column.push(None);
            continue;
        }
        let list = lists.value(row);
        let trimmed = |cell: Option<&'_ str>| cell.map(|cell| cell.trim().to_owned());
        let list: Vec<Option<String>> = list.as_string::<i32>().iter().map(trimmed).collect();
        column.push(Some(&mut list.iter().map(Option::as_deref)));
    }
    Some(Column::Lists(column))
}

/// Whether values of a type are text, numbers or truth values.
fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Boolean | DataType::Null => true,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => true,
        other => other.is_numeric(),
    }
}

/// The array as another type; `None` where a value does not fit.
fn cast(array: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let is_read = matches!(to, DataType::List(_)) || is_text(array.data_type());
    is_read.then(|| cast_with_options(array, to, &strict).ok()).flatten()
}
