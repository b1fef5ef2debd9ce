//! A dataset as a table: text or Parquet.

use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float32Array;
use arrow::array::Int8Array;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::data::Dataset;
use crate::data::Label;
use crate::data::Sample;
use crate::data::Task;
use crate::data::classes;
use crate::data::table::memo;
use crate::data::table::memo::Memo;
use crate::error::DataError;
use crate::error::Result;
use crate::support::fs;

/// A column that is no part of a dataset, to be written beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraColumn {
    /// Its name.
    pub name: String,
    /// Its cells, in the order of the samples; `None` is blank.
    pub cells: Vec<Option<String>>,
}

/// Writes the dataset as a table (`.csv`, `.tsv` or `.parquet`) with paths relative to its root, and returns the arguments that
/// `defrost` needs to read it as the same dataset: a Parquet table says all of that itself.
///
/// Columns: `path`, `id` where it is not the path, `label` or one column per class, `split`, `group` and `weight` where any
/// sample has them.
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
        columns.push(Column { name, cells: column.cells.clone(), kind: Kind::Text });
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => fs::replace(path, &text(&columns, dataset.samples.len(), b',', path)?)?,
        Some("tsv") => fs::replace(path, &text(&columns, dataset.samples.len(), b'\t', path)?)?,
        Some("parquet") => {
            fs::replace(path, &parquet(dataset, columns).map_err(fs::io_error("write", path))?)?;
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
        writer
            .write_record(columns.iter().map(|column| column.cells[row].as_deref().unwrap_or_default()))
            .map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(|error| fs::io_error("write", path)(error.into_error()))?)
}

/// The columns as Parquet, with the memo that says how to read them.
fn parquet(dataset: &Dataset, columns: Vec<Column>) -> std::io::Result<Vec<u8>> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let kind = match column.kind {
                Kind::Text => DataType::Utf8,
                Kind::Class => DataType::Int8,
                Kind::Weight => DataType::Float32,
            };
            Field::new(&column.name, kind, column.cells.iter().any(Option::is_none))
        })
        .collect();
    let arrays = columns.into_iter().map(|column| -> ArrayRef {
        let cells = column.cells;
        match column.kind {
            Kind::Text => Arc::new(StringArray::from(cells)),
            Kind::Class => Arc::new(Int8Array::from_iter(cells.iter().map(|cell| cell.as_deref()?.parse().ok()))),
            Kind::Weight => Arc::new(Float32Array::from_iter(cells.iter().map(|cell| cell.as_deref()?.parse().ok()))),
        }
    });
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect()).map_err(std::io::Error::other)?;
    let memo = KeyValue::new(memo::KEY.to_owned(), Memo::of(dataset).text().map_err(std::io::Error::other)?);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![memo]))
        .set_created_by(concat!("defrost ", env!("CARGO_PKG_VERSION")).to_owned());
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
    cells: Vec<Option<String>>,
    kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// 1, 0 or blank.
    Class,
    Weight,
}

fn columns(dataset: &Dataset) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    let samples = &dataset.samples;
    let mut add = |name: &str, kind: Kind, cell: &dyn Fn(&Sample) -> Option<String>| {
        columns.push(Column { name: name.into(), cells: samples.iter().map(cell).collect(), kind });
    };
    let relative = |sample: &Sample| {
        let path = sample.path.strip_prefix(&dataset.root).unwrap_or(&sample.path);
        path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    };
    add("path", Kind::Text, &|sample| Some(relative(sample)));
    if samples.iter().any(|sample| sample.id != relative(sample)) {
        add("id", Kind::Text, &|sample| Some(sample.id.clone()));
    }
    match dataset.task {
        Task::Unlabelled => {}
        Task::Multiclass | Task::Ordinal => {
            add("label", Kind::Text, &|sample| {
                sample.label.present().next().map(|class| dataset.classes[class].clone())
            });
        }
        Task::MultiLabel => {
            for (class, name) in dataset.classes.iter().enumerate() {
                add(name, Kind::Class, &|sample| class_cell(&sample.label, class));
            }
        }
    }
    if samples.iter().any(|sample| sample.split.is_some()) {
        add("split", Kind::Text, &|sample| sample.split.map(|split| split.name().to_owned()));
    }
    if samples.iter().any(|sample| sample.group.is_some()) {
        add("group", Kind::Text, &|sample| sample.group.clone());
    }
    if samples.iter().any(|sample| sample.weight != 1.0) {
        add("weight", Kind::Weight, &|sample| Some(sample.weight.to_string()));
    }
    columns
}

/// `1`, `0`, or blank for unknown.
fn class_cell(label: &Label, class: usize) -> Option<String> {
    match label {
        Label::Classes(classes) => classes[class].map(|present| u8::from(present).to_string()),
        Label::Unknown | Label::Class(_) => None,
    }
}

/// What the table alone does not say.
fn arguments(dataset: &Dataset) -> Vec<String> {
    let mut arguments = Vec::new();
    match dataset.task {
        Task::Unlabelled => {}
        Task::Multiclass if in_usual_order(dataset) => {}
        Task::Multiclass => arguments.extend(["--classes".into(), dataset.classes.join(",")]),
        Task::Ordinal => arguments.extend(["--ordinal".into(), "--classes".into(), dataset.classes.join(",")]),
        Task::MultiLabel => arguments.extend(["--class-columns".into(), dataset.classes.join(",")]),
    }
    arguments
}

/// Whether reading the labels alone gives the classes in the same order.
fn in_usual_order(dataset: &Dataset) -> bool {
    let present = dataset.samples.iter().flat_map(|sample| sample.label.present());
    let found = present.map(|class| dataset.classes[class].as_str()).collect();
    classes::in_order(Path::new(""), &[], found).is_ok_and(|usual| usual == dataset.classes)
}
