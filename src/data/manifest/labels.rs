//! The labels of a label file's rows, by the rule of a manifest's variant.

use std::path::Path;

use crate::data::Label;
use crate::data::manifest::Variant;
use crate::data::manifest::csv_sheet::Sheet;
use crate::data::table::StringColumn;
use crate::data::table::values::{Truth, is_missing, truth};
use crate::error::Result;

impl Variant {
    /// The label of every row; `files` are their images.
    ///
    /// # Errors
    /// `DataError::Cell` for cells that are not as the rule says.
    pub(super) fn labels(&self, sheet: &Sheet, files: &[&str]) -> Result<Vec<Label>> {
        let rule = &self.label;
        if let Some(column) = &rule.column {
            let columns = sheet.columns();
            let cells = columns.get(column.as_str());
            return self.named(sheet, column, |row| cells?.get(row));
        }
        if let Some(end) = &rule.name_before {
            let name = |row: usize| {
                let name = Path::new(files.get(row)?).file_name()?.to_str()?;
                Some(name.split_once(end.as_str()).map_or(name, |(before, _)| before))
            };
            return self.named(sheet, "file name", name);
        }
        if rule.columns.is_empty() { self.one_hot(sheet) } else { self.several(sheet) }
    }

    /// The index of a class, under the name that the label file gives it.
    fn class(&self, written: &str) -> Option<usize> {
        let map = &self.label.map;
        // `1.0` is how a column of numbers with gaps is often written.
        let whole = written.strip_suffix(".0").unwrap_or(written);
        let name = if map.is_empty() { whole } else { map.get(whole)?.as_str() };
        self.classes.iter().position(|class| class == name)
    }

    /// One class by name; a blank is unlabelled.
    fn named<'a>(&self, sheet: &Sheet, column: &str, cell: impl Fn(usize) -> Option<&'a str>) -> Result<Vec<Label>> {
        let mut labels = Vec::with_capacity(sheet.len());
        let mut wrong: Vec<usize> = Vec::new();
        for row in 0..sheet.len() {
            let class = |written| {
                self.class(written).map_or_else(|| (!is_missing(written)).then_some(None), |class| Some(Some(class)))
            };
            match cell(row).and_then(class) {
                None => labels.push(Label::Unknown),
                Some(Some(class)) => labels.push(Label::Class(class)),
                Some(None) => wrong.push(row),
            }
        }
        let Some(&first) = wrong.first() else { return Ok(labels) };
        let known = self.known();
        Err(sheet.refuse(&wrong, column, cell(first).unwrap_or_default(), format!("one of {known}")).into())
    }

    /// The names that label files may use, for messages.
    fn known(&self) -> String {
        let names: Vec<&str> = match self.label.map.is_empty() {
            true => self.classes.iter().map(String::as_str).collect(),
            false => self.label.map.keys().map(String::as_str).collect(),
        };
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    /// A 1 in exactly one column.
    fn one_hot(&self, sheet: &Sheet) -> Result<Vec<Label>> {
        let columns = sheet.columns();
        let cells: Vec<Option<&StringColumn>> =
            self.label.one_hot.iter().map(|name| columns.get(name.as_str()).copied()).collect();
        let classes: Vec<Option<usize>> = self.label.one_hot.iter().map(|name| self.class(name)).collect();
        let mut labels = Vec::with_capacity(sheet.len());
        for row in 0..sheet.len() {
            let mut found = None;
            for ((cells, class), name) in cells.iter().zip(&classes).zip(&self.label.one_hot) {
                let written = cells.and_then(|cells| cells.get(row));
                let (state, written) = (truth(written), written.unwrap_or_default());
                match (state, found) {
                    (Some(Truth::Absent | Truth::Blank), _) => {}
                    (Some(Truth::Present), None) => found = *class,
                    (Some(Truth::Present), Some(_)) => {
                        return Err(sheet.refuse(&[row], name, written, "the only 1 of the row".into()).into());
                    }
                    _ => return Err(sheet.refuse(&[row], name, written, "0 or 1".into()).into()),
                }
            }
            labels.push(found.map_or(Label::Unknown, Label::Class));
        }
        Ok(labels)
    }

    /// One column per class: 1, 0, -1 or blank.
    fn several(&self, sheet: &Sheet) -> Result<Vec<Label>> {
        let rule = &self.label;
        let columns = sheet.columns();
        let mut labels = vec![vec![None; self.classes.len()]; sheet.len()];
        for name in &rule.columns {
            let cells = columns.get(name.as_str()).copied();
            let Some(class) = self.class(name) else { continue };
            for (row, label) in labels.iter_mut().enumerate() {
                let cell = cells.and_then(|cells| cells.get(row));
                label[class] = match truth(cell) {
                    Some(Truth::Blank) => rule.blank.known(),
                    Some(Truth::Present) => Some(true),
                    Some(Truth::Absent) => Some(false),
                    Some(Truth::Uncertain) => rule.uncertain.known(),
                    None => {
                        let other = cell.unwrap_or_default();
                        let expected = "1 (present), 0 (absent), -1 (uncertain) or blank".to_owned();
                        return Err(sheet.refuse(&[row], name, other, expected).into());
                    }
                };
            }
        }
        let none = rule.none_present.as_deref().and_then(|name| self.classes.iter().position(|class| class == name));
        if let Some(none) = none {
            let nothing = |label: &&mut Vec<Option<bool>>| label.iter().all(|known| *known == Some(false));
            labels.iter_mut().filter(nothing).for_each(|label| label[none] = Some(true));
        }
        Ok(labels.into_iter().map(Label::Classes).collect())
    }
}

/// The label of an image that two rows show: the later class, or what is present in either.
pub(super) fn highest(a: &Label, b: &Label) -> Label {
    match (a, b) {
        (Label::Class(a), Label::Class(b)) => Label::Class(*a.max(b)),
        (Label::Classes(a), Label::Classes(b)) => {
            let either = |(a, b): (&Option<bool>, &Option<bool>)| match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
            Label::Classes(a.iter().zip(b).map(either).collect())
        }
        (Label::Unknown, other) | (other, _) => other.clone(),
    }
}
