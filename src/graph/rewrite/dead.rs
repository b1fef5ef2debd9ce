//! Nodes and initializers that no output needs.

use std::collections::HashSet;

use crate::graph::{Model, Patch, needed_nodes};

/// Drops nodes and initializers that no output needs; inputs stay, so that callers need not change.
pub fn dead(model: &Model) -> Patch {
    let outputs = model.graph.outputs.iter().map(|output| output.name.as_str());
    let needed = needed_nodes(&model.graph, outputs, &HashSet::new());
    Patch {
        remove_nodes: (0..needed.len()).filter(|&index| !needed[index]).collect(),
        drop_unread_constants: true,
        ..Patch::new("dead")
    }
}

/// Drops nodes that no output needs; initializers stay, also those that nothing reads.
pub fn dead_nodes(model: &Model) -> Patch {
    Patch { drop_unread_constants: false, ..dead(model) }
}
