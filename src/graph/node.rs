//! Nodes, their attributes, and the named, typed values between them.

use bytes::Bytes;

use crate::graph::Graph;
use crate::graph::initializer::{SparseTensor, Tensor};
use crate::graph::types::{Property, Type};

/// One application of an operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Operator name: `Conv`.
    pub operator: String,
    /// Operator domain; empty for the standard operators.
    pub domain: String,
    /// Which of several functions of one name is meant; usually empty.
    pub overload: String,
    /// The node's own name; may be empty.
    pub name: String,
    /// Names of the inputs; empty where an optional input is left out.
    pub inputs: Vec<String>,
    /// Names of the outputs; empty where an optional output is left out.
    pub outputs: Vec<String>,
    /// Attributes, in the file's order.
    pub attributes: Vec<Attribute>,
    /// Documentation.
    pub doc: String,
    /// Free properties.
    pub metadata: Vec<Property>,
    /// Multi-device configurations, as they are encoded.
    pub device_configurations: Vec<Bytes>,
}

impl Node {
    /// A node of a standard operator without attributes.
    pub fn new(operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        Node {
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: outputs.iter().map(|&output| output.to_owned()).collect(),
            ..Node::default()
        }
    }

    /// The node with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<AttributeValue>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Whether the operator is one of the standard domain.
    pub fn is_standard(&self) -> bool {
        is_default_domain(&self.domain)
    }

    /// The graphs among the attributes: branches and loop bodies.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Graph> {
        self.attributes.iter().flat_map(|attribute| match &attribute.value {
            AttributeValue::Graph(graph) => std::slice::from_ref(graph.as_ref()),
            AttributeValue::Graphs(graphs) => graphs.as_slice(),
            _ => &[],
        })
    }

    /// The graphs among the attributes, to be changed.
    pub fn subgraphs_mut(&mut self) -> impl Iterator<Item = &mut Graph> {
        self.attributes.iter_mut().flat_map(|attribute| match &mut attribute.value {
            AttributeValue::Graph(graph) => std::slice::from_mut(graph.as_mut()),
            AttributeValue::Graphs(graphs) => graphs.as_mut_slice(),
            _ => &mut [],
        })
    }

    /// How errors and text name the node: its name, or its first output when it has none.
    pub fn label(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        self.outputs.iter().find(|output| !output.is_empty()).map_or("", String::as_str)
    }
}

/// A named constant of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// The name, as the operator defines it.
    pub name: String,
    /// The value.
    pub value: AttributeValue,
    /// Documentation.
    pub doc: String,
}

impl Attribute {
    /// An attribute without documentation.
    pub fn new(name: &str, value: impl Into<AttributeValue>) -> Self {
        Attribute { name: name.to_owned(), value: value.into(), doc: String::new() }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the kinds")]
pub enum AttributeValue {
    Float(f32),
    Int(i64),
    String(Bytes),
    Tensor(Tensor),
    Graph(Box<Graph>),
    SparseTensor(SparseTensor),
    Type(Type),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Strings(Vec<Bytes>),
    Tensors(Vec<Tensor>),
    Graphs(Vec<Graph>),
    SparseTensors(Vec<SparseTensor>),
    Types(Vec<Type>),
    /// In the body of a function: the value of the function's attribute of that name.
    Reference {
        /// Name of the function's attribute.
        name: String,
        /// What kind of value it is.
        kind: AttributeKind,
    },
}

/// The kinds of attribute values, with their codes in ONNX (`AttributeProto.AttributeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the kinds")]
pub enum AttributeKind {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    Type = 13,
    Types = 14,
}

impl AttributeKind {
    const ALL: [AttributeKind; 15] = [
        AttributeKind::Undefined,
        AttributeKind::Float,
        AttributeKind::Int,
        AttributeKind::String,
        AttributeKind::Tensor,
        AttributeKind::Graph,
        AttributeKind::Floats,
        AttributeKind::Ints,
        AttributeKind::Strings,
        AttributeKind::Tensors,
        AttributeKind::Graphs,
        AttributeKind::SparseTensor,
        AttributeKind::SparseTensors,
        AttributeKind::Type,
        AttributeKind::Types,
    ];

    /// The kind of a code.
    pub fn from_code(code: i32) -> Option<Self> {
        AttributeKind::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// The code of the kind.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

impl AttributeValue {
    /// What kind of value it is.
    pub fn kind(&self) -> AttributeKind {
        match self {
            AttributeValue::Float(_) => AttributeKind::Float,
            AttributeValue::Int(_) => AttributeKind::Int,
            AttributeValue::String(_) => AttributeKind::String,
            AttributeValue::Tensor(_) => AttributeKind::Tensor,
            AttributeValue::Graph(_) => AttributeKind::Graph,
            AttributeValue::SparseTensor(_) => AttributeKind::SparseTensor,
            AttributeValue::Type(_) => AttributeKind::Type,
            AttributeValue::Floats(_) => AttributeKind::Floats,
            AttributeValue::Ints(_) => AttributeKind::Ints,
            AttributeValue::Strings(_) => AttributeKind::Strings,
            AttributeValue::Tensors(_) => AttributeKind::Tensors,
            AttributeValue::Graphs(_) => AttributeKind::Graphs,
            AttributeValue::SparseTensors(_) => AttributeKind::SparseTensors,
            AttributeValue::Types(_) => AttributeKind::Types,
            AttributeValue::Reference { kind, .. } => *kind,
        }
    }
}

impl From<f32> for AttributeValue {
    fn from(value: f32) -> Self {
        AttributeValue::Float(value)
    }
}

impl From<i64> for AttributeValue {
    fn from(value: i64) -> Self {
        AttributeValue::Int(value)
    }
}

impl From<&str> for AttributeValue {
    fn from(value: &str) -> Self {
        AttributeValue::String(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl From<Tensor> for AttributeValue {
    fn from(value: Tensor) -> Self {
        AttributeValue::Tensor(value)
    }
}

impl From<Graph> for AttributeValue {
    fn from(value: Graph) -> Self {
        AttributeValue::Graph(Box::new(value))
    }
}

impl From<Vec<f32>> for AttributeValue {
    fn from(values: Vec<f32>) -> Self {
        AttributeValue::Floats(values)
    }
}

impl From<Vec<i64>> for AttributeValue {
    fn from(values: Vec<i64>) -> Self {
        AttributeValue::Ints(values)
    }
}

/// A named value with its type: a graph's input or output, or a value inside of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// The value's name.
    pub name: String,
    /// Its type; `None` when not said.
    pub r#type: Option<Type>,
    /// Documentation.
    pub doc: String,
    /// Free properties.
    pub metadata: Vec<Property>,
}

impl ValueInfo {
    /// A value of a type, without documentation.
    pub fn new(name: &str, r#type: impl Into<Type>) -> Self {
        ValueInfo { r#type: Some(r#type.into()), ..ValueInfo::untyped(name) }
    }

    /// A value of which no type is told.
    pub fn untyped(name: &str) -> Self {
        ValueInfo { name: name.to_owned(), r#type: None, doc: String::new(), metadata: Vec::new() }
    }

    /// The type as a dense tensor's.
    pub fn tensor_type(&self) -> Option<&super::TensorType> {
        self.r#type.as_ref()?.as_tensor()
    }
}

/// Whether a domain is that of the standard operators.
pub(super) fn is_default_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}
