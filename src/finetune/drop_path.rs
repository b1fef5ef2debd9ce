//! Stochastic depth: residual branches are left out at random, per image (Huang et al. 2016, arXiv
//! 1603.09382).
//!
//! A residual branch is found by its structure: the `Add` of a value and of something that is
//! computed from that value through a matrix product or a convolution. Each branch is multiplied by
//! a row of the input `drop_path` `[branches, N]`: 0 where the image leaves the branch out, else
//! one over the probability of staying, so that expectations are those of evaluation.

use std::collections::{HashMap, HashSet};

use rand::Rng;

use crate::error::Result;
use crate::graph::{Builder, Dim, Graph, Model, Patch};
use crate::support::seed::Seed;
use crate::tensor::{DType, HostTensor};

/// Name of the input.
pub(super) const DROP_PATH: &str = "drop_path";

/// Adds the input and the multiplications; gives the number of branches.
pub(super) fn insert(model: Model, batch: &Dim) -> Result<(Model, usize)> {
    let branches = branches(&model.graph);
    if branches.is_empty() {
        return Ok((model, 0));
    }
    let mut b = Builder::extend(model)?;
    let masks = b.input(DROP_PATH, DType::F32, &[branches.len().into(), batch.clone()]);
    let mut patch = Patch::new("drop path");
    for (number, &(node, place)) in branches.iter().enumerate() {
        let name = b.graph().nodes[node].inputs[place].clone();
        let branch = b.value(&name)?;
        let rank = b.dims(&branch).map_or(2, <[Dim]>::len);
        let kept = b.scope(&format!("{DROP_PATH}.{number}"), |b| {
            let row = b.constant(&HostTensor::vector(vec![number as i64]));
            let mask = b.gather(&masks, &row, 0);
            let mask = b.transpose(&mask, &[1, 0]);
            // A branch has one row per image, or several that lie together, as the tokens of a
            // transformer do.
            let shape = b.shape(&branch);
            let first = b.constant(&HostTensor::vector(vec![0i64]));
            let rows = b.gather(&shape, &first, 0);
            let images = b.shape(&mask);
            let images = b.gather(&images, &first, 0);
            let each = b.div(&rows, &images);
            let wanted = b.concat(&[&images, &each], 0);
            let mask = b.expand(&mask, &wanted);
            let mut flat = vec![1i64; rank];
            flat[0] = -1;
            let mask = b.reshape(&mask, &flat);
            b.mul(&branch, &mask)
        });
        patch.rewire_inputs.insert((node, place), kept.name().to_owned());
    }
    let mut model = b.finish()?;
    patch.apply(&mut model)?;
    Ok((model, branches.len()))
}

/// The residual branches in order: the adding node, and which of its inputs is the branch.
fn branches(graph: &Graph) -> Vec<(usize, usize)> {
    let producers = graph.producers();
    let mut found = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.operator != "Add" || !node.is_standard() {
            continue;
        }
        let [a, b] = node.inputs.as_slice() else { continue };
        if let Some(place) = [(a, b, 1), (b, a, 0)]
            .into_iter()
            .find_map(|(skipped, branch, place)| leads_to(graph, &producers, (skipped, branch)).then_some(place))
        {
            found.push((index, place));
        }
    }
    found
}

/// Whether `to` is computed from `from` through a layer with weights, everything in between
/// included.
fn leads_to(graph: &Graph, producers: &HashMap<&str, usize>, (from, to): (&String, &String)) -> bool {
    if !producers.contains_key(from.as_str()) {
        return false;
    }
    let (mut pending, mut seen) = (vec![to.as_str()], HashSet::new());
    let (mut reached, mut weighted) = (false, false);
    while let Some(value) = pending.pop() {
        if value == from {
            reached = true;
            continue;
        }
        let Some(&index) = producers.get(value) else { continue };
        if !seen.insert(index) {
            continue;
        }
        // Whatever was computed before the skipped value is no part of the branch.
        if producers.get(from.as_str()).is_some_and(|first| index < *first) {
            continue;
        }
        let node = &graph.nodes[index];
        weighted |= matches!(node.operator.as_str(), "MatMul" | "Gemm" | "Conv");
        pending.extend(node.inputs.iter().map(String::as_str));
    }
    reached && weighted
}

/// The masks of one step, `[branches, N]`: the chance of being left out grows linearly from 0 at
/// the first branch to `most` at the last.
pub(super) fn masks(branches: usize, images: usize, most: f64, seed: Seed) -> Vec<f32> {
    let mut random = seed.named(DROP_PATH).random();
    let mut masks = Vec::with_capacity(branches * images);
    for branch in 0..branches {
        let kept = 1.0 - most * branch as f64 / (branches.max(2) - 1) as f64;
        masks.extend((0..images).map(|_| if random.gen_bool(kept) { (1.0 / kept) as f32 } else { 0.0 }));
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbones;
    use crate::backbones::{Origin, Size, Taps};

    fn count(model: &str, architecture: &str) -> usize {
        let mut entry = backbones::find(model).unwrap();
        entry.variant.architecture = architecture.parse().unwrap();
        let backbone = backbones::build(&entry, Origin::Random(0), Size::Any, &Taps::None).unwrap();
        let (model, branches) = insert(backbone.graph, &Dim::symbol("batch")).unwrap();
        assert_eq!(model.graph.inputs.len(), 2);
        branches
    }

    #[test]
    fn every_residual_branch_is_found_and_nothing_else() {
        let vit = "image = 32\npatch = 8\nwidth = 16\ndepth = 3\nheads = 2\nepsilon = 1e-6\nlayer_scale = true";
        assert_eq!(count("dinov2-small", vit), 6);
        assert_eq!(count("dinov2-giant", &format!("{vit}\nmlp = \"swiglu\"\nhidden = 24")), 6);
        // Shortcuts of another shape are no skipped values.
        assert_eq!(
            count("resnet152", "block = \"basic\"\nrepeats = [1, 2, 2, 2]\nchannels = [4, 4, 8, 8]\nstem = 4"),
            4
        );
        assert_eq!(count("efficientnet-lite0", "width = 0.25\ndepth = 1.0"), 9);
    }

    #[test]
    fn the_chance_grows_and_expectations_stay() {
        let masks = masks(5, 4000, 0.4, Seed::new(0));
        for (branch, row) in masks.chunks(4000).enumerate() {
            let dropped = row.iter().filter(|mask| **mask == 0.0).count() as f64 / 4000.0;
            assert!((dropped - 0.1 * branch as f64).abs() < 0.03, "{branch}: {dropped}");
            assert!((row.iter().sum::<f32>() / 4000.0 - 1.0).abs() < 0.05);
        }
    }
}
