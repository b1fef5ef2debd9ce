//! What a run that did not end has left.

use std::path::Path;

use serde::Serialize;

use crate::embed::cache_lock;
use crate::embed::journal::Journal;
use crate::error::Result;

/// Rows and failures that a run wrote before it was interrupted; the next run takes them over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// Name of the model that computed them.
    pub model: String,
    /// Images whose embeddings are kept.
    pub rows: usize,
    /// Images that could not be embedded.
    pub failed: usize,
}

/// What an interrupted run has left in the directory of a cache; `None` where there is nothing.
///
/// # Errors
/// [`FileError::Io`](crate::error::FileError::Io) when the journal cannot be read; a journal that
/// is cut or damaged counts up to there.
pub fn unfinished(cache: &Path) -> Result<Option<Unfinished>> {
    let contents = Journal::read(&cache_lock::journal(cache))?;
    Ok(contents.key.map(|key| Unfinished {
        model: key.model.name,
        rows: contents.rows.len(),
        failed: contents.failures.len(),
    }))
}
