//! A dataset as a table: text or Parquet.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int8Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::data::table::metadata::Memo;
use crate::data::table::{StringColumn, metadata};
use crate::data::{Dataset, Label, Sample, Split, Task, classes};
use crate::error::{DataError, Result};
use crate::support::fs;

/// A column that is no part of a dataset, to be written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraColumn {
    /// Its name.
    pub name: String,
    /// Its cells, in the order of the samples.
    pub cells: StringColumn,
}

/// Writes the dataset as a table (`.csv`, `.tsv` or `.parquet`) with paths relative to its root,
/// and returns the arguments that `defrost` needs to read it as the same dataset: a Parquet table
/// says all of that itself.
///
/// Columns: `path`, `id` where it is not the path, `label` or one column per class, `split`,
/// `group` and `weight` where any sample has them.
///
/// # Errors
/// [`DataError::TableExtension`] for another extension, `FileError` when it cannot be written.
pub fn write_table(dataset: &Dataset, path: &Path) -> Result<Vec<String>> {
    write_table_with(dataset, &[], path)
}

/// [`write_table`] with further columns, behind the others.
///
/// # Errors
/// As [`write_table`].
pub fn write_table_with(dataset: &Dataset, extra: &[ExtraColumn], path: &Path) -> Result<Vec<String>> {
    let mut columns = columns(dataset);
    for column in extra {
        let taken = columns.iter().any(|own| own.name.eq_ignore_ascii_case(&column.name));
        let name = if taken { format!("{} (kept)", column.name) } else { column.name.clone() };
        columns.push(Column { name, cells: Cells::Text(column.cells.clone()) });
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => fs::replace(path, &text(&columns, dataset.samples.len(), b',', path)?)?,
        Some("tsv") => fs::replace(path, &text(&columns, dataset.samples.len(), b'\t', path)?)?,
        Some("parquet") => {
            fs::replace(path, &parquet(dataset, &columns).map_err(fs::io_error("write", path))?)?;
            return Ok(Vec::new());
        }
        _ => return Err(DataError::TableExtension { path: path.to_path_buf() }.into()),
    }
    let mut reading = vec!["--root".to_owned(), dataset.root.display().to_string()];
    reading.extend(arguments(dataset));
    Ok(reading)
}

/// The columns as delimited text.
fn text(columns: &[Column], rows: usize, delimiter: u8, path: &Path) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    let failed = |error: csv::Error| fs::io_error("write", path)(std::io::Error::other(error));
    writer.write_record(columns.iter().map(|column| column.name.as_str())).map_err(failed)?;
    for row in 0..rows {
        for column in columns {
            match &column.cells {
                Cells::Text(cells) => writer.write_field(cells.get(row).unwrap_or_default()),
                Cells::Class(cells) => {
                    writer.write_field(cells[row].map_or("", |present| if present { "1" } else { "0" }))
                }
                Cells::Weight(cells) => writer.write_field(cells[row].to_string()),
            }
            .map_err(failed)?;
        }
        writer.write_record(None::<&[u8]>).map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(|error| fs::io_error("write", path)(error.into_error()))?)
}

/// The columns as Parquet, with the memo that says how to read them.
fn parquet(dataset: &Dataset, columns: &[Column]) -> std::io::Result<Vec<u8>> {
    let field = |column: &Column| match &column.cells {
        Cells::Text(cells) => Field::new(&column.name, DataType::Utf8, cells.iter().any(|cell| cell.is_none())),
        Cells::Class(cells) => Field::new(&column.name, DataType::Int8, cells.contains(&None)),
        Cells::Weight(_) => Field::new(&column.name, DataType::Float32, false),
    };
    let array = |column: &Column| -> ArrayRef {
        match &column.cells {
            Cells::Text(cells) => Arc::new(cells.iter().collect::<StringArray>()),
            Cells::Class(cells) => Arc::new(Int8Array::from_iter(cells.iter().map(|cell| cell.map(i8::from)))),
            Cells::Weight(cells) => Arc::new(Float32Array::from_iter_values(cells.iter().copied())),
        }
    };
    let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<Field>>()));
    let arrays = columns.iter().map(array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(std::io::Error::other)?;
    let memo = KeyValue::new(metadata::KEY.to_owned(), Memo::of(dataset).text().map_err(std::io::Error::other)?);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![memo]))
        .set_created_by(concat!("defrost ", env!("CARGO_PKG_VERSION")).to_owned());
    for unique in ["path", "id"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(unique), false);
    }
    let mut bytes = Vec::new();
    let writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties.build()));
    let mut writer = writer.map_err(std::io::Error::other)?;
    writer.write(&batch).map_err(std::io::Error::other)?;
    writer.close().map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// One column of the table.
