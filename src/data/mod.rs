//! Datasets: folders and tables in, labelled samples and splits out.
//!
//! [`open`] reads what a dataset is (never the images themselves). What it refuses, it refuses with
//! file and row; what it leaves out or had to interpret is listed in [`Dataset::skipped`] and
//! [`Dataset::notes`], so that a caller can tell.

pub mod augment;
mod classes;
mod example;
mod folder;
mod frames;
pub mod inspect;
mod labels;
mod loader;
pub mod manifest;
mod options;
mod sample;
pub mod split;
mod table;

use std::path::Path;

use crate::error::{DataError, Result};
use crate::support::fs;

pub use example::textile_images;
pub use folder::IMAGE_EXTENSIONS;
pub use labels::{Census, ClassCounts, Counts};
pub use loader::{Batch, Epoch, Loader};
pub use options::{Columns, DatasetSource, Frames, Layout, OpenOptions, Reading};
pub use sample::{Dataset, Label, Sample, SkipReason, Skipped, Split, Task};
pub use table::{ExtraColumn, StringColumn, column_by_id, write_table, write_table_with};
pub(crate) use table::{FeatureTable, other_format, unsupported};

/// Reads a dataset from a folder of images or a table of image paths; the samples are sorted by id.
///
/// A folder is one of
/// - class folders: the class is the first-level folder, deeper folders are part of the id;
/// - split folders: every first-level folder is called `train`, `validation` (or `val`, `valid`,
///   `dev`) or `test`, with class folders or images inside;
/// - images without folders: unlabelled.
///
/// A table is CSV or Parquet with a column `path` and, where wanted, `id`, `label` or `labels`,
/// `split`, `group`, `weight`; see [`Columns`]. `FILE#N` as a path is frame N, from 1, of a DICOM
/// file; [`OpenOptions::frames`] chooses frames of all files.
///
/// # Errors
/// [`DataError`] with file and row for everything that cannot be read as a dataset, `FileError` for
/// what the operating system refuses.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let metadata = std::fs::metadata(path).map_err(fs::io_error("read", path))?;
    let mut dataset = if metadata.is_dir() {
        folder::read(path, options)?
    } else if table::is_table(path)? {
        table::read(path, options)?
    } else {
        let found = table::other_format(&fs::start(path)?);
        return Err(DataError::UnknownSource { path: path.to_path_buf(), found }.into());
    };
    frames::choose(&mut dataset, options.frames)?;
    dataset.note_small_classes();
    dataset.source = DatasetSource { path: path.to_path_buf(), reading: options.clone() };
    Ok(dataset)
}

impl Dataset {
    /// Reads a folder or table as the default [`OpenOptions`] say, see [`open`].
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Dataset> {
        open(path.as_ref(), &OpenOptions::default())
    }

    /// The file of each sample, in their order.
    pub fn paths(&self) -> Vec<&Path> {
        self.samples.iter().map(|sample| sample.path.as_path()).collect()
    }
}
