//! Failures of datasets, tables and splits.

use std::path::{Path, PathBuf};

use crate::error::Diagnostic;

/// A dataset, table or split is not as needed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The source of a dataset is neither a folder nor a table.
    #[error("`{path}` is neither a folder of images nor a table (`.csv`, `.tsv`, `.parquet`){}", found.map_or(String::new(), |found| format!(": it is {found}")))]
    UnknownSource {
        /// The source.
        path: PathBuf,
        /// What its first bytes are those of, where that is known: `an Arrow (Feather) file`.
        found: Option<&'static str>,
    },
    /// A dataset has no image.
    #[error("`{path}` holds no image; {skipped} other files were found")]
    NoImages {
        /// The source.
        path: PathBuf,
        /// Files that are no images.
        skipped: usize,
    },
    /// Some first-level folders have names of splits and others have not.
    #[error("first-level folders of `{path}` are not all splits: {} beside {}", quoted(splits), quoted(others))]
    MixedFolders {
        /// The folder.
        path: PathBuf,
        /// Folders called like a split.
        splits: Vec<String>,
        /// The other folders that hold images.
        others: Vec<String>,
    },
    /// A class that the stated classes do not name.
    #[error("class `{class}` in `{path}`{} is not one of the stated classes", behind(rows))]
    UnknownClass {
        /// The source.
        path: PathBuf,
        /// Its rows in a table; empty for a folder.
        rows: Box<[u64]>,
        /// The class.
        class: String,
        /// Stated classes that resemble it.
        nearest: Vec<String>,
        /// All stated classes.
        stated: Vec<String>,
    },
    /// A class was stated more than once.
    #[error("class `{class}` is stated twice")]
    ClassTwice {
        /// The class.
        class: String,
    },
    /// A table cannot be read at all.
    #[error("table `{path}` cannot be read: {problem}")]
    Table {
        /// The table.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A table lacks a column.
    #[error("table `{path}` has no column `{column}`; it has {}", quoted(present))]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The column.
        column: String,
        /// Columns with a similar name.
        nearest: Vec<String>,
        /// All columns.
        present: Vec<String>,
        /// The option that names the column.
        option: &'static str,
    },
    /// A label file lacks a column that its manifest names.
    #[error("`{path}` has no column `{column}`; it has {}", quoted(present))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Columns with a similar name.
        nearest: Vec<String>,
        /// All columns.
        present: Vec<String>,
    },
    /// No manifest has this name.
    #[error("there is no manifest `{name}`")]
    UnknownManifest {
        /// The name.
        name: String,
        /// Similar names.
        nearest: Vec<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A manifest has no variant of this name.
    #[error("the manifest `{manifest}` has no variant `{name}`")]
    UnknownVariant {
        /// The manifest.
        manifest: String,
        /// The variant.
        name: String,
        /// All variants.
        known: Vec<String>,
    },
    /// A manifest contradicts itself.
    #[error("the manifest `{name}` is wrong: {problem}")]
    Manifest {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The label file of a published dataset is not where it should be.
    #[error("below `{root}` there is none of {}", quoted(files))]
    LabelFile {
        /// The folder.
        root: PathBuf,
        /// Where it was looked for.
        files: Vec<String>,
    },
    /// Packed images have no place to go.
    #[error("`{name}` publishes its images packed into few files, and no folder to unpack them is given")]
    Unpack {
        /// The manifest.
        name: String,
    },
    /// Columns of a table contradict each other.
    #[error("table `{path}` has columns {}: {problem}", quoted(columns))]
    Columns {
        /// The table.
        path: PathBuf,
        /// The columns.
        columns: Vec<String>,
        /// Why they cannot be used together.
        problem: &'static str,
    },
    /// Cells of a table do not hold what they should.
    #[error("`{path}`, {}, column `{column}`: {} is not {expected}", places(rows), shown(found))]
    Cell {
        /// The table.
        path: PathBuf,
        /// The rows, as lines of a text file or 1-based rows of a Parquet file.
        rows: Vec<u64>,
        /// The column.
        column: String,
        /// What the first of them holds.
        found: String,
        /// What is expected, as a phrase: `one of 0, 1, -1`.
        expected: String,
    },
    /// Paths of a table that leave its root.
    #[error(
        "`{path}`, {}, column `{column}`: {} is not a path inside the root `{}`", places(rows), shown(found), root.display()
    )]
    Outside {
        /// The table.
        path: PathBuf,
        /// The rows.
        rows: Vec<u64>,
        /// The column.
        column: String,
        /// What the first of them holds.
        found: String,
        /// The root.
        root: Box<Path>,
    },
    /// Ids are not unique.
    #[error("`{path}`: id `{id}` occurs in {}; {count} {} not unique", places(rows), if *count == 1 { "id is" } else { "ids are" })]
    DuplicateIds {
        /// The table.
        path: PathBuf,
        /// The first such id.
        id: String,
        /// Its rows.
        rows: Vec<u64>,
        /// How many ids occur more than once.
        count: usize,
    },
    /// Files that a table names do not exist.
    #[error("{count} of {total} files that `{path}` names do not exist: {}{}", listed(first), more(*count, first.len()))]
    MissingFiles {
        /// The table.
        path: PathBuf,
        /// Rows and files of the first ones.
        first: Vec<(u64, PathBuf)>,
        /// How many do not exist.
        count: usize,
        /// How many there are.
        total: usize,
    },
    /// A table to write exists already.
    #[error("`{path}` exists already")]
    TableExists {
        /// The table.
        path: PathBuf,
    },
    /// A table to write has an extension of no known text table.
    #[error("cannot write `{path}`: the name of a table ends in `.csv`, `.tsv` or `.parquet`")]
    TableExtension {
        /// The table.
        path: PathBuf,
    },
    /// Fractions of splits that cannot be met.
    #[error("fractions {train}, {validation}, {test} of training, validation and test data: {problem}")]
    Fractions {
        /// Share of training data.
        train: f64,
        /// Share of validation data.
        validation: f64,
        /// Share of test data.
        test: f64,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A part of the training data that is none.
    #[error("`{found}` is no part of the training data: it lies above 0 and is at most 1")]
    TrainFraction {
        /// The number or text.
        found: String,
    },
    /// A choice of frames that is none.
    #[error("`{found}` is not `first`, `middle`, `all` or a number from 1")]
    Frames {
        /// The text.
        found: String,
    },
    /// Fractions of splits that are not three numbers.
    #[error("`{found}` is not three fractions `train,validation,test`")]
    FractionsText {
        /// The text.
        found: String,
    },
    /// Samples without a split, where the stated splits are to be used.
    #[error("{without} of {total} samples state no split, the first of them `{id}`")]
    SplitsNotGiven {
        /// The first of them.
        id: String,
        /// How many state none.
        without: usize,
        /// How many samples there are.
        total: usize,
    },
    /// A division by groups where no sample has one.
    #[error("no sample has a group, so that groups cannot be kept whole")]
    NoGroups,
    /// Fewer units than splits.
    #[error("{found} {what} cannot be divided into {needed} splits")]
    TooFew {
        /// `samples` or `groups`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A division that leaves a split empty.
    #[error("the division leaves the split `{split}` empty")]
    EmptySplit {
        /// The split.
        split: &'static str,
    },
    /// A random change of images that makes no sense.
    #[error("augmentation `{field}` is {found}, expected {expected}")]
    Augmentation {
        /// The field.
        field: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Batches of images that may differ in size.
    #[error("the preprocessing gives images of different sizes, which make no batch")]
    OpenSize,
}

impl Diagnostic for DataError {
    fn hint(&self) -> Option<String> {
        match self {
            DataError::UnknownSource { .. } => {
                Some("give a folder of class folders, a folder of images, or a table with a column `path`".into())
            }
            DataError::NoImages { .. } => {
                Some("images are read from .bmp, .dcm, .gif, .jpg, .png, .pnm, .tif and .webp files and their other spellings".into())
            }
            DataError::MixedFolders { .. } => {
                Some("say what the folders are with `<folders classes>` or `<folders splits>`, or write a table".into())
            }
            DataError::UnknownClass { nearest, stated, .. } if nearest.is_empty() => {
                Some(format!("the stated classes are {}", quoted(stated)))
            }
            DataError::UnknownClass { nearest, .. } => Some(format!("did you mean {}?", quoted(nearest))),
            DataError::MissingColumn { nearest, option, .. } if nearest.is_empty() => {
                Some(format!("name the column with `<{option}>`"))
            }
            DataError::MissingColumn { nearest, option, .. } => {
                Some(format!("did you mean {}? name the column with `<{option}>`", quoted(nearest)))
            }
            DataError::NoColumn { nearest, .. } if nearest.is_empty() => {
                Some("is it the file as published? a manifest of your own can name other columns".into())
            }
            DataError::NoColumn { nearest, .. } => Some(format!("did you mean {}?", quoted(nearest))),
            DataError::UnknownManifest { nearest, known, .. } => {
                let names = if nearest.is_empty() { known } else { nearest };
                Some(format!("known are {}; a manifest of your own is a `.toml` file", quoted(names)))
            }
            DataError::UnknownVariant { known, .. } => Some(format!("its variants are {}", quoted(known))),
            DataError::LabelFile { .. } => {
                Some("`<root>` is the folder that holds the label files as published; `defrost data manifests` says which".into())
            }
            DataError::Outside { .. } => Some("`<root FOLDER>` names the folder that holds all images of a table".into()),
            DataError::Cell { found, .. } if found.is_empty() => {
                Some("fill in the cells, or leave the rows out".into())
            }
            DataError::Unpack { .. } => Some("`<unpack FOLDER>` names one".into()),
            DataError::DuplicateIds { .. } => {
                Some("give each row its own value in a column `id`, or remove the repeated rows".into())
            }
            DataError::MissingFiles { .. } => Some(
                "paths are relative to the table's folder unless `<root>` says otherwise; `<keep-missing>` goes on without them"
                    .into(),
            ),
            DataError::TableExists { .. } => Some("choose another name, or add `<force>` to replace it".into()),
            DataError::Fractions { .. } | DataError::FractionsText { .. } => {
                Some("for example `0.7,0.1,0.2`, the default".into())
            }
            DataError::TrainFraction { .. } => Some("for example `0.05` or `5%`".into()),
            DataError::SplitsNotGiven { without, total, .. } if without < total => {
                Some("state a split for every sample or for none; a new division ignores the stated ones".into())
            }
            DataError::EmptySplit { .. } | DataError::TooFew { .. } => {
                Some("add samples, or set the fraction of a split to 0".into())
            }
            DataError::OpenSize => Some("give the preprocessing a `crop`, or an `exact` resize".into()),
            DataError::NoGroups => Some("name the column of patients or other units with `<group-column>`".into()),
            _ => None,
        }
    }
}

/// Names in backticks with commas.
fn quoted(names: &[String]) -> String {
    let mut text: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    if names.len() > 20 {
        text.push(format!("and {} more", names.len() - 20));
    }
    text.join(", ")
}

/// `row 3`, or `rows 3, 5, 8 and 4 more`.
fn places(rows: &[u64]) -> String {
    let shown: Vec<String> = rows.iter().take(5).map(u64::to_string).collect();
    let word = if rows.len() == 1 { "row" } else { "rows" };
    format!("{word} {}{}", shown.join(", "), more(rows.len(), shown.len()))
}

/// `, rows 3, 5`; nothing where there are none.
fn behind(rows: &[u64]) -> String {
    if rows.is_empty() { String::new() } else { format!(", {},", places(rows)) }
}

/// What a cell holds.
fn shown(cell: &str) -> String {
    if cell.is_empty() { "blank".to_owned() } else { format!("`{cell}`") }
}

/// The rows and files, with commas.
fn listed(files: &[(u64, PathBuf)]) -> String {
    let place = |row: &u64| if *row == 0 { String::new() } else { format!(" (row {row})") };
    let shown: Vec<String> = files.iter().map(|(row, path)| format!("`{}`{}", path.display(), place(row))).collect();
    shown.join(", ")
}

/// ` and 4 more`, where not all are shown.
fn more(count: usize, shown: usize) -> String {
    if count > shown { format!(" and {} more", count - shown) } else { String::new() }
}
