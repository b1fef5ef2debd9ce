//! Label columns of a table as labels: one class per row, several, or one column per class. What
//! the cells say is in `values.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::classes;
use crate::data::options::OpenOptions;
use crate::data::sample::{Label, Task};
use crate::data::table::columns::Target;
use crate::data::table::values::{self, Number, Truth};
use crate::data::table::{Column, StringColumn, Table};
use crate::error::{DataError, Error, Result};

/// The labels of all rows and what they mean.
pub(super) struct Labels {
    pub(super) task: Task,
    pub(super) classes: Vec<String>,
    pub(super) labels: Vec<Label>,
    /// Interpretations that were made.
    pub(super) notes: Vec<String>,
}

/// Reads the labels of a table.
pub(super) fn read(table: &Table, target: &Target, options: &OpenOptions) -> Result<Labels> {
    match target {
        Target::None => {
            let labels = vec![Label::Unknown; table.rows.len()];
            Ok(Labels { task: Task::Unlabelled, classes: Vec::new(), labels, notes: Vec::new() })
        }
        Target::One(column) if holds_lists(table, *column) => several(table, *column, options),
        Target::One(column) => one(table, *column, options),
        Target::Several(column) => several(table, *column, options),
        Target::PerClass(columns) => per_class(table, columns, options),
    }
}

/// Reads the labels of a cache, which holds the names of its classes exactly, or one entry of 1, 0
/// or null per class.
///
/// # Errors
/// [`DataError::Cell`] for a label that is none of the classes.
pub(super) fn of_cache(table: &Table, column: usize, task: Task, classes: &[String]) -> Result<Labels> {
    let index = indices(classes);
    let labels: Vec<Option<Label>> = match &table.columns[column] {
        Some(Column::Lists(lists)) => (0..table.rows.len())
            .map(|row| match lists.get(row) {
                None => Some(Label::Unknown),
                Some(entries) if entries.len() != classes.len() => None,
                Some(entries) => entries.map(flag).collect::<Option<_>>().map(Label::Classes),
            })
            .collect(),
        _ => {
            let class = |name: &str| index.get(name).map(|&class| Label::Class(class));
            table.text(column)?.iter().map(|cell| cell.map_or(Some(Label::Unknown), class)).collect()
        }
    };
    table.refuse(column, "a class of the cache", |row| labels[row].is_none())?;
    let labels = labels.into_iter().flatten().collect();
    Ok(Labels { task, classes: classes.to_vec(), labels, notes: Vec::new() })
}

/// Whether a column holds lists, as such or as text in brackets.
fn holds_lists(table: &Table, column: usize) -> bool {
    match &table.columns[column] {
        Some(Column::Lists(_)) => true,
        Some(Column::Text(cells)) => {
            let mut filled = cells.iter().flatten().filter(|cell| !values::is_missing(cell)).peekable();
            filled.peek().is_some() && filled.all(values::is_bracketed)
        }
        None => false,
    }
}

/// One class per row; blank is unknown.
fn one(table: &Table, column: usize, options: &OpenOptions) -> Result<Labels> {
    let mut notes = Vec::new();
    let cells = class_names(table, column, &options.classes, &mut notes)?;
    let found: BTreeSet<&str> = cells.iter().flatten().collect();
    let classes = in_order(table, options, found, |row, class| cells.get(row) == Some(class))?;
    let index = indices(&classes);
    let label =
        |cell: Option<&str>| cell.and_then(|cell| index.get(cell)).map_or(Label::Unknown, |&class| Label::Class(class));
    let labels: Vec<Label> = cells.iter().map(label).collect();
    note_unlabelled(table, column, &labels, &mut notes);
    let task = if options.ordinal { Task::Ordinal } else { Task::Multiclass };
    Ok(Labels { task: if classes.is_empty() { Task::Unlabelled } else { task }, classes, labels, notes })
}

