//! What must hold in a model: unique names, every value defined before it is read, no circles,
//! every domain imported, every stored tensor with the data that its shape and type need.

use std::collections::HashSet;

use crate::error::{GraphError, Result};
use crate::graph::Graph;
use crate::graph::initializer::{SparseTensor, Tensor, TensorData};
use crate::graph::model::{Function, Model, OperatorSet, imported_version};
use crate::graph::node::{AttributeValue, Node, ValueInfo, is_default_domain};
use crate::graph::order::topological_order;
use crate::graph::types::ElementType;

/// Checks a whole model: main graph, functions, training graphs and all subgraphs.
///
/// Nodes need not be in order, but an order must exist.
///
/// # Errors
/// The first [`GraphError`] found; it names the node or value.
pub fn validate(model: &Model) -> Result<()> {
    let checker = Checker { imports: &model.opset_imports };
    checker.graph(&model.graph, &Scope::default())?;
    for function in &model.functions {
        Checker { imports: &function.opset_imports }.function(function)?;
    }
    // Training graphs read the initializers of the main graph.
    let constants = Scope { names: model.graph.constant_names().collect(), outer: None };
    for training in &model.training {
        for graph in training.initialization.iter().chain(&training.algorithm) {
            checker.graph(graph, &constants)?;
        }
    }
    Ok(())
}

/// Names visible in a graph: its own, then those of the graphs around it.
#[derive(Default)]
struct Scope<'a> {
    names: HashSet<&'a str>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn has(&self, name: &str) -> bool {
        let mut scope = Some(self);
        while let Some(current) = scope {
            if current.names.contains(name) {
                return true;
            }
            scope = current.outer;
        }
        false
    }
}

struct Checker<'a> {
    imports: &'a [OperatorSet],
}

impl Checker<'_> {
    fn graph(&self, graph: &Graph, outer: &Scope<'_>) -> Result<()> {
        let duplicate =
            |value: &str, by: String| GraphError::Duplicate { value: value.to_owned(), graph: graph.name.clone(), by };
        let mut names: HashSet<&str> = HashSet::new();
        for ValueInfo { name, .. } in &graph.inputs {
            if !names.insert(name) {
                return Err(duplicate(name, "an input".into()).into());
            }
        }
        // An initializer may give the default of an input, but no two may define one value.
        let mut constants = HashSet::new();
        for name in graph.constant_names() {
            if !constants.insert(name) {
                return Err(duplicate(name, "an initializer".into()).into());
            }
        }
        names.extend(constants);
        let scope = Scope { names, outer: Some(outer) };
        let scope = self.nodes(&graph.nodes, scope, &graph.name)?;
        topological_order(graph)?;
        for output in &graph.outputs {
            if !scope.has(&output.name) {
                let (value, graph) = (output.name.clone(), graph.name.clone());
                return Err(GraphError::OutputUndefined { value, graph }.into());
            }
        }
        graph.initializers.iter().try_for_each(|tensor| self.tensor(tensor, &tensor.name))?;
        graph.sparse_initializers.iter().try_for_each(|sparse| self.sparse(sparse, &sparse.values.name))
    }

    /// Adds the nodes' outputs to the scope, then checks what each node reads.
    fn nodes<'s>(&self, nodes: &'s [Node], mut scope: Scope<'s>, graph: &str) -> Result<Scope<'s>> {
        for node in nodes {
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                if scope.has(output) {
                    let by = format!("node `{}` ({})", node.label(), node.operator);
                    let (value, graph) = (output.clone(), graph.to_owned());
                    return Err(GraphError::Duplicate { value, graph, by }.into());
                }
                scope.names.insert(output);
            }
        }
        for node in nodes {
            self.node(node, &scope, graph)?;
        }
        Ok(scope)
    }

    fn node(&self, node: &Node, scope: &Scope<'_>, graph: &str) -> Result<()> {
        for input in node.inputs.iter().filter(|input| !input.is_empty()) {
            if !scope.has(input) {
                let (value, node_name) = (input.clone(), node.label().to_owned());
                let (operator, graph) = (node.operator.clone(), graph.to_owned());
                return Err(GraphError::Undefined { value, node: node_name, operator, graph }.into());
            }
        }
        if imported_version(self.imports, &node.domain).is_none() {
            let domain = if is_default_domain(&node.domain) { "ai.onnx".to_owned() } else { node.domain.clone() };
            let (node, operator) = (node.label().to_owned(), node.operator.clone());
            return Err(GraphError::OpsetMissing { node, operator, domain }.into());
        }
        for attribute in &node.attributes {
            let place = format!("{}.{}", node.label(), attribute.name);
            match &attribute.value {
                AttributeValue::Tensor(tensor) => self.tensor(tensor, &place)?,
                AttributeValue::Tensors(tensors) => {
                    tensors.iter().try_for_each(|tensor| self.tensor(tensor, &place))?;
                }
                AttributeValue::SparseTensor(sparse) => self.sparse(sparse, &place)?,
                AttributeValue::SparseTensors(all) => all.iter().try_for_each(|sparse| self.sparse(sparse, &place))?,
                _ => {}
            }
        }
        node.subgraphs().try_for_each(|subgraph| self.graph(subgraph, scope))
    }

    fn function(&self, function: &Function) -> Result<()> {
        let mut names = HashSet::new();
        for name in &function.inputs {
            if !names.insert(name.as_str()) {
                let (value, graph) = (name.clone(), function.name.clone());
                return Err(GraphError::Duplicate { value, graph, by: "an input".into() }.into());
            }
        }
        let scope = self.nodes(&function.nodes, Scope { names, outer: None }, &function.name)?;
        let body = Graph { name: function.name.clone(), nodes: function.nodes.clone(), ..Graph::default() };
        topological_order(&body)?;
        match function.outputs.iter().find(|output| !scope.has(output)) {
            Some(output) => {
                let (value, graph) = (output.clone(), function.name.clone());
                Err(GraphError::OutputUndefined { value, graph }.into())
            }
            None => Ok(()),
        }
    }

    fn tensor(&self, tensor: &Tensor, place: &str) -> Result<()> {
        let found = match &tensor.data {
            TensorData::Bytes(bytes) => bytes.len(),
            TensorData::Strings(strings) => strings.len(),
        };
        let is_text = matches!(tensor.data, TensorData::Strings(_));
        let fits = match tensor.expected_size() {
            Some(expected) => found == expected && is_text == (tensor.element == ElementType::String),
            None => tensor.element == ElementType::Undefined && found == 0,
        };
        if fits {
            return Ok(());
        }
        Err(GraphError::TensorSize {
            tensor: place.to_owned(),
            element: tensor.element.to_string(),
            shape: tensor.shape.clone(),
            expected: tensor.expected_size().map_or("a defined type and size".to_owned(), |size| size.to_string()),
            found,
        }
        .into())
    }

    fn sparse(&self, sparse: &SparseTensor, place: &str) -> Result<()> {
        self.tensor(&sparse.values, place)?;
        sparse.indices.iter().try_for_each(|indices| self.tensor(indices, &format!("{place}.indices")))
    }
}
