//! Types of what branches and loops give: `If`, `Loop`, `Scan`.
//!
//! The body is inferred with what is known around it. A branch's output is known as far as both
//! branches agree. What a loop carries keeps its shape where one turn of the loop does, by
//! induction; what it stacks gets the number of turns as a new axis.
//! <https://onnx.ai/onnx/operators/onnx__If.html>,
//! <https://onnx.ai/onnx/operators/onnx__Loop.html>,
//! <https://onnx.ai/onnx/operators/onnx__Scan.html>

use std::collections::HashMap;

use crate::error::Result;
use crate::graph::Graph;
use crate::graph::fact::Fact;
use crate::graph::node::{AttributeValue, Node};
use crate::graph::types::{Dim, ElementType};

/// Turns of a loop that are followed until the shapes of what it carries are known.
const MAX_TURNS: usize = 8;

/// What is known about a value around a node.
type Known<'a> = dyn Fn(&str) -> Option<Fact> + 'a;

/// Infers a body: what is known of its values, given what is known around it.
pub(super) type InferBody<'a> = dyn Fn(&Graph, &dyn Fn(&str) -> Option<Fact>) -> Result<HashMap<String, Fact>> + 'a;

/// Where a body stands.
struct Around<'a> {
    known: &'a Known<'a>,
    infer: &'a InferBody<'a>,
}

/// The outputs of a node with branches or a body; `None` for every other operator.
///
/// # Errors
/// [`GraphError::Cycle`](crate::error::GraphError::Cycle) in a body.
pub(super) fn infer_node(
    node: &Node,
    opset: i64,
    known: &Known<'_>,
    infer: &InferBody<'_>,
) -> Result<Option<Vec<Fact>>> {
    if !node.is_standard() {
        return Ok(None);
    }
    let around = &Around { known, infer };
    let body = |name: &str| match node.attribute(name) {
        Some(AttributeValue::Graph(graph)) => Some(graph.as_ref()),
        _ => None,
    };
    match node.operator.as_str() {
        "If" => {
            let (Some(yes), Some(no)) = (body("then_branch"), body("else_branch")) else { return Ok(None) };
            let [yes, no] = [outputs(yes, &HashMap::new(), around)?, outputs(no, &HashMap::new(), around)?];
            Ok(Some(yes.into_iter().zip(no).map(|(yes, no)| common(yes, &no)).collect()))
        }
        "Loop" => body("body").map(|body| infer_loop(node, body, around)).transpose(),
        "Scan" if opset >= 9 => body("body").map(|body| infer_scan(node, body, around)).transpose(),
        _ => Ok(None),
    }
}

/// The outputs of a body whose inputs are known so far.
fn outputs(body: &Graph, given: &HashMap<String, Fact>, around: &Around<'_>) -> Result<Vec<Fact>> {
    let outer = |name: &str| given.get(name).cloned().or_else(|| (around.known)(name));
    let mut body = body.clone();
    // What is given is not less than what the body declares.
    for input in &mut body.inputs {
        if let Some(found) = given.get(&input.name).and_then(Fact::to_type) {
            input.r#type = Some(found);
        }
    }
    let facts = (around.infer)(&body, &outer)?;
    let output = |name: &String| facts.get(name).cloned().or_else(|| outer(name)).unwrap_or_else(Fact::unknown);
    Ok(body.outputs.iter().map(|output_info| output(&output_info.name)).collect())
}

/// What holds of both.
fn common(one: Fact, other: &Fact) -> Fact {
    let element = if one.element == other.element { one.element } else { ElementType::Undefined };
    let shape = match (one.shape, &other.shape) {
        (Some(one), Some(other)) if one.len() == other.len() => {
            let same = |(one, other): (Dim, &Dim)| if one == *other { one } else { Dim::Unknown };
            Some(one.into_iter().zip(other).map(same).collect())
        }
        _ => None,
    };
    Fact::new(element, shape)
}

/// The value that a node reads at a place, without its elements: they may change in a loop.
fn input(node: &Node, index: usize, known: &Known<'_>) -> Fact {
    let fact = node.inputs.get(index).filter(|name| !name.is_empty()).and_then(|name| known(name));
    fact.map_or_else(Fact::unknown, |fact| Fact::new(fact.element, fact.shape))
}

