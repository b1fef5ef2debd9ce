//! Edits of whole models: patches that are applied by themselves (see [`Patch`](super::Patch)), and
//! models joined or lifted to a newer operator set.

mod chain;
mod cut;
mod dead;
mod expose;
mod fold;
mod gelu;
mod half;
mod interface;
mod lift;
mod names;
mod quantize;
mod reduce_to_matmul;
mod sequences;
mod single_precision;
mod slice_pushdown;
mod tap;
mod transpose_lhs;

pub use chain::{chain, prefix, rename};
pub use cut::cut;
pub use dead::{dead, dead_nodes};
pub use expose::expose_weights;
pub use fold::fold_norms;
pub use gelu::fuse_gelu;
pub use half::half;
pub use interface::{
    constants_to_inputs, declare_outputs, drop_outputs, drop_unread_inputs, keep_outputs, set_batch, transpose_input,
};
pub use lift::lift;
pub use names::UniqueNames;
pub use quantize::quantize;
pub use reduce_to_matmul::sum_rows_by_products;
pub use sequences::slice_sequences;
pub use single_precision::single_precision;
pub use slice_pushdown::slice_pushdown;
pub use tap::tap;
pub use transpose_lhs::transpose_lhs;

use std::collections::HashMap;

use crate::error::{GraphError, Result};
use crate::graph::{Fact, Graph, ValueInfo};
use crate::support::names::nearest;

/// Checks that every name is a value of the graph.
fn known_values(graph: &Graph, names: &[String]) -> Result<()> {
    let known = graph.value_names();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let nearest = nearest(name, known);
            Err(GraphError::UnknownValue { name: name.clone(), nearest }.into())
        }
        None => Ok(()),
    }
}

/// What is known about a value of the main graph: as the model declares it, else as inference finds
/// it.
fn value_info(graph: &Graph, facts: &HashMap<String, Fact>, name: &str) -> ValueInfo {
    let declared = graph.inputs.iter().chain(&graph.outputs).chain(&graph.value_infos).find(|info| info.name == name);
    match declared.filter(|info| info.r#type.is_some()) {
        Some(info) => info.clone(),
        None => ValueInfo { r#type: facts.get(name).and_then(Fact::to_type), ..ValueInfo::untyped(name) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, Model, text};
    use crate::tensor::{DType, HostTensor};

    /// Two layers, and a branch of which the second output is not needed for the first.
    fn model() -> Model {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let weight = |value: f32| HostTensor::from_vec(vec![2, 2], vec![value; 4]).unwrap();
        let (first, second) = (b.parameter("first.weight", &weight(1.0)), b.parameter("second.weight", &weight(2.0)));
        let hidden = b.scope("first", |b| b.matmul(&x, &first));
        let bent = b.relu(&hidden);
        let y = b.scope("second", |b| b.matmul(&bent, &second));
        let side = b.sigmoid(&hidden);
        b.output("y", &y);
        b.output("side", &side);
        b.finish().unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_tap_adds_typed_outputs() {
        let mut tapped = model();
        tap(&tapped, &names(&["first.matmul", "y"])).unwrap().apply(&mut tapped).unwrap();
        insta::assert_snapshot!(text(&tapped), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 2]
          constant first.weight: f32[2, 2] = [1.0, 1.0, 1.0, 1.0]
          constant second.weight: f32[2, 2] = [2.0, 2.0, 2.0, 2.0]
          first.matmul = MatMul(x, first.weight)
          relu = Relu(first.matmul)
          y = MatMul(relu, second.weight)
          side = Sigmoid(first.matmul)
          output y: f32[batch, 2]
          output side: f32[batch, 2]
          output first.matmul: f32[batch, 2]
        ");
    }

    #[test]
    fn a_cut_keeps_only_what_lies_between() {
        let mut part = model();
        cut(&part, &names(&["relu"]), &names(&["y"])).unwrap().apply(&mut part).unwrap();
        insta::assert_snapshot!(text(&part), @r"
        format 8, ai.onnx 17
        graph net
          input relu: f32[batch, 2]
          constant second.weight: f32[2, 2] = [2.0, 2.0, 2.0, 2.0]
          y = MatMul(relu, second.weight)
          output y: f32[batch, 2]
        ");
        let mut front = model();
        cut(&front, &[], &names(&["side"])).unwrap().apply(&mut front).unwrap();
        insta::assert_snapshot!(text(&front), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 2]
          constant first.weight: f32[2, 2] = [1.0, 1.0, 1.0, 1.0]
          first.matmul = MatMul(x, first.weight)
          side = Sigmoid(first.matmul)
          output side: f32[batch, 2]
        ");
    }

    #[test]
    fn a_cut_that_is_not_closed_is_refused() {
        let message = |from: &[&str], to: &[&str]| cut(&model(), &names(from), &names(to)).unwrap_err().to_string();
        assert_eq!(message(&["relu"], &["y", "side"]), "`x` is also an input needed for `y`, `side`");
        assert_eq!(
            message(&["second.weight"], &["y"]),
            "`second.weight` is a constant, which cannot become an input for `y`"
        );
        assert_eq!(message(&["y"], &["side"]), "`y` is not needed for `side`");
        let unknown = tap(&model(), &names(&["first.matmull"])).unwrap_err();
        assert_eq!(unknown.to_string(), "the graph has no value `first.matmull`");
        assert!(unknown.hint().unwrap().to_string().contains("`first.matmul`"));
    }

    #[test]
    fn a_needed_node_whose_other_output_is_given_keeps_producing_it_unread() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(4)]);
        let [left, right] = b.split(&x, 0, [2, 2]);
        let sum = b.add(&left, &right);
        b.output("sum", &sum);
        let mut part = b.finish().unwrap();
        cut(&part, &names(&["x", "split"]), &names(&["sum"])).unwrap().apply(&mut part).unwrap();
        insta::assert_snapshot!(text(&part), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[4]
          input split: f32[2]
          constant constant: i64[2] = [2, 2]
          split.unread, split.1 = Split(x, constant) {axis: 0}
          sum = Add(split, split.1)
          output sum: f32[2]
        ");
    }

    #[test]
    fn dead_parts_go_and_inputs_stay() {
        let mut lean = model();
        lean.graph.outputs.remove(0);
        dead(&lean).apply(&mut lean).unwrap();
        insta::assert_snapshot!(text(&lean), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 2]
          constant first.weight: f32[2, 2] = [1.0, 1.0, 1.0, 1.0]
          first.matmul = MatMul(x, first.weight)
          side = Sigmoid(first.matmul)
          output side: f32[batch, 2]
        ");
    }

    #[test]
    fn an_edit_that_leaves_no_valid_graph_changes_nothing() {
        let mut broken = model();
        let mut patch = crate::graph::Patch::new("drop the first layer");
        patch.remove_nodes.insert(0);
        let error = patch.apply(&mut broken).unwrap_err();
        assert_eq!(error.to_string(), "the edit `drop the first layer` cannot be made");
        assert_eq!(broken, model());
    }
}
