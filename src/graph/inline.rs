//! Functions of a model replaced by their bodies, as `onnx.inliner` does it.
//!
//! In: a model whose nodes may call functions of its own, nested, in branches and loops too. Out:
//! the same network of operators only. Values of the main graph keep their names; those of a body
//! are called after the calling node: `block.hidden`. Attributes that refer to those of a function
//! get the caller's value, else the default, else are left out; inputs that a caller leaves out
//! are left out in the body.
//!
//! Refused: functions that call themselves, bodies of another operator set with operators that
//! mean something else there, and more nodes than any network has.
//! <https://onnx.ai/onnx/repo-docs/IR.html#functions>

use std::collections::{BTreeSet, HashMap};

use crate::error::{GraphError, Result};
use crate::graph::Graph;
use crate::graph::model::{Function, Model, OperatorSet, imported_version};
use crate::graph::node::{Attribute, AttributeValue, Node, is_default_domain};
use crate::graph::rewrite::UniqueNames;
use crate::graph::validate::validate;

/// Nodes a model may have after inlining: functions that call others twice grow exponentially.
const MAX_NODES: usize = 1_000_000;
/// Calls within calls.
const MAX_DEPTH: usize = 64;

/// The model with every call of one of its functions replaced by the function's body.
///
/// # Errors
/// [`GraphError::Function`] for functions that cannot be inlined; what
/// [`validate`](crate::graph::validate()) finds in the result.
pub fn inline_functions(model: Model) -> Result<Model> {
    if model.functions.is_empty() {
        return Ok(model);
    }
    let mut model = model;
    let functions = std::mem::take(&mut model.functions);
    let mut inliner = Inliner {
        functions: &functions,
        imports: model.opset_imports.clone(),
        names: UniqueNames::of(&model.graph),
        nodes: 0,
        callers: Vec::new(),
    };
    inliner.graph(&mut model.graph)?;
    for graph in model.training.iter_mut().flat_map(|step| step.initialization.iter_mut().chain(&mut step.algorithm)) {
        inliner.graph(graph)?;
    }
    let mut used = BTreeSet::new();
    domains(&model.graph, &mut used);
    let is_own = |domain: &str| functions.iter().any(|function| function.domain == domain);
    model.opset_imports = inliner.imports;
    model.opset_imports.retain(|import| used.contains(&import.domain) || !is_own(&import.domain));
    model.graph.sort()?;
    validate(&model)?;
    Ok(model)
}

/// The domains of the nodes of a graph and its subgraphs.
fn domains(graph: &Graph, used: &mut BTreeSet<String>) {
    for node in &graph.nodes {
        used.insert(node.domain.clone());
        node.subgraphs().for_each(|inner| domains(inner, used));
    }
}

struct Inliner<'a> {
    functions: &'a [Function],
    /// Operator sets of the result.
    imports: Vec<OperatorSet>,
    names: UniqueNames,
    /// Nodes made so far.
    nodes: usize,
    /// Functions whose bodies are being inlined, the outermost first.
    callers: Vec<usize>,
}

impl<'a> Inliner<'a> {
    fn graph(&mut self, graph: &mut Graph) -> Result<()> {
        let nodes = std::mem::take(&mut graph.nodes);
        for node in nodes {
            let inlined = self.node(node)?;
            graph.nodes.extend(inlined);
        }
        Ok(())
    }

    /// A node, or what it calls.
    fn node(&mut self, mut node: Node) -> Result<Vec<Node>> {
        let called = self.functions.iter().position(|function| {
            function.name == node.operator && function.domain == node.domain && function.overload == node.overload
        });
        let Some(called) = called else {
            node.subgraphs_mut().try_for_each(|graph| self.graph(graph))?;
            return Ok(vec![node]);
        };
        let functions = self.functions;
        let function = &functions[called];
        if self.callers.contains(&called) {
            return Err(refused(function, "it calls itself"));
        }
        if self.callers.len() == MAX_DEPTH {
            return Err(refused(function, &format!("more than {MAX_DEPTH} calls lie within each other")));
        }
        self.nodes += function.nodes.len();
        if self.nodes > MAX_NODES {
            return Err(refused(function, &format!("the model would have more than {MAX_NODES} nodes")));
        }
        self.import(function)?;
        let body = self.body(function, &node);
        self.callers.push(called);
        let mut inlined = Vec::with_capacity(body.len());
        for inner in body {
            inlined.extend(self.node(inner)?);
        }
        self.callers.pop();
        Ok(inlined)
    }

