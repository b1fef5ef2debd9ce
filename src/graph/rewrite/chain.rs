//! Two models one behind the other.

use std::collections::{HashMap, HashSet};

use crate::error::{GraphError, Result};
use crate::graph::rewrite::known_values;
use crate::graph::validate::validate;
use crate::graph::{Graph, Model, Node};

/// `front` with `back` behind it: the input `to` of `back` is the value `from` of `front`.
///
/// The result has the inputs of both but `to`, the outputs of both, and the properties of `front`.
/// Values of `back` keep their names; those that `front` has too, and only those, get `back`'s
/// graph name and a dot before them.
///
/// # Errors
/// [`GraphError::UnknownValue`] for `from` and `to`; [`GraphError::Opset`] when the operator sets
/// differ; what [`validate`](crate::graph::validate()) finds in the result.
pub fn chain(front: &Model, from: &str, back: &Model, to: &str) -> Result<Model> {
    known_values(&front.graph, &[from.to_owned()])?;
    known_values(&back.graph, &[to.to_owned()])?;
    for imported in &back.opset_imports {
        if let Some(version) = front.opset(&imported.domain).filter(|version| *version != imported.version) {
            let (domain, lowest) = (imported.domain.clone(), imported.version);
            return Err(GraphError::Opset { domain, version, lowest, highest: lowest }.into());
        }
    }
    let mut joined = front.clone();
    let missing = back.opset_imports.iter().filter(|imported| front.opset(&imported.domain).is_none());
    joined.opset_imports.extend(missing.cloned());
    joined.ir_version = front.ir_version.max(back.ir_version);
    let taken: HashSet<&str> = front.graph.value_names().into_iter().collect();
    let mut names: HashMap<String, String> = HashMap::new();
    for name in back.graph.value_names().into_iter().filter(|name| taken.contains(name)) {
        names.insert(name.to_owned(), format!("{}.{name}", back.graph.name));
    }
    names.insert(to.to_owned(), from.to_owned());
    let Graph { nodes, inputs, outputs, value_infos, initializers, sparse_initializers, annotations, .. } =
        renamed(back.graph.clone(), &names);
    joined.graph.nodes.extend(nodes);
    joined.graph.inputs.extend(inputs.into_iter().filter(|input| input.name != from));
    joined.graph.outputs.extend(outputs);
    joined.graph.value_infos.extend(value_infos);
    joined.graph.initializers.extend(initializers);
    joined.graph.sparse_initializers.extend(sparse_initializers);
    joined.graph.annotations.extend(annotations);
    validate(&joined)?;
    Ok(joined)
}

/// Puts `prefix` before the names of all values of the main graph, initializers included, but those
/// in `kept`.
///
/// # Errors
/// What [`validate`](crate::graph::validate()) finds in the result.
pub fn prefix(model: &mut Model, prefix: &str, kept: &[&str]) -> Result<()> {
    let values = model.graph.value_names().into_iter().filter(|name| !kept.contains(name));
    let names = values.map(|name| (name.to_owned(), format!("{prefix}{name}"))).collect();
    model.graph = renamed(std::mem::take(&mut model.graph), &names);
    validate(model)
}

/// Calls values of the main graph otherwise: old names to new ones, which must be free.
///
/// # Errors
/// What [`validate`](crate::graph::validate()) finds in the result.
pub fn rename(model: &mut Model, names: &HashMap<String, String>) -> Result<()> {
    model.graph = renamed(std::mem::take(&mut model.graph), names);
    validate(model)
}

/// The graph with values called otherwise, in subgraphs too.
fn renamed(mut graph: Graph, names: &HashMap<String, String>) -> Graph {
    let rename = |name: &mut String| {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    };
    graph.inputs.iter_mut().for_each(|input| rename(&mut input.name));
    graph.outputs.iter_mut().for_each(|output| rename(&mut output.name));
    graph.value_infos.iter_mut().for_each(|info| rename(&mut info.name));
    graph.initializers.iter_mut().for_each(|tensor| rename(&mut tensor.name));
    graph.sparse_initializers.iter_mut().for_each(|sparse| rename(&mut sparse.values.name));
    graph.annotations.iter_mut().for_each(|annotation| rename(&mut annotation.value));
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).for_each(rename);
        rename_captured(node, names);
    }
    graph
}

/// Renames what the subgraphs of a node take from around them; a name that a subgraph defines
/// itself is its own.
fn rename_captured(node: &mut Node, names: &HashMap<String, String>) {
    for graph in node.subgraphs_mut() {
        let own: HashSet<String> = graph.value_names().into_iter().map(str::to_owned).collect();
        let outer: HashMap<String, String> = names
            .iter()
            .filter(|(name, _)| !own.contains(*name))
            .map(|(name, new)| (name.clone(), new.clone()))
            .collect();
        *graph = renamed(std::mem::take(graph), &outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    fn model(name: &str, input: &str, output: &str) -> Model {
        let mut b = Builder::new(name);
        let x = b.input(input, DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let half = b.scalar(0.5);
        let y = b.mul(&x, &half);
        let y = b.relu(&y);
        b.output(output, &y);
        b.finish().unwrap()
    }

    #[test]
    fn the_second_model_reads_the_first() {
        let joined = chain(&model("net", "x", "y"), "y", &model("head", "features", "logits"), "features").unwrap();
        insta::assert_snapshot!(text(&joined), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 2]
          constant constant: f32[] = 0.5
          constant head.constant: f32[] = 0.5
          mul = Mul(x, constant)
          y = Relu(mul)
          head.mul = Mul(y, head.constant)
          logits = Relu(head.mul)
          output y: f32[batch, 2]
          output logits: f32[batch, 2]
        ");
        let error = chain(&joined, "z", &model("head", "features", "logits"), "features").unwrap_err();
        assert_eq!(error.to_string(), "the graph has no value `z`");
    }
}
