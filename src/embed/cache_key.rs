//! What decides the values of a cache's rows besides the image: rows of different keys never share
//! a cache.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::embed::manifest::{Manifest, ModelRecord};
use crate::embed::schema::{EmbeddingColumn, Precision};
use crate::error::{CacheError, Result};
use crate::preprocess::Preprocess;

/// Bytes of one row at most: all layers of the largest models pooled, or one layer of them as it
/// is.
const MAX_ROW_BYTES: usize = 64 << 20;

/// The key of a cache: a row is keyed by this and the content of its image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheKey {
    /// The network.
    pub model: ModelRecord,
    /// What happens between decoded pixels and the network's input.
    pub preprocess: Preprocess,
    /// Element type of the stored embeddings.
    pub dtype: Precision,
    /// The columns of embeddings, `embedding` first.
    pub columns: Vec<EmbeddingColumn>,
}

impl CacheKey {
    /// The key of an existing cache.
    pub(crate) fn from_manifest(manifest: &Manifest) -> Self {
        CacheKey {
            model: manifest.model.clone(),
            preprocess: manifest.preprocess.clone(),
            dtype: manifest.dtype,
            columns: manifest.columns.clone(),
        }
    }

    /// Bytes of one row: all columns, one after the other.
    pub(crate) fn row_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.dimension).sum::<usize>() * self.dtype.size()
    }

    /// Refuses rows that no reader could hold: a list of a column has fewer than 2^31 values, a row
    /// at most [`MAX_ROW_BYTES`].
    ///
    /// # Errors
    /// [`CacheError::RowTooLarge`].
    pub(crate) fn check_size(&self) -> Result<()> {
        let longest = self.columns.iter().map(|column| column.dimension).max().unwrap_or(0);
        let bytes = self
            .columns
            .iter()
            .fold(0usize, |sum, column| sum.saturating_add(column.dimension.saturating_mul(self.dtype.size())));
        if bytes <= MAX_ROW_BYTES && i32::try_from(longest).is_ok() {
            return Ok(());
        }
        Err(CacheError::RowTooLarge { bytes, most: MAX_ROW_BYTES, columns: listed(&self.columns) }.into())
    }

    /// Refuses to continue a cache of another key. The model's name is no part of the
    /// comparison, its digests are.
    ///
    /// # Errors
    /// [`CacheError::Mixed`] with everything that differs.
    pub(crate) fn check_same(&self, cached: &CacheKey, cache: &Path) -> Result<()> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, cached: String, asked: String| {
            if cached != asked {
                differences.push(format!("{what}: cached {cached}, now {asked}"));
            }
        };
        let model = |digest: &str, model: &ModelRecord| format!("{} of `{}`", abbreviated(digest), model.name);
        compare_digest(&mut compare, "weights", [&cached.model.weights, &self.model.weights], |digest, own| {
            model(digest, if own { &self.model } else { &cached.model })
        });
        compare_digest(&mut compare, "graph", [&cached.model.graph, &self.model.graph], |digest, own| {
            model(digest, if own { &self.model } else { &cached.model })
        });
        let changes = |model: &ModelRecord| match model.changes.as_slice() {
            [] => "none".to_owned(),
            changes => changes.join(", "),
        };
        compare("changes to the network", changes(&cached.model), changes(&self.model));
        let (before, after) = (fields(&cached.preprocess), fields(&self.preprocess));
        let value = |fields: &[(String, String)], name: &String| {
            fields.iter().find(|(other, _)| other == name).map_or("none".to_owned(), |(_, value)| value.clone())
        };
        let only_after = after.iter().filter(|(name, _)| before.iter().all(|(other, _)| other != name));
        for (name, _) in before.iter().chain(only_after) {
            compare(&format!("preprocess `{name}`"), value(&before, name), value(&after, name));
        }
        compare("dtype", cached.dtype.name().into(), self.dtype.name().into());
        compare("columns", listed(&cached.columns), listed(&self.columns));
        if differences.is_empty() {
            return Ok(());
        }
        Err(CacheError::Mixed { path: cache.to_path_buf(), differences }.into())
    }
}

/// Compares digests and shows them with `describe`, which is told whether a digest is the one asked
/// for.
fn compare_digest(
    compare: &mut impl FnMut(&str, String, String),
    what: &str,
    [cached, asked]: [&str; 2],
    describe: impl Fn(&str, bool) -> String,
) {
    if cached != asked {
        compare(what, describe(cached, false), describe(asked, true));
    }
}

/// The fields of a specification as JSON text.
fn fields(preprocess: &Preprocess) -> Vec<(String, String)> {
    match serde_json::to_value(preprocess) {
        Ok(serde_json::Value::Object(fields)) => {
            fields.into_iter().map(|(name, value)| (name, value.to_string())).collect()
        }
        _ => Vec::new(),
    }
}

fn abbreviated(digest: &str) -> String {
    format!("{}…", digest.chars().take(12).collect::<String>())
}

fn listed(columns: &[EmbeddingColumn]) -> String {
    columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CacheKey {
        CacheKey {
            model: ModelRecord { name: "a".into(), weights: "11".into(), graph: "22".into(), changes: Vec::new() },
            preprocess: Preprocess::imagenet(256, 224),
            dtype: Precision::F32,
            columns: vec![EmbeddingColumn::new("embedding", 8)],
        }
    }

    #[test]
    fn rows_that_nobody_could_read_are_refused() {
        let mut wide = key();
        wide.columns.push(EmbeddingColumn::new("tokens", 257 * 1536));
        wide.check_size().unwrap();
        wide.columns
            .push(EmbeddingColumn { pool: Some(crate::backbones::Pool::None), ..EmbeddingColumn::new("b", 1 << 25) });
        let error = wide.check_size().unwrap_err().to_string();
        assert!(error.contains("`b none [33554432]`"), "{error}");
    }

    #[test]
    fn every_difference_is_told_and_a_new_name_is_none() {
        let renamed = CacheKey { model: ModelRecord { name: "b".into(), ..key().model }, ..key() };
        renamed.check_same(&key(), Path::new("cache")).unwrap();
        let mut other = key();
        other.model.weights = "33".into();
        other.preprocess = Preprocess::imagenet(232, 224);
        other.preprocess.crop = None;
        other.preprocess.window = "40/400".parse().unwrap();
        other.dtype = Precision::F16;
        let error = other.check_same(&key(), Path::new("cache")).unwrap_err().to_string();
        for expected in [
            "weights: cached 11… of `a`, now 33…",
            "preprocess `resize`",
            "preprocess `crop`: cached {\"height\":224,\"width\":224}, now none",
            "preprocess `window`: cached none, now \"40/400\"",
            "dtype: cached f32, now f16",
        ] {
            assert!(error.contains(expected), "{error}");
        }
        assert!(!error.contains("columns"), "{error}");
    }
}
