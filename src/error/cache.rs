//! Failures of embedding caches and of feature tables made elsewhere.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// An embedding cache or a feature table is not as needed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A path holds no embeddings.
    #[error("`{path}` is neither an embedding cache nor a Parquet file with embeddings: {problem}")]
    NotACache {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        problem: Cow<'static, str>,
    },
    /// A file of a cache or table is missing, truncated or changed.
    #[error("`{path}` is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No column of a table can hold what is asked for.
    #[error("`{path}` has no column of {wanted}; its columns are {}", quoted(present))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What the column must hold, as a phrase: `embeddings (lists of floats)`.
        wanted: &'static str,
        /// All columns.
        present: Vec<String>,
        /// The option that names the column.
        option: &'static str,
    },
    /// Several columns of a table can hold what is asked for.
    #[error("`{path}` has several columns of {wanted}: {}", quoted(candidates))]
    AmbiguousColumn {
        /// The file.
        path: PathBuf,
        /// What the column must hold, as a phrase.
        wanted: &'static str,
        /// The columns.
        candidates: Vec<String>,
        /// The option that names the column.
        option: &'static str,
    },
    /// A row does not hold what it should.
    #[error("`{path}`, row {row}, column `{column}`: {problem}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The row of this file, from 1.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A cache was made by another model, preprocessing or precision.
    #[error("`{path}` was made differently: {}", differences.join("; "))]
    Mixed {
        /// The cache.
        path: PathBuf,
        /// What differs, with both values.
        differences: Vec<String>,
    },
    /// Another process writes the cache.
    #[error("`{path}` is being written by another process")]
    Locked {
        /// The cache.
        path: PathBuf,
    },
    /// The directory for a new cache holds other things.
    #[error("`{path}` is no embedding cache and not empty")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file of a cache could not be made.
    #[error("cannot write `{path}`: {reason}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What should be an image file is a directory, a pipe or a device.
    #[error("`{path}` is no regular file")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The network gives something else than a vector per image.
    #[error("output `{name}` is {dtype} {found:?}, expected floats {expected:?}")]
    Output {
        /// The output.
        name: String,
        /// `[N, D]`.
        expected: Vec<usize>,
        /// Element type found.
        dtype: String,
        /// Shape found.
        found: Vec<usize>,
    },
    /// The columns of a cache hold more values per image than can be read again.
    #[error("one row would take {bytes} bytes ({columns}), {most} are the most")]
    RowTooLarge {
        /// Bytes of a row.
        bytes: usize,
        /// The most that a row may take.
        most: usize,
        /// The columns with their sizes.
        columns: String,
    },
    /// A network in faster arithmetic does not come close to the exact one.
    #[error("the network does not come close to its f32 form: {found}")]
    LowFidelity {
        /// What was measured.
        found: String,
    },
    /// The result for an image depends on the other images of its batch, and the network takes no
    /// smaller batch.
    #[error(
        "the network's results depend on the other images of a batch, and it takes {batch} images at once, no other number"
    )]
    DependentRows {
        /// Images of a batch.
        batch: usize,
    },
    /// Images keep different sizes, so that they make no batch.
    #[error("preprocessing leaves images of different sizes")]
    NoFixedSize,
}

impl Diagnostic for CacheError {
    fn kind(&self) -> Kind {
        match self {
            CacheError::NotACache { .. }
            | CacheError::NoColumn { .. }
            | CacheError::AmbiguousColumn { .. }
            | CacheError::Damaged { .. }
            | CacheError::Row { .. }
            | CacheError::Mixed { .. }
            | CacheError::NotEmpty { .. }
            | CacheError::NotAFile { .. }
            | CacheError::Output { .. }
            | CacheError::RowTooLarge { .. }
            | CacheError::LowFidelity { .. }
            | CacheError::DependentRows { .. }
            | CacheError::NoFixedSize => Kind::Input,
            CacheError::Locked { .. } | CacheError::Write { .. } => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CacheError::NotACache { .. } => {
                Some("make a cache with `defrost embed DATA --model MODEL --out CACHE`, or give a Parquet file".into())
            }
            CacheError::Damaged { .. } => {
                Some("a cache is repaired by the same `defrost embed` command; a table must be written again".into())
            }
            CacheError::NoColumn { option, .. } | CacheError::AmbiguousColumn { option, .. } => {
                Some(format!("name the column with `<{option}>`"))
            }
            CacheError::Mixed { path, .. } => Some(format!(
                "choose another `<out>`, or delete `{}` if its embeddings are no longer needed",
                path.display()
            )),
            CacheError::Locked { .. } => Some("leave out `<no-wait>` to wait until it is done".into()),
            CacheError::NotEmpty { .. } => Some("choose a new or empty directory with `<out>`".into()),
            CacheError::RowTooLarge { .. } => {
                Some("cache fewer taps at once, or pool them: `<pool cls>`, `mean` or `cls+mean`".into())
            }
            CacheError::LowFidelity { .. } => Some(
                "compute in f32 (leave `<compute>` out), or go on all the same with `<allow-low-fidelity>`; accepted are a mean \
                 cosine of 0.99 and 80 % of neighbours the same"
                    .into(),
            ),
            CacheError::DependentRows { .. } => Some("export the network with an open batch axis".into()),
            CacheError::NoFixedSize => {
                Some("add a crop or an exact resize to the preprocessing, so that all images get one size".into())
            }
            CacheError::Row { .. }
            | CacheError::Write { .. }
            | CacheError::NotAFile { .. }
            | CacheError::Output { .. } => None,
        }
    }
}

/// Names in backticks with commas.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
