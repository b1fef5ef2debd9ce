//! The cases of the adjoint identity, by the families of operators.

mod activation;
mod attention;
mod binary;
mod channels;
mod convolution;
mod einsum;
mod index;
mod layout;
mod loss;
mod matmul;
mod normalization;
mod pool;
mod reduce;
mod resample;
mod select;

use defrost::graph::{Builder, Node, Value};

use super::adjoint::{Case, Input, Precision};

/// All cases.
pub(super) fn all() -> Vec<Case> {
    [
        activation::cases(),
        attention::cases(),
        binary::cases(),
        channels::cases(),
        convolution::cases(),
        einsum::cases(),
        index::cases(),
        layout::cases(),
        loss::cases(),
        matmul::cases(),
        normalization::cases(),
        pool::cases(),
        reduce::cases(),
        resample::cases(),
        select::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An input of numbers from -1 to 1.
fn any(shape: &'static [usize]) -> Input {
    Input { shape, range: [-1.0, 1.0] }
}

/// An input of numbers of a range.
fn within(shape: &'static [usize], low: f64, high: f64) -> Input {
    Input { shape, range: [low, high] }
}

/// A case in f64, with fixed and with open sizes.
fn case(name: &'static str, inputs: &[Input], build: fn(&mut Builder, &[Value]) -> Vec<Value>) -> Case {
    Case { name, precision: Precision::Double, opset: 17, open: true, inputs: inputs.to_vec(), build }
}

/// What a case has that is not as usual.
impl Case {
    fn single(self) -> Case {
        Case { precision: Precision::Single, ..self }
    }

    fn opset(self, opset: i64) -> Case {
        Case { opset, ..self }
    }

    /// The rule, or shape inference, needs known sizes.
    fn fixed_only(self) -> Case {
        Case { open: false, ..self }
    }
}

/// A node of an operator with attributes.
fn node(b: &mut Builder, node: Node, inputs: &[&Value]) -> Value {
    let inputs = inputs.iter().map(|input| input.name().to_owned()).collect();
    b.node(Node { inputs, ..node })
}

/// An operator without inputs yet, to be given attributes.
fn op(operator: &str) -> Node {
    Node::new(operator, &[], &[])
}
