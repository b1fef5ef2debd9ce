//! The arguments of every verb that reads a dataset: where it is and how to read it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::Printer;
use crate::data;
use crate::data::{Columns, Dataset, Frames, Layout, OpenOptions, Reading, SkipReason, Task};
use crate::error::Result;
use crate::support::numbers::{counted, thousands};

/// Heading of the arguments that say how to read.
const READING: &str = "Reading the dataset";

/// A dataset and how to read it; flattened into the arguments of a verb.
#[derive(Debug, clap::Args)]
pub(crate) struct DatasetArguments {
    /// Folder of class folders, folder of images, or table (.csv, .tsv, .parquet) with a column
    /// `path`.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) reading: ReadingArguments,
}

/// How to read a dataset where the defaults do not fit.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadingArguments {
    /// Folder that the paths of a table are relative to [default: the folder of the table].
    #[arg(long, help_heading = READING, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// What first-level folders are [default: splits if all are called train, validation or test;
    /// else classes].
    #[arg(long, help_heading = READING, value_name = "WHAT", value_parser = ["classes", "splits"])]
    folders: Option<String>,
    /// Class names in their order, separated by commas; a name that has a comma in it in double
    /// quotes: 'mild,"severe, acute"' [default: the names found, sorted].
    #[arg(long, help_heading = READING, value_name = "NAMES")]
    classes: Vec<NameList>,
    /// The classes have an order (grades, stages).
    #[arg(long, help_heading = READING)]
    ordinal: bool,
    /// Column of the image path [default: path].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    path_column: Option<String>,
    /// Column of unique names [default: id, otherwise the path].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Column of the class [default: label].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    label_column: Option<String>,
    /// Column of several classes, separated by `;` or `|` or as a list [default: labels].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    labels_column: Option<String>,
    /// One column per class, with 1 (present), 0 (absent), -1 (uncertain) or blank; separated and
    /// quoted as in `--classes`.
    #[arg(long, help_heading = READING, value_name = "COLUMNS")]
    class_columns: Vec<NameList>,
    /// How -1 is read in class columns [default: masked].
    #[arg(long, help_heading = READING, value_name = "HOW", value_parser = ["masked", "absent", "present"])]
    uncertain: Option<String>,
    /// How blank cells are read in class columns [default: masked].
    #[arg(long, help_heading = READING, value_name = "HOW", value_parser = ["masked", "absent", "present"])]
    blank: Option<String>,
    /// Column of the split [default: split].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    split_column: Option<String>,
    /// Column of the patient, lesion or other unit that must not be divided between splits
    /// [default: group].
    #[arg(long, help_heading = READING, visible_alias = "group", value_name = "COLUMN")]
    group_column: Option<String>,
    /// Column of the sample's weight [default: weight].
    #[arg(long, help_heading = READING, value_name = "COLUMN")]
    weight_column: Option<String>,
    /// Which frames of DICOM files with several are the images: `first`, `middle`, a number from 1,
    /// or `all`, each an image called FILE#N [default: such files fail].
    #[arg(long, help_heading = READING, value_name = "WHICH")]
    frames: Option<Frames>,
    /// Keep rows of a table whose image does not exist; they fail one by one.
    #[arg(long, help_heading = READING)]
    keep_missing: bool,
}

/// Names as a flag takes them: one line of CSV.
#[derive(Clone, Debug)]
pub(crate) struct NameList(Vec<String>);

impl NameList {
    /// The names of all the flags, in order.
    pub(crate) fn names(lists: &[NameList]) -> Vec<String> {
        lists.iter().flat_map(|list| list.0.iter().cloned()).collect()
    }
}

impl FromStr for NameList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(text.as_bytes());
        let mut records = reader.records();
        let names = records.next().transpose().map_err(|error| error.to_string())?.unwrap_or_default();
        if records.next().is_some() {
            return Err("the names are on one line, separated by commas".to_owned());
        }
        let quotes = text.matches('"').count();
        if (text.starts_with('"') || text.contains(",\"")) && quotes % 2 == 1 {
            return Err("a quote is not closed".to_owned());
        }
        let is_cut = |name: &str| name.starts_with('"') && !name.ends_with('"');
        match names.iter().find(|name| name.is_empty() || is_cut(name)) {
            Some("") => Err("a name between two commas is empty".to_owned()),
            Some(name) => Err(format!("the quote at `{name}` does not stand right behind the comma")),
            None if names.is_empty() => Err("no name is stated".to_owned()),
            None => Ok(NameList(names.iter().map(str::to_owned).collect())),
        }
    }
}

