//! A model that is not built yet.

use crate::backbones::changes::Changes;
use crate::backbones::families::FAMILIES;
use crate::backbones::family::Family;
use crate::error::{FileError, ModelError, Result};
use crate::preprocess::Preprocess;

/// A model that is not built yet: everything but its parameters.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// The name it is asked for by.
    pub name: String,
    /// The family.
    pub family: String,
    /// The family's configuration.
    pub architecture: toml::Table,
    /// Licence of the weights, where it is known.
    pub licence: Option<String>,
    /// What happens to an image before the network, unless its channels are changed.
    pub preprocess: Preprocess,
    /// What is changed about the network.
    pub changes: Changes,
}

impl Blueprint {
    /// The architecture, read by its family.
    pub(crate) fn family(&self) -> Result<Box<dyn Family>> {
        let family =
            FAMILIES.iter().find(|family| family.name == self.family).ok_or_else(|| ModelError::UnknownFamily {
                family: self.family.clone(),
                known: FAMILIES.iter().map(|family| family.name.to_owned()).collect(),
            })?;
        (family.read)(self.architecture.clone()).map_err(|source| {
            let path = format!("architecture of {}", self.name).into();
            FileError::Parse { path, format: "configuration of its family", source: Box::new(source) }.into()
        })
    }
}
