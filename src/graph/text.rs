//! A stable text of a model, for reading, comparing and snapshots: one line per value, node and
//! constant, in their order.
//!
//! Weights are told by type and shape, constants of a few elements also by their values.

use std::fmt::Write as _;

use crate::graph::{AttributeValue, Graph, Model, Node, SparseTensor, Tensor, TensorData, ValueInfo};

/// Constants up to this many elements are shown with their values.
const SHOWN_ELEMENTS: usize = 8;

/// The text of a model.
pub fn text(model: &Model) -> String {
    let mut out = format!("format {}", model.ir_version);
    for set in &model.opset_imports {
        let domain = if set.domain.is_empty() { "ai.onnx" } else { &set.domain };
        let _ = write!(out, ", {domain} {}", set.version);
    }
    out.push('\n');
    for property in &model.metadata {
        let _ = writeln!(out, "property {} = {:?}", property.key, property.value);
    }
    for function in &model.functions {
        let (inputs, outputs) = (function.inputs.join(", "), function.outputs.join(", "));
        let _ = writeln!(out, "function {}.{}({inputs}) -> {outputs}", function.domain, function.name);
        function.nodes.iter().for_each(|node| write_node(&mut out, node, 1));
    }
    write_graph(&mut out, &model.graph, 0);
    for training in &model.training {
        let parts = [("initialization", &training.initialization), ("algorithm", &training.algorithm)];
        for (name, graph) in parts.into_iter().filter_map(|(name, graph)| Some((name, graph.as_ref()?))) {
            let _ = writeln!(out, "training {name}");
            write_graph(&mut out, graph, 1);
        }
    }
    out
}

fn write_graph(out: &mut String, graph: &Graph, depth: usize) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(out, "{indent}graph {}", graph.name);
    let value = |info: &ValueInfo| match &info.r#type {
        Some(known) => format!("{}: {known}", info.name),
        None => info.name.clone(),
    };
    for input in &graph.inputs {
        let _ = writeln!(out, "{indent}  input {}", value(input));
    }
    for tensor in &graph.initializers {
        let _ = writeln!(out, "{indent}  constant {}: {}", tensor.name, tensor_text(tensor));
    }
    for sparse in &graph.sparse_initializers {
        let _ = writeln!(out, "{indent}  constant {}: {}", sparse.values.name, sparse_text(sparse));
    }
    graph.nodes.iter().for_each(|node| write_node(out, node, depth + 1));
    for output in &graph.outputs {
        let _ = writeln!(out, "{indent}  output {}", value(output));
    }
}

fn write_node(out: &mut String, node: &Node, depth: usize) {
    let indent = "  ".repeat(depth);
    let shown = |name: &String| if name.is_empty() { "_".to_owned() } else { name.clone() };
    let list = |names: &[String]| names.iter().map(shown).collect::<Vec<_>>().join(", ");
    let domain = if node.is_standard() { String::new() } else { format!("{}.", node.domain) };
    let _ = write!(out, "{indent}{} = {domain}{}({})", list(&node.outputs), node.operator, list(&node.inputs));
    let mut attributes: Vec<(&str, String)> = node
        .attributes
        .iter()
        .filter_map(|attribute| Some((attribute.name.as_str(), value_text(&attribute.value)?)))
        .collect();
    attributes.sort();
    if !attributes.is_empty() {
        let all: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let _ = write!(out, " {{{}}}", all.join(", "));
    }
    out.push('\n');
    for attribute in &node.attributes {
        let graphs = match &attribute.value {
            AttributeValue::Graph(graph) => std::slice::from_ref(graph.as_ref()),
            AttributeValue::Graphs(graphs) => graphs.as_slice(),
            _ => continue,
        };
        for graph in graphs {
            let _ = writeln!(out, "{indent}  {}:", attribute.name);
            write_graph(out, graph, depth + 2);
        }
    }
}

/// The value in one line; `None` for graphs, which take several.
fn value_text(value: &AttributeValue) -> Option<String> {
    let quoted = |bytes: &bytes::Bytes| format!("{:?}", String::from_utf8_lossy(bytes));
    let joined = |parts: Vec<String>| format!("[{}]", parts.join(", "));
    Some(match value {
        AttributeValue::Float(value) => format!("{value:?}"),
        AttributeValue::Int(value) => value.to_string(),
        AttributeValue::String(value) => quoted(value),
        AttributeValue::Tensor(tensor) => tensor_text(tensor),
        AttributeValue::SparseTensor(sparse) => sparse_text(sparse),
        AttributeValue::Type(value) => value.to_string(),
        AttributeValue::Floats(values) => format!("{values:?}"),
        AttributeValue::Ints(values) => format!("{values:?}"),
        AttributeValue::Strings(values) => joined(values.iter().map(quoted).collect()),
        AttributeValue::Tensors(values) => joined(values.iter().map(tensor_text).collect()),
        AttributeValue::SparseTensors(values) => joined(values.iter().map(sparse_text).collect()),
        AttributeValue::Types(values) => joined(values.iter().map(ToString::to_string).collect()),
        AttributeValue::Reference { name, .. } => format!("@{name}"),
        AttributeValue::Graph(_) | AttributeValue::Graphs(_) => return None,
    })
}

fn sparse_text(sparse: &SparseTensor) -> String {
    format!("sparse {:?} of {}", sparse.shape, tensor_text(&sparse.values))
}

fn tensor_text(tensor: &Tensor) -> String {
    let mut out = format!("{}{:?}", tensor.element, tensor.shape);
    if tensor.elements().is_none_or(|count| count > SHOWN_ELEMENTS) {
        return out;
    }
    let values = match &tensor.data {
        TensorData::Strings(strings) => {
            let shown: Vec<String> =
                strings.iter().map(|text| format!("{:?}", String::from_utf8_lossy(text))).collect();
            Some(shown)
        }
        TensorData::Bytes(_) => {
            match (tensor.to_integers(), tensor.to_host().and_then(|host| Some(host.to_f32()?.to_vec()))) {
                (Some(integers), _) => Some(integers.iter().map(ToString::to_string).collect()),
                (None, Some(floats)) => Some(floats.iter().map(|value| format!("{value:?}")).collect()),
                (None, None) => None,
            }
        }
    };
    if let Some(values) = values {
        let _ = match tensor.shape.is_empty() {
            true => write!(out, " = {}", values.join(", ")),
            false => write!(out, " = [{}]", values.join(", ")),
        };
    }
    out
}
