//! Checks a finished cache: every file against the digest in `cache.json`, every row against what a
//! row must be.

use std::collections::HashSet;
use std::path::Path;

use crate::embed::cache_key::CacheKey;
use crate::embed::content::ContentHash;
use crate::embed::manifest::Manifest;
use crate::embed::parts::is_part;
use crate::embed::store::check_part;
use crate::embed::table::{Embedding, EmbeddingRows};
use crate::embed::{schema, table};
use crate::error::{CacheError, Result};
use crate::support::fs;

/// What is wrong with a cache, a sentence each; empty where it is whole.
///
/// # Errors
/// [`CacheError::NotACache`] where there is no `cache.json`, `FileError` where it cannot be read.
pub fn verify(cache: &Path) -> Result<Vec<String>> {
    let Some(manifest) = Manifest::read(cache)? else {
        return Err(
            CacheError::NotACache { path: cache.to_path_buf(), problem: "it has no `cache.json`".into() }.into()
        );
    };
    let mut problems = Vec::new();
    for record in manifest.parts.iter().chain([&manifest.quarantine]) {
        if let Err(error) = check_part(cache, record, true) {
            problems.push(error.to_string());
        }
    }
    if problems.is_empty() {
        check_rows(cache, &manifest, &mut problems)?;
    }
    for path in fs::list(cache)? {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if is_part(&name) && manifest.parts.iter().all(|part| part.file != name) {
            problems.push(format!("`{}` is left over from an unfinished run", path.display()));
        }
    }
    if manifest.preprocess.digest() != manifest.preprocess_digest {
        problems.push("the preprocess specification does not have the stated digest".to_owned());
    }
    Ok(problems)
}

/// Checks every row: embeddings finite and of the stated length, content hashes, unique ids in
/// order.
fn check_rows(cache: &Path, manifest: &Manifest, problems: &mut Vec<String>) -> Result<()> {
    let mut total = 0;
    let mut ids = HashSet::new();
    for part in &manifest.parts {
        let mut names = vec![schema::ID, schema::CONTENT_HASH];
        names.extend(manifest.columns.iter().map(|column| column.name.as_str()));
        let path = cache.join(&part.file);
        let scanned = table::scan(&path, &names, |rows| {
            for column in &CacheKey::from_manifest(manifest).columns {
                let mut read = EmbeddingRows { dimension: Some(column.dimension), ..EmbeddingRows::default() };
                rows.embeddings(&Embedding::Lists(column.name.clone()), &mut read)?;
            }
            for (row, id) in rows.texts(schema::ID)?.into_iter().enumerate() {
                if !id.is_some_and(|id| ids.insert(id)) {
                    return Err(rows.complaint(row, schema::ID, "the id is null or not unique").into());
                }
            }
            for (row, hash) in rows.texts(schema::CONTENT_HASH)?.into_iter().enumerate() {
                if hash.as_deref().and_then(ContentHash::parse).is_none() {
                    return Err(rows.complaint(row, schema::CONTENT_HASH, "it is no sha256").into());
                }
            }
            Ok(())
        });
        match scanned {
            Ok(rows) if rows == part.rows => total += rows,
            Ok(rows) => problems.push(format!("`{}` has {rows} rows, the cache states {}", path.display(), part.rows)),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() && total != manifest.rows {
        problems.push(format!("the parts have {total} rows, the cache states {}", manifest.rows));
    }
    Ok(())
}
