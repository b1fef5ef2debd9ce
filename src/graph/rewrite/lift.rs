//! A model of an older operator set as one of a newer: attributes that became inputs, changed
//! defaults.
//!
//! Versions as listed in <https://github.com/onnx/onnx/blob/main/docs/Changelog.md>. Up to 17 only;
//! what changed in another way is refused by name.

use std::collections::HashSet;

use crate::error::{GraphError, Result};
use crate::graph::infer::infer;
use crate::graph::validate::validate;
use crate::graph::{Attribute, AttributeValue, Model, Node, Tensor};
use crate::tensor::HostTensor;

/// The oldest operator set that is lifted.
const OLDEST: i64 = 9;
/// The operator set that models are lifted to.
const TARGET: i64 = 17;
/// The oldest file format of that operator set.
const FORMAT: i64 = 8;

/// The model with operator set 17, if its own is one of 9 to 16; a newer one stays as it is.
///
/// # Errors
/// [`GraphError::Opset`] for an older operator set; [`GraphError::Operator`] where a node means
/// something else there in a way that is not translated; what
/// [`validate`](crate::graph::validate()) finds.
pub fn lift(model: Model) -> Result<Model> {
    let version = model.opset("").unwrap_or(0);
    if version >= TARGET {
        return Ok(model);
    }
    if version < OLDEST {
        let (lowest, highest) = (OLDEST, *crate::graph::KNOWN_OPSETS.end());
        return Err(GraphError::Opset { domain: "ai.onnx".to_owned(), version, lowest, highest }.into());
    }
    let ranks = infer(&model)?.facts;
    let mut model = model;
    let names = model.graph.value_names().into_iter().map(str::to_owned).collect();
    let mut lifting = Lifting { version, constants: Vec::new(), names };
    let mut graph = std::mem::take(&mut model.graph);
    for node in graph.nodes.iter_mut().filter(|node| node.is_standard()) {
        let rank = node.inputs.first().and_then(|input| ranks.get(input)?.rank());
        lifting.node(node, rank)?;
        if node.subgraphs().any(|body| !body.nodes.is_empty()) {
            return Err(lifting.refused(node, "no branches or loops").into());
        }
    }
    graph.initializers.append(&mut lifting.constants);
    model.graph = graph;
    for import in model.opset_imports.iter_mut().filter(|import| matches!(import.domain.as_str(), "" | "ai.onnx")) {
        import.version = TARGET;
    }
    model.ir_version = model.ir_version.max(FORMAT);
    validate(&model)?;
    Ok(model)
}

struct Lifting {
    version: i64,
    constants: Vec<Tensor>,
    names: HashSet<String>,
}

impl Lifting {
    fn refused(&self, node: &Node, expected: &str) -> GraphError {
        GraphError::Operator {
            node: node.label().to_owned(),
            operator: node.operator.clone(),
            expected: format!("{expected} in a model of operator set {TARGET} or later"),
            found: format!("operator set {}", self.version),
        }
    }

    /// A new constant; gives its name.
    fn constant(&mut self, node: &Node, what: &str, tensor: &HostTensor) -> String {
        let mut name = format!("{}.{what}", node.label());
        while !self.names.insert(name.clone()) {
            name.push('_');
        }
        self.constants.push(Tensor::new(&name, tensor));
        name
    }

    /// Makes the attribute `name` input `index`.
    fn move_to_input(&mut self, node: &mut Node, name: &str, index: usize) {
        let Some(at) = node.attributes.iter().position(|attribute| attribute.name == name) else { return };
        let Attribute { value, .. } = node.attributes.remove(at);
        let tensor = match value {
            AttributeValue::Ints(values) => HostTensor::vector(values),
            AttributeValue::Float(value) => HostTensor::scalar(value),
            other => {
                node.attributes.insert(at, Attribute::new(name, other));
                return;
            }
        };
        let constant = self.constant(node, name, &tensor);
        node.inputs.resize(node.inputs.len().max(index + 1), String::new());
        node.inputs[index] = constant;
    }

