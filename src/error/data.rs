//! Failures of datasets, tables, splits and caches.

use crate::error::Kind;

/// A dataset, table, split or cache is not as needed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {}

impl DataError {
    pub(super) fn kind(&self) -> Kind {
        match *self {}
    }

    pub(super) fn hint(&self) -> Option<String> {
        match *self {}
    }
}
