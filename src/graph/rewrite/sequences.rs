//! Parts of a split that are taken out of a sequence one by one, as slices: so PyTorch's exporter
//! writes `chunk`, `split` and `unbind` where it does not optimise.

use std::collections::HashMap;

use crate::error::Result;
use crate::graph::infer::infer;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{AttributeValue, Fact, Graph, Model, Node, Patch, Tensor};
use crate::tensor::HostTensor;

/// A part of a split.
struct Part<'a> {
    x: &'a str,
    axis: i64,
    start: i64,
    end: i64,
    /// Whether the axis, of length 1, is left out.
    is_dropped: bool,
}

/// The edit that makes a slice of every `SequenceAt` with a constant position behind a
/// `SplitToSequence` with constant sizes.
///
/// # Errors
/// [`GraphError::Cycle`](crate::error::GraphError::Cycle).
pub fn slice_sequences(model: &Model) -> Result<Patch> {
    let graph = &model.graph;
    let facts = infer(model)?.facts;
    let producers = graph.producers();
    let mut names = UniqueNames::of(graph);
    let mut patch = Patch::new("slice sequences");
    for (index, node) in graph.nodes.iter().enumerate().filter(|(_, node)| is(node, "SequenceAt")) {
        let split = node.inputs.first().and_then(|sequence| graph.nodes.get(*producers.get(sequence.as_str())?));
        let Some(part) = split.and_then(|split| part(graph, &facts, split, &node.inputs)) else { continue };
        let mut constant = |what: &str, value: i64| {
            let name = names.take(&format!("{}.{what}", node.label()));
            patch.add_constants.push(Tensor::new(&name, &HostTensor::vector(vec![value])));
            name
        };
        let [starts, ends, axes] =
            [("start", part.start), ("end", part.end), ("axis", part.axis)].map(|(what, value)| constant(what, value));
        let output = &node.outputs[0];
        let cut = if part.is_dropped { names.take(&format!("{output}.part")) } else { output.clone() };
        let mut nodes = vec![Node::new("Slice", &[part.x, &starts, &ends, &axes], &[&cut])];
        if part.is_dropped {
            nodes.push(Node::new("Squeeze", &[&cut, &axes], &[output]));
        }
        nodes[0].name.clone_from(&node.name);
        patch.replace_nodes.insert(index, nodes);
    }
    Ok(patch)
}

fn is(node: &Node, operator: &str) -> bool {
    node.operator == operator && node.is_standard()
}

/// The part that `SequenceAt` with the inputs `taken` takes out of what `split` makes.
fn part<'a>(graph: &Graph, facts: &HashMap<String, Fact>, split: &'a Node, taken: &[String]) -> Option<Part<'a>> {
    let int = |name: &str, default: i64| match split.attribute(name) {
        Some(AttributeValue::Int(value)) => *value,
        _ => default,
    };
    if !is(split, "SplitToSequence") {
        return None;
    }
    let x = split.inputs.first()?;
    let axis = int("axis", 0);
    let length = || {
        let shape = facts.get(x)?.shape.as_ref()?;
        let place = if axis < 0 { axis + shape.len() as i64 } else { axis };
        shape.get(usize::try_from(place).ok()?)?.fixed()
    };
    let integers = |name: &String| facts.get(name)?.as_fixed();
    let [position] = integers(taken.get(1)?)?[..] else { return None };
    let sizes = split.inputs.get(1).filter(|name| !name.is_empty());
    let rank =
        |name: &String| graph.initializer(name).map(|tensor| tensor.shape.len()).or_else(|| facts.get(name)?.rank());
    // The number of parts is needed to count from behind only.
    let forward = |count: Option<i64>| if position < 0 { count.map(|count| position + count) } else { Some(position) };
    let (start, end) = match sizes {
        None => {
            let at = forward(length())?;
            (at, at + 1)
        }
        Some(name) if rank(name)? == 0 => {
            let [size] = integers(name)?[..] else { return None };
            let at = forward(length().map(|length| (length + size - 1) / size.max(1)))?;
            (at * size, (at + 1) * size)
        }
        Some(name) => {
            let sizes = integers(name)?;
            let at = usize::try_from(forward(Some(sizes.len() as i64))?).ok()?;
            let start = sizes.get(..at)?.iter().sum::<i64>();
            (start, start + sizes.get(at)?)
        }
    };
    (start >= 0).then_some(Part { x, axis, start, end, is_dropped: sizes.is_none() && int("keepdims", 1) == 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, Value, text};
    use crate::tensor::DType;

    #[test]
    fn parts_become_slices_and_unknown_positions_stay() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(2), Dim::Fixed(6)]);
        let place = b.input("place", DType::I64, &[]);
        let [two, last] = [2i64, -1].map(|value| b.constant(&HostTensor::scalar(value)));
        let sizes = b.integers(&[1, 5]);
        let split = |b: &mut Builder, sizes: Option<&Value>, axis: i64, keep: i64| {
            let inputs: Vec<&str> = [Some(x.name()), sizes.map(Value::name)].into_iter().flatten().collect();
            b.node(Node::new("SplitToSequence", &inputs, &[]).with("axis", axis).with("keepdims", keep))
        };
        let [thirds, given, rows] =
            [split(&mut b, Some(&two), 1, 1), split(&mut b, Some(&sizes), -1, 1), split(&mut b, None, 0, 0)];
        for (name, sequence, at) in
            [("a", &thirds, &last), ("b", &given, &last), ("c", &rows, &last), ("d", &thirds, &place)]
        {
            let part = b.apply("SequenceAt", &[sequence, at]);
            b.output(name, &part);
        }
        let mut model = b.finish().unwrap();
        slice_sequences(&model).unwrap().apply(&mut model).unwrap();
        crate::graph::rewrite::dead(&model).apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[2, 6]
          input place: i64[]
          constant constant: i64[] = 2
          constant sequence_at.start: i64[1] = [4]
          constant sequence_at.end: i64[1] = [6]
          constant sequence_at.axis: i64[1] = [1]
          constant sequence_at_1.start: i64[1] = [1]
          constant sequence_at_1.end: i64[1] = [6]
          constant sequence_at_1.axis: i64[1] = [-1]
          constant sequence_at_2.start: i64[1] = [1]
          constant sequence_at_2.end: i64[1] = [2]
          constant sequence_at_2.axis: i64[1] = [0]
          split_to_sequence = SplitToSequence(x, constant) {axis: 1, keepdims: 1}
          a = Slice(x, sequence_at.start, sequence_at.end, sequence_at.axis)
          b = Slice(x, sequence_at_1.start, sequence_at_1.end, sequence_at_1.axis)
          c.part = Slice(x, sequence_at_2.start, sequence_at_2.end, sequence_at_2.axis)
          c = Squeeze(c.part, sequence_at_2.axis)
          d = SequenceAt(split_to_sequence, place)
          output a
          output b
          output c
          output d
        ");
    }
}
