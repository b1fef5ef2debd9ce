//! Makes graphs operator by operator: one typed method per operator, readable unique names, shared
//! weights.
//!
//! Methods give values, not results: the first mistake, shapes that do not fit among them, is kept
//! and reported by [`Builder::finish`], which also validates.
//!
//! ```
//! use defrost::graph::Builder;
//! use defrost::graph::Dim;
//! use defrost::tensor::{DType, HostTensor};
//!
//! let mut builder = Builder::new("classifier");
//! let features = builder.input("features", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(4)]);
//! let weight = builder.parameter("head.weight", &HostTensor::from_vec(vec![3, 4], vec![0.5f32; 12]).unwrap());
//! let logits = builder.scope("head", |b| b.linear(&features, &weight, None));
//! builder.output("logits", &logits);
//! let model = builder.finish()?;
//! assert_eq!(model.graph.nodes[0].name, "head.gemm");
//! # Ok::<(), defrost::Error>(())
//! ```

mod arithmetic;
mod convolution;
mod expr;
mod extend;
mod layout;
mod normalization;
mod reduction;
mod shape;
mod subgraph;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use convolution::{ConvOptions, PoolOptions};
pub use expr::{Expr, Formula};
pub use layout::{Interpolation, ResizeOptions, Slice};
pub use normalization::BatchNormParameters;

use crate::error::{GraphError, Result};
use crate::graph::infer::infer_node;
use crate::graph::ops::OpContext;
use crate::graph::validate::validate;
use crate::graph::{Dim, ElementType, Fact, Graph, Model, Node, OperatorSet, Tensor, Type, ValueInfo};
use crate::tensor::{DType, HostTensor};

/// The operator set of built graphs, unless another is asked for: old enough for ONNX Runtime
/// everywhere.
pub const DEFAULT_OPSET: i64 = 17;
/// Operator sets a builder can write.
pub const BUILDER_OPSETS: std::ops::RangeInclusive<i64> = 17..=28;

/// Constants up to this many bytes are stored once, however often they are asked for.
const SHARED_CONSTANT: usize = 64;

/// A value of a graph under construction: cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value(Arc<str>);

impl Value {
    /// The value's name while the graph is built; [`Builder::output`] and [`Builder::name`] may
    /// change it in the model.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The value of that name.
    pub(in crate::graph) fn named(name: &str) -> Self {
        Value(name.into())
    }
}

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    opset: i64,
    scopes: Vec<String>,
    used: HashSet<String>,
    constants: HashMap<(DType, Vec<usize>, Vec<u8>), Value>,
    renamed: HashMap<String, String>,
    outputs: Vec<(String, Value)>,
    facts: HashMap<String, Fact>,
    failure: Option<GraphError>,
    /// What else the model has that is gone on with.
    base: Option<Model>,
}

impl Builder {
    /// An empty graph of operator set [`DEFAULT_OPSET`].
    pub fn new(name: &str) -> Self {
        Builder::with_opset(name, DEFAULT_OPSET)
    }

    /// An empty graph of another operator set, one of [`BUILDER_OPSETS`].
    pub fn with_opset(name: &str, opset: i64) -> Self {
        let failure = (!BUILDER_OPSETS.contains(&opset)).then(|| GraphError::Opset {
            domain: "ai.onnx".to_owned(),
            version: opset,
            lowest: *BUILDER_OPSETS.start(),
            highest: *BUILDER_OPSETS.end(),
        });
        Builder {
            graph: Graph { name: name.to_owned(), ..Graph::default() },
            opset,
            scopes: Vec::new(),
            used: HashSet::new(),
            constants: HashMap::new(),
            renamed: HashMap::new(),
            outputs: Vec::new(),
            facts: HashMap::new(),
            failure,
            base: None,
        }
    }

