//! What a user says about an ONNX file in a small TOML file beside it: `model.toml` for
//! `model.onnx`.
//!
//! ```toml
//! input = "pixel_values"             # where the model has several
//! output = "pooler_output"           # where the model has several
//! layout = "nchw"                    # or "nhwc", where the model leaves its channels open
//! pool = "mean"                      # or "cls", "cls+mean", "none", where the output has several vectors per image
//! prefix = 5                         # tokens that are no part of the image: class token first, then registers
//! licence = "Apache-2.0"
//!
//! [preprocess]
//! resize = { shorter_side = 256 }
//! filter = "bicubic"
//! crop = { height = 224, width = 224 }
//! mean = [0.485, 0.456, 0.406]
//! std = [0.229, 0.224, 0.225]
//! ```

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::backbones::options::Pool;
use crate::backbones::zoo::hf_processor;
use crate::error::{FileError, Result};
use crate::preprocess::Preprocess;
use crate::support::fs;

/// Order of an image's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// The content of the file; everything may be left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sidecar {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layout: Option<Layout>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<Pool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) licence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preprocess: Option<Preprocess>,
}

impl Sidecar {
    /// The file's text.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|source| {
            FileError::Parse { path: "model.toml".into(), format: "TOML", source: Box::new(source) }.into()
        })
    }
}

/// The file beside a model; empty when there is none.
pub(crate) fn beside(model: &Path) -> Result<Sidecar> {
    let path = model.with_extension("toml");
    if path.is_file() { parse(&path, &fs::read_text(&path)?) } else { Ok(Sidecar::default()) }
}

/// The preprocessing that a file of its own describes: TOML, with or without a `[preprocess]`
/// heading, or a Hugging Face `preprocessor_config.json`.
pub(crate) fn preprocess(path: &Path) -> Result<Preprocess> {
    let text = fs::read_text(path)?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return hf_processor::parse(path, &text);
    }
    let table: toml::Table = parse(path, &text)?;
    if !table.contains_key("preprocess") {
        return parse(path, &text);
    }
    let sidecar: Sidecar = parse(path, &text)?;
    sidecar.preprocess.ok_or_else(|| crate::error::ModelError::NoPreprocess { path: path.to_path_buf() }.into())
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|source| {
        FileError::Parse { path: path.to_path_buf(), format: "model description (TOML)", source: Box::new(source) }
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PREPROCESS_TEMPLATE;

    #[test]
    fn the_template_and_the_documented_example_are_valid() {
        let sidecar: Sidecar = parse(Path::new("x.toml"), PREPROCESS_TEMPLATE).unwrap();
        assert_eq!(sidecar.preprocess.unwrap().mean, Preprocess::IMAGENET_MEAN);
        let documented = include_str!("sidecar.rs").lines().skip_while(|line| !line.contains("```toml")).skip(1);
        let lines: Vec<&str> = documented.take_while(|line| !line.contains("```")).collect();
        let text = lines.iter().map(|line| line.trim_start_matches("//!")).collect::<Vec<_>>().join("\n");
        let sidecar: Sidecar = parse(Path::new("x.toml"), &text).unwrap();
        assert_eq!((sidecar.layout, sidecar.pool, sidecar.prefix), (Some(Layout::Nchw), Some(Pool::Mean), Some(5)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = parse::<Sidecar>(Path::new("x.toml"), "inputs = \"x\"").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("unknown field `inputs`"), "{source}");
    }
}
