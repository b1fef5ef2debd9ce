//! The columns beside the embeddings of a cache or a table of features, by the same rules as those
//! of a table of images; the columns of a cache as they were written.

use std::path::{Path, PathBuf};

use crate::data::options::OpenOptions;
use crate::data::sample::{Dataset, Sample, Task};
use crate::data::table::columns::{Header, Target};
use crate::data::table::string_column::ListColumn;
use crate::data::table::{Column, StringColumn, Table, labels, parquet, values};
use crate::error::{DataError, Result};

/// Where the samples of features are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeatureTable<'a> {
    /// Parquet files of the same columns, in order.
    pub(crate) files: &'a [PathBuf],
    /// Folder that paths are relative to.
    pub(crate) root: &'a Path,
    /// Column of the labels; it must be there.
    pub(crate) label: Option<&'a str>,
    /// Task and classes of a cache, whose cells are read as they are; `None` for tables made
    /// elsewhere.
    pub(crate) cache: Option<(Task, &'a [String])>,
}

impl FeatureTable<'_> {
    /// Reads the samples, in the order of the rows; `classes` are the stated names of a table made
    /// elsewhere, none for those found. Without a column `id` a sample is called by the
    /// number of its row, from 1.
    ///
    /// # Errors
    /// `DataError` with file and rows for cells that do not hold what they should and for ids that
    /// are not unique.
    pub(crate) fn read(&self, classes: &[String]) -> Result<Dataset> {
        let is_cache = self.cache.is_some();
        let mut table: Option<Table> = None;
        for file in self.files {
            let names = parquet::names(file)?;
            let header = Header { path: file, present: &names };
            let find = |name: &str| if is_cache { header.exact(name) } else { header.find(&None, name, "") };
            let mut indices = Vec::new();
            let mut columns = Vec::new();
            for name in ["id", "path", "content_hash", "split", "group", "weight"] {
                columns.push(find(name)?);
            }
            columns.push(self.label.map(|name| header.exact(name)).transpose()?.flatten());
            indices.extend(columns.iter().flatten());
            indices.sort_unstable();
            indices.dedup();
            let mut read = parquet::read(file, names, &indices, !is_cache)?;
            // The columns of every file in one order.
            let known = columns.iter().map(|index| index.and_then(|index| read.columns[index].clone()));
            let part = Table {
                path: std::mem::take(&mut read.path),
                names: NAMES.map(str::to_owned).into_iter().chain(self.label.map(str::to_owned)).collect(),
                columns: known.take(NAMES.len() + usize::from(self.label.is_some())).collect(),
                rows: read.rows,
                has_nulls: true,
                parts: Vec::new(),
            };
            match table.as_mut() {
                Some(table) => table.append(part)?,
                None => table = Some(part),
            }
        }
        match table {
            Some(table) => self.dataset(&table, classes),
            None => Ok(Dataset::in_row_order(self.root.to_path_buf(), Task::Unlabelled, Vec::new(), Vec::new())),
        }
    }

    fn dataset(&self, table: &Table, classes: &[String]) -> Result<Dataset> {
        let count = table.rows.len();
        let present = |column: usize| table.columns[column].is_some().then_some(column);
        let nothing = || std::iter::repeat_n(None::<&str>, count).collect::<StringColumn>();
        let text = |column: usize| -> Result<StringColumn> {
            present(column).map_or_else(|| Ok(nothing()), |column| table.text(column).cloned())
        };
        let names = |column: usize| -> Result<StringColumn> {
            let cells = text(column)?;
            Ok(if self.cache.is_some() { cells } else { values::names(&cells) })
        };
        let ids: Vec<String> = match present(ID) {
            Some(column) => {
                let ids = names(column)?;
                table.refuse(column, "an id", |row| ids.get(row).is_none())?;
                ids.iter().flatten().map(str::to_owned).collect()
            }
            None => (1..=count).map(|row| row.to_string()).collect(),
        };
        table.check_unique(&ids)?;
        let (paths, hashes, groups) = (text(PATH)?, text(CONTENT_HASH)?, names(GROUP)?);
        let splits = table.splits(present(SPLIT))?;
        let weights = table.weights(present(WEIGHT))?;
        let label = table.columns.get(LABEL).and_then(Option::as_ref).map(|_| LABEL);
        let read = match (self.cache, label) {
            (Some((task, classes)), Some(column)) => labels::of_cache(table, column, task, classes)?,
            (None, Some(column)) => {
                let target = match table.names[column].eq_ignore_ascii_case("labels") {
                    true => Target::Several(column),
                    false => Target::One(column),
                };
                let options = OpenOptions { classes: classes.to_vec(), ..OpenOptions::default() };
                labels::read(table, &target, &options)?
            }
            (_, None) => labels::read(table, &Target::None, &OpenOptions::default())?,
        };
        let samples = ids.into_iter().zip(read.labels).enumerate().map(|(row, (id, label))| Sample {
            content_hash: hashes.get(row).map(str::to_owned),
            split: splits[row],
            group: groups.get(row).map(str::to_owned),
            weight: weights[row],
            ..Sample::new(id, paths.get(row).map_or_else(PathBuf::new, |path| self.root.join(path)), label)
        });
        let samples = samples.collect();
        let mut dataset = Dataset::in_row_order(self.root.to_path_buf(), read.task, read.classes, samples);
        dataset.notes = read.notes;
        if self.cache.is_none() {
            dataset.unite_spellings_of_groups();
        }
        Ok(dataset)
    }
}

