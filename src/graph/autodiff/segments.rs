//! Where a forward pass is cut into segments whose inner values are computed again in the backward
//! pass.
//!
//! Kept are the values that cross a cut; of the inner values that the backward pass reads, those of
//! one segment at a time are alive. [`choose`] looks for the cuts with the least of both together:
//! for a bound on a segment's inner bytes, it goes along the nodes and cuts, each time the bound is
//! passed, where the fewest bytes cross; it tries bounds from a half of all bytes down.

use std::collections::{HashMap, HashSet};

use crate::graph::order::read_names;
use crate::graph::{Fact, Graph};

/// The smallest share of all inner bytes that is tried as a bound, as its divisor.
const FINEST: usize = 64;

/// A forward pass: its nodes in order, and what may be told of its values.
pub(super) struct Forward<'a> {
    pub(super) graph: &'a Graph,
    pub(super) facts: &'a HashMap<String, Fact>,
    /// Indices of the nodes in `graph`, in order.
    pub(super) nodes: &'a [usize],
    /// Values that change from run to run: those computed from the graph's inputs that are no
    /// parameters.
    pub(super) data: &'a HashSet<String>,
    /// Values that the backward pass reads.
    pub(super) read: &'a HashSet<String>,
    /// Values with a cotangent.
    pub(super) cotangents: &'a HashSet<&'a str>,
}

/// A way to cut, and its cost.
struct Cuts {
    /// Places in the order of nodes; a cut lies behind the node there.
    places: Vec<usize>,
    bytes: f64,
}

/// The places behind which to cut; none where that saves nothing.
pub(super) fn choose(forward: &Forward<'_>) -> Vec<usize> {
    let crossing = forward.crossing();
    let inner: Vec<f64> = forward.nodes.iter().map(|&index| forward.inner_bytes(index)).collect();
    let total: f64 = inner.iter().sum();
    let mut best = Cuts { places: Vec::new(), bytes: total };
    for parts in 2..=FINEST {
        let places = forward.cut(&crossing, &inner, total / parts as f64);
        let bytes = forward.bytes(&crossing, &places);
        if bytes < best.bytes {
            best = Cuts { places, bytes };
        }
    }
    best.places
}

impl Forward<'_> {
    fn size(&self, name: &str) -> f64 {
        self.facts.get(name).and_then(Fact::bytes).unwrap_or(0.0)
    }

    /// The bytes of a node's outputs that the backward pass reads.
    fn inner_bytes(&self, index: usize) -> f64 {
        let outputs = self.graph.nodes[index].outputs.iter();
        outputs
            .filter(|output| self.data.contains(*output) && self.read.contains(*output))
            .map(|name| self.size(name))
            .sum()
    }

    /// For each node, the values that are computed up to it and read by later nodes of the forward
    /// pass.
    fn crossing(&self) -> Vec<HashSet<&str>> {
        let mut last: HashMap<String, usize> = HashMap::new();
        for (place, &index) in self.nodes.iter().enumerate() {
            last.extend(read_names(&self.graph.nodes[index]).into_iter().map(|name| (name, place)));
        }
        let mut alive: HashSet<&str> = HashSet::new();
        let crossing = |(place, &index): (usize, &usize)| {
            alive.extend(
                self.graph.nodes[index].outputs.iter().map(String::as_str).filter(|name| self.data.contains(*name)),
            );
            alive.retain(|name| last.get(*name).is_some_and(|&reader| reader > place));
            alive.clone()
        };
        self.nodes.iter().enumerate().map(crossing).collect()
    }

    /// Whether a segment may end behind a node: what the node computes is read later only, and its
    /// cotangent tells when the backward pass comes back to it.
    fn may_end(&self, crossing: &HashSet<&str>, index: usize) -> bool {
        let first = self.graph.nodes[index].outputs.first();
        first.is_some_and(|name| crossing.contains(name.as_str()) && self.cotangents.contains(name.as_str()))
    }

    /// Cuts so that no segment has more inner bytes than `bound`, as far as nodes can be cut
    /// behind.
    fn cut(&self, crossing: &[HashSet<&str>], inner: &[f64], bound: f64) -> Vec<usize> {
        let mut places = Vec::new();
        // The cheapest place since the last cut, with what crosses there.
        let mut cheapest: Option<(usize, f64)> = None;
        let mut since = 0.0;
        for (place, &index) in self.nodes.iter().enumerate() {
            since += inner[place];
            if since > bound
                && let Some((at, _)) = cheapest.take()
            {
                places.push(at);
                since = inner[at + 1..=place].iter().sum();
            }
            if self.may_end(&crossing[place], index) {
                let bytes: f64 = crossing[place].iter().map(|name| self.size(name)).sum();
                if cheapest.is_none_or(|(_, least)| bytes <= least) {
                    cheapest = Some((place, bytes));
                }
            }
        }
        places
    }

    /// What is alive at most: all that crosses a cut, and the inner values of one segment.
    fn bytes(&self, crossing: &[HashSet<&str>], places: &[usize]) -> f64 {
        let kept: HashSet<&str> = places.iter().flat_map(|&place| crossing[place].iter().copied()).collect();
        let mut segments = vec![0.0; places.len() + 1];
        for (place, &index) in self.nodes.iter().enumerate() {
            let segment = places.partition_point(|&cut| cut < place);
            let outputs = self.graph.nodes[index].outputs.iter();
            let inner = outputs
                .filter(|name| self.data.contains(*name) && self.read.contains(*name) && !kept.contains(name.as_str()));
            segments[segment] += inner.map(|name| self.size(name)).sum::<f64>();
        }
        kept.iter().map(|name| self.size(name)).sum::<f64>() + segments.into_iter().fold(0.0, f64::max)
    }
}
