//! The folder of a run as far as it says how the run is made: the names of its files, and
//! `config.toml` with data, model and recipe, everything that makes the same run again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backbones;
use crate::backbones::{Backbone, ModelOptions, Taps};
use crate::data;
use crate::data::{Dataset, DatasetSource};
use crate::error::{FileError, Result};
use crate::finetune::recipe::Recipe;
use crate::support::fs;
use crate::support::progress::Progress;

/// Name of the file that says how the run was made, in a run's folder.
pub use crate::backbones::RUN_CONFIG as CONFIG;
/// Name of the record in a run's folder.
pub const RECORD: &str = "record.json";
/// Name of the trained network in a run's folder.
pub const MODEL: &str = "model.onnx";

/// The content of `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The images.
    pub data: DatasetSource,
    /// The backbone.
    pub model: ModelConfig,
    /// What is learned from the images, and how.
    pub recipe: Recipe,
}

/// The backbone of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name in the catalog, folder, folder of a run, or ONNX file.
    pub name: String,
    /// Weights of a DeiT for the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_weights: Option<PathBuf>,
    /// What else is said about it.
    #[serde(default)]
    pub options: ModelOptions,
}

/// What is trained on what, and where it is kept.
#[derive(Clone, Copy, Debug)]
pub struct TrainingRun<'a> {
    /// The images.
    pub dataset: &'a Dataset,
    /// The backbone.
    pub backbone: &'a Backbone,
    /// What `config.toml` says.
    pub config: &'a RunConfig,
    /// Folder of the run.
    pub out: &'a Path,
}

impl RunConfig {
    /// Reads the `config.toml` of a run, or another file of that form.
    ///
    /// # Errors
    /// [`FileError`] where there is none or where it is no configuration of a run.
    pub fn read(path: &Path) -> Result<RunConfig> {
        let text = fs::read_text(path)?;
        Ok(toml::from_str(&text).map_err(|source| malformed(path, source))?)
    }

    /// The file's text; equal configurations have equal texts.
    ///
    /// # Errors
    /// [`FileError::Parse`] for a path that is not UTF-8, which TOML cannot hold.
    pub fn text(&self) -> Result<String> {
        Ok(toml::to_string(self).map_err(|source| malformed(Path::new(CONFIG), source))?)
    }

    /// The same with absolute paths, which hold from anywhere.
    ///
    /// # Errors
    /// [`FileError`] where the system does not tell the current directory.
    pub fn absolute(mut self) -> Result<RunConfig> {
        let name = Path::new(&self.model.name);
        if backbones::find(&self.model.name).is_err() && name.exists() {
            self.model.name = fs::absolute(name)?.display().to_string();
        }
        if self.data.path.exists() {
            self.data.path = fs::absolute(&self.data.path)?;
        }
        let options = &mut self.model.options;
        let paths =
            [&mut self.data.reading.root, &mut options.weights, &mut options.preprocess, &mut self.model.head_weights];
        for path in paths.into_iter().flatten() {
            *path = fs::absolute(path)?;
        }
        Ok(self)
    }

    /// Reads the images.
    ///
    /// # Errors
    /// As [`data::open`].
    pub fn dataset(&self) -> Result<Dataset> {
        data::open(&self.data.path, &self.data.reading)
    }

    /// What is said about the backbone, with the output that the head reads among its taps.
    pub fn model_options(&self) -> ModelOptions {
        let mut options = self.model.options.clone();
        if let Some(tap) = self.recipe.head.tap() {
            options.taps = Taps::Names(vec![tap.to_owned()]);
        }
        options
    }

    /// Opens the backbone.
    ///
    /// # Errors
    /// As [`backbones::open`].
    pub fn backbone(&self, progress: &dyn Progress) -> Result<Backbone> {
        backbones::open(&self.model.name, &self.model_options(), progress)
    }
}

fn malformed(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FileError {
    FileError::Parse { path: path.to_path_buf(), format: "configuration of a run", source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones::Size;
    use crate::data::OpenOptions;

    #[test]
    fn a_configuration_comes_back_as_written() {
        let options = ModelOptions { size: Some(Size::Fixed { height: 64, width: 32 }), ..ModelOptions::default() };
        let config = RunConfig {
            data: DatasetSource {
                path: "/photos".into(),
                reading: OpenOptions { ordinal: true, ..OpenOptions::default() },
            },
            model: ModelConfig { name: "efficientnet-lite0".into(), head_weights: None, options },
            recipe: Recipe { freeze: "blocks:3".parse().unwrap(), ..Recipe::study() },
        };
        let text = config.text().unwrap();
        let again: RunConfig = toml::from_str(&text).unwrap();
        assert_eq!(again, config);
        assert_eq!(again.text().unwrap(), text);
        assert!(text.contains("freeze = \"blocks:3\"") && text.contains("size = \"64x32\""), "{text}");
    }
}
