//! Label columns of a table as labels: one class per row, several, or one column per class.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::table::columns::{Chosen, Target};
use crate::data::table::{Column, StringColumn, Table};
use crate::data::{Label, OpenOptions, Task, classes};
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
pub(super) fn read(table: &Table, chosen: &Chosen, options: &OpenOptions) -> Result<Labels> {
    match &chosen.target {
        Target::None => {
            let labels = vec![Label::Unknown; table.rows.len()];
            Ok(Labels { task: Task::Unlabelled, classes: Vec::new(), labels, notes: Vec::new() })
        }
        Target::One(column) => one(table, *column, options),
        Target::Several(column) => several(table, *column, options),
        Target::PerClass(columns) => per_class(table, columns, options),
    }
}

/// One class per row; blank is unknown.
fn one(table: &Table, column: usize, options: &OpenOptions) -> Result<Labels> {
    let mut notes = Vec::new();
    let cells = class_names(table, column, &mut notes)?;
    let found: BTreeSet<&str> = cells.iter().flatten().collect();
    let classes = in_order(table, options, found, |row, class| cells.get(row) == Some(class))?;
    let index = indices(&classes);
    let label =
        |cell: Option<&str>| cell.and_then(|cell| index.get(cell)).map_or(Label::Unknown, |&class| Label::Class(class));
    let labels: Vec<Label> = cells.iter().map(label).collect();
    note_unlabelled(table, column, &labels, &mut notes);
    let task = if options.ordinal { Task::Ordinal } else { Task::Multiclass };
    Ok(Labels { task, classes, labels, notes })
}

/// The class names of a column of single labels. Whole numbers written as `1.0` become `1`; `nan`
/// among numbers is blank.
fn class_names(table: &Table, column: usize, notes: &mut Vec<String>) -> Result<StringColumn> {
    let cells = table.text(column)?;
    let number = |row: usize| cells.get(row).and_then(|cell| cell.parse::<f64>().ok());
    let filled: Vec<usize> = (0..cells.len()).filter(|&row| cells.get(row).is_some()).collect();
    let first_number = filled.iter().copied().find(|&row| number(row).is_some_and(|number| !number.is_nan()));
    let first_text = filled.iter().copied().find(|&row| number(row).is_none());
    match (first_number, first_text) {
        (Some(_), None) => {}
        (Some(a), Some(b)) => {
            let show = |row: usize| format!("`{}` in row {}", cells.get(row).unwrap_or_default(), table.rows[row]);
            let name = &table.names[column];
            notes.push(format!("column `{name}` mixes numbers and text ({}, {}): read as text", show(a), show(b)));
            return Ok(cells.clone());
        }
        (None, _) => return Ok(cells.clone()),
    }
    table.refuse(column, "a class: fractional numbers are measurements, not classes", |row| {
        number(row).is_some_and(|number| !number.is_nan() && number.fract() != 0.0)
    })?;
    let decimal = filled.iter().any(|&row| cells.get(row).is_some_and(|cell| cell.contains(['.', 'e', 'E'])));
    let mut spelling: BTreeMap<i64, &str> = BTreeMap::new();
    for &row in filled.iter().filter(|_| !decimal) {
        if let (Some(value), Some(cell)) = (number(row), cells.get(row)) {
            spelling.entry(value as i64).or_insert(cell);
        }
    }
    table.refuse(column, "the spelling of this number in the rows before", |row| {
        let known = number(row).and_then(|value| spelling.get(&(value as i64)));
        known.is_some_and(|known| cells.get(row) != Some(known))
    })?;
    let name = |row: usize| match number(row) {
        Some(value) if value.is_nan() => None,
        Some(value) if decimal => Some(format!("{}", value as i64)),
        _ => cells.get(row).map(str::to_owned),
    };
    Ok((0..cells.len()).map(name).collect())
}

/// Several classes per row: those listed are present and all others absent; blank is unknown.
fn several(table: &Table, column: usize, options: &OpenOptions) -> Result<Labels> {
    let lists: Vec<Option<Vec<&str>>> = match &table.columns[column] {
        Some(Column::Lists(cells)) => {
            cells.iter().map(|list| list.as_ref().map(|list| list.iter().map(String::as_str).collect())).collect()
        }
        _ => table.text(column)?.iter().map(|cell| cell.map(separated)).collect(),
    };
    let found: BTreeSet<&str> = lists.iter().flatten().flatten().copied().collect();
    let has = |row: usize, class: &str| lists[row].as_ref().is_some_and(|list| list.contains(&class));
    let classes = in_order(table, options, found, has)?;
    let index = indices(&classes);
    let label = |list: &Option<Vec<&str>>| match list {
        None => Label::Unknown,
        Some(list) => {
            let mut present = vec![Some(false); classes.len()];
            list.iter().filter_map(|class| index.get(class)).for_each(|&class| present[class] = Some(true));
            Label::Classes(present)
        }
    };
    let labels: Vec<Label> = lists.iter().map(label).collect();
    let mut notes = Vec::new();
    note_unlabelled(table, column, &labels, &mut notes);
    Ok(Labels { task: Task::MultiLabel, classes, labels, notes })
}

/// The classes of a cell, separated by `;` or `|`.
fn separated(cell: &str) -> Vec<&str> {
    cell.split([';', '|']).map(str::trim).filter(|class| !class.is_empty()).collect()
}

/// One column per class.
fn per_class(table: &Table, columns: &[usize], options: &OpenOptions) -> Result<Labels> {
    let mut labels = vec![Vec::with_capacity(columns.len()); table.rows.len()];
    for &column in columns {
        let cells = table.text(column)?;
        let state = |row: usize| match cells.get(row) {
            None => Some(options.columns.blank.known()),
            Some("1" | "1.0" | "true" | "True") => Some(Some(true)),
            Some("0" | "0.0" | "false" | "False") => Some(Some(false)),
            Some("-1" | "-1.0") => Some(options.columns.uncertain.known()),
            Some(_) => None,
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

fn note_unlabelled(table: &Table, column: usize, labels: &[Label], notes: &mut Vec<String>) {
    let unknown = labels.iter().filter(|label| **label == Label::Unknown).count();
    if unknown > 0 {
        let (name, total) = (&table.names[column], labels.len());
        notes.push(format!("{unknown} of {total} rows have a blank `{name}`: they are unlabelled"));
    }
}