    /// Imports what the body needs; operators that mean something else under the model's version
    /// are refused.
    fn import(&mut self, function: &Function) -> Result<()> {
        for import in &function.opset_imports {
            match imported_version(&self.imports, &import.domain) {
                None => self.imports.push(import.clone()),
                Some(version) if version == import.version => {}
                Some(version) if is_default_domain(&import.domain) => {
                    if let Some(node) =
                        function.nodes.iter().find(|node| !means_the_same(node, import.version, version))
                    {
                        let operator = &node.operator;
                        let found = import.version;
                        return Err(refused(
                            function,
                            &format!("its `{operator}` is of operator set {found}, the model of {version}"),
                        ));
                    }
                }
                // Domains of others: versions are the business of who runs the model.
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The nodes of a function's body for one call.
    fn body(&mut self, function: &Function, call: &Node) -> Vec<Node> {
        let mut values: HashMap<String, String> = HashMap::new();
        for (index, name) in function.inputs.iter().enumerate() {
            values.insert(name.clone(), call.inputs.get(index).cloned().unwrap_or_else(String::new));
        }
        let mut copies = Vec::new();
        for (name, given) in function.outputs.iter().zip(&call.outputs).filter(|(_, given)| !given.is_empty()) {
            // An input that is handed through, or an output of two names, is copied.
            if values.contains_key(name) {
                copies.push((name.clone(), given.clone()));
            } else {
                values.insert(name.clone(), given.clone());
            }
        }
        let scope = Instance { function, call };
        for name in function.nodes.iter().flat_map(|node| &node.outputs).filter(|name| !name.is_empty()) {
            let names = &mut self.names;
            values.entry(name.clone()).or_insert_with(|| names.take(&format!("{}.{name}", call.label())));
        }
        let mut nodes: Vec<Node> =
            function.nodes.iter().map(|node| self.instance(node.clone(), &scope, &mut values)).collect();
        for (from, to) in copies {
            let from = values.get(&from).cloned().unwrap_or(from);
            nodes.push(Node::new("Identity", &[&from], &[&to]));
        }
        nodes
    }

    /// A node of a body with the names and attributes of a call.
    fn instance(&mut self, mut node: Node, scope: &Instance<'_>, values: &mut HashMap<String, String>) -> Node {
        let label = scope.call.label();
        if !node.name.is_empty() {
            node.name = format!("{label}.{}", node.name);
        }
        for name in node.inputs.iter_mut().chain(&mut node.outputs).filter(|name| !name.is_empty()) {
            let names = &mut self.names;
            let new = values.entry(name.clone()).or_insert_with(|| names.take(&format!("{label}.{name}")));
            name.clone_from(new);
        }
        node.attributes = node.attributes.into_iter().filter_map(|attribute| scope.resolved(attribute)).collect();
        for graph in node.subgraphs_mut() {
            self.inner(graph, scope, values);
        }
        node
    }

    /// A branch or loop body within a function's body: its own values get names of their own.
    fn inner(&mut self, graph: &mut Graph, scope: &Instance<'_>, outer: &HashMap<String, String>) {
        let mut values = outer.clone();
        let own: Vec<String> = graph.value_names().into_iter().map(str::to_owned).collect();
        for name in own {
            let new = self.names.take(&format!("{}.{name}", scope.call.label()));
            values.insert(name, new);
        }
        let rename = |name: &mut String| {
            if let Some(new) = values.get(name) {
                name.clone_from(new);
            }
        };
        graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(|info| rename(&mut info.name));
        graph.initializers.iter_mut().for_each(|tensor| rename(&mut tensor.name));
        graph.sparse_initializers.iter_mut().for_each(|sparse| rename(&mut sparse.values.name));
        graph.annotations.clear();
        graph.value_infos.clear();
        let nodes = std::mem::take(&mut graph.nodes);
        graph.nodes = nodes.into_iter().map(|node| self.instance(node, scope, &mut values)).collect();
    }
}

/// A call of a function.
struct Instance<'a> {
    function: &'a Function,
    call: &'a Node,
}

impl Instance<'_> {
    /// An attribute with the value of the one it refers to; `None` where nobody gives that.
    fn resolved(&self, attribute: Attribute) -> Option<Attribute> {
        let AttributeValue::Reference { name, .. } = &attribute.value else { return Some(attribute) };
        let default = || self.function.defaults.iter().find(|given| given.name == *name).map(|given| &given.value);
        let value = self.call.attribute(name).or_else(default)?.clone();
        Some(Attribute { value, ..attribute })
    }
}

/// Whether a standard operator means the same under two versions: from 13 on only reductions and
/// splits, whose axes and sizes went from attributes to inputs at 18, do not.
fn means_the_same(node: &Node, one: i64, other: i64) -> bool {
    if !node.is_standard() {
        return true;
    }
    let inner = node.subgraphs().flat_map(|graph| &graph.nodes).all(|node| means_the_same(node, one, other));
    let (low, high) = (one.min(other), one.max(other));
    let stable = ["Add", "Sub", "Mul", "Div", "MatMul", "Relu", "Sigmoid", "Tanh", "Conv", "Constant", "Identity"];
    let crosses = |version: i64| low < version && version <= high;
    let changed = match node.operator.as_str() {
        operator if stable.contains(&operator) => low < 7,
        operator if operator.starts_with("Reduce") && operator != "ReduceSum" => low < 13 || crosses(18),
        "Split" | "Pad" => low < 13 || crosses(18),
        "BatchNormalization" => low < 9 || (crosses(14) && node.outputs.len() > 1),
        _ => low < 13,
    };
    !changed && inner
}

fn refused(function: &Function, problem: &str) -> crate::Error {
    let name = match function.domain.as_str() {
        "" => function.name.clone(),
        domain => format!("{domain}:{}", function.name),
    };
    GraphError::Function { function: name, problem: problem.to_owned() }.into()
}
