//! The optimizer's model: AdamW, and clipping by the norm of all gradients together where the
//! training model does not do it.
//!
//! Inputs by name and in this order: `learning_rate` f32 `[1]`, `step` i64 `[1]`, and sequences of
//! f32 tensors `params`, `gradients`, `first_order_moments`, `second_order_moments`. Output:
//! `updated_flag` bool `[1]`. All tensors are updated in place. Formulas are PyTorch's (`adam_mode`
//! 0), as in `finetune::optimizer`.

use crate::graph::artifacts::{ArtifactOptions, DOMAIN, Update};
use crate::graph::{Attribute, Dim, Graph, Model, Node, OperatorSet, Type, TypeKind, ValueInfo};
use crate::tensor::DType;

/// The operator set and file format of the model.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

const FIRST_DECAY: f32 = 0.9;
const SECOND_DECAY: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The model.
pub(super) fn model(options: &ArtifactOptions) -> Model {
    let sequences = ["params", "gradients", "first_order_moments", "second_order_moments"];
    let one = || Some(vec![Dim::Fixed(1)]);
    let tensors = TypeKind::Sequence(Some(Box::new(Type::tensor(DType::F32, None))));
    let mut inputs = vec![
        ValueInfo::new("learning_rate", Type::tensor(DType::F32, one())),
        ValueInfo::new("step", Type::tensor(DType::I64, one())),
    ];
    inputs.extend(sequences.map(|name| ValueInfo::new(name, tensors.clone())));
    let mut read: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let mut nodes = Vec::new();
    let (clip, weight_decay) = match options.update {
        Update::Uniform { clip, weight_decay } => (clip, weight_decay as f32),
        Update::Fed { .. } => (None, 0.0),
    };
    if let Some(clip) = clip {
        let node = Node::new("InplaceClipGradNorm", &["gradients"], &["clipped"]);
        nodes.push(own(node.with("max_norm", clip as f32).with("norm_type", "fro")));
        read[3] = "clipped";
    }
    let mut update = own(Node::new("AdamWOptimizer", &read, &["updated_flag"]));
    update.attributes.extend(
        [("alpha", FIRST_DECAY), ("beta", SECOND_DECAY), ("epsilon", EPSILON), ("weight_decay", weight_decay)]
            .map(|(name, value)| Attribute::new(name, value)),
    );
    update
        .attributes
        .extend([("adam_mode", 0), ("correct_bias", 1i64)].map(|(name, value)| Attribute::new(name, value)));
    nodes.push(update);
    let outputs = vec![ValueInfo::new("updated_flag", Type::tensor(DType::Bool, one()))];
    let graph = Graph { name: "optimizer".into(), nodes, inputs, outputs, ..Graph::default() };
    let set = |domain: &str, version| OperatorSet { domain: domain.into(), version };
    Model {
        ir_version: IR_VERSION,
        opset_imports: vec![set("", OPSET), set(DOMAIN, 1)],
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph,
        ..Model::default()
    }
}

/// A node of one of ONNX Runtime's own operators, named after it.
fn own(node: Node) -> Node {
    Node { domain: DOMAIN.into(), name: node.operator.clone(), ..node }
}
