//! `[[dataset]]`: images, where they lie, how they are judged and divided.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::OpenOptions;
use crate::data::split::Fractions;
use crate::error::Result;
use crate::metrics::Metric;
use crate::study::config::Checker;

/// A dataset that is fetched on first need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Example {
    /// 2,000 photographs of textiles, three classes.
    Textiles,
    /// 70,000 articles of clothing, ten classes, 28 x 28 grey pixels.
    FashionMnist,
}

/// Images of a study: exactly one of `path`, `manifest` and `example` says which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// The name in tables.
    pub name: String,
    /// Folder of class folders, or table with a column `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How to read that, where the defaults do not fit.
    #[serde(default)]
    pub reading: OpenOptions,
    /// A published dataset: a name of `defrost data manifests`, or a file of that form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The folder that it lies in as it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Which of its ways to read the labels; the first unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// A dataset that is fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
    /// Only the images of these classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Only so many images, the same share of every class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<usize>,
    /// The metric that decides and is reported; that of the manifest or task unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Train, validation and test shares of splits that are drawn; of the manifest or recipe unless
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fractions: Option<[f64; 3]>,
    /// Draw new splits although the samples have some.
    #[serde(default)]
    pub resplit: bool,
    /// Accept given splits that divide a group between them.
    #[serde(default)]
    pub allow_leak: bool,
    /// Channels that the networks see, 3 unless given: 1 for grey images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Whether experiments are about it; not, where a backbone is trained on it first.
    #[serde(default = "yes")]
    pub target: bool,
}

fn yes() -> bool {
    true
}

impl DatasetEntry {
    /// Relative paths start at `folder`.
    pub(super) fn start_at(&mut self, folder: &Path) {
        for path in [&mut self.path, &mut self.root, &mut self.reading.root].into_iter().flatten() {
            *path = folder.join(&path);
        }
        if let Some(manifest) = &mut self.manifest
            && Path::new(manifest).extension().is_some_and(|extension| extension == "toml")
        {
            *manifest = folder.join(&manifest).display().to_string();
        }
    }

    pub(super) fn check(&self, source: &Checker<'_>) -> Result<()> {
        let key = |field: &str| format!("dataset.{}.{field}", self.name);
        let stated = [self.path.is_some(), self.manifest.is_some(), self.example.is_some()];
        let count = stated.into_iter().filter(|stated| *stated).count();
        if count != 1 {
            let found = format!("said {count} times");
            return source.refuse(key("path"), found, "exactly one of `path`, `manifest` and `example`");
        }
        if self.manifest.is_some() != self.root.is_some() {
            return source.refuse(key("root"), "not beside `manifest`", "the folder of a published dataset");
        }
        if self.images == Some(0) {
            return source.refuse(key("images"), 0, "at least 1");
        }
        if let Some(channels) = self.channels.filter(|channels| !(1..=1024).contains(channels)) {
            return source.refuse(key("channels"), channels, "1 to 1024");
        }
        if let Some([train, validation, test]) = self.fractions {
            Fractions::new(train, validation, test)?;
        }
        Ok(())
    }
}
