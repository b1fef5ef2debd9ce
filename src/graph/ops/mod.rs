//! The operators: what each makes of its inputs' types and shapes, how it passes gradients back,
//! and what rewrites may do with it. One row per operator, in the file of its family, which the
//! header of that file describes: specification, forward formula, gradient.
//!
//! Inference accepts what is unknown and refuses what cannot be: it never guesses.
//!
//! In the formulas of gradients `dy` is the cotangent of the output `y`, `dx` that of the input
//! `x`. A rule reads what the forward pass computed where that saves work, and passes back nothing
//! for inputs that are not wanted.

mod attention;
mod binary;
mod channel_normalization;
mod concat;
mod constant;
mod context;
mod conv;
mod einsum;
mod elementwise;
mod gather;
mod layout;
mod matmul;
mod normalization;
mod order;
mod pad;
mod piecewise;
mod pool;
mod reduce;
mod resize;
mod rows;
mod size;
mod slice;
mod vjp;

pub use context::OpContext;
pub use rows::RowInputs;
pub use vjp::{Cotangent, Rule, Terms, Vjp, VjpContext, VjpResult};

use crate::error::GraphError;
use crate::graph::{Builder, Fact, Node};

/// Result of a rule: [`GraphError::Operator`] when inputs or attributes do not fit the operator.
pub type Result<T> = std::result::Result<T, GraphError>;

/// Types and shapes of the outputs from those of the inputs, in the order of the outputs.
pub type Infer = fn(&OpContext<'_>) -> Result<Vec<Fact>>;

/// What is known about an operator of the standard domain.
#[derive(Clone, Copy)]
pub struct OpDef {
    /// The operator's name.
    pub name: &'static str,
    /// The oldest operator set whose definition the rule follows; newer ones are told apart inside.
    pub since: i64,
    /// Types and shapes of the outputs.
    pub infer: Infer,
    /// How it passes gradients back.
    pub vjp: Vjp,
    /// What it does in a network of 16-bit floats.
    pub half: Half,
    /// Which inputs have a row for each row of the output; `None` where rows meet.
    pub by_row: Option<RowInputs>,
    /// Whether it gives something else each time.
    pub is_random: bool,
}

/// What an operator does in a network of 16-bit floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// It stays in f32: it needs more range or digits.
    Never,
    /// It computes in f16.
    Computed,
    /// It moves elements, and takes its first input as it is.
    Moved,
    /// It moves elements of several inputs, to f16 if one of them is.
    Joined,
}

impl OpDef {
    /// An operator without a gradient rule yet, which stays in f32 and lets rows meet.
    const fn new(name: &'static str, since: i64, infer: Infer) -> Self {
        OpDef { name, since, infer, vjp: Vjp::Missing, half: Half::Never, by_row: None, is_random: false }
    }

    /// With a gradient rule that is arithmetic.
    const fn formula(self, rule: fn(&Terms<'_>) -> VjpResult) -> Self {
        OpDef { vjp: Vjp::Rule(Rule::Formula(rule)), ..self }
    }

    /// With another gradient rule.
    const fn vjp(self, rule: fn(&VjpContext<'_>, &mut Builder) -> VjpResult) -> Self {
        OpDef { vjp: Vjp::Rule(Rule::Nodes(rule)), ..self }
    }

    /// Its outputs do not change with small changes of its inputs.
    const fn no_gradient(self) -> Self {
        OpDef { vjp: Vjp::Zero, ..self }
    }

    const fn half(self, half: Half) -> Self {
        OpDef { half, ..self }
    }

    const fn by_row(self, inputs: RowInputs) -> Self {
        OpDef { by_row: Some(inputs), ..self }
    }

    const fn random(self) -> Self {
        OpDef { is_random: true, ..self }
    }
}

/// All operators with a row, by family.
pub const ALL: &[&[OpDef]] = &[
    elementwise::OPERATORS,
    piecewise::OPERATORS,
    normalization::OPERATORS,
    channel_normalization::OPERATORS,
    attention::OPERATORS,
    binary::OPERATORS,
    matmul::OPERATORS,
    einsum::OPERATORS,
    conv::OPERATORS,
    pool::OPERATORS,
    reduce::OPERATORS,
    layout::OPERATORS,
    concat::OPERATORS,
    slice::OPERATORS,
    gather::OPERATORS,
    order::OPERATORS,
    pad::OPERATORS,
    resize::OPERATORS,
    constant::OPERATORS,
];

/// The definition of a node's operator.
pub fn find(node: &Node) -> Option<&'static OpDef> {
    let family = ALL.iter().find_map(|family| family.iter().find(|definition| definition.name == node.operator));
    family.filter(|_| node.is_standard())
}

/// Inference of an operator whose output has the type and shape of its first input.
fn same_shape(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    Ok(vec![Fact::new(x.element, x.shape.clone())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_is_listed_once() {
        let mut names: Vec<&str> =
            ALL.iter().flat_map(|family| family.iter().map(|definition| definition.name)).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
