//! Failures of embedding caches and of feature tables made elsewhere.

use std::path::PathBuf;

use crate::error::Kind;

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
        problem: &'static str,
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
        /// The flag that names the column.
        flag: &'static str,
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
        /// The flag that names the column.
        flag: &'static str,
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
}

impl CacheError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            CacheError::NotACache { .. }
            | CacheError::NoColumn { .. }
            | CacheError::AmbiguousColumn { .. }
            | CacheError::Damaged { .. }
            | CacheError::Row { .. } => Kind::Input,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            CacheError::NotACache { .. } => {
                Some("make a cache with `defrost embed DATA --model MODEL --out CACHE`, or give a Parquet file".into())
            }
            CacheError::Damaged { .. } => {
                Some("a cache is repaired by the same `defrost embed` command; a table must be written again".into())
            }
            CacheError::NoColumn { flag, .. } | CacheError::AmbiguousColumn { flag, .. } => {
                Some(format!("name the column with `{flag}`"))
            }
            CacheError::Row { .. } => None,
        }
    }
}

/// Names in backticks with commas.
fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