/// The class names of a column of single labels: spellings of nothing are blank unless they are
/// stated classes, whole numbers written as `1.0` become `1`, and truth values that are spelled in
/// several ways `true` and `false`.
fn class_names(table: &Table, column: usize, stated: &[String], notes: &mut Vec<String>) -> Result<StringColumn> {
    let is_name = |cell: &str| values::number(cell).is_none() && values::truth(Some(cell)).is_none();
    let has_names = || table.text(column).is_ok_and(|cells| cells.iter().flatten().any(is_name));
    let are_classes = table.has_nulls && stated.is_empty() && has_names();
    let is_filled = |cell: &&str| {
        !values::is_missing(cell)
            || stated.iter().any(|class| class == cell)
            || (are_classes && values::may_be_name(cell))
    };
    let cells: StringColumn = table.text(column)?.iter().map(|cell| cell.filter(is_filled)).collect();
    let number = |row: usize| cells.get(row).and_then(values::number);
    let filled: Vec<usize> = (0..cells.len()).filter(|&row| cells.get(row).is_some()).collect();
    let first_number = filled.iter().copied().find(|&row| number(row).is_some());
    let first_text = filled.iter().copied().find(|&row| number(row).is_none());
    match (first_number, first_text) {
        (Some(_), None) => {}
        (Some(a), Some(b)) => {
            let show = |row: usize| format!("`{}` in row {}", cells.get(row).unwrap_or_default(), table.rows[row]);
            let name = &table.names[column];
            notes.push(format!("column `{name}` mixes numbers and text ({}, {}): read as text", show(a), show(b)));
            return Ok(cells);
        }
        (None, _) => {
            let written: Vec<&str> =
                cells.iter().flatten().filter(|cell| are_classes && values::is_missing(cell)).collect();
            if !written.is_empty() {
                let (count, written) = (written.len(), distinct(&written));
                notes.push(format!(
                    "{count} of {} rows have the `{}` {written}: a class, as Parquet has null for what is unknown; to leave \
                     them out, state the other `classes`",
                    cells.len(),
                    table.names[column]
                ));
            }
            return Ok(one_spelling_of_truth(cells));
        }
    }
    table.refuse(column, "a class: fractional numbers are measurements, not classes", |row| {
        number(row) == Some(Number::Fraction)
    })?;
    let decimal = filled.iter().any(|&row| cells.get(row).is_some_and(values::is_decimal));
    let whole = |row: usize| match number(row) {
        Some(Number::Whole(whole)) => Some(whole),
        _ => None,
    };
    let mut spelling: BTreeMap<i128, &str> = BTreeMap::new();
    for &row in filled.iter().filter(|_| !decimal) {
        if let (Some(value), Some(cell)) = (whole(row), cells.get(row)) {
            spelling.entry(value).or_insert(cell);
        }
    }
    table.refuse(column, "the spelling of this number in the rows before", |row| {
        let known = whole(row).and_then(|value| spelling.get(&value));
        known.is_some_and(|known| cells.get(row) != Some(known))
    })?;
    let name = |row: usize| match whole(row) {
        Some(value) if decimal => Some(value.to_string()),
        _ => cells.get(row).map(str::to_owned),
    };
    Ok((0..cells.len()).map(name).collect())
}

/// Where all cells are truth values and one of them is spelled in two ways (`TRUE`, `true`), they
/// become `true` and `false`.
fn one_spelling_of_truth(cells: StringColumn) -> StringColumn {
    let distinct: BTreeSet<&str> = cells.iter().flatten().collect();
    let lower: BTreeSet<String> = distinct.iter().map(|cell| cell.to_ascii_lowercase()).collect();
    let are_truth = lower.iter().all(|cell| cell == "true" || cell == "false");
    if !are_truth || lower.len() == distinct.len() {
        return cells;
    }
    cells.iter().map(|cell| cell.map(str::to_ascii_lowercase)).collect()
}

/// Several classes per row: those listed are present and all others absent; blank is unknown. Lists
/// of one length of two or more that hold nothing but 1, 0 and blank have an entry per class.
fn several(table: &Table, column: usize, options: &OpenOptions) -> Result<Labels> {
    let lists: Vec<Option<Vec<String>>> = match &table.columns[column] {
        Some(Column::Lists(cells)) => (0..table.rows.len())
            .map(|row| cells.get(row).map(|list| list.map(|entry| entry.unwrap_or_default().to_owned()).collect()))
            .collect(),
        _ => {
            let is_stated = |cell: &str| options.classes.iter().any(|class| class == cell);
            let list = |cell: &str| match values::is_missing(cell) {
                true => is_stated(cell).then(|| vec![cell.to_owned()]),
                false => Some(values::entries(cell)),
            };
            table.text(column)?.iter().map(|cell| cell.and_then(list)).collect()
        }
    };
    let mut notes = Vec::new();
    let length = lists.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let is_flag = |entry: &String| flag(Some(entry).filter(|entry| !entry.is_empty()).map(String::as_str)).is_some();
    let has_blank = lists.iter().flatten().flatten().any(String::is_empty);
    let are_flags = (length > 1 || has_blank)
        && lists.iter().flatten().all(|list| list.iter().all(is_flag) && (has_blank || list.len() == length));
    if are_flags {
        let expected = format!("a list of {length} entries, one per class");
        table.refuse(column, &expected, |row| lists[row].as_ref().is_some_and(|list| list.len() != length))?;
        let classes: Vec<String> = match options.classes.len() == length {
            true => options.classes.clone(),
            false => (0..length).map(|class| format!("class_{class}")).collect(),
        };
        notes.push(format!("the lists of `{}` have an entry per class: 1, 0 or blank", table.names[column]));
        let known = |entry: &String| flag(Some(entry.as_str()).filter(|entry| !entry.is_empty())).flatten();
        let label = |list: &Option<Vec<String>>| {
            list.as_ref().map_or(Label::Unknown, |list| Label::Classes(list.iter().map(known).collect()))
        };
        let labels: Vec<Label> = lists.iter().map(label).collect();
        note_unlabelled(table, column, &labels, &mut notes);
        return Ok(Labels { task: Task::MultiLabel, classes, labels, notes });
    }
    // Numbers in lists are classes as numbers in a column are.
    let lists: Vec<Option<Vec<String>>> =
        lists.into_iter().map(|list| list.map(|list| list.into_iter().map(whole_name).collect())).collect();
    let found: BTreeSet<&str> =
        lists.iter().flatten().flatten().map(String::as_str).filter(|class| !class.is_empty()).collect();
    let has = |row: usize, class: &str| lists[row].iter().flatten().any(|listed| listed == class);
    let classes = in_order(table, options, found, has)?;
    let index = indices(&classes);
    let label = |list: &Option<Vec<String>>| match list {
        None => Label::Unknown,
        Some(list) => {
            let mut present = vec![Some(false); classes.len()];
            list.iter().filter_map(|class| index.get(class.as_str())).for_each(|&class| present[class] = Some(true));
            Label::Classes(present)
        }
    };
    let labels: Vec<Label> = lists.iter().map(label).collect();
    note_unlabelled(table, column, &labels, &mut notes);
    Ok(Labels { task: Task::MultiLabel, classes, labels, notes })
}

