//! The study file: TOML in, a checked [`Study`] out.
//!
//! ```toml
//! baseline = "imnet"
//! repeats = 5
//!
//! [recipe]
//! base = "study"
//!
//! [[dataset]]
//! name = "lesions"
//! path = "lesions.csv"
//!
//! [[backbone]]
//! name = "imnet"
//! model = "deit-base"
//!
//! [[experiment]]
//! name = "frozen-linear"
//! ```
//!
//! Relative paths start at the folder of the file. Refused, with file and key: unknown keys, names
//! used twice or not at all, values out of range, keys of another experiment.

mod backbone;
mod dataset;
mod errata;
mod experiment;
mod recipe;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use backbone::{BackboneEntry, PretrainingEntry};
pub use dataset::{DatasetEntry, Example};
pub use errata::Erratum;
pub use experiment::{Experiment, ExperimentEntry, Protocol};
pub use recipe::RecipeTable;

use crate::error::{FileError, Result, StudyError};
use crate::finetune::Recipe;
use crate::support::{fs, names};

/// Name of the study file in a study's folder.
pub const STUDY: &str = "study.toml";

/// How the learning rate of a cell is chosen among those of the recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Search {
    /// The first repeat tries them all; the others take its choice.
    #[default]
    FirstSeed,
    /// Every repeat tries them all.
    EverySeed,
}

/// A study as its file states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// What the report is headed with.
    #[serde(default = "title")]
    pub title: String,
    /// Name of the backbone that all others are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// Number of repeats, each with a seed of its own.
    #[serde(default = "repeats")]
    pub repeats: usize,
    /// Seed of the first repeat; the others count up from it.
    #[serde(default)]
    pub seed: u64,
    /// How learning rates are chosen.
    #[serde(default)]
    pub search: Search,
    /// Deviations of the reference code that are repeated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errata: Vec<Erratum>,
    /// How networks are trained.
    #[serde(default)]
    pub recipe: RecipeTable,
    /// The images.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<DatasetEntry>,
    /// The networks.
    #[serde(default, rename = "backbone")]
    pub backbones: Vec<BackboneEntry>,
    /// What is done with them.
    #[serde(default, rename = "experiment")]
    pub experiments: Vec<ExperimentEntry>,
}

fn title() -> String {
    "Study".to_owned()
}

fn repeats() -> usize {
    5
}

impl Study {
    /// Reads and checks a study file; its paths become absolute.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read or is not TOML of that form; [`StudyError`] naming the
    /// key that does not fit.
    pub fn read(path: &Path) -> Result<Study> {
        let text = fs::read_text(path)?;
        let mut study: Study = toml::from_str(&text).map_err(|source| FileError::Parse {
            path: path.to_path_buf(),
            format: "study file",
            source: Box::new(source),
        })?;
        let folder = fs::absolute(path.parent().unwrap_or(Path::new("")))?;
        study.datasets.iter_mut().for_each(|dataset| dataset.start_at(&folder));
        study.backbones.iter_mut().for_each(|backbone| backbone.start_at(&folder));
        study.experiments.iter_mut().for_each(|experiment| experiment.start_at(&folder));
        study.check(path)?;
        Ok(study)
    }

    /// The study file as text; equal studies have equal texts.
    ///
    /// # Errors
    /// [`FileError::Parse`] for a path that is not UTF-8, which TOML cannot hold.
    pub fn text(&self) -> Result<String> {
        Ok(toml::to_string(self).map_err(|source| FileError::Parse {
            path: STUDY.into(),
            format: "study file",
            source: Box::new(source),
        })?)
    }

    /// The seeds of the repeats.
    pub fn seeds(&self) -> impl Iterator<Item = u64> + use<> {
        (self.seed..).take(self.repeats)
    }

    /// The datasets that experiments are about, without those that a backbone is trained on first.
    pub fn targets(&self) -> impl Iterator<Item = &DatasetEntry> {
        self.datasets.iter().filter(|dataset| dataset.target)
    }

