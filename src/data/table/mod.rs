//! A table of image paths: CSV (comma, semicolon or tab; with or without byte order mark) or
//! Parquet.
//!
//! Only the columns in use are read. Rows are numbered as the user sees them: lines of a text file,
//! 1-based rows of a Parquet file. Refused: missing or ambiguous columns, cells that do not hold
//! what they should, ids that are not unique, paths that leave the root, files that do not exist.

mod cells;
mod columns;
mod features;
mod labels;
mod metadata;
mod parquet;
mod string_column;
mod text;
pub(in crate::data) mod values;
mod write;

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::data::{Dataset, OpenOptions, Sample, Split};
use crate::error::{DataError, Result};
use crate::pixels::frame;
use crate::support::fs;

use columns::Chosen;
use string_column::ListColumn;

pub use cells::column_by_id;
pub(in crate::data) use cells::{Cells, column_names, read_cells};
pub(crate) use features::FeatureTable;
pub(crate) use parquet::{other_format, unsupported};
pub use string_column::StringColumn;
pub use write::{ExtraColumn, write_table, write_table_with};

/// How many missing files an error names.
const NAMED_FILES: usize = 5;

/// The cells of one column.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    /// Single values.
    Text(StringColumn),
    /// Lists of texts.
    Lists(ListColumn),
}

impl Column {
    /// Adds the cells of a column of the same kind behind these: the columns of one file are of one
    /// kind, and those of several are compared before.
    fn append(&mut self, more: Column) {
        match (self, more) {
            (Column::Text(cells), Column::Text(more)) => cells.append(&more),
            (Column::Lists(lists), Column::Lists(more)) => lists.append(&more),
            _ => {}
        }
    }
}

/// The columns of a table that are in use.
struct Table {
    path: PathBuf,
    /// Names of all columns.
    names: Vec<String>,
    /// By the index of the column; `None` for columns not in use.
    columns: Vec<Option<Column>>,
    /// The number of each row as the user sees it.
    rows: Vec<u64>,
    /// Whether the file has null for what is unknown, beside texts (Parquet).
    has_nulls: bool,
    /// Further files, where there are several: the first row of each, and the file.
    parts: Vec<(usize, PathBuf)>,
}

/// Whether the file is a table by its content or its extension.
pub(super) fn is_table(path: &Path) -> Result<bool> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let text = extension.is_some_and(|extension| matches!(extension.as_str(), "csv" | "tsv" | "txt"));
    Ok(text || parquet::is_parquet(path)?)
}

/// Reads a table as a dataset, see [`crate::data::open`].
pub(super) fn read(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let memo;
    let mut options = options;
    let (table, chosen) = if parquet::is_parquet(path)? {
        let names = parquet::names(path)?;
        memo = metadata::Memo::read(path)?.map(|memo| memo.fill(options));
        options = memo.as_ref().unwrap_or(options);
        let chosen = columns::choose(path, &names, options)?;
        (parquet::read(path, names, &chosen.indices(), true)?, chosen)
    } else {
        let bytes = fs::read(path)?;
        let sheet = text::Sheet::with_header(path, &bytes)?;
        let chosen = columns::choose(path, &sheet.names, options)?;
        (sheet.read(&chosen.indices())?, chosen)
    };
    if table.rows.is_empty() {
        let problem = "it has a header and no rows".to_owned();
        return Err(DataError::Table { path: path.to_path_buf(), problem }.into());
    }
    table.dataset(&chosen, options)
}

