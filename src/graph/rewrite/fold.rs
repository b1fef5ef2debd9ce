//! Batch norms folded into the convolutions before them.
//!
//! A convolution `W x + c` behind which a norm with stored statistics stands is the convolution
//! with `W k` and `(c - mean) k + bias`, where `k = scale / sqrt(variance + epsilon)` per output
//! channel. Computed in f64. ONNX Runtime does the same to f32 graphs when it opens them; in other
//! types it does not.

use std::collections::HashMap;

use crate::graph::order::read_names;
use crate::graph::rewrite::UniqueNames;
use crate::graph::{AttributeValue, Graph, Model, Node, Patch, Tensor};
use crate::tensor::HostTensor;

/// Epsilon of a batch norm that states none.
const EPSILON: f32 = 1e-5;

/// Folds every batch norm whose input is a convolution that nothing else reads.
pub fn fold_norms(model: &Model) -> Patch {
    let graph = &model.graph;
    let producers = graph.producers();
    let mut readers: HashMap<String, usize> = HashMap::new();
    let outputs = graph.outputs.iter().map(|output| output.name.clone());
    for name in graph.nodes.iter().flat_map(read_names).chain(outputs) {
        *readers.entry(name).or_default() += 1;
    }
    let mut names = UniqueNames::of(graph);
    let mut patch = Patch { drop_unread_constants: true, ..Patch::new("fold norms") };
    for (index, norm) in graph.nodes.iter().enumerate().filter(|(_, node)| is_stored_norm(node)) {
        let Some(&source) = norm.inputs.first().and_then(|input| producers.get(input.as_str())) else { continue };
        let conv = &graph.nodes[source];
        if conv.operator != "Conv" || !conv.is_standard() || readers.get(&norm.inputs[0]) != Some(&1) {
            continue;
        }
        let Some((weight, bias)) = folded(graph, conv, norm) else { continue };
        let mut folded = conv.clone();
        let parts =
            [names.take(&format!("{}.folded", conv.inputs[1])), names.take(&format!("{}.bias", conv.inputs[1]))];
        for (name, tensor) in parts.iter().zip([weight, bias]) {
            patch.add_constants.push(Tensor::new(name, &tensor));
        }
        folded.inputs.truncate(1);
        folded.inputs.extend(parts);
        folded.outputs.clone_from(&norm.outputs);
        patch.remove_nodes.insert(source);
        patch.replace_nodes.insert(index, vec![folded]);
    }
    patch
}

/// Whether a node is a batch norm with stored statistics and one output.
fn is_stored_norm(node: &Node) -> bool {
    let trains = matches!(node.attribute("training_mode"), Some(AttributeValue::Int(mode)) if *mode != 0);
    node.operator == "BatchNormalization" && node.is_standard() && node.outputs.len() == 1 && !trains
}

/// Weight and bias of the folded convolution; `None` where something is no constant.
fn folded(graph: &Graph, conv: &Node, norm: &Node) -> Option<(HostTensor, HostTensor)> {
    let constant = |name: &String| graph.initializer(name)?.to_host();
    let weight = constant(conv.inputs.get(1)?)?;
    let values = weight.values::<f32>()?;
    let channels = *weight.shape().first().filter(|channels| **channels > 0)?;
    let parameters: Vec<HostTensor> = norm.inputs.get(1..5)?.iter().map(constant).collect::<Option<_>>()?;
    let parameters: Vec<_> = parameters.iter().map(HostTensor::values::<f32>).collect::<Option<_>>()?;
    let [scale, bias, mean, variance] = parameters.as_slice() else { return None };
    let before = match conv.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(name) => constant(name)?.values::<f32>()?.to_vec(),
        None => vec![0.0; channels],
    };
    if [scale, bias, mean, variance].iter().any(|values| values.len() != channels) || before.len() != channels {
        return None;
    }
    let epsilon = match norm.attribute("epsilon") {
        Some(AttributeValue::Float(epsilon)) => *epsilon,
        _ => EPSILON,
    };
    let factor =
        |channel: usize| f64::from(scale[channel]) / (f64::from(variance[channel]) + f64::from(epsilon)).sqrt();
    let size = values.len() / channels;
    let scaled = values.chunks_exact(size.max(1)).enumerate().flat_map(|(channel, kernel)| {
        let factor = factor(channel);
        kernel.iter().map(move |&value| (f64::from(value) * factor) as f32)
    });
    let shifted = (0..channels).map(|channel| {
        ((f64::from(before[channel]) - f64::from(mean[channel])) * factor(channel) + f64::from(bias[channel])) as f32
    });
    Some((HostTensor::from_vec(weight.shape().to_vec(), scaled.collect())?, HostTensor::vector(shifted.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{BatchNormParameters, Builder, ConvOptions, Dim, text};
    use crate::tensor::DType;

    #[test]
    fn a_norm_is_folded_unless_the_convolution_is_read_elsewhere() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(1)]);
        let mut vector = |name: &str, value: f32| b.parameter(name, &HostTensor::vector(vec![value; 2]));
        let [scale, bias, mean, variance] =
            [("scale", 6.0), ("shift", 1.0), ("mean", 0.5), ("variance", 4.0)].map(|(name, value)| vector(name, value));
        let w = b.parameter("w", &HostTensor::from_vec(vec![2, 1, 1, 1], vec![2f32, 3.0]).unwrap());
        let parameters = || BatchNormParameters { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        let first = b.conv(&x, &w, None, ConvOptions::default());
        let y = b.batch_norm(&first, parameters(), 0.0);
        let second = b.conv(&x, &w, None, ConvOptions::default());
        let z = b.batch_norm(&second, parameters(), 0.0);
        b.output("y", &y);
        b.output("z", &z);
        b.output("second", &second);
        let mut model = b.finish().unwrap();
        fold_norms(&model).apply(&mut model).unwrap();
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 1, 1, 1]
          constant scale: f32[2] = [6.0, 6.0]
          constant shift: f32[2] = [1.0, 1.0]
          constant mean: f32[2] = [0.5, 0.5]
          constant variance: f32[2] = [4.0, 4.0]
          constant w: f32[2, 1, 1, 1] = [2.0, 3.0]
          constant w.folded: f32[2, 1, 1, 1] = [6.0, 9.0]
          constant w.bias: f32[2] = [-0.5, -0.5]
          y = Conv(x, w.folded, w.bias) {dilations: [1, 1], group: 1, pads: [0, 0, 0, 0], strides: [1, 1]}
          second = Conv(x, w) {dilations: [1, 1], group: 1, pads: [0, 0, 0, 0], strides: [1, 1]}
          z = BatchNormalization(second, scale, shift, mean, variance) {epsilon: 0.0}
          output y: f32[batch, 2, 1, 1]
          output z: f32[batch, 2, 1, 1]
          output second: f32[batch, 2, 1, 1]
        ");
    }
}
