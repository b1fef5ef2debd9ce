//! Rows that nobody reads are not computed.
//!
//! A vision transformer's tokens flow as one matrix `[N T, D]`, and a classifier reads the class
//! token of the last block: a slice of `[N, T, D]`. What lies before that slice and treats each row
//! by itself (linear maps, norms, activations, sums) gives the same for fewer rows: the slice moves
//! up, to where rows meet (attention) or other readers need all of them.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::graph::infer::infer;
use crate::graph::ops::{self, OpContext};
use crate::graph::order::read_names;
use crate::graph::rewrite::UniqueNames;
use crate::graph::validate::validate;
use crate::graph::{Dim, Fact, Graph, Model, Node, Tensor};
use crate::tensor::HostTensor;

/// A slice of tokens: which node it is, and which node before it makes `[N, T, D]` of rows.
struct Cut {
    slice: usize,
    reshape: usize,
    tokens: i64,
    start: i64,
    end: i64,
}

/// Moves every slice of tokens up as far as it goes.
///
/// # Errors
/// What [`validate`](crate::graph::validate()) finds.
pub fn slice_pushdown(model: Model) -> Result<Model> {
    let facts = infer(&model)?.facts;
    let mut model = model;
    let cuts: Vec<Cut> = (0..model.graph.nodes.len()).filter_map(|index| cut(&model.graph, index)).collect();
    let opset = model.opset("").unwrap_or(0);
    let mut changed = false;
    for cut in &cuts {
        changed |= move_up(&mut model.graph, cut, opset, &facts);
    }
    if changed {
        model.graph.value_infos.clear();
        model.graph.sort()?;
        validate(&model)?;
    }
    Ok(model)
}

fn integers(graph: &Graph, name: &str) -> Option<Vec<i64>> {
    graph.initializer(name)?.to_host()?.values::<i64>().map(|values| values.to_vec())
}

/// The cut that a node is, if it is one: a slice of axis 1 alone of what a reshape makes of a
/// matrix.
fn cut(graph: &Graph, slice: usize) -> Option<Cut> {
    let node = &graph.nodes[slice];
    if node.operator != "Slice" || !node.is_standard() {
        return None;
    }
    let list = |index: usize| integers(graph, node.inputs.get(index)?);
    let (starts, ends) = (list(1)?, list(2)?);
    let ([start], [end]) = (starts.as_slice(), ends.as_slice()) else { return None };
    let (start, end) = (*start, *end);
    if list(3)? != [1] {
        return None;
    }
    if node.inputs.len() > 4 && list(4)? != [1] {
        return None;
    }
    let reshape = *graph.producers().get(node.inputs[0].as_str())?;
    let made = &graph.nodes[reshape];
    if made.operator != "Reshape" || !made.is_standard() {
        return None;
    }
    let [-1, tokens, _] = integers(graph, made.inputs.get(1)?)?[..] else { return None };
    let place = |position: i64| (if position < 0 { position + tokens } else { position }).clamp(0, tokens);
    let (start, end) = (place(start), place(end));
    (start < end && end - start < tokens).then_some(Cut { slice, reshape, tokens, start, end })
}

