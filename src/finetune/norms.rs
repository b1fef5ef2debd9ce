//! Batch norms in training: statistics of the batch, running statistics as PyTorch keeps them.
//!
//! ONNX's `BatchNormalization` with `training_mode = 1` gives `running * momentum + batch * (1 - momentum)`, with the variance
//! of the batch divided by its number of elements n. Here the momentum is 0, so that the statistics of the batch come out, and
//! the running ones are made of them as PyTorch does: `0.9 * running + 0.1 * batch`, the variance times n / (n - 1). (ONNX
//! Runtime also writes the node's running statistics over its inputs; what it overwrites here is nobody's.) Reference:
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use crate::error::Result;
use crate::finetune::step::NEXT;
use crate::graph::Attribute;
use crate::graph::Builder;
use crate::graph::Model;
use crate::graph::Node;
use crate::graph::Value;
use crate::tensor::DType;

/// PyTorch's momentum: the weight of the batch in the running statistics.
const MOMENTUM: f32 = 0.1;

/// A batch norm that is trained.
struct Norm {
    node: usize,
    x: String,
    affine: [String; 2],
    running: [String; 2],
    batch: [String; 2],
}

/// Lets the batch norms whose scale `is_trained` normalise by the batch, and adds their running statistics `X` as outputs
/// `next/X`; gives the names of these.
pub(super) fn update_statistics(model: Model, is_trained: impl Fn(&str) -> bool) -> Result<(Model, Vec<String>)> {
    let mut norms = Vec::new();
    for (index, node) in model.graph.nodes.iter().enumerate() {
        let is_norm = node.operator == "BatchNormalization" && node.is_standard();
        let [x, scale, bias, mean, variance] = node.inputs.as_slice() else { continue };
        if is_norm && is_trained(scale) {
            norms.push(Norm {
                node: index,
                x: x.clone(),
                affine: [scale.clone(), bias.clone()],
                running: [mean.clone(), variance.clone()],
                batch: ["mean", "variance"].map(|what| format!("{}.batch_{what}", node.outputs[0])),
            });
        }
    }
    // What takes the place of the running statistics: memory that is written over, computed in two ways, so that no optimiser
    // makes one of the two.
    let mut b = Builder::extend(model)?;
    let mut stand_ins = Vec::new();
    for norm in &norms {
        let zero = b.scalar(0.0);
        let [scale, bias] = [b.value(&norm.affine[0])?, b.value(&norm.affine[1])?];
        stand_ins.push([scale, bias].map(|value| b.mul(&value, &zero).name().to_owned()));
    }
    let mut model = b.finish()?;
    for (norm, stand_ins) in norms.iter().zip(stand_ins) {
        train(&mut model.graph.nodes[norm.node], stand_ins, &norm.batch);
    }
    model.graph.sort()?;
    let mut b = Builder::extend(model)?;
    let mut statistics = Vec::new();
    for Norm { x, running, batch, .. } in norms {
        let x = b.value(&x)?;
        let [old_mean, old_variance] = [b.value(&running[0])?, b.value(&running[1])?];
        let [mean, variance] = [b.value(&batch[0])?, b.value(&batch[1])?];
        let mean = b.scope(&running[0], |b| blend(b, &old_mean, &mean));
        let variance = b.scope(&running[1], |b| {
            let unbiased = unbiased(b, &x, &variance);
            blend(b, &old_variance, &unbiased)
        });
        b.output(&format!("{NEXT}{}", running[0]), &mean);
        b.output(&format!("{NEXT}{}", running[1]), &variance);
        statistics.extend(running);
    }
    Ok((b.finish()?, statistics))
}

/// Makes a batch norm one in training that gives the statistics of the batch.
fn train(node: &mut Node, stand_ins: [String; 2], batch: &[String; 2]) {
    node.inputs.truncate(3);
    node.inputs.extend(stand_ins);
    node.outputs.truncate(1);
    node.outputs.extend(batch.iter().cloned());
    node.attributes.retain(|attribute| !matches!(attribute.name.as_str(), "training_mode" | "momentum"));
    node.attributes.extend([Attribute::new("training_mode", 1i64), Attribute::new("momentum", 0.0f32)]);
}

/// `(1 - momentum) * old + momentum * batch`.
fn blend(b: &mut Builder, old: &Value, batch: &Value) -> Value {
    let (kept, taken) = (b.scalar(1.0 - MOMENTUM), b.scalar(MOMENTUM));
    let (old, batch) = (b.mul(old, &kept), b.mul(batch, &taken));
    b.add(&old, &batch)
}

/// The variance with n - 1 as divisor, n being the elements of a channel of `x`.
fn unbiased(b: &mut Builder, x: &Value, variance: &Value) -> Value {
    let factor = match b.sizes(x) {
        // A constant, so that nothing holds `x`.
        Some(sizes) => {
            let count = sizes.iter().product::<i64>() as f64 / sizes.get(1).copied().unwrap_or(1).max(1) as f64;
            b.scalar((count / (count - 1.0)) as f32)
        }
        None => {
            let size = b.apply("Size", &[x]);
            let channels = b.apply("Size", &[variance]);
            let (size, channels) = (b.cast(&size, DType::F32), b.cast(&channels, DType::F32));
            let count = b.div(&size, &channels);
            let one = b.scalar(1.0);
            let less = b.sub(&count, &one);
            b.div(&count, &less)
        }
    };
    b.mul(variance, &factor)
}
