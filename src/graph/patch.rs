//! Named edits of a model: what is to change is collected first, applied as a whole, and validated.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Error, GraphError, Result};
use crate::graph::order::read_names;
use crate::graph::validate::validate;
use crate::graph::{Graph, Model, Node, OperatorSet, Tensor, ValueInfo};

/// Changes to the main graph of a model, under the name that errors tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// What errors call the edit.
    pub name: &'static str,
    /// Nodes that go, by index.
    pub remove_nodes: BTreeSet<usize>,
    /// Nodes that others take the place of, by index.
    pub replace_nodes: BTreeMap<usize, Vec<Node>>,
    /// Nodes that are added; their order among the others follows from what they need.
    pub add_nodes: Vec<Node>,
    /// Initializers that are added.
    pub add_constants: Vec<Tensor>,
    /// Operator sets that are imported besides.
    pub add_imports: Vec<OperatorSet>,
    /// Node outputs that get another name, where they are produced; who reads the old name gets it
    /// from elsewhere.
    pub rename_outputs: BTreeMap<String, String>,
    /// Inputs of nodes that are read from elsewhere: node, place among its inputs, and the value.
    pub rewire_inputs: BTreeMap<(usize, usize), String>,
    /// Initializers that go, by name.
    pub remove_constants: BTreeSet<String>,
    /// The new inputs.
    pub inputs: Option<Vec<ValueInfo>>,
    /// The new outputs.
    pub outputs: Option<Vec<ValueInfo>>,
    /// Whether what is declared of inner values goes, to be found out again.
    pub forget_inner_types: bool,
    /// Whether initializers that nothing reads any more go.
    pub drop_unread_constants: bool,
}

impl Patch {
    /// A patch that changes nothing.
    pub fn new(name: &'static str) -> Self {
        Patch {
            name,
            remove_nodes: BTreeSet::new(),
            replace_nodes: BTreeMap::new(),
            add_nodes: Vec::new(),
            add_constants: Vec::new(),
            add_imports: Vec::new(),
            rename_outputs: BTreeMap::new(),
            rewire_inputs: BTreeMap::new(),
            remove_constants: BTreeSet::new(),
            inputs: None,
            outputs: None,
            forget_inner_types: false,
            drop_unread_constants: false,
        }
    }

    /// Changes the model, sorts and validates it; on failure the model stays as it was.
    ///
    /// # Errors
    /// [`GraphError::Patch`] with what [`validate`](super::validate()) finds in the changed model.
    pub fn apply(&self, model: &mut Model) -> Result<()> {
        let mut changed = model.clone();
        changed.opset_imports.extend(self.add_imports.iter().cloned());
        self.change(&mut changed.graph);
        let checked = changed.graph.sort().and_then(|()| validate(&changed));
        checked.map_err(|error| match error {
            Error::Graph(source) => GraphError::Patch { patch: self.name, source: Box::new(source) }.into(),
            other => other,
        })?;
        *model = changed;
        Ok(())
    }

    fn change(&self, graph: &mut Graph) {
        for (&(node, place), value) in &self.rewire_inputs {
            graph.nodes[node].inputs[place].clone_from(value);
        }
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for (index, node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
            match self.replace_nodes.get(&index) {
                Some(others) => nodes.extend(others.iter().cloned()),
                None if self.remove_nodes.contains(&index) => {}
                None => nodes.push(node),
            }
        }
        graph.nodes = nodes;
        for output in graph.nodes.iter_mut().flat_map(|node| &mut node.outputs) {
            if let Some(name) = self.rename_outputs.get(output) {
                output.clone_from(name);
            }
        }
        graph.nodes.extend(self.add_nodes.iter().cloned());
        graph.initializers.retain(|tensor| !self.remove_constants.contains(&tensor.name));
        graph.initializers.extend(self.add_constants.iter().cloned());
        if let Some(inputs) = &self.inputs {
            graph.inputs.clone_from(inputs);
        }
        if let Some(outputs) = &self.outputs {
            graph.outputs.clone_from(outputs);
        }
        if self.forget_inner_types {
            graph.value_infos.clear();
        }
        if self.drop_unread_constants {
            drop_unread_constants(graph);
        }
        let names: HashSet<String> = graph.value_names().into_iter().map(str::to_owned).collect();
        graph.value_infos.retain(|info| names.contains(&info.name));
        graph.annotations.retain(|annotation| names.contains(&annotation.value));
    }
}

/// Removes initializers that neither a node nor an output reads, and with them the inputs for which
/// they were the defaults.
fn drop_unread_constants(graph: &mut Graph) {
    let outputs = graph.outputs.iter().map(|output| output.name.clone());
    let read: HashSet<String> = graph.nodes.iter().flat_map(read_names).chain(outputs).collect();
    let quantisation = graph.annotations.iter().flat_map(|annotation| &annotation.parameters);
    let read: HashSet<String> = read.into_iter().chain(quantisation.map(|property| property.value.clone())).collect();
    let unread: HashSet<String> =
        graph.constant_names().filter(|name| !read.contains(*name)).map(str::to_owned).collect();
    graph.initializers.retain(|tensor| !unread.contains(&tensor.name));
    graph.sparse_initializers.retain(|sparse| !unread.contains(&sparse.values.name));
    graph.inputs.retain(|input| !unread.contains(&input.name));
}
