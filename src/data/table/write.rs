//! A dataset as a text table.

use std::path::Path;

use crate::data::Dataset;
use crate::data::Label;
use crate::data::Sample;
use crate::data::Split;
use crate::data::Task;
use crate::data::classes;
use crate::error::DataError;
use crate::error::Result;
use crate::support::fs;

/// Writes the dataset as a table (`.csv` or `.tsv`) with paths relative to its root, and returns the arguments that
/// `defrost` needs, besides `--root`, to read it as the same dataset.
///
/// Columns: `path`, `id` where it is not the path, `label` or one column per class, `split`, `group` and `weight` where any
/// sample has them.
///
/// # Errors
/// [`DataError::TableExtension`] for another extension, `FileError` when it cannot be written.
pub fn write_table(dataset: &Dataset, path: &Path) -> Result<Vec<String>> {
    let delimiter = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => b',',
        Some("tsv") => b'\t',
        _ => return Err(DataError::TableExtension { path: path.to_path_buf() }.into()),
    };
    let columns = columns(dataset);
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    let failed = |error: csv::Error| fs::io_error("write", path)(std::io::Error::other(error));
    writer.write_record(columns.iter().map(|column| column.name.as_str())).map_err(failed)?;
    for sample in &dataset.samples {
        writer.write_record(columns.iter().map(|column| (column.cell)(sample))).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| fs::io_error("write", path)(error.into_error()))?;
    fs::replace(path, &bytes)?;
    Ok(arguments(dataset))
}

/// One column: its name and the cell of a sample.
struct Column<'a> {
    name: String,
    cell: Box<dyn Fn(&Sample) -> String + 'a>,
}

fn columns<'a>(dataset: &'a Dataset) -> Vec<Column<'a>> {
    let mut columns: Vec<Column<'a>> = Vec::new();
    let mut add =
        |name: &str, cell: Box<dyn Fn(&Sample) -> String + 'a>| columns.push(Column { name: name.into(), cell });
    let any = |test: &dyn Fn(&Sample) -> bool| dataset.samples.iter().any(test);
    let relative = |sample: &Sample| {
        let path = sample.path.strip_prefix(&dataset.root).unwrap_or(&sample.path);
        path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    };
    add("path", Box::new(relative));
    if any(&|sample| sample.id != relative(sample)) {
        add("id", Box::new(|sample| sample.id.clone()));
    }
    match dataset.task {
        Task::Unlabelled => {}
        Task::Multiclass | Task::Ordinal => add(
            "label",
            Box::new(|sample| {
                sample.label.present().next().map_or_else(String::new, |class| dataset.classes[class].clone())
            }),
        ),
        Task::MultiLabel => {
            for (class, name) in dataset.classes.iter().enumerate() {
                add(name, Box::new(move |sample| class_cell(&sample.label, class)));
            }
        }
    }
    if any(&|sample| sample.split.is_some()) {
        add("split", Box::new(|sample| sample.split.map_or("", Split::name).to_owned()));
    }
    if any(&|sample| sample.group.is_some()) {
        add("group", Box::new(|sample| sample.group.clone().unwrap_or_default()));
    }
    if any(&|sample| sample.weight != 1.0) {
        add("weight", Box::new(|sample| sample.weight.to_string()));
    }
    columns
}

/// `1`, `0`, or blank for unknown.
fn class_cell(label: &Label, class: usize) -> String {
    let known = match label {
        Label::Classes(classes) => classes[class],
        Label::Unknown | Label::Class(_) => None,
    };
    known.map_or_else(String::new, |present| u8::from(present).to_string())
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
