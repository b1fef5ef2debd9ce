//! Families: a configuration, the names its weights go by, and how its graph is built.
//!
//! A family reads its configuration from the catalog and builds its graph over the layers of
//! [`Network`]. It asks for its parameters by one set of names (those of timm); a [`Naming`]
//! translates them for weights that are named otherwise.

use crate::backbones::layers::{BackboneOutputs, Network};
use crate::backbones::{efficientnet_lite, focalnet, resnet, sam, vit};
use crate::error::Result;

/// One architecture with its sizes.
pub(super) trait Family {
    /// The ways its weights are named; where several match, the first one is meant.
    fn namings(&self) -> Vec<Naming>;

    /// How many blocks, or stages of blocks, it has: the outputs `block_NN`.
    fn blocks(&self) -> usize;

    /// Adds the network, from its input to its embedding: all of it, or as many blocks as the
    /// network says.
    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs>;
}

/// One way in which the weights of a family are named.
pub(super) struct Naming {
    /// Whose names these are: `timm`.
    pub(super) label: &'static str,
    /// A name that these weights have and those of other namings do not; also tells a common
    /// prefix.
    pub(super) anchor: &'static str,
    /// The stored name of a parameter of the family; `../NAME` lies beside the prefix instead of
    /// below it.
    pub(super) stored: Box<dyn Fn(&str) -> String>,
    /// Whether a stored name is that of something the backbone leaves out, such as its classifier.
    pub(super) left_out: Box<dyn Fn(&str) -> bool>,
}

/// Beginnings of names: ours and a library's.
pub(super) type Pairs = &'static [(&'static str, &'static str)];

/// `name` with its beginning replaced by the first pair that matches.
pub(super) fn replaced(name: &str, pairs: Pairs) -> String {
    let found = pairs.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
    found.unwrap_or_else(|| name.to_owned())
}

/// The index and the rest of a name within a block, `blocks.INDEX.REST`.
pub(super) fn within_block(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("blocks.")?.split_once('.')
}

/// A family as the catalog knows it.
pub(super) struct FamilyEntry {
    /// The name in `models/*.toml`.
    pub(super) name: &'static str,
    /// Reads the configuration of a variant.
    pub(super) read: fn(toml::Table) -> Result<Box<dyn Family>, toml::de::Error>,
}

/// All families.
pub(super) const FAMILIES: &[FamilyEntry] = &[
    FamilyEntry { name: "efficientnet-lite", read: efficientnet_lite::read },
    FamilyEntry { name: "focalnet", read: focalnet::read },
    FamilyEntry { name: "resnet", read: resnet::read },
    FamilyEntry { name: "sam", read: sam::read },
    FamilyEntry { name: "vit", read: vit::read },
];
