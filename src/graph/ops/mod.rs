//! The operators: what each makes of its inputs' types and shapes, and how it passes gradients
//! back. One constant per operator, listed once in [`ALL`].
//!
//! Rules accept what is unknown and refuse what cannot be: they never guess.

mod adjoint;
mod binary;
mod constant;
mod convolution;
mod einsum;
mod layout;
mod matmul;
mod pool;
mod random;
mod reduce;
mod resize;
mod select;
mod site;
mod size;
mod unary;
mod vjp;

pub use adjoint::{Cotangent, Rule, Vjp, VjpContext};
pub use site::OpContext;

use crate::error::GraphError;
use crate::graph::{Fact, Node};

/// Result of a rule: [`GraphError::Operator`] when inputs or attributes do not fit the operator.
pub type Result<T> = std::result::Result<T, GraphError>;

/// What is known about an operator of the standard domain.
pub struct OpDef {
    /// The operator's name.
    pub name: &'static str,
    /// The oldest operator set whose definition the rule follows; newer ones are told apart inside.
    pub since: i64,
    /// Types and shapes of the outputs from those of the inputs, in the order of the outputs.
    pub infer: fn(&OpContext<'_>) -> Result<Vec<Fact>>,
    /// How it passes gradients back.
    pub vjp: Vjp,
}

/// All operators with a rule, by family.
pub const ALL: &[&[OpDef]] = &[
    unary::OPERATORS,
    binary::OPERATORS,
    matmul::OPERATORS,
    einsum::OPERATORS,
    convolution::OPERATORS,
    pool::OPERATORS,
    reduce::OPERATORS,
    layout::OPERATORS,
    select::OPERATORS,
    resize::OPERATORS,
    constant::OPERATORS,
    random::OPERATORS,
];

/// The definition of a node's operator.
pub fn find(node: &Node) -> Option<&'static OpDef> {
    let family = ALL.iter().find_map(|family| family.iter().find(|definition| definition.name == node.operator));
    family.filter(|_| node.is_standard())
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