    /// The operator set.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// An input of the graph.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[Dim]) -> Value {
        let value = self.claim(name, "an input");
        self.graph.inputs.push(ValueInfo::new(name, Type::tensor(dtype, Some(shape.to_vec()))));
        self.facts.insert(name.to_owned(), Fact::new(dtype.into(), Some(shape.to_vec())));
        value
    }

    /// A weight under its own full name, outside of the scopes; its bytes are shared.
    pub fn parameter(&mut self, name: &str, tensor: &HostTensor) -> Value {
        self.claim(name, "an initializer");
        self.store(name, tensor)
    }

    /// A constant without a name of its own; small ones are stored once.
    pub fn constant(&mut self, tensor: &HostTensor) -> Value {
        if tensor.bytes().len() > SHARED_CONSTANT {
            let name = self.unique("constant");
            return self.store(&name, tensor);
        }
        let key = (tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().to_vec());
        if let Some(value) = self.constants.get(&key) {
            return value.clone();
        }
        let name = self.unique("constant");
        let value = self.store(&name, tensor);
        self.constants.insert(key, value.clone());
        value
    }

    fn store(&mut self, name: &str, tensor: &HostTensor) -> Value {
        let stored = Tensor::new(name, tensor);
        self.facts.insert(name.to_owned(), Fact::of_tensor(&stored));
        self.graph.initializers.push(stored);
        Value(name.into())
    }

    /// A constant vector of i64, as shapes, axes and indices are written.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(&HostTensor::vector(values.to_vec()))
    }

    /// A constant f32 without axes.
    pub fn scalar(&mut self, value: f32) -> Value {
        self.constant(&HostTensor::scalar(value))
    }

    /// The element type of a value, where it is known.
    pub fn dtype(&self, value: &Value) -> Option<DType> {
        self.facts.get(value.name())?.element.dtype()
    }

    /// The axes of a value, where their number is known.
    pub fn dims(&self, value: &Value) -> Option<&[Dim]> {
        self.facts.get(value.name())?.shape.as_deref()
    }

    /// Whether a value is of a floating-point type, or of one that is not known.
    pub(in crate::graph) fn is_differentiable(&self, name: &str) -> bool {
        self.facts.get(name).is_none_or(|fact| fact.element == ElementType::Undefined || fact.element.is_float())
    }

    /// The graph as it is so far; names given by [`Builder::output`] and [`Builder::name`] are not
    /// in it yet.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What is known about a node of the graph.
    pub(in crate::graph) fn site<'a>(&self, node: &'a Node) -> OpContext<'a> {
        let known =
            |name: &String| (!name.is_empty()).then(|| self.facts.get(name).cloned().unwrap_or_else(Fact::unknown));
        OpContext { node, opset: self.opset, inputs: node.inputs.iter().map(known).collect() }
    }

    /// Output `index` of the node that computes `first`, its first output; added to the node where
    /// it was left out.
    pub(in crate::graph) fn extra_output(&mut self, first: &Value, index: usize) -> Option<Value> {
        let is_first = |node: &Node| node.outputs.first().is_some_and(|output| output == first.name());
        let at = self.graph.nodes.iter().position(is_first)?;
        if let Some(output) = self.graph.nodes[at].outputs.get(index).filter(|output| !output.is_empty()) {
            return Some(Value(output.as_str().into()));
        }
        let mut name = format!("{}.{index}", first.name());
        while !self.used.insert(name.clone()) {
            name.push('_');
        }
        let node = &mut self.graph.nodes[at];
        let count = node.outputs.len().max(index + 1);
        node.outputs.resize(count, String::new());
        node.outputs[index].clone_from(&name);
        let node = node.clone();
        if let Ok(Some(found)) = infer_node(&node, self.opset, |name| self.facts.get(name).cloned())
            && let Some(fact) = found.into_iter().nth(index)
        {
            self.facts.insert(name.clone(), fact);
        }
        Some(Value(name.into()))
    }

    /// Runs `body` with `name` added to the scope: nodes and values made in it are called
    /// `scope.name`.
    pub fn scope<T>(&mut self, name: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(name.to_owned());
        let result = body(self);
        self.scopes.pop();
        result
    }

    /// Makes `value` an output of the graph under `name`.
    pub fn output(&mut self, name: &str, value: &Value) {
        let is_inner = !self.renamed.contains_key(value.name())
            && self.graph.outputs.iter().all(|output| output.name != value.name())
            && self.graph.nodes.iter().any(|node| node.outputs.iter().any(|output| output == value.name()));
        let value = match is_inner || value.name() == name {
            true => value.clone(),
            false => self.apply("Identity", &[value]),
        };
        self.name(&value, name);
        self.outputs.push((name.to_owned(), value));
    }

    /// Calls a computed value `name` in the model, so that it can be found there; the handle stays
    /// as it is. A value that was named before keeps that name too.
    pub fn name(&mut self, value: &Value, name: &str) {
        if self.renamed.contains_key(value.name()) {
            let copy = self.apply("Identity", &[value]);
            return self.name(&copy, name);
        }
        if value.name() != name {
            self.claim(name, "a name given to a computed value");
            self.renamed.insert(value.name().to_owned(), name.to_owned());
        }
    }

    /// Applies a standard operator without attributes and with one output.
    pub fn apply(&mut self, operator: &str, inputs: &[&Value]) -> Value {
        let names: Vec<&str> = inputs.iter().map(|input| input.name()).collect();
        self.node(Node::new(operator, &names, &[]))
    }

    /// Adds a node of any operator with one output; its name and its output's name are given here.
    pub fn node(&mut self, node: Node) -> Value {
        let [value] = self.nodes(node);
        value
    }

    /// Adds a node of any operator with `N` outputs; its name and its outputs' names are given
    /// here.
    pub fn nodes<const N: usize>(&mut self, node: Node) -> [Value; N] {
        let mut values = self.many(node, N).into_iter();
        std::array::from_fn(|_| values.next().unwrap_or_else(|| Value("".into())))
    }

    /// Adds a node of any operator with `count` outputs, at least one; its name and its outputs'
    /// names are given here.
    pub fn many(&mut self, mut node: Node, count: usize) -> Vec<Value> {
        let kind = snake_case(&node.operator);
        node.name = self.unique(&kind);
        let mut values = vec![Value(node.name.as_str().into())];
        values.extend((1..count).map(|index| Value(self.unique(&format!("{kind}.{index}")).into())));
        node.outputs = values.iter().map(|value| value.name().to_owned()).collect();
        match infer_node(&node, self.opset, |name| self.facts.get(name).cloned()) {
            Ok(found) => {
                let found = found.unwrap_or_else(|| vec![Fact::unknown(); values.len()]);
                self.facts.extend(node.outputs.iter().cloned().zip(found));
            }
            Err(mistake) => self.fail(mistake),
        }
        self.graph.nodes.push(node);
        values
    }

    /// Keeps the first mistake for [`Builder::finish`].
    pub(in crate::graph) fn fail(&mut self, error: GraphError) {
        self.failure.get_or_insert(error);
    }

    /// The model, validated.
    ///
    /// # Errors
    /// The first mistake made while building, or what [`validate`](super::validate()) finds, as a
    /// [`GraphError`].
    pub fn finish(mut self) -> Result<Model> {
        if let Some(error) = self.failure {
            return Err(error.into());
        }
        for (name, value) in &self.outputs {
            let known = self.facts.get(value.name()).and_then(Fact::to_type);
            self.graph.outputs.push(ValueInfo { r#type: known, ..ValueInfo::untyped(name) });
        }
        subgraph::rename(&mut self.graph.nodes, &self.renamed);
        let base = self.base.unwrap_or_else(|| Model {
            ir_version: ir_version(self.opset),
            opset_imports: vec![OperatorSet { domain: String::new(), version: self.opset }],
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Model::default()
        });
        let model = Model { graph: self.graph, ..base };
        validate(&model)?;
        Ok(model)
    }

    /// Takes a name that must be free.
    fn claim(&mut self, name: &str, by: &str) -> Value {
        if !self.used.insert(name.to_owned()) {
            let (value, graph) = (name.to_owned(), self.graph.name.clone());
            self.fail(GraphError::Duplicate { value, graph, by: by.to_owned() });
        }
        Value(name.into())
    }

    /// A free name in the current scope: `blocks.0.attn.matmul`, then `blocks.0.attn.matmul_1`.
    fn unique(&mut self, name: &str) -> String {
        let mut full = self.scopes.join(".");
        if !full.is_empty() {
            full.push('.');
        }
        full.push_str(name);
        let mut candidate = full.clone();
        let mut count = 1;
        while !self.used.insert(candidate.clone()) {
            candidate = format!("{full}_{count}");
            count += 1;
        }
        candidate
    }
}

/// The oldest file format that has an operator set.
fn ir_version(opset: i64) -> i64 {
    match opset {
        ..=18 => 8,
        19 | 20 => 9,
        21 | 22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

/// `GlobalAveragePool` as `global_average_pool`; `MatMul` as `matmul`, as everybody writes it.
fn snake_case(operator: &str) -> String {
    if operator == "MatMul" {
        return "matmul".to_owned();
    }
    let mut name = String::with_capacity(operator.len() + 4);
    let mut after_lower = false;
    for letter in operator.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = !letter.is_ascii_uppercase();
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::AttributeValue;

    #[test]
    fn names_are_scoped_unique_and_given_names_survive() {
        let mut builder = Builder::new("net");
        let x = builder.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3)]);
        let y = builder.scope("blocks", |b| {
            let a = b.scope("0", |b| b.relu(&x));
            let c = b.scope("0", |b| b.relu(&a));
            b.name(&a, "blocks.0.first");
            b.add(&a, &c)
        });
        builder.output("y", &y);
        builder.output("again", &y);
        builder.output("input", &x);
        let model = builder.finish().unwrap();
        let nodes: Vec<String> = model
            .graph
            .nodes
            .iter()
            .map(|node| format!("{}: {:?} -> {:?}", node.name, node.inputs, node.outputs))
            .collect();
        assert_eq!(
            nodes,
            [
                r#"blocks.0.relu: ["x"] -> ["blocks.0.first"]"#,
                r#"blocks.0.relu_1: ["blocks.0.first"] -> ["blocks.0.relu_1"]"#,
                r#"blocks.add: ["blocks.0.first", "blocks.0.relu_1"] -> ["y"]"#,
                r#"identity: ["y"] -> ["again"]"#,
                r#"identity_1: ["x"] -> ["input"]"#,
            ]
        );
    }

    #[test]
    fn the_first_mistake_is_reported_at_the_end() {
        let mut builder = Builder::new("net");
        let x = builder.input("x", DType::F32, &[Dim::Fixed(3)]);
        builder.parameter("x", &HostTensor::scalar(1.0f32));
        builder.output("y", &x);
        let error = builder.finish().unwrap_err();
        assert_eq!(error.to_string(), "value `x` is defined twice in graph `net`, the second time by an initializer");
        assert!(Builder::with_opset("net", 12).finish().is_err());
    }

    #[test]
    fn weights_and_small_constants_are_shared() {
        let weight = HostTensor::vector(vec![1.0f32; 100]);
        let mut builder = Builder::new("net");
        let w = builder.parameter("w", &weight);
        let (a, b) = (builder.scalar(2.0), builder.scalar(2.0));
        assert_eq!(a, b);
        let y = builder.mul(&w, &a);
        builder.output("y", &y);
        let model = builder.finish().unwrap();
        let stored = model.graph.initializer("w").unwrap().to_host().unwrap();
        assert_eq!(stored.bytes().as_ptr(), weight.bytes().as_ptr());
        assert_eq!(model.graph.initializers.len(), 2);
    }

    #[test]
    fn gelu_is_one_operator_where_the_operator_set_has_it() {
        let operators = |opset| {
            let mut builder = Builder::with_opset("net", opset);
            let x = builder.input("x", DType::F32, &[Dim::Fixed(3)]);
            let y = builder.gelu_tanh(&x);
            builder.output("y", &y);
            let model = builder.finish().unwrap();
            model.graph.nodes.iter().map(|node| node.operator.clone()).collect::<Vec<_>>()
        };
        assert_eq!(operators(20), ["Gelu"]);
        assert_eq!(operators(17), ["Pow", "Mul", "Add", "Mul", "Tanh", "Add", "Mul", "Mul"]);
        let mean = |opset| {
            let mut builder = Builder::with_opset("net", opset);
            let x = builder.input("x", DType::F32, &[Dim::Fixed(3)]);
            let y = builder.reduce_mean(&x, &[-1], true);
            builder.output("y", &y);
            builder.finish().unwrap().graph.nodes.remove(0)
        };
        assert_eq!(mean(17).attribute("axes"), Some(&AttributeValue::Ints(vec![-1])));
        assert_eq!(mean(18).inputs, ["x", "constant"]);
    }
}