impl DatasetArguments {
    /// Reads the dataset and tells on stderr what it is, what was left out and how it was
    /// interpreted.
    pub(crate) fn open(&self, printer: &Printer) -> Result<Dataset> {
        open(&self.data, &self.reading.options(), printer)
    }
}

/// Reads a dataset, see [`DatasetArguments::open`].
pub(crate) fn open(path: &Path, options: &OpenOptions, printer: &Printer) -> Result<Dataset> {
    let dataset = data::open(path, options)?;
    printer.say(&describe(&dataset));
    if let Some(skipped) = describe_skipped(&dataset) {
        printer.say(&skipped);
    }
    for note in &dataset.notes {
        printer.say(&format!("note: {note}"));
    }
    Ok(dataset)
}

impl ReadingArguments {
    /// The options these flags stand for.
    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            root: self.root.clone(),
            columns: Columns {
                path: self.path_column.clone(),
                id: self.id_column.clone(),
                label: self.label_column.clone(),
                labels: self.labels_column.clone(),
                classes: NameList::names(&self.class_columns),
                uncertain: reading(self.uncertain.as_deref()),
                blank: reading(self.blank.as_deref()),
                split: self.split_column.clone(),
                group: self.group_column.clone(),
                weight: self.weight_column.clone(),
            },
            classes: NameList::names(&self.classes),
            ordinal: self.ordinal,
            layout: match self.folders.as_deref() {
                Some("classes") => Layout::Classes,
                Some("splits") => Layout::Splits,
                _ => Layout::Auto,
            },
            frames: self.frames.unwrap_or_default(),
            keep_missing: self.keep_missing,
        }
    }
}

fn reading(name: Option<&str>) -> Reading {
    match name {
        Some("absent") => Reading::Absent,
        Some("present") => Reading::Present,
        _ => Reading::Masked,
    }
}

/// `2,000 images, 3 classes`.
fn describe(dataset: &Dataset) -> String {
    let images = counted(dataset.samples.len(), "image");
    let classes = counted(dataset.classes.len(), "class");
    match dataset.task {
        Task::Unlabelled => format!("{images}, unlabelled"),
        Task::Multiclass => format!("{images}, {classes}"),
        Task::Ordinal => format!("{images}, {classes} in this order: {}", dataset.classes.join(", ")),
        Task::MultiLabel => format!("{images}, {classes}, several per image"),
    }
}

/// What was left out, counted by reason, images first; `None` when nothing was.
pub(crate) fn describe_skipped(dataset: &Dataset) -> Option<String> {
    let reasons = [
        (SkipReason::OutsideClasses, "image outside the class folders", "images outside the class folders"),
        (SkipReason::NameNotUtf8, "name that is not UTF-8: rename it", "names that are not UTF-8: rename them"),
        (SkipReason::Unreadable, "entry that cannot be read", "entries that cannot be read"),
        (SkipReason::LinkLoop, "link back to a folder it lies in", "links back to a folder they lie in"),
        (SkipReason::BrokenLink, "broken link", "broken links"),
        (SkipReason::NotAnImage, "file that is no image", "files that are no images"),
        (SkipReason::Hidden, "hidden file", "hidden files"),
    ];
    let mut parts = Vec::new();
    for (reason, one, several) in reasons {
        let files: Vec<_> = dataset.skipped.iter().filter(|skipped| skipped.reason == reason).collect();
        if let Some(first) = files.first() {
            let name = if files.len() == 1 { one } else { several };
            let first = first.path.strip_prefix(&dataset.root).unwrap_or(&first.path).display();
            let rest = if files.len() == 1 { "" } else { " and others" };
            parts.push(format!("{} {name} (`{first}`{rest})", thousands(files.len())));
        }
    }
    (!parts.is_empty()).then(|| format!("left out: {}", parts.join("; ")))
}
