//! Activations that are computed twice instead of kept (gradient checkpointing: Chen et al. 2016,
//! arXiv 1604.06174).
//!
//! The forward pass is cut into segments. What crosses a cut is kept; what else the backward pass
//! reads of a segment, all but the last, is computed again, from copies of the segment's nodes,
//! when the backward pass comes to it: the copies read what enters the segment through `value + 0 *
//! cotangent`, of which the cotangent is that of the segment's end. So a runtime cannot compute
//! them earlier, nor take them for the nodes they are copies of.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::Result;
use crate::graph::autodiff::segments;
use crate::graph::autodiff::segments::Forward;
use crate::graph::infer::infer;
use crate::graph::ops;
use crate::graph::order::read_names;
use crate::graph::validate::validate;
use crate::graph::{Builder, Fact, Graph, Model, Node, Slice, Value, needed_nodes};

/// Values of a forward pass behind which it may be cut: those that depend on a parameter. Their
/// cotangents are what [`recompute`] wants to know.
pub fn borders(graph: &Graph, parameters: &BTreeSet<String>) -> Vec<String> {
    let reached = reached(graph, parameters.iter().map(String::as_str).collect());
    let first = graph.nodes.iter().filter_map(|node| node.outputs.first());
    first.filter(|name| reached.contains(*name)).cloned().collect()
}

/// Lets a graph of forward and backward pass compute activations again where that saves memory.
///
/// `loss` is what the forward pass ends in; of the graph's inputs, `parameters` stay the same
/// between runs or change at their end only; `cotangents` names the cotangents of values.
///
/// # Errors
/// [`GraphError::Cycle`](crate::error::GraphError::Cycle), and what
/// [`validate`](crate::graph::validate()) finds.
pub fn recompute(
    model: &mut Model,
    loss: &str,
    parameters: &BTreeSet<String>,
    cotangents: &BTreeMap<String, String>,
) -> Result<()> {
    model.graph.sort()?;
    let facts = infer(model)?.facts;
    let graph = &model.graph;
    let needed = needed_nodes(graph, [loss], &HashSet::new());
    let nodes: Vec<usize> = (0..needed.len()).filter(|&index| needed[index]).collect();
    let last = nodes.last().copied().unwrap_or(0);
    let inputs = graph.inputs.iter().map(|input| input.name.as_str());
    let data = reached(graph, inputs.filter(|name| !parameters.contains(*name)).collect());
    let read: HashSet<String> = graph.nodes[last..].iter().skip(1).flat_map(read_names).collect();
    let known = cotangents.keys().map(String::as_str).collect();
    let forward = Forward { graph, facts: &facts, nodes: &nodes, data: &data, read: &read, cotangents: &known };
    let places = segments::choose(&forward);
    let mut again = Again { graph, facts: &facts, data: &data, read: &read, copies: Vec::new() };
    let mut b = Builder::extend(model.clone())?;
    let starts = std::iter::once(0).chain(places.iter().map(|place| place + 1));
    for (start, &end) in starts.zip(&places) {
        let Some(cotangent) = cotangents.get(&graph.nodes[nodes[end]].outputs[0]) else { continue };
        let later: HashSet<String> =
            nodes[end + 1..].iter().flat_map(|&index| read_names(&graph.nodes[index])).collect();
        again.segment(&mut b, &nodes[start..=end], &later, cotangent)?;
    }
    let copies = again.copies;
    let mut changed = b.finish()?;
    insert(&mut changed.graph, last + 1, copies);
    changed.graph.sort()?;
    validate(&changed)?;
    *model = changed;
    Ok(())
}

