//! A network in 16-bit floats, with what needs more range or digits kept in 32 bits.
//!
//! Products, convolutions and element-wise arithmetic are computed in f16, and their weights stored
//! in it: half the bytes, and several times the speed on a GPU. Kept in f32 are norms, softmax,
//! means and other sums, powers, roots and exponentials (see [`Half`]), weights
//! beyond the range of f16 with the operator that reads them, operators without a rule, and the
//! graph's inputs and outputs, so that callers change nothing. Where the two meet stands a `Cast`,
//! one per value.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::graph::infer::infer;
use crate::graph::ops::{self, Half};
use crate::graph::order::{read_names, topological_order};
use crate::graph::rewrite::UniqueNames;
use crate::graph::{ElementType, Fact, Graph, Model, Node, Patch, Tensor};
use crate::tensor::{DType, HostTensor};

/// Whether a node's operator computes in f16; all others stay in f32.
fn is_computed(node: &Node) -> bool {
    ops::find(node).is_some_and(|definition| definition.half == Half::Computed)
}

/// Converts a network to f16.
///
/// # Errors
/// [`GraphError::Cycle`](crate::error::GraphError::Cycle).
pub fn half(model: &Model) -> Result<Patch> {
    let graph = &model.graph;
    let mut converter = Converter {
        graph,
        facts: infer(model)?.facts,
        readers: readers(graph),
        names: UniqueNames::of(graph),
        patch: Patch::new("half"),
        halves: HashMap::new(),
        native: HashSet::new(),
        full: HashSet::new(),
        ready: Vec::new(),
    };
    converter.full.extend(graph.inputs.iter().map(|input| input.name.clone()));
    converter.full.extend(graph.constant_names().map(str::to_owned));
    for index in topological_order(graph)? {
        let nodes = converter.node(&graph.nodes[index]);
        converter.patch.replace_nodes.insert(index, nodes);
    }
    for output in &graph.outputs {
        converter.full(&output.name);
    }
    let mut patch = converter.patch;
    patch.add_nodes = converter.ready;
    patch.drop_unread_constants = true;
    Ok(patch)
}

struct Converter<'a> {
    graph: &'a Graph,
    facts: HashMap<String, Fact>,
    /// Who reads each value.
    readers: HashMap<String, Vec<usize>>,
    names: UniqueNames,
    patch: Patch,
    /// The names of values in f16.
    halves: HashMap<String, String>,
    /// Values that are computed in f16.
    native: HashSet<String>,
    /// Values that are there in f32 (or are no floats).
    full: HashSet<String>,
    /// Casts that the node at hand needs.
    ready: Vec<Node>,
}

