//! Sums over the rows of a matrix as products with ones.
//!
//! The gradient of a bias is the sum of all rows of `dy`. ONNX Runtime's CPU multiplies a vector by
//! a matrix in half the time that it takes to sum the rows up.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{ElementType, Fact, Graph, Model, Node, Patch, Tensor, infer};
use crate::tensor::HostTensor;

/// Elements from which on a product pays.
const MIN_ELEMENTS: i64 = 1 << 16;

/// Makes products of sums over the rows of large matrices in f32.
///
/// # Errors
/// What [`infer`] finds.
pub fn sum_rows_by_products(model: &Model) -> Result<Patch> {
    let facts = infer(model)?.facts;
    let graph = &model.graph;
    let mut names = UniqueNames::of(graph);
    let mut patch = Patch::new("sum rows by products");
    let mut ones: BTreeMap<i64, String> = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if !sums_rows(graph, node) {
            continue;
        }
        let sizes = |value: &str| facts.get(value).and_then(sizes);
        let (Some(matrix), Some(sum)) = (sizes(&node.inputs[0]), sizes(&node.outputs[0])) else { continue };
        let [rows, columns] = matrix[..] else { continue };
        if rows * columns < MIN_ELEMENTS {
            continue;
        }
        let left = ones.entry(rows).or_insert_with(|| {
            let name = names.take("ones");
            patch.add_constants.push(Tensor::new(&name, &HostTensor::from_fn(&[1, rows as usize], |_| 1f32)));
            name
        });
        let place = &node.outputs[0];
        let [row, shape] = ["row", "shape"].map(|what| names.take(&format!("{place}.{what}")));
        let product = Node::new("MatMul", &[left, &node.inputs[0]], &[&row]);
        let reshape = Node::new("Reshape", &[&row, &shape], &[place]);
        patch.add_constants.push(Tensor::new(&shape, &HostTensor::vector(sum)));
        let nodes = [product, reshape].map(|node| Node { name: node.outputs[0].clone(), ..node });
        patch.replace_nodes.insert(index, nodes.into());
    }
    Ok(patch)
}

/// Whether a node sums over the first axis alone, which stands in the file.
fn sums_rows(graph: &Graph, node: &Node) -> bool {
    let axes = || graph.initializer(node.inputs.get(1)?)?.to_integers();
    node.operator == "ReduceSum" && node.is_standard() && axes().is_some_and(|axes| axes == [0])
}

/// The sizes of a tensor in f32, where all are known.
fn sizes(fact: &Fact) -> Option<Vec<i64>> {
    let sizes = fact.shape.as_deref()?.iter().map(|size| size.fixed()).collect::<Option<_>>()?;
    (fact.element == ElementType::F32).then_some(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    fn sums(rows: i64, axis: i64) -> Model {
        let mut b = Builder::new("sums");
        let dy = b.input("dy", DType::F32, &[Dim::Fixed(rows), Dim::Fixed(512)]);
        let sum = b.reduce_sum(&dy, &[axis], false);
        b.output("sum", &sum);
        let kept = b.reduce_sum(&dy, &[axis], true);
        b.output("kept", &kept);
        b.finish().unwrap()
    }

    #[test]
    fn large_matrices_are_multiplied() {
        let mut model = sums(128, 0);
        sum_rows_by_products(&model).unwrap().apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph sums
          input dy: f32[128, 512]
          constant constant: i64[1] = [0]
          constant ones: f32[1, 128]
          constant sum.shape: i64[1] = [512]
          constant kept.shape: i64[2] = [1, 512]
          sum.row = MatMul(ones, dy)
          sum = Reshape(sum.row, sum.shape)
          kept.row = MatMul(ones, dy)
          kept = Reshape(kept.row, kept.shape)
          output sum: f32[512]
          output kept: f32[1, 512]
        ");
    }

    #[test]
    fn small_ones_and_other_axes_are_summed() {
        for model in [sums(127, 0), sums(128, 1)] {
            assert!(sum_rows_by_products(&model).unwrap().replace_nodes.is_empty());
        }
    }
}