/// An entry of a list as present, absent or unknown; `None` for anything else.
fn flag(entry: Option<&str>) -> Option<Option<bool>> {
    match values::truth(entry)? {
        Truth::Present => Some(Some(true)),
        Truth::Absent => Some(Some(false)),
        Truth::Blank => Some(None),
        Truth::Uncertain => None,
    }
}

/// `1.0` as `1`.
fn whole_name(entry: String) -> String {
    match values::number(&entry) {
        Some(Number::Whole(whole)) if values::is_decimal(&entry) => whole.to_string(),
        _ => entry,
    }
}

/// One column per class.
fn per_class(table: &Table, columns: &[usize], options: &OpenOptions) -> Result<Labels> {
    let mut labels = vec![Vec::with_capacity(columns.len()); table.rows.len()];
    for &column in columns {
        let cells = table.text(column)?;
        let state = |row: usize| match values::truth(cells.get(row))? {
            Truth::Present => Some(Some(true)),
            Truth::Absent => Some(Some(false)),
            Truth::Uncertain => Some(options.columns.uncertain.known()),
            Truth::Blank => Some(options.columns.blank.known()),
        };
        table.refuse(column, "1 (present), 0 (absent), -1 (uncertain) or blank", |row| state(row).is_none())?;
        for (row, label) in labels.iter_mut().enumerate() {
            label.push(state(row).flatten());
        }
    }
    let classes = columns.iter().map(|&column| table.names[column].clone()).collect();
    let labels = labels.into_iter().map(Label::Classes).collect();
    Ok(Labels { task: Task::MultiLabel, classes, labels, notes: Vec::new() })
}

/// The classes in their order; one that is not stated is told with its rows, which `has` knows.
fn in_order(
    table: &Table,
    options: &OpenOptions,
    found: BTreeSet<&str>,
    has: impl Fn(usize, &str) -> bool,
) -> Result<Vec<String>> {
    classes::in_order(&table.path, &options.classes, found).map_err(|error| match error {
        Error::Data(DataError::UnknownClass { path, class, nearest, stated, .. }) => {
            let rows = (0..table.rows.len()).filter(|&row| has(row, &class)).map(|row| table.rows[row]).collect();
            DataError::UnknownClass { path, rows, class, nearest, stated }.into()
        }
        other => other,
    })
}

fn indices(classes: &[String]) -> BTreeMap<&str, usize> {
    classes.iter().enumerate().map(|(index, class)| (class.as_str(), index)).collect()
}

/// Cells once each, quoted.
fn distinct(cells: &[&str]) -> String {
    let distinct: BTreeSet<String> = cells.iter().map(|cell| format!("`{cell}`")).collect();
    distinct.into_iter().collect::<Vec<_>>().join(", ")
}

/// Tells how many rows are unlabelled, and by what, where it is not an empty cell.
fn note_unlabelled(table: &Table, column: usize, labels: &[Label], notes: &mut Vec<String>) {
    let unknown = labels.iter().filter(|label| **label == Label::Unknown).count();
    if unknown > 0 {
        let (name, total) = (&table.names[column], labels.len());
        let spelled: Vec<&str> = match &table.columns[column] {
            Some(Column::Text(cells)) => {
                let rows = (0..labels.len()).filter(|&row| labels[row] == Label::Unknown);
                rows.filter_map(|row| cells.get(row)).filter(|cell| !cell.is_empty()).collect()
            }
            _ => Vec::new(),
        };
        let said = if spelled.is_empty() {
            String::new()
        } else {
            let (count, distinct) = (spelled.len(), distinct(&spelled));
            format!("; {count} of them say {distinct}: where that is a class, state the `classes`")
        };
        notes.push(format!("{unknown} of {total} rows have a blank `{name}`: they are unlabelled{said}"));
    }
}
