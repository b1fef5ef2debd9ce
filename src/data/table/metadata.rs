//! What a Parquet table written here says of itself, so that it is read again without flags.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::table::parquet;
use crate::data::{Dataset, OpenOptions, Task};
use crate::error::{FileError, Result};

/// The key in the file's metadata.
pub(super) const KEY: &str = "defrost.dataset";

/// How a table is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Memo {
    task: Task,
    classes: Vec<String>,
    /// The folder that paths are relative to, absolute.
    root: PathBuf,
}

impl Memo {
    /// The memo of a dataset.
    pub(super) fn of(dataset: &Dataset) -> Memo {
        let root = std::path::absolute(&dataset.root).unwrap_or_else(|_| dataset.root.clone());
        Memo { task: dataset.task, classes: dataset.classes.clone(), root }
    }

    /// As it is stored.
    ///
    /// # Errors
    /// Where JSON cannot express it.
    pub(super) fn text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The memo of a Parquet file, if it has one.
    ///
    /// # Errors
    /// `FileError::Parse` for a memo that is not one.
    pub(super) fn read(path: &Path) -> Result<Option<Memo>> {
        let Some(text) = parquet::metadata(path, KEY)? else { return Ok(None) };
        let memo = serde_json::from_str(&text).map_err(|source| FileError::Parse {
            path: path.to_path_buf(),
            format: "dataset memo",
            source: Box::new(source),
        })?;
        Ok(Some(memo))
    }

    /// The options with what they leave open filled in; a stated option wins.
    pub(super) fn fill(self, options: &OpenOptions) -> OpenOptions {
        let mut filled = options.clone();
        filled.root.get_or_insert(self.root);
        let columns = &options.columns;
        let stated = columns.label.is_some() || columns.labels.is_some() || !columns.classes.is_empty();
        if stated || !options.classes.is_empty() {
            return filled;
        }
        match self.task {
            Task::Unlabelled => {}
            Task::Multiclass | Task::Ordinal => {
                filled.classes = self.classes;
                filled.ordinal |= self.task == Task::Ordinal;
            }
            Task::MultiLabel => filled.columns.classes = self.classes,
        }
        filled
    }
}
