//! The table of files that could not be embedded, read back.

use std::collections::HashMap;
use std::path::Path;

use crate::embed::content::ContentHash;
use crate::embed::parts::QUARANTINE_FILE;
use crate::embed::{schema, table};
use crate::error::Result;

/// Id and reason of every file in a cache's quarantine table; empty where there is no such table.
///
/// # Errors
/// [`CacheError::Damaged`](crate::error::CacheError::Damaged) for a table that cannot be read.
pub fn quarantine(cache: &Path) -> Result<Vec<(String, String)>> {
    let path = cache.join(QUARANTINE_FILE);
    let mut failures = Vec::new();
    if path.exists() {
        table::scan(&path, &[schema::ID, schema::REASON], |rows| {
            let (ids, reasons) = (rows.texts(schema::ID)?, rows.texts(schema::REASON)?);
            failures.extend(
                ids.into_iter().map(Option::unwrap_or_default).zip(reasons.into_iter().map(Option::unwrap_or_default)),
            );
            Ok(())
        })?;
    }
    Ok(failures)
}

/// Content that an earlier run could not embed, and why; empty where there is no whole table of it.
pub(super) fn reasons_by_content(cache: &Path) -> HashMap<ContentHash, String> {
    let path = cache.join(QUARANTINE_FILE);
    let mut failures = HashMap::new();
    if !path.exists() {
        return failures;
    }
    let scanned = table::scan(&path, &[schema::CONTENT_HASH, schema::REASON], |rows| {
        for (hash, reason) in rows.texts(schema::CONTENT_HASH)?.into_iter().zip(rows.texts(schema::REASON)?) {
            if let (Some(hash), Some(reason)) = (hash.as_deref().and_then(ContentHash::parse), reason) {
                failures.insert(hash, reason);
            }
        }
        Ok(())
    });
    if scanned.is_ok() { failures } else { HashMap::new() }
}
