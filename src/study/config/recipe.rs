//! The table `[recipe]`: the keys of a run's `config.toml` over a named recipe.

use serde::{Deserialize, Serialize};

use crate::error::{FileError, Result};
use crate::finetune::{Recipe, Schedule};

/// Keys that a cell decides, not the file.
const OF_THE_CELL: [&str; 4] = ["head", "freeze", "seed", "repeats"];

/// A recipe by name with the settings that differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipeTable(toml::Table);

impl RecipeTable {
    /// The recipe: `base` is `study` (also where it is left out) or `default`, everything else a
    /// key of a run's recipe.
    ///
    /// # Errors
    /// [`FileError::Parse`] for what no recipe has.
    pub(super) fn recipe(&self, constant_rate: bool) -> Result<Recipe> {
        let mut recipe = self.over(None)?;
        if constant_rate {
            recipe.schedule = Schedule::Constant;
        }
        Ok(recipe)
    }

    /// The recipe with these keys over another one.
    pub(super) fn over(&self, below: Option<&Recipe>) -> Result<Recipe> {
        let malformed = |source: Box<dyn std::error::Error + Send + Sync>| FileError::Parse {
            path: "[recipe]".into(),
            format: "recipe of a study",
            source,
        };
        let mut keys = self.0.clone();
        if let Some(key) = OF_THE_CELL.into_iter().find(|key| keys.contains_key(*key)) {
            return Err(malformed(format!("`{key}` belongs to the experiments").into()).into());
        }
        let base = match (keys.remove("base"), below) {
            (None, Some(below)) => below.clone(),
            (None, None) => Recipe::study(),
            (Some(toml::Value::String(name)), _) if name == "study" => Recipe::study(),
            (Some(toml::Value::String(name)), _) if name == "default" => Recipe::default(),
            (Some(other), _) => {
                return Err(malformed(format!("`base` is {other}, expected \"study\" or \"default\"").into()).into());
            }
        };
        let mut table = toml::Table::try_from(&base).map_err(|source| malformed(source.into()))?;
        table.extend(keys);
        Ok(table.try_into().map_err(|source: toml::de::Error| malformed(source.into()))?)
    }
}
