//! The order in which gradients are used up.

use std::cmp::Reverse;

use crate::graph::{Builder, Value};

/// Sorts what has a gradient into the opposite order of the backward pass.
///
/// ONNX Runtime takes nodes from the outputs back, depth first, and of a node's inputs the one that
/// stands last in the file first. So what is made of the last layer's gradients has to stand last:
/// then they are computed first, and the activations that they need are given back before the
/// earlier layers' turn comes. In any other order the backward pass goes down to the first layer at
/// once, and all activations and all cotangents are alive together.
pub fn last_first<T>(b: &Builder, items: &mut [T], gradient: impl Fn(&T) -> &Value) {
    let producers = b.graph().producers();
    items.sort_by_key(|item| Reverse(producers.get(gradient(item).name()).copied().unwrap_or(0)));
}