/// Moves a slice up; gives whether it moved.
fn move_up(graph: &mut Graph, cut: &Cut, opset: i64, facts: &HashMap<String, Fact>) -> bool {
    let matrix = graph.nodes[cut.reshape].inputs[0].clone();
    let Some([rows, _]) = facts.get(&matrix).and_then(|fact| fact.shape.as_deref()) else { return false };
    let readers = readers(graph);
    let only = |value: &str, nodes: &HashSet<usize>| {
        readers
            .get(value)
            .is_some_and(|all| all.iter().all(|reader| reader.is_some_and(|index| nodes.contains(&index))))
    };
    if !only(&graph.nodes[cut.reshape].outputs[0], &HashSet::from([cut.slice])) {
        return false;
    }
    let (mut moved, mut wanted) = (HashSet::from([cut.reshape]), HashSet::from([matrix.clone()]));
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let Some(inputs) = by_row(node, opset, facts, rows).filter(|_| node.outputs.len() == 1) else { continue };
        if wanted.contains(&node.outputs[0]) && only(&node.outputs[0], &moved) {
            moved.insert(index);
            wanted.remove(&node.outputs[0]);
            wanted.extend(inputs.into_iter().map(|place| node.inputs[place].clone()));
        }
    }
    if moved.len() == 1 {
        return false;
    }
    let mut wanted: Vec<String> = wanted.into_iter().collect();
    wanted.sort_unstable();
    let mut names = UniqueNames::of(graph);
    let mut added = Added { nodes: Vec::new(), constants: Vec::new() };
    let mut renamed = HashMap::new();
    for value in wanted {
        let width = facts.get(&value).and_then(|fact| fact.shape.as_ref()?.get(1)?.fixed());
        let Some(width) = width else { return false };
        let selected = added.select(&mut names, &value, cut, width);
        renamed.insert(value, selected);
    }
    // The slice takes all that is left; the reshape in front of it knows fewer tokens.
    let target = graph.nodes[cut.reshape].inputs[1].clone();
    let width = integers(graph, &target).map_or(1, |target| target[2]);
    let target = added.constant(&mut names, "rows.shape", &[-1, cut.end - cut.start, width]);
    graph.nodes[cut.reshape].inputs[1] = target;
    for &index in &moved {
        for input in &mut graph.nodes[index].inputs {
            if let Some(selected) = renamed.get(input) {
                input.clone_from(selected);
            }
        }
    }
    let (from, to) = (graph.nodes[cut.reshape].outputs[0].clone(), graph.nodes[cut.slice].outputs[0].clone());
    graph.nodes[cut.slice] =
        Node { name: graph.nodes[cut.slice].name.clone(), ..Node::new("Identity", &[&from], &[&to]) };
    graph.nodes.extend(added.nodes);
    graph.initializers.extend(added.constants);
    true
}

/// Who reads each value; `None` stands for the graph's outputs.
fn readers(graph: &Graph) -> HashMap<String, Vec<Option<usize>>> {
    let mut readers: HashMap<String, Vec<Option<usize>>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for name in read_names(node) {
            readers.entry(name).or_default().push(Some(index));
        }
    }
    for output in &graph.outputs {
        readers.entry(output.name.clone()).or_default().push(None);
    }
    readers
}

/// The inputs of a node that have a row for each row of its output, if it treats every row by
/// itself.
fn by_row(node: &Node, opset: i64, facts: &HashMap<String, Fact>, rows: &Dim) -> Option<Vec<usize>> {
    let inputs = ops::find(node)?.by_row.filter(|_| !node.inputs.iter().any(String::is_empty))?;
    let facts = node.inputs.iter().map(|input| facts.get(input).cloned()).collect();
    inputs(&OpContext { node, opset, inputs: facts }, rows)
}

/// What a move adds.
struct Added {
    nodes: Vec<Node>,
    constants: Vec<Tensor>,
}

impl Added {
    fn constant(&mut self, names: &mut UniqueNames, name: &str, values: &[i64]) -> String {
        let name = names.take(name);
        self.constants.push(Tensor::new(&name, &HostTensor::vector(values.to_vec())));
        name
    }

    /// The rows of a matrix that a cut keeps.
    fn select(&mut self, names: &mut UniqueNames, value: &str, cut: &Cut, width: i64) -> String {
        let wide = self.constant(names, &format!("{value}.tokens_shape"), &[-1, cut.tokens, width]);
        let flat = self.constant(names, &format!("{value}.rows_shape"), &[-1, width]);
        let [start, end, axis] = [cut.start, cut.end, 1].map(|number| self.constant(names, "rows.place", &[number]));
        let [tokens, kept, rows] = ["tokens", "kept", "rows"].map(|what| names.take(&format!("{value}.{what}")));
        let nodes = [
            Node::new("Reshape", &[value, &wide], &[&tokens]),
            Node::new("Slice", &[&tokens, &start, &end, &axis], &[&kept]),
            Node::new("Reshape", &[&kept, &flat], &[&rows]),
        ];
        self.nodes.extend(nodes.map(|node| Node { name: node.outputs[0].clone(), ..node }));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, text};
    use crate::tensor::DType;

