//! The numbers a network computes with: f32 as it was trained, or faster ones that come close.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::backbones::Backbone;
use crate::backbones::build::{CHANGES_PROPERTY, CHANGES_SEPARATOR};
use crate::error::Result;
use crate::graph::rewrite::{fold_norms, half, quantize};

/// The numbers a network computes with; its input and outputs are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeDType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats but for norms, softmax and sums: for GPUs. See [`half()`].
    F16,
    /// Matrix products in 8-bit integers: for CPUs. See [`quantize`].
    Int8,
}

impl ComputeDType {
    /// The name on the command line: `f32`, `f16`, `int8`.
    pub const fn name(self) -> &'static str {
        match self {
            ComputeDType::F32 => "f32",
            ComputeDType::F16 => "f16",
            ComputeDType::Int8 => "int8",
        }
    }

    /// What it changes about a network, in words; nothing for f32.
    const fn change(self) -> Option<&'static str> {
        match self {
            ComputeDType::F32 => None,
            ComputeDType::F16 => Some("computes in f16"),
            ComputeDType::Int8 => Some("matrix products in int8"),
        }
    }

    /// The numbers of a network of which these are the changes.
    pub fn from_changes(changes: &[String]) -> Self {
        let is_listed =
            |one: &ComputeDType| one.change().is_some_and(|change| changes.iter().any(|known| known == change));
        [ComputeDType::F16, ComputeDType::Int8].into_iter().find(is_listed).unwrap_or_default()
    }
}

impl FromStr for ComputeDType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [ComputeDType::F32, ComputeDType::F16, ComputeDType::Int8];
        all.into_iter().find(|one| one.name() == text).ok_or_else(|| "expected `f32`, `f16` or `int8`".to_owned())
    }
}

impl Backbone {
    /// Rewrites the network to compute in other numbers. Taps that are to be pooled must have been:
    /// the shapes of what an integer product gives are not inferred.
    ///
    /// # Errors
    /// [`GraphError::NoProducts`](crate::error::GraphError::NoProducts) where 8-bit integers have
    /// nothing to compute.
    pub fn compute_in(&mut self, arithmetic: ComputeDType) -> Result<()> {
        let Some(change) = arithmetic.change() else { return Ok(()) };
        match arithmetic {
            ComputeDType::F32 => {}
            ComputeDType::F16 => {
                fold_norms(&self.graph).apply(&mut self.graph)?;
                half(&self.graph)?.apply(&mut self.graph)?;
            }
            ComputeDType::Int8 => quantize(&self.graph)?.apply(&mut self.graph)?,
        }
        self.provenance.changes.push(change.to_owned());
        self.graph.set_property(CHANGES_PROPERTY, self.provenance.changes.join(CHANGES_SEPARATOR));
        Ok(())
    }
}