    fn node(&mut self, node: &mut Node, rank: Option<usize>) -> Result<()> {
        let int = |node: &Node, name: &str| match node.attribute(name) {
            Some(AttributeValue::Int(value)) => Some(*value),
            _ => None,
        };
        match node.operator.as_str() {
            "Slice" if self.version < 10 => {
                ["starts", "ends", "axes"]
                    .into_iter()
                    .zip(1..)
                    .for_each(|(name, at)| self.move_to_input(node, name, at));
            }
            "TopK" if self.version < 10 => {
                let count = int(node, "k").ok_or_else(|| self.refused(node, "`k`"))?;
                node.attributes.retain(|attribute| attribute.name != "k");
                node.attributes.push(Attribute::new("k", vec![count]));
                self.move_to_input(node, "k", 1);
            }
            "Upsample" | "Resize" if self.version < 11 => {
                node.operator = "Resize".to_owned();
                node.inputs.insert(1, String::new());
                node.attributes.push(Attribute::new("coordinate_transformation_mode", "asymmetric"));
                node.attributes.push(Attribute::new("nearest_mode", "floor"));
            }
            "Clip" if self.version < 11 => {
                ["min", "max"].into_iter().zip(1..).for_each(|(name, at)| self.move_to_input(node, name, at));
            }
            "Pad" if self.version < 11 => {
                ["pads", "value"].into_iter().zip(1..).for_each(|(name, at)| self.move_to_input(node, name, at));
            }
            "Scatter" => node.operator = "ScatterElements".to_owned(),
            "Dropout" if self.version < 10 && node.outputs.iter().skip(1).any(|name| !name.is_empty()) => {
                return Err(self.refused(node, "a mask of truth values").into());
            }
            "Dropout" if self.version < 12 => self.move_to_input(node, "ratio", 1),
            "Squeeze" | "Unsqueeze" | "ReduceSum" if self.version < 13 => self.move_to_input(node, "axes", 1),
            "Split" if self.version < 13 => self.move_to_input(node, "split", 1),
            // Before 13 over all axes from `axis` (1 if not said) on: the same for the last one.
            "Softmax" | "LogSoftmax" | "Hardmax" if self.version < 13 => {
                let axis = int(node, "axis").unwrap_or(1);
                let is_last = axis == -1 || rank.is_some_and(|rank| axis == rank as i64 - 1);
                if !is_last {
                    return Err(self.refused(node, "an axis that is the last one").into());
                }
                node.attributes.retain(|attribute| attribute.name != "axis");
                node.attributes.push(Attribute::new("axis", -1));
            }
            "BatchNormalization" if self.version < 14 && node.outputs.iter().skip(1).any(|name| !name.is_empty()) => {
                return Err(self.refused(node, "batch statistics").into());
            }
            "BatchNormalization" if self.version < 14 => node.outputs.truncate(1),
            "RoiAlign" if self.version < 16 => {
                node.attributes.push(Attribute::new("coordinate_transformation_mode", "output_half_pixel"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Graph, OperatorSet, Type, ValueInfo, text};
    use crate::tensor::DType;

    fn old(version: i64, nodes: Vec<Node>) -> Model {
        let value = |name: &str, shape: &[i64]| {
            ValueInfo::new(name, Type::tensor(DType::F32, Some(shape.iter().map(|&size| size.into()).collect())))
        };
        Model {
            ir_version: 6,
            opset_imports: vec![OperatorSet { domain: String::new(), version }],
            graph: Graph {
                name: "old".to_owned(),
                inputs: vec![value("x", &[2, 1, 3])],
                outputs: vec![value("y", &[2, 3])],
                nodes,
                ..Graph::default()
            },
            ..Model::default()
        }
    }

    #[test]
    fn attributes_become_inputs() {
        let nodes = vec![
            Node::new("Squeeze", &["x"], &["flat"]).with("axes", vec![1i64]),
            Node::new("Dropout", &["flat"], &["kept"]).with("ratio", 0.25f32),
            Node::new("Softmax", &["kept"], &["y"]),
        ];
        insta::assert_snapshot!(text(&lift(old(11, nodes)).unwrap()), @r"
        format 8, ai.onnx 17
        graph old
          input x: f32[2, 1, 3]
          constant flat.axes: i64[1] = [1]
          constant kept.ratio: f32[] = 0.25
          flat = Squeeze(x, flat.axes)
          kept = Dropout(flat, kept.ratio)
          y = Softmax(kept) {axis: -1}
          output y: f32[2, 3]
        ");
    }

    #[test]
    fn upsampling_becomes_resizing() {
        let scales = Tensor::new("scales", &HostTensor::vector(vec![1.0f32, 1.0, 2.0]));
        let mut model = old(
            9,
            vec![
                Node::new("Upsample", &["x", "scales"], &["large"]).with("mode", "nearest"),
                Node::new("Clip", &["large"], &["bounded"]).with("max", 6.0f32),
                Node::new("Slice", &["bounded"], &["part"]).with("starts", vec![1i64]).with("ends", vec![4i64]),
                Node::new("Pad", &["part"], &["y"]).with("pads", vec![0i64; 6]),
            ],
        );
        model.graph.initializers.push(scales);
        model.graph.outputs[0].r#type = None;
        insta::assert_snapshot!(text(&lift(model).unwrap()), @r#"
        format 8, ai.onnx 17
        graph old
          input x: f32[2, 1, 3]
          constant scales: f32[3] = [1.0, 1.0, 2.0]
          constant bounded.max: f32[] = 6.0
          constant part.starts: i64[1] = [1]
          constant part.ends: i64[1] = [4]
          constant y.pads: i64[6] = [0, 0, 0, 0, 0, 0]
          large = Resize(x, _, scales) {coordinate_transformation_mode: "asymmetric", mode: "nearest", nearest_mode: "floor"}
          bounded = Clip(large, _, bounded.max)
          part = Slice(bounded, part.starts, part.ends)
          y = Pad(part, y.pads)
          output y
        "#);
    }

    #[test]
    fn what_means_something_else_is_refused() {
        let softmax = old(11, vec![Node::new("Softmax", &["x"], &["y"])]);
        let message = lift(softmax).unwrap_err().to_string();
        assert_eq!(
            message,
            "node `y` (Softmax): expected an axis that is the last one in a model of operator set 17 or later, found operator set 11"
        );
        assert!(lift(old(8, Vec::new())).unwrap_err().to_string().contains("expected 9 to"));
        let new = old(18, vec![Node::new("Relu", &["x"], &["y"])]);
        assert_eq!(lift(new.clone()).unwrap(), new);
    }
}
