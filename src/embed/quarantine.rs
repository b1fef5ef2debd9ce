//! The table of files that could not be embedded, read back.

use std::path::Path;

use crate::embed::{schema, table};
use crate::error::Result;

/// Id and reason of every file in a cache's quarantine table; empty where there is no such table.
///
/// # Errors
/// [`CacheError::Damaged`](crate::error::CacheError::Damaged) for a table that cannot be read.
pub fn quarantine(cache: &Path) -> Result<Vec<(String, String)>> {
    let path = cache.join("quarantine.parquet");
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