impl Table {
    fn dataset(&self, chosen: &Chosen, options: &OpenOptions) -> Result<Dataset> {
        let root = match (&options.root, self.path.parent()) {
            (Some(root), _) => root.clone(),
            (None, Some(parent)) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let relative = self.relative_paths(chosen.path, &root)?;
        let ids = match chosen.id {
            Some(column) => {
                self.filled(column)?;
                values::names(self.text(column)?).iter().flatten().map(str::to_owned).collect()
            }
            None => relative.clone(),
        };
        self.check_unique(&ids)?;
        let read = labels::read(self, &chosen.target, options)?;
        let splits = self.splits(chosen.split)?;
        let weights = self.weights(chosen.weight)?;
        let groups = match chosen.group {
            Some(column) => values::names(self.text(column)?).iter().map(|cell| cell.map(str::to_owned)).collect(),
            None => vec![None; self.rows.len()],
        };
        let paths: Vec<PathBuf> = relative.iter().map(|relative| root.join(relative)).collect();
        if !options.keep_missing {
            self.check_exist(&paths)?;
        }
        let columns = ids.into_iter().zip(paths).zip(read.labels).zip(splits).zip(groups).zip(weights);
        let samples = columns
            .map(|(((((id, path), label), split), group), weight)| Sample {
                split,
                group,
                weight,
                ..Sample::new(id, path, label)
            })
            .collect();
        let mut dataset = Dataset::new(root, read.task, read.classes, samples);
        dataset.notes = chosen.notes.iter().cloned().chain(read.notes).collect();
        dataset.unite_spellings_of_groups();
        Ok(dataset)
    }

    /// The texts of a column.
    fn text(&self, column: usize) -> Result<&StringColumn> {
        match &self.columns[column] {
            Some(Column::Text(cells)) => Ok(cells),
            _ => Err(DataError::Table {
                path: self.path.clone(),
                problem: format!("column `{}` holds lists where single values are expected", self.names[column]),
            }
            .into()),
        }
    }

    /// The texts of a column without blanks.
    fn filled(&self, column: usize) -> Result<Vec<&str>> {
        let cells = self.text(column)?;
        self.refuse(column, "a value", |row| cells.get(row).is_none())?;
        Ok(cells.iter().flatten().collect())
    }

    /// An error that names all rows which `wrong` finds, if there are any.
    fn refuse(&self, column: usize, expected: &str, wrong: impl Fn(usize) -> bool) -> Result<()> {
        let rows: Vec<usize> = (0..self.rows.len()).filter(|&row| wrong(row)).collect();
        let Some(&first) = rows.first() else { return Ok(()) };
        let found = match &self.columns[column] {
            Some(Column::Text(cells)) => cells.get(first).unwrap_or_default().to_owned(),
            Some(Column::Lists(lists)) => {
                lists.get(first).into_iter().flatten().map(Option::unwrap_or_default).collect::<Vec<_>>().join("; ")
            }
            None => String::new(),
        };
        let (path, rows) = self.located(&rows);
        Err(DataError::Cell { path, rows, column: self.names[column].clone(), found, expected: expected.to_owned() }
            .into())
    }

    /// The file of the first of some rows, and the numbers of those that are in it.
    fn located(&self, rows: &[usize]) -> (PathBuf, Vec<u64>) {
        let part = |row: usize| self.parts.partition_point(|(start, _)| *start <= row);
        let first = rows.first().map_or(0, |&row| part(row));
        let path = if first == 0 { &self.path } else { &self.parts[first - 1].1 };
        let rows = rows.iter().filter(|&&row| part(row) == first).map(|&row| self.rows[row]);
        (path.clone(), rows.collect())
    }

    fn splits(&self, column: Option<usize>) -> Result<Vec<Option<Split>>> {
        let Some(column) = column else { return Ok(vec![None; self.rows.len()]) };
        let cells = self.text(column)?;
        let filled = |row: usize| cells.get(row).filter(|cell| !values::is_missing(cell));
        let split = |row: usize| filled(row).and_then(Split::parse);
        self.refuse(column, "a split: `train`, `validation` (`val`, `valid`, `dev`) or `test`", |row| {
            filled(row).is_some() && split(row).is_none()
        })?;
        Ok((0..cells.len()).map(split).collect())
    }

    fn weights(&self, column: Option<usize>) -> Result<Vec<f32>> {
        let Some(column) = column else { return Ok(vec![1.0; self.rows.len()]) };
        let cells = self.text(column)?;
        let filled = |row: usize| cells.get(row).filter(|cell| !values::is_missing(cell));
        let weight = |row: usize| filled(row).map_or(Some(1.0), |cell| cell.parse::<f32>().ok());
        let valid = |weight: Option<f32>| weight.is_some_and(|weight| weight.is_finite() && weight > 0.0);
        self.refuse(column, "a weight above 0", |row| !valid(weight(row)))?;
        Ok((0..cells.len()).filter_map(weight).collect())
    }

    /// The paths relative to the root, with `/`, without `.` and `..`.
    fn relative_paths(&self, column: usize, root: &Path) -> Result<Vec<String>> {
        let cells = self.filled(column)?;
        let absolute = std::path::absolute(root).map_err(fs::io_error("resolve", root))?;
        let relative: Vec<Option<String>> =
            cells.iter().map(|cell| inside(Path::new(local(cell).as_ref()), &absolute)).collect();
        let outside: Vec<usize> = (0..relative.len()).filter(|&row| relative[row].is_none()).collect();
        if let Some(&first) = outside.first() {
            return Err(DataError::Outside {
                path: self.path.clone(),
                rows: outside.iter().map(|&row| self.rows[row]).collect(),
                column: self.names[column].clone(),
                found: cells[first].to_owned(),
                root: root.into(),
            }
            .into());
        }
        Ok(relative.into_iter().flatten().collect())
    }

    fn check_unique(&self, ids: &[String]) -> Result<()> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by(|&a, &b| ids[a].cmp(&ids[b]).then(a.cmp(&b)));
        let repeated: Vec<&[usize]> = order.chunk_by(|&a, &b| ids[a] == ids[b]).filter(|same| same.len() > 1).collect();
        let Some(first) = repeated.iter().min_by_key(|same| same[1]) else { return Ok(()) };
        let (path, rows) = self.located(first);
        if rows.len() == 1 {
            let (other, others) = self.located(&first[1..]);
            let (id, row) = (&ids[first[0]], others.first().copied().unwrap_or_default());
            let problem = format!("id `{id}` of row {} is that of row {row} of `{}`, too", rows[0], other.display());
            return Err(DataError::Table { path, problem }.into());
        }
        Err(DataError::DuplicateIds { path, id: ids[first[0]].clone(), rows, count: repeated.len() }.into())
    }

