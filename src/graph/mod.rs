//! ONNX graphs in memory: load, validate, edit, save. Pure data: nothing here executes a graph.
//!
//! [`Model`] and [`Graph`] hold everything that ONNX 1.16 defines; [`Model::load`] and
//! [`Model::save`] lose nothing. [`Builder`] makes graphs operator by operator, [`infer`](infer())
//! tells their types and shapes, [`rewrite`] edits them, [`autodiff`] differentiates them.

pub mod artifacts;
pub mod autodiff;
mod builder;
mod chunks;
mod control_flow;
mod decode;
mod detach;
mod encode;
mod external;
mod fact;
mod infer;
mod initializer;
mod inline;
mod io;
mod model;
mod node;
pub mod ops;
mod order;
mod patch;
mod proto;
pub mod rewrite;
mod text;
mod types;
mod validate;
mod weights;

use std::collections::HashMap;

pub use builder::*;
pub use detach::{Detached, DetachedWeight};
pub use fact::{Constant, Fact};
pub use infer::{Inference, infer};
pub use initializer::{SparseTensor, Tensor, TensorData};
pub use inline::inline_functions;
pub use io::SaveOptions;
pub use model::{Function, KNOWN_OPSETS, Model, OperatorSet, Training};
pub use node::{Attribute, AttributeKind, AttributeValue, Node, ValueInfo};
pub use order::{needed_nodes, outer_names, topological_order};
pub use patch::Patch;
pub use text::text;
pub use types::Property;
pub use types::{Dim, ElementType, TensorType, Type, TypeKind, shape_text};
pub use validate::validate;
pub use weights::{Carrier, StoredWeight, fixed_weights, stored_weights};

/// A graph: named values computed by nodes from inputs and initializers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// Operators; a file keeps them in an order in which each follows those it needs.
    pub nodes: Vec<Node>,
    /// Inputs; in old files also the initializers.
    pub inputs: Vec<ValueInfo>,
    /// Outputs.
    pub outputs: Vec<ValueInfo>,
    /// Types of inner values, as far as they are known.
    pub value_infos: Vec<ValueInfo>,
    /// Constant values, among them the weights.
    pub initializers: Vec<Tensor>,
    /// Constant values of which most elements are zero.
    pub sparse_initializers: Vec<SparseTensor>,
    /// Quantisation parameters of values.
    pub annotations: Vec<Annotation>,
    /// Documentation.
    pub doc: String,
    /// Free properties.
    pub metadata: Vec<Property>,
}

/// Names the tensors with the quantisation parameters of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// The value.
    pub value: String,
    /// Parameter (`SCALE_TENSOR`) to the tensor that holds it.
    pub parameters: Vec<Property>,
}

impl Graph {
    /// The inputs that a caller has to give: those that no initializer defines.
    pub fn required_inputs(&self) -> impl Iterator<Item = &ValueInfo> {
        let constants: std::collections::HashSet<&str> = self.constant_names().collect();
        self.inputs.iter().filter(move |input| !constants.contains(input.name.as_str()))
    }

    /// Names of the initializers, dense ones first.
    pub fn constant_names(&self) -> impl Iterator<Item = &str> {
        let sparse = self.sparse_initializers.iter().map(|sparse| sparse.values.name.as_str());
        self.initializers.iter().map(|tensor| tensor.name.as_str()).chain(sparse)
    }

    /// The initializer of that name.
    pub fn initializer(&self, name: &str) -> Option<&Tensor> {
        self.initializers.iter().find(|tensor| tensor.name == name)
    }

    /// Which node produces each value.
    pub fn producers(&self) -> HashMap<&str, usize> {
        let mut producers = HashMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                producers.insert(output.as_str(), index);
            }
        }
        producers
    }

    /// Names of all values of the graph itself: inputs, initializers, then node outputs in order;
    /// none twice.
    pub fn value_names(&self) -> Vec<&str> {
        let mut seen = std::collections::HashSet::new();
        let inputs = self.inputs.iter().map(|input| input.name.as_str());
        let outputs = self.nodes.iter().flat_map(|node| &node.outputs).map(String::as_str);
        let names = inputs.chain(self.constant_names()).chain(outputs);
        names.filter(|name| !name.is_empty() && seen.insert(*name)).collect()
    }
}