/// Moves the copies of each segment from the end of the nodes to where the backward pass, which
/// begins at `start`, first reads them, and lets it read them. The backward pass keeps its order: a
/// runtime may go by it.
fn insert(graph: &mut Graph, start: usize, copies: Vec<Copies>) {
    let mut added: Vec<(Vec<Node>, HashMap<String, String>)> = Vec::new();
    for Copies { nodes, renamed } in copies.into_iter().rev() {
        added.push((graph.nodes.split_off(nodes), renamed));
    }
    let mut nodes = Vec::new();
    for (index, mut node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
        for (copied, renamed) in added.iter_mut().filter(|_| index >= start) {
            for input in &mut node.inputs {
                if let Some(name) = renamed.get(input) {
                    input.clone_from(name);
                    nodes.append(copied);
                }
            }
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
}

/// The values that depend on one of `from`, these included.
fn reached(graph: &Graph, from: HashSet<&str>) -> HashSet<String> {
    let mut reached: HashSet<String> = from.into_iter().map(str::to_owned).collect();
    for node in &graph.nodes {
        if read_names(node).iter().any(|name| reached.contains(name)) {
            reached.extend(node.outputs.iter().filter(|name| !name.is_empty()).cloned());
        }
    }
    reached
}

/// Zero, once the cotangent is there.
fn gate(b: &mut Builder, cotangent: &str) -> Result<Value> {
    let cotangent = b.value(cotangent)?;
    let rank = b.rank(&cotangent).unwrap_or(0);
    let first: Vec<Slice> = (0..rank as i64).map(|axis| Slice { axis, start: 0, end: 1, step: 1 }).collect();
    Ok(b.scope("recompute", |b| {
        let one = if first.is_empty() { cotangent.clone() } else { b.slice(&cotangent, &first) };
        let one = b.reshape(&one, &[]);
        let zero = b.scalar_like(&one, 0.0);
        b.mul(&one, &zero)
    }))
}

/// The second computation of a segment.
struct Copies {
    /// Where its nodes begin among the graph's.
    nodes: usize,
    /// What is read in place of each value that is computed again.
    renamed: HashMap<String, String>,
}

/// All second computations, as they grow.
struct Again<'a> {
    graph: &'a Graph,
    facts: &'a HashMap<String, Fact>,
    data: &'a HashSet<String>,
    read: &'a HashSet<String>,
    copies: Vec<Copies>,
}

impl Again<'_> {
    /// Adds copies of those nodes of a segment that compute what the backward pass reads, to be
    /// computed once the cotangent of its end is there; `later` are the values that later segments
    /// read, which are kept.
    fn segment(&mut self, b: &mut Builder, nodes: &[usize], later: &HashSet<String>, cotangent: &str) -> Result<()> {
        let mut wanted: HashSet<String> = HashSet::new();
        let mut copied = Vec::new();
        for node in nodes.iter().rev().map(|&index| &self.graph.nodes[index]) {
            let is_wanted =
                |name: &String| !later.contains(name) && (self.read.contains(name) || wanted.contains(name));
            if self.may_repeat(node) && node.outputs.iter().any(is_wanted) {
                wanted.extend(read_names(node));
                copied.push(node);
            }
        }
        let start = b.graph().nodes.len();
        let gate = gate(b, cotangent)?;
        let (mut held, mut renamed) = (HashMap::new(), HashMap::new());
        for node in copied.into_iter().rev() {
            let mut copy = node.clone();
            for input in copy.inputs.iter_mut().filter(|input| self.data.contains(*input)) {
                if !renamed.contains_key(input) && !held.contains_key(input) {
                    held.insert(input.clone(), hold_back(b, input, &gate)?);
                }
                if let Some(name) = renamed.get(input).or_else(|| held.get(input)) {
                    input.clone_from(name);
                }
            }
            let outputs = b.scope("recompute", |b| b.many(copy, node.outputs.len()));
            let again = node.outputs.iter().zip(outputs).filter(|(old, _)| !old.is_empty() && !later.contains(*old));
            renamed.extend(again.map(|(old, new)| (old.clone(), new.name().to_owned())));
        }
        self.copies.push(Copies { nodes: start, renamed });
        Ok(())
    }

    /// Whether a node gives the same again, and depends on data: what follows from parameters alone
    /// is kept.
    fn may_repeat(&self, node: &Node) -> bool {
        let is_plain =
            node.subgraphs().next().is_none() && !ops::find(node).is_some_and(|definition| definition.is_random);
        let known = |name: &String| name.is_empty() || self.facts.contains_key(name);
        is_plain && node.outputs.iter().any(|name| self.data.contains(name)) && node.outputs.iter().all(known)
    }
}

/// A floating-point value plus the gate's zero; others as they are.
fn hold_back(b: &mut Builder, name: &str, gate: &Value) -> Result<String> {
    let value = b.value(name)?;
    let Some(dtype) = b.dtype(&value).filter(|dtype| dtype.is_float()) else { return Ok(name.to_owned()) };
    let zero = if b.dtype(gate) == Some(dtype) { gate.clone() } else { b.cast(gate, dtype) };
    Ok(b.scope("recompute", |b| b.add(&value, &zero)).name().to_owned())
}