    fn check_exist(&self, paths: &[PathBuf]) -> Result<()> {
        let exists: Vec<bool> = paths
            .par_iter()
            .map(|path| frame::source(path).0.metadata().is_ok_and(|metadata| metadata.is_file()))
            .collect();
        let missing: Vec<usize> = (0..paths.len()).filter(|&row| !exists[row]).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let named = missing.iter().take(NAMED_FILES);
        Err(DataError::MissingFiles {
            path: self.path.clone(),
            first: named.map(|&row| (self.rows[row], paths[row].clone())).collect(),
            count: missing.len(),
            total: paths.len(),
        }
        .into())
    }
}

/// The path of a `file:` address (RFC 8089), whose `%20` and the like are bytes; anything else as
/// it is.
fn local(cell: &str) -> Cow<'_, str> {
    let is_address = cell.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("file://"));
    let Some(path) = cell.get(7..).filter(|_| is_address) else { return Cow::Borrowed(cell) };
    let path = path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let code = path.get(path.len() - behind.len()..).and_then(|behind| behind.get(..2));
        let code = code.filter(|code| first == b'%' && code.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).map_or_else(|_| Cow::Borrowed(path), Cow::Owned)
}

/// The path relative to `root` (absolute), with `/`; `None` when it leaves the root or is the root.
fn inside(path: &Path, root: &Path) -> Option<String> {
    plain(if path.is_absolute() { path.strip_prefix(root).ok()? } else { path })
}

/// A relative path with `/`, without `.` and `..`; `None` when it leaves where it starts, or ends
/// there.
pub(in crate::data) fn plain(relative: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in relative.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_files_are_paths() {
        for (cell, path) in [
            ("file:///data/a.png", "/data/a.png"),
            ("FILE://localhost/data/a%20b%C3%A9.png", "/data/a b\u{e9}.png"),
            ("file://a/100%.png", "a/100%.png"),
            ("a%20b.png", "a%20b.png"),
        ] {
            assert_eq!(local(cell), path, "{cell}");
        }
    }

    #[test]
    fn paths_stay_inside_the_root() {
        let root = Path::new("/data/images");
        let inside = |path| inside(Path::new(path), root);
        assert_eq!(inside("./a/../b//c.png").as_deref(), Some("b/c.png"));
        assert_eq!(inside("/data/images/a.png").as_deref(), Some("a.png"));
        for outside in ["../a.png", "a/../../images/a.png", "/data/a.png", "/data/images", ".", "a/.."] {
            assert_eq!(inside(outside), None, "{outside}");
        }
    }
}
