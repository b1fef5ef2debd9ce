//! What a graph takes and gives: outputs that stay, constants that become inputs, sizes of inputs.

use std::collections::HashSet;

use crate::error::{GraphError, Result};
use crate::graph::order::read_names;
use crate::graph::{Dim, Model, Node, Patch, Type, ValueInfo};
use crate::support::names::nearest;

/// Keeps those outputs that have one of these names.
pub fn keep_outputs(model: &Model, names: &[&str]) -> Patch {
    let kept = model.graph.outputs.iter().filter(|output| names.contains(&output.name.as_str()));
    Patch { outputs: Some(kept.cloned().collect()), ..Patch::new("keep outputs") }
}

/// Drops the outputs that have one of these names.
pub fn drop_outputs(model: &Model, names: &[&str]) -> Patch {
    let kept = model.graph.outputs.iter().filter(|output| !names.contains(&output.name.as_str()));
    Patch { outputs: Some(kept.cloned().collect()), ..Patch::new("drop outputs") }
}

/// Declares other outputs; what was declared of inner values is forgotten, to be found out again.
pub fn declare_outputs(outputs: Vec<ValueInfo>) -> Patch {
    Patch { outputs: Some(outputs), forget_inner_types: true, ..Patch::new("declare outputs") }
}

/// Makes inputs of initializers, behind those that the model has, in the order of the names.
///
/// # Errors
/// [`GraphError::UnknownValue`] for what is no dense initializer, with the nearest names.
pub fn constants_to_inputs<'a>(model: &Model, names: impl IntoIterator<Item = &'a String>) -> Result<Patch> {
    let graph = &model.graph;
    let mut patch = Patch::new("constants to inputs");
    let mut inputs = graph.inputs.clone();
    for name in names {
        let Some(tensor) = graph.initializer(name) else {
            let nearest = nearest(name, graph.constant_names());
            return Err(GraphError::UnknownValue { name: name.clone(), nearest }.into());
        };
        let shape = tensor.shape.iter().map(|&size| Dim::from(size)).collect();
        inputs.retain(|input| input.name != *name);
        inputs.push(ValueInfo::new(name, Type::tensor(tensor.element, Some(shape))));
        patch.remove_constants.insert(name.clone());
    }
    patch.inputs = Some(inputs);
    Ok(patch)
}

/// Gives the first axis of an input a size; what was declared of values that follow from it is
/// forgotten.
pub fn set_batch(model: &Model, input: &str, batch: &Dim) -> Patch {
    let mut inputs = model.graph.inputs.clone();
    for info in inputs.iter_mut().filter(|info| info.name == input) {
        if let Some(mut known) = info.tensor_type().cloned() {
            if let Some(first) = known.shape.as_mut().and_then(|shape| shape.first_mut()) {
                first.clone_from(batch);
            }
            info.r#type = Some(known.into());
        }
    }
    let outputs = model.graph.outputs.iter().map(|output| ValueInfo { r#type: None, ..output.clone() }).collect();
    Patch { inputs: Some(inputs), outputs: Some(outputs), forget_inner_types: true, ..Patch::new("set batch") }
}

/// Drops inputs that no node reads.
pub fn drop_unread_inputs(model: &Model) -> Patch {
    let read: HashSet<String> = model.graph.nodes.iter().flat_map(read_names).collect();
    let kept = model.graph.inputs.iter().filter(|input| read.contains(&input.name)).cloned().collect();
    Patch { inputs: Some(kept), ..Patch::new("drop unread inputs") }
}

/// Puts a transposition by `order` before an input, which is called `name` from then on and has
/// `shape`; the graph keeps the place of the input.
pub fn transpose_input(model: &Model, input: &str, name: &str, order: &[i64], shape: Vec<Dim>) -> Patch {
    let element = model.graph.inputs.iter().find(|info| info.name == input).and_then(ValueInfo::tensor_type);
    let r#type = element.map(|known| Type::tensor(known.element, Some(shape)));
    let renamed = ValueInfo { r#type, ..ValueInfo::untyped(name) };
    let others = model.graph.inputs.iter().filter(|info| info.name != input).cloned();
    let transpose = Node::new("Transpose", &[name], &[input]).with("perm", order.to_vec());
    let mut patch = Patch { inputs: Some(std::iter::once(renamed).chain(others).collect()), ..Patch::new("transpose") };
    match model.graph.nodes.first() {
        Some(first) => drop(patch.replace_nodes.insert(0, vec![transpose, first.clone()])),
        None => patch.add_nodes.push(transpose),
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::rewrite::dead_nodes;
    use crate::graph::{Builder, text};
    use crate::tensor::{DType, HostTensor};

    fn model() -> Model {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let [w, v] = ["w", "v"].map(|name| b.parameter(name, &HostTensor::vector(vec![1f32, 2.0])));
        let y = b.mul(&x, &w);
        b.output("y", &y);
        let z = b.mul(&y, &v);
        b.output("z", &z);
        b.finish().unwrap()
    }

    #[test]
    fn constants_become_inputs_and_unread_ones_go() {
        let mut changed = model();
        constants_to_inputs(&changed, [&"v".to_owned(), &"w".to_owned()]).unwrap().apply(&mut changed).unwrap();
        set_batch(&changed, "x", &Dim::Fixed(3)).apply(&mut changed).unwrap();
        keep_outputs(&changed, &["y"]).apply(&mut changed).unwrap();
        dead_nodes(&changed).apply(&mut changed).unwrap();
        drop_unread_inputs(&changed).apply(&mut changed).unwrap();
        insta::assert_snapshot!(text(&changed), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[3, 2]
          input w: f32[2]
          y = Mul(x, w)
          output y
        ");
        let error = constants_to_inputs(&model(), [&"u".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "the graph has no value `u`");
    }

    #[test]
    fn an_input_is_transposed_in_its_place() {
        let mut changed = model();
        transpose_input(&changed, "x", "turned", &[1, 0], vec![Dim::Fixed(2), Dim::symbol("batch")])
            .apply(&mut changed)
            .unwrap();
        assert_eq!(changed.graph.nodes[0].operator, "Transpose");
        assert_eq!(changed.graph.inputs[0].name, "turned");
    }
}
