//! Edits of whole models; each gives a [`Patch`](super::Patch) that is applied by itself.

mod cut;
mod dead;
mod tap;

pub use cut::cut;
pub use dead::dead;
pub use tap::tap;

use crate::error::GraphError;
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::Model;
use crate::graph::Type;
use crate::graph::ValueInfo;
use crate::support::names::nearest;

/// Checks that every name is a value of the graph.
fn known_values(graph: &Graph, names: &[String]) -> Result<()> {
    let known = graph.value_names();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let nearest = nearest(name, known).into_iter().map(str::to_owned).collect();
            Err(GraphError::UnknownValue { name: name.clone(), nearest }.into())
        }
        None => Ok(()),
    }
}

/// What the model says about a value of its main graph.
fn value_info(model: &Model, name: &str) -> ValueInfo {
    let graph = &model.graph;
    let said = graph.inputs.iter().chain(&graph.outputs).chain(&graph.value_infos).find(|info| info.name == name);
    if let Some(info) = said.filter(|info| info.r#type.is_some()) {
        return info.clone();
    }
    let stored = graph
        .initializer(name)
        .map(|tensor| Type::tensor(tensor.element, Some(tensor.shape.iter().map(|&size| size.into()).collect())));
    ValueInfo { name: name.to_owned(), r#type: stored, doc: String::new(), metadata: Vec::new() }
}