impl Converter<'_> {
    /// The node in its type, behind the casts it needs.
    fn node(&mut self, node: &Node) -> Vec<Node> {
        let mut converted = node.clone();
        if self.becomes_half(node) {
            for input in &mut converted.inputs {
                if self.is_f32(input) {
                    *input = self.half(input);
                }
            }
            for output in converted.outputs.iter_mut().filter(|output| !output.is_empty()) {
                let half = self.names.take(&format!("{output}_f16"));
                self.native.insert(output.clone());
                self.halves.insert(output.clone(), half.clone());
                *output = half;
            }
        } else {
            for name in read_names(node) {
                self.full(&name);
            }
            self.full.extend(node.outputs.iter().cloned());
        }
        let mut nodes = std::mem::take(&mut self.ready);
        nodes.push(converted);
        nodes
    }

    fn becomes_half(&self, node: &Node) -> bool {
        if node.subgraphs().next().is_some() {
            return false;
        }
        let floats = || node.inputs.iter().filter(|input| self.is_f32(input));
        let wanted = match ops::find(node).map_or(Half::Never, |definition| definition.half) {
            Half::Computed => true,
            Half::Joined => floats().any(|input| self.native.contains(input)),
            Half::Moved => {
                let moved = node.inputs.first();
                moved.is_some_and(|input| self.native.contains(input) || self.is_weight_of_half(input, node))
            }
            Half::Never => false,
        };
        let known = |name: &String| self.facts.get(name).is_some_and(|fact| fact.element != ElementType::Undefined);
        let given = |names: &[String]| names.iter().filter(|name| !name.is_empty()).all(known);
        wanted
            && floats().next().is_some()
            && given(&node.inputs)
            && node.outputs.iter().filter(|output| !output.is_empty()).all(|output| self.is_f32(output))
            && floats().all(|input| self.is_in_range(input))
    }

    /// Whether a node brings a weight into the shape in which operators in f16, and only these,
    /// read it.
    fn is_weight_of_half(&self, weight: &str, node: &Node) -> bool {
        let is_output = |name: &String| self.graph.outputs.iter().any(|output| output.name == *name);
        let only_half = |name: &String| {
            let readers = self.readers.get(name).map_or(&[][..], Vec::as_slice);
            !readers.is_empty() && readers.iter().all(|&reader| is_computed(&self.graph.nodes[reader]))
        };
        self.graph.initializer(weight).is_some()
            && node.outputs.iter().all(|output| !is_output(output) && only_half(output))
    }

    fn is_f32(&self, name: &str) -> bool {
        self.facts.get(name).is_some_and(|fact| fact.element == ElementType::F32)
    }

    /// Whether a constant keeps its meaning in f16; what is computed is trusted.
    fn is_in_range(&self, name: &str) -> bool {
        let Some(tensor) = self.graph.initializer(name) else { return true };
        let host = tensor.to_host();
        let values = host.as_ref().and_then(HostTensor::values::<f32>).unwrap_or_default();
        let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        largest <= half::f16::MAX.to_f32()
    }

    /// The name of a value in f16.
    fn half(&mut self, name: &str) -> String {
        if let Some(half) = self.halves.get(name) {
            return half.clone();
        }
        let half = self.names.take(&format!("{name}_f16"));
        match self.graph.initializer(name).and_then(Tensor::to_host) {
            Some(host) => {
                let values = host.values::<f32>().unwrap_or_default();
                let rounded: Vec<half::f16> = values.iter().map(|&value| half::f16::from_f32(value)).collect();
                if let Some(tensor) = HostTensor::from_vec(host.shape().to_vec(), rounded) {
                    self.patch.add_constants.push(Tensor::new(&half, &tensor));
                }
            }
            None => self.ready.push(cast(name, &half, DType::F16)),
        }
        self.halves.insert(name.to_owned(), half.clone());
        half
    }

    /// Sees to it that a value is there in f32.
    fn full(&mut self, name: &str) {
        if self.full.contains(name) {
            return;
        }
        if let Some(half) = self.halves.get(name) {
            self.ready.push(cast(half, name, DType::F32));
            self.full.insert(name.to_owned());
        }
    }
}

fn readers(graph: &Graph) -> HashMap<String, Vec<usize>> {
    let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in read_names(node) {
            readers.entry(name).or_default().push(index);
        }
    }
    readers
}

fn cast(from: &str, to: &str, dtype: DType) -> Node {
    let mut node = Node::new("Cast", &[from], &[to]).with("to", i64::from(dtype.onnx_code()));
    node.name = format!("{to}.cast");
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};

    #[test]
    fn products_are_halved_norms_and_softmax_are_not() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2)]);
        let w = b.parameter("w", &HostTensor::from_fn(&[2, 2], |at| at as f32));
        let scale = b.parameter("scale", &HostTensor::vector(vec![1f32, 2.0]));
        let y = b.matmul(&x, &w);
        let turned = b.transpose(&y, &[1, 0]);
        let back = b.transpose(&turned, &[1, 0]);
        let normed = b.layer_norm(&back, &scale, None, 1e-6);
        let sum = b.add(&normed, &x);
        let weights = b.softmax(&sum, -1);
        b.output("sum", &sum);
        b.output("weights", &weights);
        let mut model = b.finish().unwrap();
        half(&model).unwrap().apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 2]
          constant scale: f32[2] = [1.0, 2.0]
          constant w_f16: f16[2, 2] = [0.0, 1.0, 2.0, 3.0]
          x_f16 = Cast(x) {to: 10}
          matmul_f16 = MatMul(x_f16, w_f16)
          transpose_f16 = Transpose(matmul_f16) {perm: [1, 0]}
          transpose_1_f16 = Transpose(transpose_f16) {perm: [1, 0]}
          transpose_1 = Cast(transpose_1_f16) {to: 1}
          layer_normalization = LayerNormalization(transpose_1, scale) {axis: -1, epsilon: 1e-6}
          layer_normalization_f16 = Cast(layer_normalization) {to: 10}
          sum_f16 = Add(layer_normalization_f16, x_f16)
          sum = Cast(sum_f16) {to: 1}
          weights = Softmax(sum) {axis: -1}
          output sum: f32[batch, 2]
          output weights: f32[batch, 2]
        ");
    }

    #[test]
    fn weights_that_f16_cannot_hold_keep_their_operator_in_f32() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(1)]);
        let w = b.parameter("w", &HostTensor::from_fn(&[1, 1], |_| 1e5f32));
        let y = b.matmul(&x, &w);
        b.output("y", &y);
        let model = b.finish().unwrap();
        let mut converted = model.clone();
        half(&model).unwrap().apply(&mut converted).unwrap();
        assert_eq!(converted, model);
    }
}
