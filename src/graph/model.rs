//! A model as ONNX defines it: versions, operator sets, functions, and the main graph.

use bytes::Bytes;

use crate::graph::Graph;
use crate::graph::node::{Attribute, Node, ValueInfo, is_default_domain};
use crate::graph::types::Property;

/// Lowest and highest version of the default operator set that `load` and `save` accept and keep as
/// it is.
pub const KNOWN_OPSETS: std::ops::RangeInclusive<i64> = 1..=28;

/// One imported operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSet {
    /// The domain; empty (or `ai.onnx`) for the standard operators.
    pub domain: String,
    /// The version of the domain.
    pub version: i64,
}

/// A function of the model: an operator defined by nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Operator name.
    pub name: String,
    /// Operator domain.
    pub domain: String,
    /// Which of several functions of one name this is; usually empty.
    pub overload: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Attributes that a caller must give.
    pub attributes: Vec<String>,
    /// Attributes with defaults.
    pub defaults: Vec<Attribute>,
    /// The body.
    pub nodes: Vec<Node>,
    /// Types of values of the body.
    pub value_infos: Vec<ValueInfo>,
    /// Operator sets of the body.
    pub opset_imports: Vec<OperatorSet>,
    /// Documentation.
    pub doc: String,
    /// Free properties.
    pub metadata: Vec<Property>,
}

/// ONNX's own description of a training step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Training {
    /// Computes the initial state.
    pub initialization: Option<Graph>,
    /// Computes one step.
    pub algorithm: Option<Graph>,
    /// Initializer to the output of `initialization` it receives.
    pub initialization_binding: Vec<Property>,
    /// Initializer to the output of `algorithm` it receives.
    pub update_binding: Vec<Property>,
}

/// A whole ONNX model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Version of the file format.
    pub ir_version: i64,
    /// Imported operator sets, in the file's order.
    pub opset_imports: Vec<OperatorSet>,
    /// Program that wrote the model.
    pub producer_name: String,
    /// Version of that program.
    pub producer_version: String,
    /// Namespace of the model, in reverse DNS notation.
    pub domain: String,
    /// Version of the model.
    pub model_version: i64,
    /// Documentation.
    pub doc: String,
    /// Free properties, in the file's order.
    pub metadata: Vec<Property>,
    /// Functions that nodes may call.
    pub functions: Vec<Function>,
    /// Training steps.
    pub training: Vec<Training>,
    /// Multi-device configurations, as they are encoded.
    pub device_configurations: Vec<Bytes>,
    /// The main graph.
    pub graph: Graph,
}

/// The version under which `imports` has `domain`.
pub(super) fn imported_version(imports: &[OperatorSet], domain: &str) -> Option<i64> {
    let same = |import: &&OperatorSet| {
        import.domain == domain || (is_default_domain(&import.domain) && is_default_domain(domain))
    };
    imports.iter().find(same).map(|import| import.version)
}

impl Model {
    /// The imported version of `domain`; the standard operators' domain is empty.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        imported_version(&self.opset_imports, domain)
    }

    /// The free property `key`.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|property| property.key == key).map(|property| property.value.as_str())
    }

    /// Sets the free property `key`, replacing an earlier one.
    pub fn set_property(&mut self, key: &str, value: impl Into<String>) {
        match self.metadata.iter_mut().find(|property| property.key == key) {
            Some(property) => property.value = value.into(),
            None => self.metadata.push(Property::new(key, value)),
        }
    }

    /// The function that a node calls, if it is one of the model's.
    pub fn function(&self, node: &Node) -> Option<&Function> {
        self.functions.iter().find(|function| {
            function.name == node.operator && function.domain == node.domain && function.overload == node.overload
        })
    }
}
