//! A cache as those who read it have it: a directory with its manifest.

use std::path::{Path, PathBuf};

use crate::embed::features::{FeatureColumns, Features};
use crate::embed::manifest::Manifest;
use crate::error::{CacheError, Result};

/// A finished embedding cache.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
    manifest: Manifest,
}

impl Cache {
    /// Opens the cache in a directory.
    ///
    /// # Errors
    /// [`CacheError::NotACache`] where there is none, `FileError` where its manifest cannot be
    /// read.
    pub fn open(path: impl AsRef<Path>) -> Result<Cache> {
        let path = path.as_ref().to_path_buf();
        match Manifest::read(&path)? {
            Some(manifest) => Ok(Cache { path, manifest }),
            None => Err(CacheError::NotACache { path, problem: "it has no `cache.json`".into() }.into()),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What produced it, and its columns.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The directory in it where probes are kept.
    pub fn probes(&self) -> PathBuf {
        self.path.join("probes")
    }

    /// The embeddings, `[N, D] f32`, with what is known of each image.
    ///
    /// # Errors
    /// As [`Features::open`].
    pub fn features(&self) -> Result<Features> {
        Features::open(&self.path, &FeatureColumns::default())
    }

    /// The features of a tap, `[N, D] f32`.
    ///
    /// # Errors
    /// As [`Features::open`].
    pub fn tap(&self, name: &str) -> Result<Features> {
        Features::open(&self.path, &FeatureColumns { features: Some(name.to_owned()), ..FeatureColumns::default() })
    }
}
