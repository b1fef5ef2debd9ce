//! A label file with the columns a manifest names, and those of the file joined to it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::data::manifest::template::Columns;
use crate::data::manifest::{Join, LabelRule, Table, idx};
use crate::data::table::{Cells, StringColumn, read_cells};
use crate::error::{DataError, Result};

/// The rows of a label file.
pub(super) struct Sheet {
    /// The file.
    pub(super) path: PathBuf,
    cells: Cells,
    joined: Vec<(String, StringColumn)>,
    /// Rows without a partner in the joined file.
    pub(super) unjoined: usize,
}

impl Sheet {
    /// Reads the first of the table's files that exists below `root`.
    ///
    /// # Errors
    /// [`DataError::LabelFile`] where none exists; those of tables.
    pub(super) fn read(table: &Table, rule: &LabelRule, root: &Path) -> Result<Sheet> {
        let path = find(root, &table.files)?;
        if !table.images.is_empty() {
            return Ok(Sheet { cells: idx::labels(&path)?, path, joined: Vec::new(), unjoined: 0 });
        }
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let templates = table.path.0.iter().chain(&table.folder.0).chain(&table.id).chain(&table.group);
        wanted.extend(templates.flat_map(|template| template.columns()));
        wanted.extend(rule.column.iter().chain(&rule.one_hot).chain(&rule.columns).map(String::as_str));
        wanted.extend(table.keep.iter().map(String::as_str));
        let Some(join) = &table.join else {
            let cells = read_cells(&path, table.header, wanted)?;
            return Ok(Sheet { path, cells, joined: Vec::new(), unjoined: 0 });
        };
        wanted.insert(&join.on);
        let other = find(root, &join.files)?;
        let present = crate::data::table::column_names(&path)?;
        let (own, foreign): (Vec<&str>, Vec<&str>) =
            wanted.into_iter().partition(|name| present.iter().any(|column| column == name));
        let cells = read_cells(&path, table.header, own)?;
        let (joined, unjoined) = self::join(&cells, join, &other, foreign)?;
        Ok(Sheet { path, cells, joined, unjoined })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.cells.rows.len()
    }

    /// The number of a row as the user sees it.
    pub(super) fn line(&self, row: usize) -> u64 {
        self.cells.rows[row]
    }

    /// All columns by name.
    pub(super) fn columns(&self) -> Columns<'_> {
        self.cells.columns.iter().chain(&self.joined).map(|(name, cells)| (name.as_str(), cells)).collect()
    }

    /// An error about cells of a column.
    pub(super) fn refuse(&self, rows: &[usize], column: &str, found: &str, expected: String) -> DataError {
        DataError::Cell {
            path: self.path.clone(),
            rows: rows.iter().map(|&row| self.line(row)).collect(),
            column: column.to_owned(),
            found: found.to_owned(),
            expected,
        }
    }
}

/// The first of `files` that exists below `root`.
pub(super) fn find(root: &Path, files: &[String]) -> Result<PathBuf> {
    let exists = |file: &String| Some(root.join(file)).filter(|path| path.is_file());
    files
        .iter()
        .find_map(exists)
        .ok_or_else(|| DataError::LabelFile { root: root.to_path_buf(), files: files.to_vec() }.into())
}

/// The columns of another file in the order of these rows, and how many rows have none.
type Joined = (Vec<(String, StringColumn)>, usize);

fn join(cells: &Cells, join: &Join, path: &Path, wanted: Vec<&str>) -> Result<Joined> {
    let other = read_cells(path, true, wanted.into_iter().chain([join.on.as_str()]))?;
    let keys = other.column(&join.on);
    let mut index = HashMap::with_capacity(keys.len());
    for (row, key) in keys.enumerate() {
        let Some(key) = key else { continue };
        if let Some(first) = index.insert(key, row) {
            let rows = vec![other.rows[first], other.rows[row]];
            return Err(DataError::DuplicateIds { path: path.to_path_buf(), id: key.to_owned(), rows, count: 1 }.into());
        }
    }
    let rows: Vec<Option<usize>> = cells.column(&join.on).map(|key| index.get(key?).copied()).collect();
    let columns = other
        .columns
        .iter()
        .filter(|(name, _)| *name != join.on)
        .map(|(name, values)| (name.clone(), rows.iter().map(|row| values.get((*row)?)).collect()));
    Ok((columns.collect(), rows.iter().filter(|row| row.is_none()).count()))
}
