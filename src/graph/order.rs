//! The order of nodes: a stable topological order, and which nodes some values need. Nothing here
//! recurses over nodes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashSet};

use crate::error::{GraphError, Result};
use crate::graph::{Graph, Node};

/// Names of the values that `graph`, as a branch or loop body, takes from the graphs around it;
/// sorted.
pub fn outer_names(graph: &Graph) -> BTreeSet<String> {
    let own: HashSet<&str> = graph.value_names().into_iter().collect();
    let mut names = BTreeSet::new();
    let outputs = graph.outputs.iter().map(|output| output.name.clone());
    for name in graph.nodes.iter().flat_map(read_names).chain(outputs) {
        if !name.is_empty() && !own.contains(name.as_str()) {
            names.insert(name);
        }
    }
    names
}

/// Names of the values a node reads, those of its subgraphs included; left-out inputs are left out.
pub(super) fn read_names(node: &Node) -> Vec<String> {
    let inputs = node.inputs.iter().filter(|input| !input.is_empty()).cloned();
    inputs.chain(node.subgraphs().flat_map(outer_names)).collect()
}

/// For each node, the nodes of the same graph whose outputs it reads.
fn predecessors(graph: &Graph) -> Vec<Vec<usize>> {
    let producers = graph.producers();
    let producer = |name: String| producers.get(name.as_str()).copied();
    graph.nodes.iter().map(|node| read_names(node).into_iter().filter_map(producer).collect()).collect()
}

/// Indices of the nodes, each after those it needs; nodes keep their order wherever they can.
///
/// # Errors
/// [`GraphError::Cycle`].
pub fn topological_order(graph: &Graph) -> Result<Vec<usize>> {
    let needs = predecessors(graph);
    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut followers = vec![Vec::new(); needs.len()];
    for (index, needed) in needs.iter().enumerate() {
        for &producer in needed {
            followers[producer].push(index);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..needs.len()).filter(|&index| waiting[index] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &follower in &followers[index] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.push(Reverse(follower));
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err(circle(graph, &needs, &waiting).into()) }
}

/// One circle among the nodes that still wait.
fn circle(graph: &Graph, needs: &[Vec<usize>], waiting: &[usize]) -> GraphError {
    let mut path: Vec<usize> = Vec::new();
    let mut next = waiting.iter().position(|&count| count > 0);
    while let Some(index) = next {
        if let Some(start) = path.iter().position(|&seen| seen == index) {
            path.drain(..start);
            break;
        }
        path.push(index);
        next = needs[index].iter().copied().find(|&needed| waiting[needed] > 0);
    }
    // The walk went from readers to producers; tell the circle in the direction of the data.
    path.reverse();
    let mut nodes: Vec<String> = path.iter().map(|&index| graph.nodes[index].label().to_owned()).collect();
    nodes.extend(nodes.first().cloned());
    GraphError::Cycle { graph: graph.name.clone(), nodes }
}

/// Which nodes are needed to compute `values`, where the values in `given` are already there.
pub fn needed_nodes<'a>(graph: &Graph, values: impl IntoIterator<Item = &'a str>, given: &HashSet<&str>) -> Vec<bool> {
    let producers = graph.producers();
    let mut needed = vec![false; graph.nodes.len()];
    let mut pending: Vec<String> = values.into_iter().map(str::to_owned).collect();
    while let Some(value) = pending.pop() {
        if given.contains(value.as_str()) {
            continue;
        }
        let Some(&index) = producers.get(value.as_str()) else { continue };
        if !std::mem::replace(&mut needed[index], true) {
            pending.extend(read_names(&graph.nodes[index]));
        }
    }
    needed
}

impl Graph {
    /// Puts the nodes, also those of subgraphs, into an order in which each follows those it needs.
    ///
    /// # Errors
    /// [`GraphError::Cycle`].
    pub fn sort(&mut self) -> Result<()> {
        let order = topological_order(self)?;
        if !order.is_sorted() {
            let mut nodes: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
            self.nodes = order.into_iter().filter_map(|index| nodes[index].take()).collect();
        }
        self.nodes.iter_mut().flat_map(Node::subgraphs_mut).try_for_each(Graph::sort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: Vec<Node>) -> Graph {
        Graph { name: "g".into(), nodes, ..Graph::default() }
    }

    #[test]
    fn unsorted_nodes_are_sorted_and_the_others_keep_their_place() {
        let mut unsorted = graph(vec![
            Node::new("Neg", &["b"], &["c"]),
            Node::new("Abs", &["x"], &["a"]),
            Node::new("Relu", &["x"], &["b"]),
            Node::new("Add", &["a", "c"], &["d"]),
        ]);
        assert_eq!(topological_order(&unsorted).unwrap(), [1, 2, 0, 3]);
        unsorted.sort().unwrap();
        assert_eq!(topological_order(&unsorted).unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn a_value_captured_by_a_branch_is_a_need() {
        let body = graph(vec![Node::new("Neg", &["late"], &["inner"])]);
        let branching = Node::new("If", &["condition"], &["y"]).with("then_branch", body);
        let outer = graph(vec![branching, Node::new("Abs", &["x"], &["late"])]);
        assert_eq!(topological_order(&outer).unwrap(), [1, 0]);
    }

    #[test]
    fn a_circle_is_named_in_the_direction_of_the_data() {
        let circular = graph(vec![
            Node::new("Abs", &["x"], &["a"]),
            Node::new("Add", &["a", "d"], &["b"]),
            Node::new("Neg", &["b"], &["c"]),
            Node::new("Exp", &["c"], &["d"]),
            Node::new("Log", &["d"], &["e"]),
        ]);
        let error = topological_order(&circular).unwrap_err();
        assert_eq!(error.to_string(), "nodes of graph `g` need each other in a circle: c -> d -> b -> c");
    }

    #[test]
    fn a_hundred_thousand_nodes_in_a_row_are_no_problem() {
        let name = |index: usize| format!("v{index}");
        let mut nodes: Vec<Node> =
            (0..100_000).map(|index| Node::new("Neg", &[&name(index)], &[&name(index + 1)])).collect();
        nodes.reverse();
        let long = graph(nodes);
        assert_eq!(topological_order(&long).unwrap()[0], 99_999);
        let needed = needed_nodes(&long, ["v50000"], &HashSet::from(["v10"]));
        assert_eq!(needed.iter().filter(|&&is_needed| is_needed).count(), 49_990);
    }
}
