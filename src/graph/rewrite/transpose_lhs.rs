//! Products `A^T B` as a transposition and a product.
//!
//! The gradient of a linear layer's weights is `dy^T x`. ONNX Runtime's CPU turns blocks of a left
//! matrix that is to be transposed anew for every 128 columns of the product; to turn all of it
//! once in memory is cheaper: training steps of ViT-B took 2 to 5 % less time. CUDA's products read
//! either order.

use crate::error::Result;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{AttributeValue, Fact, Model, Node, Patch, Tensor, infer};
use crate::tensor::HostTensor;

/// Elements of the left matrix, and columns of the product, from which on a transposition of its
/// own pays.
const MIN_ELEMENTS: i64 = 1 << 16;
const MIN_COLUMNS: i64 = 256;

/// Transposes large left matrices of `Gemm` before the product.
///
/// ONNX Runtime puts a transposition of a matrix back into the product; this one is of a batch of
/// one matrix, which it leaves.
///
/// # Errors
/// What [`infer`] finds.
pub fn transpose_lhs(model: &Model) -> Result<Patch> {
    let facts = infer(model)?.facts;
    let graph = &model.graph;
    let mut names = UniqueNames::of(graph);
    let mut patch = Patch::new("transpose left matrices");
    let axis = names.take("turned.axis");
    for (index, node) in graph.nodes.iter().enumerate() {
        let is_turned = matches!(node.attribute("transA"), Some(AttributeValue::Int(turned)) if *turned != 0);
        if node.operator != "Gemm" || !node.is_standard() || !is_turned {
            continue;
        }
        let size = |value: &str| facts.get(value).and_then(matrix);
        let (Some([rows, columns]), Some([_, width])) = (size(&node.inputs[0]), size(&node.outputs[0])) else {
            continue;
        };
        if rows * columns < MIN_ELEMENTS || width < MIN_COLUMNS {
            continue;
        }
        let [batch, turned, matrix] = ["batch", "turned", "matrix"].map(|what| {
            let place = if node.name.is_empty() { &node.outputs[0] } else { &node.name };
            names.take(&format!("{place}.{what}"))
        });
        let mut product = node.clone();
        product.attributes.retain(|attribute| attribute.name != "transA");
        product.inputs[0].clone_from(&matrix);
        let before = [
            Node::new("Unsqueeze", &[&node.inputs[0], &axis], &[&batch]),
            Node::new("Transpose", &[&batch], &[&turned]).with("perm", vec![0, 2, 1]),
            Node::new("Squeeze", &[&turned, &axis], &[&matrix]),
        ];
        let before = before.map(|node| Node { name: node.outputs[0].clone(), ..node });
        patch.replace_nodes.insert(index, before.into_iter().chain([product]).collect());
    }
    if !patch.replace_nodes.is_empty() {
        patch.add_constants.push(Tensor::new(&axis, &HostTensor::vector(vec![0i64])));
    }
    Ok(patch)
}

/// The sizes of a matrix, where both are known.
fn matrix(fact: &Fact) -> Option<[i64; 2]> {
    match fact.shape.as_deref()? {
        [rows, columns] => Some([rows.fixed()?, columns.fixed()?]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    fn product(rows: i64) -> Model {
        let mut b = Builder::new("product");
        let dy = b.input("dy", DType::F32, &[Dim::Fixed(rows), Dim::Fixed(512)]);
        let x = b.input("x", DType::F32, &[Dim::Fixed(rows), Dim::Fixed(256)]);
        let dw = b.node(Node::new("Gemm", &[dy.name(), x.name()], &[]).with("transA", 1).with("alpha", 0.5f32));
        b.output("dw", &dw);
        b.finish().unwrap()
    }

    #[test]
    fn a_large_left_matrix_is_transposed_before_the_product() {
        let mut model = product(128);
        transpose_lhs(&model).unwrap().apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph product
          input dy: f32[128, 512]
          input x: f32[128, 256]
          constant turned.axis: i64[1] = [0]
          gemm.batch = Unsqueeze(dy, turned.axis)
          gemm.turned = Transpose(gemm.batch) {perm: [0, 2, 1]}
          gemm.matrix = Squeeze(gemm.turned, turned.axis)
          dw = Gemm(gemm.matrix, x) {alpha: 0.5}
          output dw: f32[512, 256]
        ");
    }

    #[test]
    fn a_small_one_stays() {
        let model = product(127);
        assert!(transpose_lhs(&model).unwrap().replace_nodes.is_empty());
    }
}
