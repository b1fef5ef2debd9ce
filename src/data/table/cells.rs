//! Columns of a table by name, for readers that know what they mean.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::data::table::text::Sheet;
use crate::data::table::{Column, StringColumn, parquet};
use crate::error::{DataError, Result};
use crate::support::{fs, names};

/// Columns of a table.
pub(in crate::data) struct Cells {
    /// Name and cells of each column.
    pub(in crate::data) columns: Vec<(String, StringColumn)>,
    /// The number of each row as the user sees it.
    pub(in crate::data) rows: Vec<u64>,
}

impl Cells {
    /// The cells of a column that was read; none of any other.
    pub(in crate::data) fn column(&self, name: &str) -> impl ExactSizeIterator<Item = Option<&str>> {
        let cells = self.columns.iter().find(|(column, _)| column == name).map(|(_, cells)| cells);
        (0..self.rows.len()).map(move |row| cells?.get(row))
    }
}

/// The names of a table's columns.
///
/// # Errors
/// Those of reading the table.
pub(in crate::data) fn column_names(path: &Path) -> Result<Vec<String>> {
    if parquet::is_parquet(path)? {
        return parquet::names(path);
    }
    Ok(Sheet::with_header(path, &fs::read(path)?)?.names)
}

/// Reads the columns of these names; without a header line they are called `0`, `1` ...
///
/// # Errors
/// [`DataError::MissingColumn`] for a column that is not there; those of reading the table.
pub(in crate::data) fn read_cells<'a>(
    path: &Path,
    header: bool,
    wanted: impl IntoIterator<Item = &'a str>,
) -> Result<Cells> {
    let find = |present: &[String]| -> Result<Vec<usize>> {
        let mut indices = Vec::new();
        for name in wanted {
            let index = present.iter().position(|column| column == name).ok_or_else(|| {
                let nearest = names::nearest(name, present.iter().map(String::as_str));
                DataError::NoColumn {
                    path: path.to_path_buf(),
                    column: name.to_owned(),
                    nearest,
                    present: present.to_vec(),
                }
            })?;
            if !indices.contains(&index) {
                indices.push(index);
            }
        }
        Ok(indices)
    };
    let (mut table, indices) = if parquet::is_parquet(path)? {
        let present = parquet::names(path)?;
        let mut indices = find(&present)?;
        indices.sort_unstable();
        (parquet::read(path, present, &indices, true)?, indices)
    } else {
        let bytes = fs::read(path)?;
        let sheet = if header { Sheet::with_header(path, &bytes)? } else { Sheet::without_header(path, &bytes)? };
        let indices = find(&sheet.names)?;
        (sheet.read(&indices)?, indices)
    };
    let mut columns = Vec::with_capacity(indices.len());
    for index in indices {
        let name = table.names[index].clone();
        match table.columns[index].take() {
            Some(Column::Text(cells)) => columns.push((name, cells)),
            _ => {
                let problem = format!("column `{name}` holds lists where single values are expected");
                return Err(DataError::Table { path: path.to_path_buf(), problem }.into());
            }
        }
    }
    Ok(Cells { columns, rows: table.rows })
}

/// A column of a table by the id of its rows: `id_column`, or `id`, or `path` where there is no
/// `id`.
///
/// # Errors
/// [`DataError::MissingColumn`]; [`DataError::DuplicateIds`] where rows of one id have several
/// values; those of reading the table.
pub fn column_by_id(path: &Path, id_column: Option<&str>, column: &str) -> Result<HashMap<String, Option<String>>> {
    let present = column_names(path)?;
    let id = id_column.unwrap_or(if present.iter().any(|name| name == "id") { "id" } else { "path" });
    for (column, option) in [(id, "id-column"), (column, "by")] {
        if present.iter().all(|name| name != column) {
            let nearest = names::nearest(column, present.iter().map(String::as_str));
            let (path, column) = (path.to_path_buf(), column.to_owned());
            return Err(DataError::MissingColumn { path, column, nearest, present, option }.into());
        }
    }
    let cells = read_cells(path, true, [id, column])?;
    let mut values: HashMap<String, Option<String>> = HashMap::new();
    let mut contradicted = BTreeSet::new();
    let rows = cells.column(id).zip(cells.column(column));
    for (id, value) in rows.filter_map(|(id, value)| Some((id?.to_owned(), value.map(str::to_owned)))) {
        match values.get(&id) {
            Some(other) if *other != value => drop(contradicted.insert(id)),
            Some(_) => {}
            None => drop(values.insert(id, value)),
        }
    }
    let Some(first) = contradicted.first().cloned() else { return Ok(values) };
    let is_first = |(cell, row): (Option<&str>, &u64)| (cell == Some(first.as_str())).then_some(*row);
    let rows = cells.column(id).zip(&cells.rows).filter_map(is_first).collect();
    Err(DataError::DuplicateIds { path: path.to_path_buf(), id: first, rows, count: contradicted.len() }.into())
}