struct Column {
    name: String,
    cells: Cells,
}

/// The cells of a column.
enum Cells {
    Text(StringColumn),
    /// Present, absent or unknown: 1, 0 or blank.
    Class(Vec<Option<bool>>),
    Weight(Vec<f32>),
}

fn columns(dataset: &Dataset) -> Vec<Column> {
    let samples = &dataset.samples;
    let mut columns: Vec<Column> = Vec::new();
    let mut add = |name: &str, cells: Cells| columns.push(Column { name: name.to_owned(), cells });
    let paths: StringColumn = samples.iter().map(|sample| Some(relative(dataset, sample))).collect();
    let named = samples.iter().zip(paths.iter()).any(|(sample, path)| path != Some(&sample.id));
    add("path", Cells::Text(paths));
    if named {
        add("id", Cells::Text(samples.iter().map(|sample| Some(&sample.id)).collect()));
    }
    match dataset.task {
        Task::Unlabelled => {}
        Task::Multiclass | Task::Ordinal => {
            let name = |sample: &Sample| sample.label.present().next().map(|class| &dataset.classes[class]);
            add("label", Cells::Text(samples.iter().map(name).collect()));
        }
        Task::MultiLabel => {
            for (class, name) in dataset.classes.iter().enumerate() {
                add(name, Cells::Class(samples.iter().map(|sample| known(&sample.label, class)).collect()));
            }
        }
    }
    if samples.iter().any(|sample| sample.split.is_some()) {
        add("split", Cells::Text(samples.iter().map(|sample| sample.split.map(Split::name)).collect()));
    }
    if samples.iter().any(|sample| sample.group.is_some()) {
        add("group", Cells::Text(samples.iter().map(|sample| sample.group.as_ref()).collect()));
    }
    if samples.iter().any(|sample| sample.weight != 1.0) {
        add("weight", Cells::Weight(samples.iter().map(|sample| sample.weight).collect()));
    }
    columns
}

/// The path relative to the root, with `/`.
fn relative<'a>(dataset: &Dataset, sample: &'a Sample) -> Cow<'a, str> {
    let path = sample.path.strip_prefix(&dataset.root).unwrap_or(&sample.path).to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' { path } else { path.replace(std::path::MAIN_SEPARATOR, "/").into() }
}

/// Whether a sample has a class, `None` for unknown.
fn known(label: &Label, class: usize) -> Option<bool> {
    match label {
        Label::Classes(classes) => classes[class],
        Label::Unknown | Label::Class(_) => None,
    }
}

/// What the table alone does not say.
fn arguments(dataset: &Dataset) -> Vec<String> {
    let mut arguments = Vec::new();
    match dataset.task {
        Task::Unlabelled => {}
        Task::Multiclass if in_usual_order(dataset) => {}
        Task::Multiclass => arguments.extend(["--classes".into(), listed(&dataset.classes)]),
        Task::Ordinal => arguments.extend(["--ordinal".into(), "--classes".into(), listed(&dataset.classes)]),
        Task::MultiLabel => arguments.extend(["--class-columns".into(), listed(&dataset.classes)]),
    }
    arguments
}

/// Names as a line of CSV, which the flags take.
fn listed(names: &[String]) -> String {
    let quoted = |name: &String| match name.contains([',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.clone(),
    };
    names.iter().map(quoted).collect::<Vec<_>>().join(",")
}

/// Whether reading the labels alone gives the classes in the same order.
fn in_usual_order(dataset: &Dataset) -> bool {
    let present = dataset.samples.iter().flat_map(|sample| sample.label.present());
    let found = present.map(|class| dataset.classes[class].as_str()).collect();
    classes::in_order(Path::new(""), &[], found).is_ok_and(|usual| usual == dataset.classes)
}
