//! The walk from the loss back to the wanted values.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, GraphError, Result};
use crate::graph::autodiff::cotangents::Pending;
use crate::graph::ops::{Vjp, VjpContext, find};
use crate::graph::order::{read_names, topological_order};
use crate::graph::{Builder, Graph, Node, Value};

/// Which nodes lie behind the wanted values.
pub(super) struct Plan {
    /// Indices of the nodes, each after those it needs.
    order: Vec<usize>,
    /// Values that change with a wanted one, the wanted ones among them.
    dependent: HashSet<String>,
}

impl Plan {
    /// Follows the wanted values forwards; `is_differentiable` tells whether a value has a type
    /// that can have a gradient.
    pub(super) fn new(graph: &Graph, wanted: &HashSet<&str>, is_differentiable: impl Fn(&str) -> bool) -> Result<Plan> {
        let order = topological_order(graph)?;
        let mut dependent: HashSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        for &index in &order {
            let node = &graph.nodes[index];
            let is_step = find(node).is_some_and(|definition| matches!(definition.vjp, Vjp::Zero));
            if is_step || !read_names(node).iter().any(|name| dependent.contains(name)) {
                continue;
            }
            let outputs = node.outputs.iter().filter(|output| !output.is_empty() && is_differentiable(output));
            dependent.extend(outputs.cloned());
        }
        Ok(Plan { order, dependent })
    }
}

/// The walk.
pub(super) struct Sweep {
    plan: Plan,
    pending: HashMap<String, Pending>,
    seeds: Vec<(Value, Value)>,
}

impl Sweep {
    /// A walk that starts from values with their cotangents.
    pub(super) fn new(plan: Plan, seeds: &[(Value, Value)]) -> Self {
        Sweep { plan, pending: HashMap::new(), seeds: seeds.to_vec() }
    }

    /// Walks over all nodes between the seeds and the wanted values, the last first.
    pub(super) fn run(&mut self, builder: &mut Builder) -> Result<()> {
        for (value, seed) in self.seeds.clone() {
            if self.plan.dependent.contains(value.name()) {
                let pending = self.pending.entry(value.name().to_owned()).or_default();
                builder.scope("grad", |b| pending.add(b, &value, seed.into()));
            }
        }
        for at in (0..self.plan.order.len()).rev() {
            let node = &builder.graph().nodes[self.plan.order[at]];
            if node.outputs.iter().any(|output| self.pending.contains_key(output)) {
                let node = node.clone();
                let label = node.label().to_owned();
                let passed = builder.scope("grad", |b| b.scope(&label, |b| self.pass(b, &node)));
                passed.map_err(|error| self.cause(builder, &node, error))?;
            }
        }
        Ok(())
    }

    /// The cotangent of a value, once all its readers are done.
    pub(super) fn cotangent(&mut self, builder: &mut Builder, value: &Value) -> Option<Value> {
        let pending = self.pending.get_mut(value.name())?;
        builder.scope("grad", |b| b.scope(value.name(), |b| pending.sum(b, value)))
    }

    /// Passes the cotangents of a node's outputs on to its inputs.
    fn pass(&mut self, builder: &mut Builder, node: &Node) -> Result<()> {
        let value = |name: &String| (!name.is_empty()).then(|| Value::named(name));
        let (inputs, outputs): (Vec<_>, Vec<_>) =
            (node.inputs.iter().map(value).collect(), node.outputs.iter().map(value).collect());
        let mut cotangents = Vec::with_capacity(outputs.len());
        for output in &outputs {
            cotangents.push(match output {
                Some(output) => self.pending.get_mut(output.name()).and_then(|pending| pending.sum(builder, output)),
                None => None,
            });
        }
        let wanted: Vec<bool> = node.inputs.iter().map(|input| self.plan.dependent.contains(input)).collect();
        let definition = find(node).filter(|definition| definition.since <= builder.opset());
        let Some(Vjp::Rule(rule)) = definition.map(|definition| definition.vjp) else {
            return Err(self.no_gradient(builder.graph(), node).into());
        };
        let site = builder.site(node);
        let adjoint = VjpContext { site, inputs, outputs, cotangents, wanted };
        let passed = rule.apply(&adjoint, builder)?;
        for (index, cotangent) in passed.into_iter().enumerate() {
            if let (Some(input), Some(cotangent), true) = (adjoint.optional(index), cotangent, adjoint.wants(index)) {
                self.pending.entry(input.name().to_owned()).or_default().add(builder, input, cotangent);
            }
        }
        Ok(())
    }

    /// What is behind an error of a node's rule: where it misses a shape or type, the operator before
    /// it that nothing is known about.
    fn cause(&self, builder: &Builder, node: &Node, error: Error) -> Error {
        if !matches!(error, Error::Graph(GraphError::Operator { .. })) {
            return error;
        }
        let graph = builder.graph();
        let producers = graph.producers();
        let mut nodes = vec![node];
        let mut seen: HashSet<usize> = HashSet::new();
        let mut at = 0;
        while let Some(node) = nodes.get(at) {
            let is_known = find(node).is_some_and(|definition| definition.since <= builder.opset());
            let is_open = node.outputs.iter().any(|output| builder.dims(&Value::named(output)).is_none());
            if !is_known && is_open {
                return self.no_gradient(graph, node).into();
            }
            let before = read_names(node).into_iter().filter_map(|name| producers.get(name.as_str()).copied());
            let before: Vec<usize> = before.filter(|&index| seen.insert(index)).collect();
            nodes.extend(before.into_iter().map(|index| &graph.nodes[index]));
            at += 1;
        }
        error
    }

    /// The error that a node has no rule, with the shortest way from it to a seed.
    fn no_gradient(&self, graph: &Graph, node: &Node) -> GraphError {
        let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
        for &index in &self.plan.order {
            for name in read_names(&graph.nodes[index]) {
                readers.entry(name).or_default().push(index);
            }
        }
        let ends: HashSet<&str> = self.seeds.iter().map(|(value, _)| value.name()).collect();
        // Each way is a node with the place of the one before it.
        let mut ways: Vec<(&Node, usize)> = vec![(node, 0)];
        let mut seen: HashSet<usize> = HashSet::new();
        let mut at = 0;
        while at < ways.len() && !ways[at].0.outputs.iter().any(|output| ends.contains(output.as_str())) {
            for next in ways[at].0.outputs.iter().filter_map(|output| readers.get(output)).flatten() {
                if seen.insert(*next) {
                    ways.push((&graph.nodes[*next], at));
                }
            }
            at += 1;
        }
        let mut path = Vec::new();
        let mut step = at.min(ways.len() - 1);
        while step > 0 {
            path.push(ways[step].0.label().to_owned());
            step = ways[step].1;
        }
        path.push(node.label().to_owned());
        path.reverse();
        let domain = if node.is_standard() { String::new() } else { format!("{}.", node.domain) };
        let operator = format!("{domain}{}", node.operator);
        GraphError::NoGradient { node: node.label().to_owned(), operator, path }
    }
}
