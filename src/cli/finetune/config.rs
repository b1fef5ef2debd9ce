//! `config.toml` of a run: data, model and recipe, everything that makes the same run again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backbones::ModelOptions;
use crate::data::OpenOptions;
use crate::error::{FileError, Result};
use crate::finetune::{CONFIG, Recipe};
use crate::support::fs;

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) data: Data,
    pub(super) model: Model,
    pub(super) recipe: Recipe,
}

/// The images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    /// Folder or table.
    pub(super) path: PathBuf,
    /// How to read it.
    #[serde(default)]
    pub(super) reading: OpenOptions,
}

/// The backbone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    /// Name in the catalog, or ONNX file.
    pub(super) name: String,
    /// Weights of a DeiT for the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) head_weights: Option<PathBuf>,
    /// What else is said about it.
    #[serde(default)]
    pub(super) options: ModelOptions,
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Config> {
        let text = fs::read_text(path)?;
        Ok(toml::from_str(&text).map_err(|source| malformed(path, source))?)
    }

    /// The file's text; equal configurations have equal texts.
    pub(super) fn text(&self) -> Result<String> {
        Ok(toml::to_string(self).map_err(|source| malformed(Path::new(CONFIG), source))?)
    }
}

fn malformed(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format: "configuration of a run", source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::Size;

    #[test]
    fn a_configuration_comes_back_as_written() {
        let options = ModelOptions { size: Some(Size::Fixed { height: 64, width: 32 }), ..ModelOptions::default() };
        let config = Config {
            data: Data { path: "/photos".into(), reading: OpenOptions { ordinal: true, ..OpenOptions::default() } },
            model: Model { name: "efficientnet-lite0".into(), head_weights: None, options },
            recipe: Recipe { freeze: "blocks:3".parse().unwrap(), ..Recipe::study() },
        };
        let text = config.text().unwrap();
        let again: Config = toml::from_str(&text).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.text().unwrap(), text);
        assert!(text.contains("freeze = \"blocks:3\"") && text.contains("size = \"64x32\""), "{text}");
    }
}