/// The columns in the order that [`FeatureTable`] puts them in; the label is behind them.
const NAMES: [&str; 6] = ["id", "path", "content_hash", "split", "group", "weight"];
const ID: usize = 0;
const PATH: usize = 1;
const CONTENT_HASH: usize = 2;
const SPLIT: usize = 3;
const GROUP: usize = 4;
const WEIGHT: usize = 5;
const LABEL: usize = 6;

impl Table {
    /// Adds the rows of another file behind these; a column that one of them lacks is blank there.
    ///
    /// # Errors
    /// [`DataError::Table`] where a column holds lists in one file and single values in another.
    fn append(&mut self, more: Table) -> Result<()> {
        let (before, count) = (self.rows.len(), more.rows.len());
        let pairs = self.columns.iter().zip(&more.columns).zip(&self.names);
        let differs = |(own, other): (&Option<Column>, &Option<Column>)| {
            matches!(
                (own, other),
                (Some(Column::Text(_)), Some(Column::Lists(_))) | (Some(Column::Lists(_)), Some(Column::Text(_)))
            )
        };
        if let Some((_, name)) = pairs.into_iter().find(|(pair, _)| differs(*pair)) {
            let problem = format!("column `{name}` holds lists in one file and single values in another");
            return Err(DataError::Table { path: more.path, problem }.into());
        }
        self.parts.push((before, more.path));
        self.rows.extend(more.rows);
        for (column, more) in self.columns.iter_mut().zip(more.columns) {
            match (column.as_mut(), more) {
                (None, None) => {}
                (Some(Column::Text(cells)), None) => (0..count).for_each(|_| cells.push("")),
                (Some(Column::Lists(lists)), None) => (0..count).for_each(|_| lists.push(None)),
                (None, Some(more)) => {
                    let mut filled = match &more {
                        Column::Text(_) => Column::Text(std::iter::repeat_n(None::<&str>, before).collect()),
                        Column::Lists(_) => {
                            let mut lists = ListColumn::default();
                            (0..before).for_each(|_| lists.push(None));
                            Column::Lists(lists)
                        }
                    };
                    filled.append(more);
                    *column = Some(filled);
                }
                (Some(column), Some(more)) => column.append(more),
            }
        }
        Ok(())
    }
}
