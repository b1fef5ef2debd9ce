//! Which columns of a table mean what.

use std::path::Path;

use crate::data::OpenOptions;
use crate::error::{DataError, Result};
use crate::support::names;

/// Indices of the columns in use.
pub(super) struct Chosen {
    pub(super) path: usize,
    pub(super) id: Option<usize>,
    pub(super) target: Target,
    pub(super) split: Option<usize>,
    pub(super) group: Option<usize>,
    pub(super) weight: Option<usize>,
    /// What a reader should know of the choice.
    pub(super) notes: Vec<String>,
}

/// Where the labels are.
pub(super) enum Target {
    /// Nowhere.
    None,
    /// One class per row.
    One(usize),
    /// Several classes per row.
    Several(usize),
    /// One column per class.
    PerClass(Vec<usize>),
}

impl Chosen {
    /// All columns in use, sorted.
    pub(super) fn indices(&self) -> Vec<usize> {
        let mut indices = vec![self.path];
        indices.extend([self.id, self.split, self.group, self.weight].into_iter().flatten());
        match &self.target {
            Target::None => {}
            Target::One(column) | Target::Several(column) => indices.push(*column),
            Target::PerClass(columns) => indices.extend(columns),
        }
        indices.sort_unstable();
        indices.dedup();
        indices
    }
}

/// Finds the columns.
///
/// # Errors
/// [`DataError::MissingColumn`] for a stated column, or `path`, that is not there;
/// [`DataError::Columns`] where a name fits two columns or two kinds of labels are there.
pub(super) fn choose(path: &Path, present: &[String], options: &OpenOptions) -> Result<Chosen> {
    let header = Header { path, present };
    let columns = &options.columns;
    let image = match header.find(&columns.path, "path", "path-column")? {
        Some(column) => column,
        None => return Err(header.missing("path", "path-column").into()),
    };
    let mut notes = Vec::new();
    let target = if columns.classes.is_empty() {
        header.target(options, &mut notes)?
    } else {
        let stated = columns.label.is_some() || columns.labels.is_some() || !options.classes.is_empty();
        if stated {
            return Err(header.conflict(columns.classes.clone(), "they state labels and classes already").into());
        }
        let find = |name: &String| header.exact(name)?.ok_or_else(|| header.missing(name, "class-columns").into());
        Target::PerClass(columns.classes.iter().map(find).collect::<Result<_>>()?)
    };
    Ok(Chosen {
        path: image,
        id: header.find(&columns.id, "id", "id-column")?,
        target,
        split: header.find(&columns.split, "split", "split-column")?,
        group: header.find(&columns.group, "group", "group-column")?,
        weight: header.find(&columns.weight, "weight", "weight-column")?,
        notes,
    })
}

/// The column names of a table.
pub(super) struct Header<'a> {
    pub(super) path: &'a Path,
    pub(super) present: &'a [String],
}

impl Header<'_> {
    /// The column of one or several classes.
    fn target(&self, options: &OpenOptions, notes: &mut Vec<String>) -> Result<Target> {
        let columns = &options.columns;
        match (&columns.label, &columns.labels) {
            (Some(label), Some(labels)) => {
                let both = vec![label.clone(), labels.clone()];
                Err(self.conflict(both, "choose `label-column` or `labels-column`").into())
            }
            (Some(_), None) => self.find(&columns.label, "label", "label-column").map(one),
            (None, Some(_)) => self.find(&columns.labels, "labels", "labels-column").map(several),
            (None, None) => {
                match (self.find(&None, "label", "label-column")?, self.find(&None, "labels", "labels-column")?) {
                    (Some(label), Some(labels)) => {
                        let both = vec![self.present[label].clone(), self.present[labels].clone()];
                        Err(self.conflict(both, "choose `label-column` or `labels-column`").into())
                    }
                    (Some(label), None) => Ok(Target::One(label)),
                    (None, Some(labels)) => Ok(Target::Several(labels)),
                    (None, None) => {
                        notes.push(format!(
                            "there is no column `label` or `labels`, so the images are unlabelled; the columns are `{}`",
                            self.present.join("`, `")
                        ));
                        Ok(Target::None)
                    }
                }
            }
        }
    }

    /// A stated column, which must be there, or one of the default name, which need not.
    pub(super) fn find(&self, stated: &Option<String>, default: &str, option: &'static str) -> Result<Option<usize>> {
        if let Some(name) = stated {
            return self.exact(name)?.map(Some).ok_or_else(|| self.missing(name, option).into());
        }
        if let Some(column) = self.exact(default)? {
            return Ok(Some(column));
        }
        let mut alike = (0..self.present.len()).filter(|&column| self.present[column].eq_ignore_ascii_case(default));
        match (alike.next(), alike.next()) {
            (Some(first), Some(second)) => {
                let both = vec![self.present[first].clone(), self.present[second].clone()];
                Err(self.conflict(both, "say which of them is meant").into())
            }
            (found, _) => Ok(found),
        }
    }

    /// The column of exactly this name.
    pub(super) fn exact(&self, name: &str) -> Result<Option<usize>> {
        let mut same = (0..self.present.len()).filter(|&column| self.present[column] == name);
        match (same.next(), same.next()) {
            (Some(_), Some(_)) => Err(self.conflict(vec![name.to_owned(); 2], "the name must be unique").into()),
            (found, _) => Ok(found),
        }
    }

    fn missing(&self, name: &str, option: &'static str) -> DataError {
        let lower = name.to_lowercase();
        let mut nearest = names::nearest(name, self.present.iter().map(String::as_str));
        let similar = |column: &&String| column.to_lowercase().contains(&lower) && !nearest.contains(column);
        let containing: Vec<String> = self.present.iter().filter(similar).cloned().collect();
        nearest.splice(0..0, containing);
        DataError::MissingColumn {
            path: self.path.to_path_buf(),
            column: name.to_owned(),
            nearest: nearest.into_iter().take(3).collect(),
            present: self.present.to_vec(),
            option,
        }
    }

    fn conflict(&self, columns: Vec<String>, problem: &'static str) -> DataError {
        DataError::Columns { path: self.path.to_path_buf(), columns, problem }
    }
}

fn one(column: Option<usize>) -> Target {
    column.map_or(Target::None, Target::One)
}

fn several(column: Option<usize>) -> Target {
    column.map_or(Target::None, Target::Several)
}
