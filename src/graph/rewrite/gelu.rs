//! The exact GELU as one operator.
//!
//! Before operator set 20 there is none: files hold `x (1 + erf(x / sqrt 2)) / 2` as five nodes.
//! ONNX Runtime fuses them where nothing else reads what lies between, as the backward pass of a
//! training graph does: it would keep four values the size of `x`. The operator keeps `x`, and its
//! gradient computes the rest again.

use std::collections::HashMap;
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::error::Result;
use crate::graph::order::read_names;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{AttributeValue, Graph, Model, Node, Patch, Tensor};
use crate::tensor::HostTensor;

/// The operator set that has the operator, and the oldest file format of that.
const OPSET: i64 = 20;
const FORMAT: i64 = 9;

/// The model with every exact GELU as one node, in operator set 20 at least; as it is where it has
/// none, or a node that means something else in that set.
///
/// # Errors
/// What [`validate`](crate::graph::validate()) finds.
pub fn fuse_gelu(model: Model) -> Result<Model> {
    let patch = fused(&model.graph);
    if patch.replace_nodes.is_empty() {
        return Ok(model);
    }
    let Some(mut model) = raised(&model) else { return Ok(model) };
    patch.apply(&mut model)?;
    Ok(model)
}

/// The patch that fuses.
fn fused(graph: &Graph) -> Patch {
    let mut patch = Patch::new("fuse GELU");
    let mut readers: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        read_names(node).into_iter().for_each(|name| readers.entry(name).or_default().push(index));
    }
    let shown = |name: &str| graph.outputs.iter().any(|output| output.name == name);
    // The only reader of what a node makes, with its other input.
    let next = |index: usize, operator: &str| -> Option<(usize, String)> {
        let output = graph.nodes[index].outputs.first().filter(|output| !shown(output))?;
        let [reader] = readers.get(output)?[..] else { return None };
        let node = &graph.nodes[reader];
        let [a, b] = node.inputs.as_slice() else { return None };
        let other = if a == output { b } else { a };
        (node.operator == operator && node.is_standard() && a != b).then(|| (reader, other.clone()))
    };
    let producers = graph.producers();
    for (erf, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.operator == "Erf" && node.is_standard()) {
        let found = || -> Option<([usize; 4], usize, String)> {
            let scaled = *producers.get(node.inputs[0].as_str())?;
            let [x, factor] = graph.nodes[scaled].inputs.as_slice() else { return None };
            let wanted = match graph.nodes[scaled].operator.as_str() {
                "Div" => SQRT_2,
                "Mul" => FRAC_1_SQRT_2,
                _ => return None,
            };
            let is = |name: &str, wanted: f64| number(graph, name).is_some_and(|found| (found - wanted).abs() < 1e-6);
            if !is(factor, wanted) || shown(&node.inputs[0]) || readers.get(&node.inputs[0])?.len() != 1 {
                return None;
            }
            let (shifted, one) = next(erf, "Add")?;
            let (product, other) = next(shifted, "Mul")?;
            let (last, half) = next(product, "Mul")?;
            (is(&one, 1.0) && other == *x && is(&half, 0.5)).then(|| ([scaled, erf, shifted, product], last, x.clone()))
        };
        let Some((gone, last, x)) = found() else { continue };
        patch.remove_nodes.extend(gone);
        let mut gelu = Node::new("Gelu", &[&x], &[&graph.nodes[last].outputs[0]]);
        gelu.name.clone_from(&graph.nodes[last].name);
        patch.replace_nodes.insert(last, vec![gelu]);
    }
    patch
}

/// A constant of one element.
fn number(graph: &Graph, name: &str) -> Option<f64> {
    let tensor = graph.initializer(name)?.to_host()?;
    let values = tensor.to_f32()?;
    (values.len() == 1).then(|| f64::from(values[0]))
}

/// The model of operator set 17 to 19 in operator set 20; a newer one stays as it is.
///
/// Between them, axes of reductions and the number of parts of a split became explicit.
fn raised(model: &Model) -> Option<Model> {
    let version = model.opset("").unwrap_or(0);
    if version >= OPSET {
        return Some(model.clone());
    }
    let mut model = model.clone();
    let mut names = UniqueNames::of(&model.graph);
    let mut constants = Vec::new();
    for node in model.graph.nodes.iter_mut().filter(|node| node.is_standard()) {
        if version < 17 || node.subgraphs().next().is_some() {
            return None;
        }
        match node.operator.as_str() {
            "GridSample" | "DFT" => return None,
            "ReduceSum" => {}
            operator if version < 18 && operator.starts_with("Reduce") => {
                let Some(at) = node.attributes.iter().position(|attribute| attribute.name == "axes") else { continue };
                let AttributeValue::Ints(axes) = node.attributes.remove(at).value else { return None };
                let name = names.take(&format!("{}.axes", node.label()));
                constants.push(Tensor::new(&name, &HostTensor::vector(axes)));
                node.inputs.push(name);
            }
            "Split" if version < 18 && node.inputs.len() < 2 => {
                let parts = node.outputs.len() as i64;
                *node = node.clone().with("num_outputs", parts);
            }
            _ => {}
        }
    }
    model.graph.initializers.append(&mut constants);
    for import in model.opset_imports.iter_mut().filter(|import| matches!(import.domain.as_str(), "" | "ai.onnx")) {
        import.version = OPSET;
    }
    model.ir_version = model.ir_version.max(FORMAT);
    Some(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim, text};
    use crate::tensor::DType;

    #[test]
    fn five_nodes_become_one() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(2), Dim::Fixed(3)]);
        let bent = b.gelu(&x);
        let mean = b.reduce_mean(&bent, &[1], false);
        b.output("y", &mean);
        insta::assert_snapshot!(text(&fuse_gelu(b.finish().unwrap()).unwrap()), @r"
        format 9, ai.onnx 20
        graph net
          input x: f32[2, 3]
          constant gelu.constant: f32[] = 1.4142135
          constant gelu.constant_1: f32[] = 1.0
          constant gelu.constant_2: f32[] = 0.5
          constant reduce_mean.axes: i64[1] = [1]
          gelu.mul_1 = Gelu(x)
          y = ReduceMean(gelu.mul_1, reduce_mean.axes) {keepdims: 0}
          output y: f32[2]
        ");
    }

    #[test]
    fn what_is_read_elsewhere_stays() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::Fixed(2), Dim::Fixed(3)]);
        let y = b.gelu(&x);
        b.output("y", &y);
        let mut model = b.finish().unwrap();
        let erf = model.graph.nodes.iter().find(|node| node.operator == "Erf").unwrap().outputs[0].clone();
        model.graph.outputs.push(crate::graph::ValueInfo::untyped(&erf));
        assert_eq!(fuse_gelu(model.clone()).unwrap(), model);
    }
}
