//! Graphs within the graph: branches and loops. They read the values around them by name.

use std::collections::HashMap;

use crate::graph::builder::Value;
use crate::graph::{Builder, Dim, ElementType, Fact, Graph, Node, Type, ValueInfo};

impl Builder {
    /// What `then` makes where `condition` (a single bool) holds, else what `otherwise` makes; only
    /// one of them runs.
    pub fn branch(
        &mut self,
        condition: &Value,
        then: impl FnOnce(&mut Self) -> Value,
        otherwise: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        let (then, first) = self.subgraph("then", |b| vec![then(b)]);
        let (otherwise, second) = self.subgraph("else", |b| vec![otherwise(b)]);
        let node = Node::new("If", &[condition.name()], &[]);
        let value = self.node(node.with("then_branch", then).with("else_branch", otherwise));
        self.facts.insert(value.name().to_owned(), either(&first[0], &second[0]));
        value
    }

    /// What `body` makes of each number (i64 without axes) from 0 up to, not including, `count`
    /// (i64 without axes), one behind the other along a new first axis.
    pub fn stack(&mut self, count: &Value, body: impl FnOnce(&mut Self, &Value) -> Value) -> Value {
        let (number, condition) = (self.unique("number"), self.unique("condition"));
        for (name, element) in [(&number, ElementType::I64), (&condition, ElementType::Bool)] {
            self.facts.insert(name.clone(), Fact::new(element, Some(Vec::new())));
        }
        let (mut graph, results) = self.subgraph("body", |b| {
            let go_on = b.apply("Identity", &[&Value(condition.as_str().into())]);
            let result = body(b, &Value(number.as_str().into()));
            vec![go_on, result]
        });
        let input = |name: &str, element| ValueInfo::new(name, Type::tensor(element, Some(Vec::new())));
        graph.inputs = vec![input(&number, ElementType::I64), input(&condition, ElementType::Bool)];
        let value = self.node(Node::new("Loop", &[count.name(), ""], &[]).with("body", graph));
        let shape = results[1].shape.as_ref().map(|shape| [&[Dim::Unknown], shape.as_slice()].concat());
        self.facts.insert(value.name().to_owned(), Fact::new(results[1].element, shape));
        value
    }

    /// The nodes that `body` adds, as a graph of their own, and what is known about its outputs.
    fn subgraph(&mut self, name: &str, body: impl FnOnce(&mut Self) -> Vec<Value>) -> (Graph, Vec<Fact>) {
        let outer = std::mem::take(&mut self.graph.nodes);
        let outputs = self.scope(name, |b| {
            let values = body(b);
            let own = |b: &Self, value: &Value| {
                b.graph.nodes.iter().any(|node| node.outputs.iter().any(|output| output == value.name()))
            };
            values.into_iter().map(|value| if own(b, &value) { value } else { b.identity(&value) }).collect::<Vec<_>>()
        });
        let nodes = std::mem::replace(&mut self.graph.nodes, outer);
        let known = |value: &Value| self.facts.get(value.name()).cloned().unwrap_or_else(Fact::unknown);
        let facts: Vec<Fact> = outputs.iter().map(known).collect();
        let infos = outputs.iter().zip(&facts);
        let infos = infos.map(|(value, fact)| ValueInfo { r#type: fact.to_type(), ..ValueInfo::untyped(value.name()) });
        let name = self.scopes.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        (Graph { name, nodes, outputs: infos.collect(), ..Graph::default() }, facts)
    }
}

/// What holds for a value that is one of two.
fn either(one: &Fact, other: &Fact) -> Fact {
    let element = if one.element == other.element { one.element } else { ElementType::Undefined };
    let shape = match (&one.shape, &other.shape) {
        (Some(one), Some(other)) if one.len() == other.len() => {
            let same = |(a, b): (&Dim, &Dim)| if a == b { a.clone() } else { Dim::Unknown };
            Some(one.iter().zip(other).map(same).collect())
        }
        _ => None,
    };
    Fact::new(element, shape)
}

/// Gives values their final names, also where branches and loops read them.
pub(super) fn rename(nodes: &mut [Node], renamed: &HashMap<String, String>) {
    for node in nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if let Some(new) = renamed.get(name.as_str()) {
                name.clone_from(new);
            }
        }
        node.subgraphs_mut().for_each(|graph| rename(&mut graph.nodes, renamed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::text;
    use crate::tensor::DType;

    #[test]
    fn branches_and_loops_read_what_lies_around_them_under_its_final_name() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(3)]);
        let count = b.input("count", DType::I64, &[]);
        let (zero, two) = (b.scalar(0.0), b.scalar(2.0));
        let sum = b.reduce_sum(&x, &[0], false);
        let positive = b.greater(&sum, &zero);
        let doubled = b.mul(&x, &two);
        let chosen = b.scope("choice", |b| b.branch(&positive, |b| b.add(&doubled, &sum), |_| x.clone()));
        assert_eq!(b.dims(&chosen), Some([Dim::Fixed(3)].as_slice()));
        let powers = b.stack(&count, |b, number| {
            let number = b.cast(number, DType::F32);
            b.mul(&number, &chosen)
        });
        assert_eq!(b.dims(&powers), Some([Dim::Unknown, Dim::Fixed(3)].as_slice()));
        b.output("doubled", &doubled);
        b.output("powers", &powers);
        insta::assert_snapshot!(text(&b.finish().unwrap()), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[3]
          input count: i64[]
          constant constant: f32[] = 0.0
          constant constant_1: f32[] = 2.0
          constant constant_2: i64[1] = [0]
          reduce_sum = ReduceSum(x, constant_2) {keepdims: 0}
          greater = Greater(reduce_sum, constant)
          doubled = Mul(x, constant_1)
          choice.if = If(greater)
            then_branch:
              graph choice.then
                choice.then.add = Add(doubled, reduce_sum)
                output choice.then.add: f32[3]
            else_branch:
              graph choice.else
                choice.else.identity = Identity(x)
                output choice.else.identity: f32[3]
          powers = Loop(count, _)
            body:
              graph body
                input number: i64[]
                input condition: bool[]
                body.identity = Identity(condition)
                body.cast = Cast(number) {to: 1}
                body.mul = Mul(body.cast, choice.if)
                output body.identity: bool[]
                output body.mul: f32[3]
          output doubled: f32[3]
          output powers: f32[?, 3]
        ");
    }
}
