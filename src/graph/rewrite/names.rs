//! Names that are still free in a graph.

use std::collections::HashSet;

use crate::graph::Graph;
use crate::graph::order::outer_names;

/// Gives names that no value of a graph, and none of those it gave before, has.
#[derive(Debug)]
pub struct UniqueNames(HashSet<String>);

impl UniqueNames {
    /// The names that are free in `graph` and in its subgraphs.
    pub fn of(graph: &Graph) -> Self {
        let mut taken: HashSet<String> = graph.value_names().into_iter().map(str::to_owned).collect();
        let mut graphs: Vec<&Graph> = vec![graph];
        while let Some(graph) = graphs.pop() {
            for inner in graph.nodes.iter().flat_map(|node| node.subgraphs()) {
                taken.extend(inner.value_names().into_iter().map(str::to_owned));
                taken.extend(outer_names(inner));
                graphs.push(inner);
            }
        }
        UniqueNames(taken)
    }

    /// `name`, or `name_1` and so on where it is taken.
    pub fn take(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 0;
        while !self.0.insert(free.clone()) {
            number += 1;
            free = format!("{name}_{number}");
        }
        free
    }
}
