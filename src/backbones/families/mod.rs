//! The families, a file each, with the models of the catalog that each of them builds.

pub mod efficientnet_lite;
pub mod focalnet;
pub mod resnet;
pub mod sam;
pub mod vit;
mod vit_names;

use crate::backbones::family::Family;
use crate::error::Result;

/// A family as the catalog knows it.
pub(crate) struct FamilyEntry {
    /// The name in `models/*.toml`.
    pub(crate) name: &'static str,
    /// Reads the configuration of a variant.
    pub(crate) read: fn(toml::Table) -> Result<Box<dyn Family>, toml::de::Error>,
    /// Its files of the catalog: name and text.
    pub(crate) models: &'static [(&'static str, &'static str)],
}

/// Files of the folder `models/`: name and text.
macro_rules! models {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../models/", $name)))),*]
    };
}

/// All families.
pub(crate) const FAMILIES: &[FamilyEntry] = &[
    FamilyEntry { name: "efficientnet-lite", read: efficientnet_lite::read, models: models!["efficientnet-lite.toml"] },
    FamilyEntry { name: "focalnet", read: focalnet::read, models: models!["focalnet.toml"] },
    FamilyEntry { name: "resnet", read: resnet::read, models: models!["resnet.toml"] },
    FamilyEntry { name: "sam", read: sam::read, models: models!["sam.toml"] },
    FamilyEntry {
        name: "vit",
        read: vit::read,
        models: models!["blip.toml" "clip.toml" "deit.toml" "dino.toml" "dinov2.toml" "openclip.toml"],
    },
];
