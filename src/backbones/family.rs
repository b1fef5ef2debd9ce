//! What a family is: a configuration, the names its weights go by, and how its graph is built.
//!
//! A family reads its configuration from the catalog and builds its graph over the layers of
//! [`Network`]. It asks for its parameters by one set of names (those of timm); a [`Naming`]
//! translates them for weights that are named otherwise.

use crate::backbones::layers::{BackboneOutputs, Network};
use crate::backbones::naming::Naming;
use crate::error::Result;

/// One architecture with its sizes.
pub(crate) trait Family {
    /// The ways its weights are named; where several match, the first one is meant.
    fn namings(&self) -> Vec<Naming>;

    /// How many blocks, or stages of blocks, it has: the outputs `block_NN`.
    fn blocks(&self) -> usize;

    /// Adds the network, from its input to its embedding: all of it, or as many blocks as the
    /// network says.
    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs>;
}