    /// The dataset of that name.
    pub fn dataset(&self, name: &str) -> Option<&DatasetEntry> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// The backbone of that name.
    pub fn backbone(&self, name: &str) -> Option<&BackboneEntry> {
        self.backbones.iter().find(|backbone| backbone.name == name)
    }

    /// Whether a deviation of the reference code is repeated.
    pub fn has(&self, erratum: Erratum) -> bool {
        self.errata.contains(&erratum)
    }

    /// How networks are trained, without what a cell decides: head, freezing, seed.
    ///
    /// # Errors
    /// `FileError::Parse` for keys and values that no recipe has.
    pub fn recipe(&self) -> Result<Recipe> {
        self.recipe.recipe(self.has(Erratum::ConstantRate))
    }

    fn check(&self, path: &Path) -> Result<()> {
        let source = Checker { path, study: self };
        source.counts()?;
        source.names("dataset", self.datasets.iter().map(|dataset| dataset.name.as_str()))?;
        source.names("backbone", self.backbones.iter().map(|backbone| backbone.name.as_str()))?;
        source.names("experiment", self.experiments.iter().map(|experiment| experiment.name.name()))?;
        if let Some(baseline) = &self.baseline {
            source.backbone("baseline", baseline)?;
        }
        self.recipe()?;
        self.datasets.iter().try_for_each(|dataset| dataset.check(&source))?;
        self.backbones.iter().try_for_each(|backbone| backbone.check(&source))?;
        self.experiments.iter().try_for_each(|experiment| experiment.check(&source))
    }
}

/// A study file while it is checked.
struct Checker<'a> {
    path: &'a Path,
    study: &'a Study,
}

impl Checker<'_> {
    fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    fn refuse(&self, key: String, found: impl ToString, expected: &str) -> Result<()> {
        let found = found.to_string();
        Err(StudyError::Value { path: self.path(), key, found, expected: expected.to_owned() }.into())
    }

    fn counts(&self) -> Result<()> {
        let Study { datasets, backbones, experiments, repeats, .. } = self.study;
        let targets = self.study.targets().count();
        let counts = [
            ("repeats", *repeats),
            ("number of [[dataset]]", datasets.len().min(targets)),
            ("number of [[backbone]]", backbones.len()),
            ("number of [[experiment]]", experiments.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((key, _)) => self.refuse(key.to_owned(), 0, "at least 1"),
            None => Ok(()),
        }
    }

    /// Names are there, are told apart, and can be parts of file names.
    fn names<'n>(&self, kind: &'static str, names: impl Iterator<Item = &'n str>) -> Result<()> {
        let mut seen = BTreeSet::new();
        for name in names {
            let plain = |c: char| c.is_alphanumeric() || "._+ -".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                let expected = "a name of letters, digits, blanks, `.`, `_`, `+` and `-`";
                return self.refuse(format!("{kind}.name"), format!("`{name}`"), expected);
            }
            if !seen.insert(name) {
                return Err(StudyError::Twice { path: self.path(), kind, name: name.to_owned() }.into());
            }
        }
        Ok(())
    }

    fn dataset(&self, key: &str, name: &str) -> Result<()> {
        let known: Vec<&str> = self.study.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        self.known(key, "dataset", name, &known)
    }

    fn backbone(&self, key: &str, name: &str) -> Result<()> {
        let known: Vec<&str> = self.study.backbones.iter().map(|backbone| backbone.name.as_str()).collect();
        self.known(key, "backbone", name, &known)
    }

    fn known(&self, key: &str, kind: &'static str, name: &str, known: &[&str]) -> Result<()> {
        if known.contains(&name) {
            return Ok(());
        }
        let nearest = names::nearest(name, known.iter().copied());
        let rest = known.iter().map(|&name| name.to_owned()).filter(|name| !nearest.contains(name));
        let known = nearest.iter().cloned().chain(rest).collect();
        Err(StudyError::Unknown { path: self.path(), key: key.to_owned(), kind, name: name.to_owned(), known }.into())
    }
}

#[cfg(test)]
mod tests;