/// The outputs of a body that carries `states` on, those from `first` on; states keep what one turn
/// does not change.
fn carried(
    body: &Graph,
    states: &mut [(String, Fact)],
    others: &HashMap<String, Fact>,
    first: usize,
    around: &Around<'_>,
) -> Result<Vec<Fact>> {
    let given = |states: &[(String, Fact)]| {
        let mut given = others.clone();
        given.extend(states.iter().cloned());
        given
    };
    // Each turn may loosen a size, and what was loosened may loosen others.
    for _ in 0..MAX_TURNS {
        let found = outputs(body, &given(states), around)?;
        let mut is_stable = true;
        for ((_, state), after) in states.iter_mut().zip(found.iter().skip(first)) {
            let kept = common(state.clone(), after);
            is_stable &= kept == *state;
            *state = kept;
        }
        if is_stable {
            return Ok(found);
        }
    }
    states.iter_mut().for_each(|(_, state)| *state = Fact::new(state.element, None));
    outputs(body, &given(states), around)
}

/// Carried values, then values of every turn stacked on a new first axis.
fn infer_loop(node: &Node, body: &Graph, around: &Around<'_>) -> Result<Vec<Fact>> {
    let mut others = HashMap::new();
    if let [turn, condition, ..] = body.inputs.as_slice() {
        others.insert(turn.name.clone(), Fact::new(ElementType::I64, Some(Vec::new())));
        others.insert(condition.name.clone(), Fact::new(ElementType::Bool, Some(Vec::new())));
    }
    let mut states: Vec<(String, Fact)> = (body.inputs.iter().skip(2).enumerate())
        .map(|(index, info)| (info.name.clone(), input(node, index + 2, around.known)))
        .collect();
    // A loop gives its condition first.
    let found = carried(body, &mut states, &others, 1, around)?;
    let stacked = found.into_iter().skip(1 + states.len()).map(|fact| {
        let shape = fact.shape.map(|shape| std::iter::once(Dim::Unknown).chain(shape).collect());
        Fact::new(fact.element, shape)
    });
    Ok(states.into_iter().map(|(_, state)| state).chain(stacked).collect())
}

/// Carried values, then values of every turn stacked along an axis.
fn infer_scan(node: &Node, body: &Graph, around: &Around<'_>) -> Result<Vec<Fact>> {
    let scanned = match node.attribute("num_scan_inputs") {
        Some(AttributeValue::Int(count)) => usize::try_from(*count).unwrap_or(0).min(node.inputs.len()),
        _ => 0,
    };
    let axes = |name: &str, index: usize| match node.attribute(name) {
        Some(AttributeValue::Ints(axes)) => axes.get(index).copied().unwrap_or(0),
        _ => 0,
    };
    let count = node.inputs.len() - scanned;
    let mut states: Vec<(String, Fact)> = (body.inputs.iter().take(count).enumerate())
        .map(|(index, info)| (info.name.clone(), input(node, index, around.known)))
        .collect();
    let (mut others, mut turns) = (HashMap::new(), Dim::Unknown);
    for (index, info) in body.inputs.iter().skip(count).enumerate() {
        let Fact { element, shape, .. } = input(node, count + index, around.known);
        let slice = shape.and_then(|mut shape| {
            let axis = axes("scan_input_axes", index);
            let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
            (axis < shape.len()).then(|| {
                turns = shape.remove(axis);
                shape
            })
        });
        others.insert(info.name.clone(), Fact::new(element, slice));
    }
    let found = carried(body, &mut states, &others, 0, around)?;
    let stacked = found.into_iter().skip(count).enumerate().map(|(index, Fact { element, shape, .. })| {
        let shape = shape.and_then(|mut shape| {
            let axis = axes("scan_output_axes", index);
            let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 + 1 } else { axis }).ok()?;
            (axis <= shape.len()).then(|| {
                shape.insert(axis, turns.clone());
                shape
            })
        });
        Fact::new(element, shape)
    });
    Ok(states.into_iter().map(|(_, state)| state).chain(stacked).collect())
}
