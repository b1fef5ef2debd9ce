//! The weights of a model, whatever carries them: initializers, `Constant` nodes, sparse and
//! quantised tensors, those of branches, loops and functions.
//!
//! A weight is a stored tensor of floating-point numbers with more than one element, or one of
//! whole numbers that an operator takes as a quantised weight.

use std::collections::HashSet;

use crate::graph::{AttributeValue, ElementType, Graph, Model, Node, Tensor};

/// What a weight is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// An initializer of floating-point numbers.
    Initializer,
    /// A `Constant` node.
    Constant,
    /// An initializer of which only elements that are not zero are stored.
    Sparse,
    /// Whole numbers with a scale.
    Quantized,
    /// A branch or loop body.
    Subgraph,
    /// A function of the model.
    Function,
}

impl Carrier {
    /// What it is, in words: `in a branch or loop`.
    pub const fn describe(self) -> &'static str {
        match self {
            Carrier::Initializer => "an initializer",
            Carrier::Constant => "a constant node",
            Carrier::Sparse => "a sparse tensor",
            Carrier::Quantized => "quantised to whole numbers",
            Carrier::Subgraph => "inside of a branch or loop",
            Carrier::Function => "inside of a function",
        }
    }
}

/// A weight.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWeight {
    /// The value it defines.
    pub name: String,
    /// What it is stored in.
    pub carrier: Carrier,
    /// Its element type.
    pub element: ElementType,
    /// Number of its elements; of a sparse tensor, of those that are stored.
    pub elements: usize,
    /// Bytes it takes.
    pub bytes: usize,
}

/// Operators that take whole numbers as weights, with the inputs that may be such.
const QUANTIZED: [(&str, &[usize]); 9] = [
    ("ConvInteger", &[1]),
    ("DequantizeLinear", &[0]),
    ("DynamicQuantizeMatMul", &[1]),
    ("MatMulInteger", &[0, 1]),
    ("MatMulIntegerToFloat", &[0, 1]),
    ("MatMulNBits", &[1]),
    ("QGemm", &[0, 3]),
    ("QLinearConv", &[3]),
    ("QLinearMatMul", &[0, 3]),
];

/// The weights of a model in the order of the file: those of the main graph, then those of
/// branches and loops, then those of functions.
pub fn stored_weights(model: &Model) -> Vec<StoredWeight> {
    let mut weights = Vec::new();
    of_graph(&model.graph, None, &mut weights);
    for function in &model.functions {
        of_nodes(&function.nodes, Some(Carrier::Function), &mut weights);
    }
    weights
}

/// The weights of a graph; `within` is what all of them are carried by.
fn of_graph(graph: &Graph, within: Option<Carrier>, weights: &mut Vec<StoredWeight>) {
    let quantized = quantized_names(&graph.nodes);
    for tensor in &graph.initializers {
        if is_weight(tensor) {
            weights.push(stored(&tensor.name, within.unwrap_or(Carrier::Initializer), tensor));
        } else if quantized.contains(tensor.name.as_str()) && tensor.elements().is_some_and(|count| count > 1) {
            weights.push(stored(&tensor.name, within.unwrap_or(Carrier::Quantized), tensor));
        }
    }
    for sparse in graph.sparse_initializers.iter().filter(|sparse| sparse.values.element.is_float()) {
        weights.push(stored(&sparse.values.name, within.unwrap_or(Carrier::Sparse), &sparse.values));
    }
    of_nodes(&graph.nodes, within, weights);
}

fn of_nodes(nodes: &[Node], within: Option<Carrier>, weights: &mut Vec<StoredWeight>) {
    let quantized = quantized_names(nodes);
    for node in nodes {
        let name = node.outputs.first().map_or("", String::as_str);
        match constant(node) {
            Some(Stored::Tensor(tensor)) if is_weight(tensor) => {
                weights.push(stored(name, within.unwrap_or(Carrier::Constant), tensor));
            }
            Some(Stored::Tensor(tensor)) if quantized.contains(name) && tensor.elements().is_some_and(|n| n > 1) => {
                weights.push(stored(name, within.unwrap_or(Carrier::Quantized), tensor));
            }
            Some(Stored::Floats(values)) if values.len() > 1 => weights.push(StoredWeight {
                name: name.to_owned(),
                carrier: within.unwrap_or(Carrier::Constant),
                element: ElementType::F32,
                elements: values.len(),
                bytes: 4 * values.len(),
            }),
            _ => {}
        }
        node.subgraphs().for_each(|graph| of_graph(graph, Some(within.unwrap_or(Carrier::Subgraph)), weights));
    }
}

/// What a `Constant` node holds.
pub(super) enum Stored<'a> {
    Tensor(&'a Tensor),
    Floats(&'a [f32]),
}

/// The tensor, or the floating-point numbers, of a `Constant` node.
pub(super) fn constant(node: &Node) -> Option<Stored<'_>> {
    if node.operator != "Constant" || !node.is_standard() {
        return None;
    }
    match (node.attribute("value"), node.attribute("value_floats")) {
        (Some(AttributeValue::Tensor(tensor)), _) => Some(Stored::Tensor(tensor)),
        (_, Some(AttributeValue::Floats(values))) => Some(Stored::Floats(values)),
        _ => None,
    }
}

/// Whether a tensor is of floating-point numbers, more than one.
pub(super) fn is_weight(tensor: &Tensor) -> bool {
    tensor.element.is_float() && tensor.elements().is_some_and(|count| count > 1)
}

fn quantized_names(nodes: &[Node]) -> HashSet<&str> {
    let inputs = nodes.iter().flat_map(|node| {
        let places = QUANTIZED.iter().find(|(operator, _)| *operator == node.operator).map_or(&[][..], |entry| entry.1);
        places.iter().filter_map(|&place| node.inputs.get(place))
    });
    inputs.map(String::as_str).collect()
}

fn stored(name: &str, carrier: Carrier, tensor: &Tensor) -> StoredWeight {
    StoredWeight {
        name: name.to_owned(),
        carrier,
        element: tensor.element,
        elements: tensor.elements().unwrap_or(0),
        bytes: tensor.data.size(),
    }
}

/// The weights that are not among the `trained`, each with the reason: `w (quantised to whole
/// numbers)`. Running statistics of batch normalisations are no weights.
pub fn fixed_weights(model: &Model, is_trained: impl Fn(&str) -> bool) -> Vec<String> {
    let norms = model.graph.nodes.iter().filter(|node| node.operator == "BatchNormalization" && node.is_standard());
    let statistics: HashSet<&String> = norms.flat_map(|node| node.inputs.iter().skip(3)).collect();
    let weights = stored_weights(model);
    let fixed = weights.iter().filter(|weight| !is_trained(&weight.name) && !statistics.contains(&weight.name));
    let rotations = model.graph.nodes.iter().filter(|node| node.operator == "RotaryEmbedding" && node.is_standard());
    let tables: HashSet<&String> = rotations.flat_map(|node| node.inputs.iter().skip(1).take(2)).collect();
    let reason = |weight: &StoredWeight| match weight.carrier {
        _ if tables.contains(&weight.name) => "a table of positions",
        Carrier::Initializer | Carrier::Constant => "the loss does not depend on it",
        other => other.describe(),
    };
    fixed.map(|weight| format!("`{}` ({})", weight.name, reason(weight))).collect()
}
