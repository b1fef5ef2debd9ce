//! `[[backbone]]`: a network, and what it is trained on before the study.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backbones;
use crate::backbones::ModelOptions;
use crate::error::Result;
use crate::finetune::Recipe;
use crate::study::config::{Checker, RecipeTable, Study};

/// A backbone of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneEntry {
    /// The name in tables.
    pub name: String,
    /// A name of the catalog, a folder, an ONNX file, or the folder of a fine-tuned run.
    pub model: String,
    /// Number of images that it was trained on, for Figure 1; what the catalog knows unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_images: Option<u64>,
    /// What else is said about the model.
    #[serde(default)]
    pub options: ModelOptions,
    /// What the study trains it on before everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<PretrainingEntry>,
}

/// A training before the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingEntry {
    /// Name of the dataset.
    pub dataset: String,
    /// What differs from the study's recipe.
    #[serde(default)]
    pub recipe: RecipeTable,
}

impl BackboneEntry {
    /// Relative paths start at `folder`.
    pub(super) fn start_at(&mut self, folder: &Path) {
        let beside = folder.join(&self.model);
        if beside.exists() && backbones::find(&self.model).is_err() {
            self.model = beside.display().to_string();
        }
        for path in [&mut self.options.weights, &mut self.options.preprocess].into_iter().flatten() {
            *path = PathBuf::from(folder).join(&path);
        }
    }

    /// How it is trained before the study; `None` where it is not.
    ///
    /// # Errors
    /// `FileError::Parse` for keys and values that no recipe has.
    pub fn pretraining(&self, study: &Study) -> Result<Option<Recipe>> {
        let below = study.recipe()?;
        self.train.as_ref().map(|train| train.recipe.over(Some(&below))).transpose()
    }

    pub(super) fn check(&self, source: &Checker<'_>) -> Result<()> {
        if let Some(train) = &self.train {
            source.dataset(&format!("backbone.{}.train.dataset", self.name), &train.dataset)?;
        }
        self.pretraining(source.study)?;
        Ok(())
    }
}