    fn tower() -> (Builder, crate::graph::Value) {
        let mut b = Builder::new("tower");
        let x = b.input("x", DType::F32, &[Dim::symbol("6*batch"), Dim::Fixed(2)]);
        let weight = b.parameter("weight", &HostTensor::from_fn(&[2, 2], |_| 1.0f32));
        let scale = b.parameter("scale", &HostTensor::vector(vec![1.0f32, 1.0]));
        let mixed = b.softmax(&x, 0);
        let normed = b.layer_norm(&mixed, &scale, Some(&scale), 1e-6);
        let mapped = b.linear(&normed, &weight, Some(&scale));
        let bent = b.gelu(&mapped);
        let sum = b.add(&mixed, &bent);
        (b, sum)
    }

    fn class_token(b: &mut Builder, x: &crate::graph::Value) {
        let tokens = b.reshape(x, &[-1, 3, 2]);
        let first = b.narrow(&tokens, 1, 0..1);
        let class = b.reshape(&first, &[-1, 2]);
        b.output("class", &class);
    }

    #[test]
    fn the_slice_moves_up_to_where_rows_meet() {
        let (mut b, sum) = tower();
        class_token(&mut b, &sum);
        insta::assert_snapshot!(text(&slice_pushdown(b.finish().unwrap()).unwrap()), @r"
        format 8, ai.onnx 17
        graph tower
          input x: f32[6*batch, 2]
          constant weight: f32[2, 2] = [1.0, 1.0, 1.0, 1.0]
          constant scale: f32[2] = [1.0, 1.0]
          constant gelu.constant: f32[] = 1.4142135
          constant gelu.constant_1: f32[] = 1.0
          constant gelu.constant_2: f32[] = 0.5
          constant constant: i64[3] = [-1, 3, 2]
          constant constant_1: i64[1] = [0]
          constant constant_2: i64[1] = [1]
          constant constant_3: i64[2] = [-1, 2]
          constant softmax.tokens_shape: i64[3] = [-1, 3, 2]
          constant softmax.rows_shape: i64[2] = [-1, 2]
          constant rows.place: i64[1] = [0]
          constant rows.place_1: i64[1] = [1]
          constant rows.place_2: i64[1] = [1]
          constant rows.shape: i64[3] = [-1, 1, 2]
          softmax = Softmax(x) {axis: 0}
          softmax.tokens = Reshape(softmax, softmax.tokens_shape)
          softmax.kept = Slice(softmax.tokens, rows.place, rows.place_1, rows.place_2)
          softmax.rows = Reshape(softmax.kept, softmax.rows_shape)
          layer_normalization = LayerNormalization(softmax.rows, scale, scale) {axis: -1, epsilon: 1e-6}
          gemm = Gemm(layer_normalization, weight, scale) {transB: 1}
          gelu.div = Div(gemm, gelu.constant)
          gelu.erf = Erf(gelu.div)
          gelu.add = Add(gelu.erf, gelu.constant_1)
          gelu.mul = Mul(gemm, gelu.add)
          gelu.mul_1 = Mul(gelu.mul, gelu.constant_2)
          add = Add(softmax.rows, gelu.mul_1)
          reshape = Reshape(add, rows.shape)
          slice = Identity(reshape)
          class = Reshape(slice, constant_3)
          output class: f32[2*batch, 2]
        ");
    }

    #[test]
    fn what_others_read_is_computed_for_all_rows() {
        let (mut b, sum) = tower();
        class_token(&mut b, &sum);
        b.output("tokens", &sum);
        let model = b.finish().unwrap();
        assert_eq!(slice_pushdown(model.clone()).unwrap(), model);
    }
}
