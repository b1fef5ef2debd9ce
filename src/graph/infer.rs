//! Shape and type inference: every node's rule from [`ops`](super::ops), in topological order.

use std::collections::HashMap;

use crate::error::{Error, GraphError, Result};
use crate::graph::fact::Fact;
use crate::graph::inline::inline_functions;
use crate::graph::model::Model;
use crate::graph::node::Node;
use crate::graph::ops::{OpContext, find};
use crate::graph::order::topological_order;
use crate::graph::{Graph, control_flow};

/// What inference found out about a graph.
#[derive(Debug)]
pub struct Inference {
    /// What is known about each value.
    pub facts: HashMap<String, Fact>,
    /// Nodes whose inputs or attributes do not fit their operator; nothing is known about their
    /// outputs.
    pub problems: Vec<GraphError>,
}

/// What is known about every value of the main graph.
///
/// Calls of the model's own functions are seen through. Outputs of operators without a rule (see
/// [`ops::ALL`](super::ops::ALL)) are known as far as the model itself declares them.
///
/// # Errors
/// [`GraphError::Cycle`].
pub fn infer(model: &Model) -> Result<Inference> {
    let opset = model.opset("").unwrap_or(0);
    if model.functions.is_empty() {
        return infer_graph(&model.graph, opset, &|_| None);
    }
    match inline_functions(model.clone()) {
        Ok(inlined) => infer_graph(&inlined.graph, opset, &|_| None),
        Err(Error::Graph(problem)) => {
            let mut found = infer_graph(&model.graph, opset, &|_| None)?;
            found.problems.push(problem);
            Ok(found)
        }
        Err(other) => Err(other),
    }
}

/// What is known about the values of a body.
#[expect(clippy::type_complexity, reason = "the signature of inference that is asked for")]
fn infer_body(opset: i64) -> impl Fn(&Graph, &dyn Fn(&str) -> Option<Fact>) -> Result<HashMap<String, Fact>> {
    move |body, outer| Ok(infer_graph(body, opset, outer)?.facts)
}

