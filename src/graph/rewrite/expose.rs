//! Weights that are stored in another way than as initializers of floating-point numbers, as such:
//! what is to be trained has to be one.
//!
//! - `Constant` nodes with more than one floating-point number become initializers.
//! - `DequantizeLinear` of whole numbers that are stored, `(x - zero point) * scale` per tensor or
//!   per axis, becomes the initializer it computes.
//!   <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>
//!
//! Both keep the name of the value. Branches, loops, sparse tensors and blocks of quantised
//! numbers stay as they are.

use crate::graph::weights::{Stored, constant, is_weight};
use crate::graph::{AttributeValue, Graph, Model, Node, Patch, Tensor};
use crate::tensor::HostTensor;

/// Makes initializers of the weights that a model computes from what it stores; gives the patch
/// and the names of the new initializers.
pub fn expose_weights(model: &Model) -> (Patch, Vec<String>) {
    let mut patch = Patch { drop_unread_constants: true, ..Patch::new("expose weights") };
    let mut names = Vec::new();
    let constants = Constants { graph: &model.graph };
    for (index, node) in model.graph.nodes.iter().enumerate() {
        let Some(name) = node.outputs.first().filter(|name| !name.is_empty()) else { continue };
        let found = match constant(node) {
            Some(Stored::Tensor(tensor)) if is_weight(tensor) => Some(Tensor { name: name.clone(), ..tensor.clone() }),
            Some(Stored::Floats(values)) if values.len() > 1 => {
                Some(Tensor::new(name, &HostTensor::vector(values.to_vec())))
            }
            Some(_) => None,
            None => constants.dequantized(node).map(|values| Tensor::new(name, &values)),
        };
        if let Some(tensor) = found {
            patch.remove_nodes.insert(index);
            patch.add_constants.push(tensor);
            names.push(name.clone());
        }
    }
    (patch, names)
}

/// Stored values of a graph.
struct Constants<'a> {
    graph: &'a Graph,
}

impl Constants<'_> {
    /// A stored tensor, be it an initializer or a node's.
    fn tensor(&self, name: &str) -> Option<&Tensor> {
        if let Some(tensor) = self.graph.initializer(name) {
            return Some(tensor);
        }
        let node = self.graph.nodes.iter().find(|node| node.outputs.iter().any(|output| output == name))?;
        match constant(node) {
            Some(Stored::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// What a `DequantizeLinear` of stored numbers gives; `None` for other nodes.
    fn dequantized(&self, node: &Node) -> Option<HostTensor> {
        if node.operator != "DequantizeLinear" || !node.is_standard() {
            return None;
        }
        let integer = |name: &str, default: i64| match node.attribute(name) {
            Some(AttributeValue::Int(value)) => *value,
            _ => default,
        };
        let [x, scale, ..] = node.inputs.as_slice() else { return None };
        if integer("block_size", 0) != 0 {
            return None;
        }
        let x = self.tensor(x).filter(|x| x.elements().is_some_and(|count| count > 1))?;
        let (values, shape) = (x.to_integers()?, &x.shape);
        let scale = self.tensor(scale)?.to_host()?;
        let scales = scale.to_f32()?;
        let zeros = match node.inputs.get(2).filter(|name| !name.is_empty()) {
            Some(name) => self.tensor(name)?.to_integers()?,
            None => vec![0; scales.len()],
        };
        if zeros.len() != scales.len() {
            return None;
        }
        let (channels, inner) = if scale.shape().is_empty() || scales.len() == 1 {
            (1, values.len())
        } else {
            let axis = integer("axis", 1);
            let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
            (*shape.get(axis)?, shape.get(axis + 1..)?.iter().product())
        };
        if channels != scales.len() || inner == 0 {
            return None;
        }
        let value = |(at, value): (usize, i64)| {
            let channel = at / inner % channels;
            (value - zeros[channel]) as f32 * scales[channel]
        };
        HostTensor::from_vec(shape.clone(), values.into_iter().enumerate().map(value).collect())
    }
}