/// What is known about the values of a graph; `outer` tells about those around it.
pub(super) fn infer_graph(graph: &Graph, opset: i64, outer: &dyn Fn(&str) -> Option<Fact>) -> Result<Inference> {
    let mut facts: HashMap<String, Fact> = HashMap::new();
    for info in graph.value_infos.iter().chain(&graph.outputs).chain(&graph.inputs) {
        if let Some(known) = &info.r#type {
            facts.insert(info.name.clone(), Fact::of_type(known));
        }
    }
    for tensor in &graph.initializers {
        facts.insert(tensor.name.clone(), Fact::of_tensor(tensor));
    }
    for sparse in &graph.sparse_initializers {
        let shape = sparse.shape.iter().map(|&size| size.into()).collect();
        facts.insert(sparse.values.name.clone(), Fact::new(sparse.values.element, Some(shape)));
    }
    let mut problems = Vec::new();
    for index in topological_order(graph)? {
        let node = &graph.nodes[index];
        let known = |name: &str| facts.get(name).cloned().or_else(|| outer(name));
        let found = match control_flow::infer_node(node, opset, &known, &infer_body(opset))? {
            Some(found) => Ok(Some(found)),
            None => infer_node(node, opset, known),
        };
        match found {
            Ok(Some(found)) => {
                for (name, fact) in node.outputs.iter().zip(found) {
                    let declared = facts.entry(name.clone()).or_insert_with(Fact::unknown);
                    *declared = merge(fact, declared);
                }
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    Ok(Inference { facts, problems })
}

/// What a rule found, completed by what the model declares.
fn merge(found: Fact, declared: &Fact) -> Fact {
    let element = if found.to_type().is_some() { found.element } else { declared.element };
    let shape = match (found.shape, &declared.shape) {
        (Some(mut found), Some(declared)) if found.len() == declared.len() => {
            for (dim, said) in found.iter_mut().zip(declared) {
                if *dim == super::Dim::Unknown {
                    dim.clone_from(said);
                }
            }
            Some(found)
        }
        (found, declared) => found.or_else(|| declared.clone()),
    };
    Fact { element, shape, constant: found.constant }
}

/// What one node's rule says about its outputs; `None` without a rule for its operator.
///
/// # Errors
/// [`GraphError::Operator`] when inputs or attributes do not fit the operator.
pub(super) fn infer_node(
    node: &Node,
    opset: i64,
    fact: impl Fn(&str) -> Option<Fact>,
) -> Result<Option<Vec<Fact>>, GraphError> {
    let Some(definition) = find(node).filter(|definition| definition.since <= opset) else { return Ok(None) };
    let known = |name: &String| (!name.is_empty()).then(|| fact(name).unwrap_or_else(Fact::unknown));
    let site = OpContext { node, opset, inputs: node.inputs.iter().map(known).collect() };
    let found = (definition.infer)(&site)?;
    match node.outputs.len() > found.len() {
        true => Err(GraphError::Operator {
            node: node.label().to_owned(),
            operator: node.operator.clone(),
            expected: format!("at most {} outputs", found.len()),
            found: node.outputs.len().to_string(),
        }),
        false => Ok(Some(found)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::types::{Dim, shape_text};
    use crate::graph::{Builder, ConvOptions};
    use crate::tensor::{DType, HostTensor};

    fn zeros(shape: &[usize]) -> HostTensor {
        HostTensor::from_vec(shape.to_vec(), vec![0.0f32; shape.iter().product()]).unwrap()
    }

    #[test]
    fn a_patch_embedding_keeps_the_batch_by_name_and_computes_the_rest() {
        let mut b = Builder::new("stem");
        let x = b.input("image", DType::F32, &["batch".into(), 3i64.into(), 224i64.into(), 224i64.into()]);
        let weight = b.parameter("weight", &zeros(&[192, 3, 16, 16]));
        let patches = b.conv(&x, &weight, None, ConvOptions { strides: [16, 16], ..ConvOptions::default() });
        assert_eq!(shape_text(b.dims(&patches).unwrap()), "[batch, 192, 14, 14]");
        let flat = b.reshape(&patches, &[0, 192, -1]);
        let tokens = b.transpose(&flat, &[0, 2, 1]);
        assert_eq!(shape_text(b.dims(&tokens).unwrap()), "[batch, 196, 192]");

        // The class token is expanded to the batch by way of the shape, as exporters write it.
        let class = b.parameter("class", &zeros(&[1, 1, 192]));
        let shape = b.shape(&x);
        let zero = b.constant(&HostTensor::scalar(0i64));
        let batch = b.gather(&shape, &zero, 0);
        let batch = b.unsqueeze(&batch, &[0]);
        let rest = b.integers(&[-1, -1]);
        let wanted = b.concat(&[&batch, &rest], 0);
        let ones = b.integers(&[1, 1, 1]);
        let minus = b.integers(&[-1]);
        let open = b.equal(&wanted, &minus);
        let wanted = b.select(&open, &ones, &wanted);
        let class = b.expand(&class, &wanted);
        let all = b.concat(&[&class, &tokens], 1);
        assert_eq!(shape_text(b.dims(&all).unwrap()), "[batch, 197, 192]");
        b.output("tokens", &all);
        let model = b.finish().unwrap();
        assert_eq!(model.graph.outputs[0].r#type.as_ref().unwrap().to_string(), "f32[batch, 197, 192]");
        let again = infer(&model).unwrap();
        assert_eq!(again.facts["tokens"].shape.as_deref().map(shape_text).unwrap(), "[batch, 197, 192]");
        assert!(again.problems.is_empty());
    }

    #[test]
    fn attention_heads_are_split_and_joined() {
        let mut b = Builder::new("attention");
        let x = b.input("x", DType::F32, &["batch".into(), 197i64.into(), 192i64.into()]);
        let weight = b.parameter("qkv", &zeros(&[192, 576]));
        let qkv = b.matmul(&x, &weight);
        let qkv = b.reshape(&qkv, &[0, 0, 3, 3, 64]);
        let qkv = b.transpose(&qkv, &[2, 0, 3, 1, 4]);
        let [q, k, v] = b.split(&qkv, 0, [1, 1, 1]);
        let [q, k, v] = [q, k, v].map(|part| b.squeeze(&part, &[0]));
        let k = b.transpose(&k, &[0, 1, 3, 2]);
        let scores = b.matmul(&q, &k);
        let weights = b.softmax(&scores, -1);
        assert_eq!(shape_text(b.dims(&weights).unwrap()), "[batch, 3, 197, 197]");
        let mixed = b.matmul(&weights, &v);
        let mixed = b.transpose(&mixed, &[0, 2, 1, 3]);
        let joined = b.reshape(&mixed, &[0, 0, -1]);
        let sum = b.add(&joined, &x);
        assert_eq!(shape_text(b.dims(&sum).unwrap()), "[batch, 197, 192]");
    }

    #[test]
    fn shapes_that_do_not_fit_are_told_with_the_node() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(7)]);
        let weight = b.parameter("weight", &zeros(&[8, 2]));
        let y = b.scope("head", |b| b.matmul(&x, &weight));
        b.output("y", &y);
        let error = b.finish().unwrap_err();
        assert_eq!(error.to_string(), "node `head.matmul` (MatMul): expected inner size 7, found 8");
    }

    #[test]
    fn what_is_declared_fills_what_no_rule_finds() {
        let mut model = Builder::new("net").finish().unwrap();
        model.graph.inputs.push(crate::graph::ValueInfo::new("x", crate::graph::Type::tensor(DType::F32, None)));
        model.graph.nodes.push(Node::new("NonZero", &["x"], &["y"]));
        model.graph.nodes.push(Node::new("Cast", &["y"], &["z"]).with("to", 1));
        model.graph.value_infos.push(crate::graph::ValueInfo::new(
            "y",
            crate::graph::Type::tensor(DType::I64, Some(vec![Dim::Fixed(2), Dim::Unknown])),
        ));
        let found = infer(&model).unwrap();
        assert_eq!(found.facts["z"].to_type().unwrap().to_string(), "f32[2, ?]");
    }
}
