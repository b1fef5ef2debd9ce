//! Batch norms in training: statistics of the batch, running statistics as PyTorch keeps them.
//!
//! Two forms. ONNX Runtime has no CUDA kernel for `BatchNormalization` in training, so there the
//! norm is composed of means and products; on the CPU the operator is faster.
//!
//! ONNX's `BatchNormalization` with `training_mode = 1` gives `running * momentum + batch * (1 -
//! momentum)`, with the variance of the batch divided by its number of elements n. Here the
//! momentum is 0, so that the statistics of the batch come out, and the running ones are made of
//! them as PyTorch does: `0.9 * running + 0.1 * batch`, the variance times n / (n - 1). (ONNX
//! Runtime also writes the node's running statistics over its inputs; what it overwrites here is
//! nobody's.) Reference: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use crate::error::Result;
use crate::graph::artifacts::NEXT;
use crate::graph::{Attribute, AttributeValue, Builder, Model, Node, Patch, Value};
use crate::tensor::DType;

/// Whose kernels a step is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The CPU's.
    Cpu,
    /// CUDA's.
    Cuda,
}

/// PyTorch's momentum: the weight of the batch in the running statistics.
const MOMENTUM: f32 = 0.1;
/// The epsilon of a node that has none.
const EPSILON: f32 = 1e-5;

/// A batch norm that is trained.
struct Norm {
    node: usize,
    epsilon: f32,
    x: String,
    affine: [String; 2],
    running: [String; 2],
    batch: [String; 2],
}

/// Lets the batch norms whose scale `is_trained` normalise by the batch, and adds their running
/// statistics `X` as outputs `next/X`; gives the names of these.
pub(super) fn update_statistics(
    model: Model,
    target: Target,
    is_trained: impl Fn(&str) -> bool,
) -> Result<(Model, Vec<String>)> {
    let mut norms = Vec::new();
    for (index, node) in model.graph.nodes.iter().enumerate() {
        let is_norm = node.operator == "BatchNormalization" && node.is_standard();
        let [x, scale, bias, mean, variance] = node.inputs.as_slice() else { continue };
        if is_norm && is_trained(scale) {
            norms.push(Norm {
                node: index,
                epsilon: match node.attribute("epsilon") {
                    Some(AttributeValue::Float(epsilon)) => *epsilon,
                    _ => EPSILON,
                },
                x: x.clone(),
                affine: [scale.clone(), bias.clone()],
                running: [mean.clone(), variance.clone()],
                batch: ["mean", "variance"].map(|what| format!("{}.batch_{what}", node.outputs[0])),
            });
        }
    }
    let model = match target {
        Target::Cpu => with_operator(model, &norms)?,
        Target::Cuda => composed(model, &norms)?,
    };
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

/// The operator in training.
fn with_operator(model: Model, norms: &[Norm]) -> Result<Model> {
    // What takes the place of the running statistics: memory that is written over, computed in two
    // ways, so that no optimiser makes one of the two.
    let mut b = Builder::extend(model)?;
    let mut stand_ins = Vec::new();
    for norm in norms {
        let zero = b.scalar(0.0);
        let [scale, bias] = [b.value(&norm.affine[0])?, b.value(&norm.affine[1])?];
        stand_ins.push([scale, bias].map(|value| b.mul(&value, &zero).name().to_owned()));
    }
    let mut model = b.finish()?;
    let mut patch = Patch::new("batch norms in training");
    for (norm, stand_ins) in norms.iter().zip(stand_ins) {
        let node = in_training(&model.graph.nodes[norm.node], stand_ins, &norm.batch);
        patch.replace_nodes.insert(norm.node, vec![node]);
    }
    patch.apply(&mut model)?;
    Ok(model)
}

/// Means, differences and products in place of the operator.
fn composed(model: Model, norms: &[Norm]) -> Result<Model> {
    let outputs: Vec<String> = norms.iter().map(|norm| model.graph.nodes[norm.node].outputs[0].clone()).collect();
    let mut b = Builder::extend(model)?;
    for (norm, output) in norms.iter().zip(&outputs) {
        let [x, scale, bias] = [b.value(&norm.x)?, b.value(&norm.affine[0])?, b.value(&norm.affine[1])?];
        let rank = b.rank(&x).unwrap_or(4) as i64;
        let axes: Vec<i64> = std::iter::once(0).chain(2..rank).collect();
        let channels: Vec<i64> = std::iter::once(-1).chain((2..rank).map(|_| 1)).collect();
        b.scope(output, |b| {
            let [mean, variance, y] = b.express_all([&x, &scale, &bias], |[x, scale, bias]| {
                let mean = x.reduce_mean(&axes, true);
                let centred = x - mean;
                let variance = (centred * centred).reduce_mean(&axes, true);
                let deviation = (variance + f64::from(norm.epsilon)).sqrt();
                let [scale, bias] = [scale, bias].map(|value| value.reshape(&channels));
                [mean, variance, centred * (scale / deviation) + bias]
            });
            for (value, name) in [(&mean, &norm.batch[0]), (&variance, &norm.batch[1])] {
                let vector = b.reshape(value, &[-1]);
                b.name(&vector, name);
            }
            b.name(&y, &format!("{output}.by_batch"));
        });
    }
    let mut model = b.finish()?;
    let patch = Patch {
        remove_nodes: norms.iter().map(|norm| norm.node).collect(),
        rename_outputs: outputs.into_iter().map(|output| (format!("{output}.by_batch"), output)).collect(),
        ..Patch::new("composed batch norms")
    };
    patch.apply(&mut model)?;
    Ok(model)
}

/// A batch norm in training, which gives the statistics of the batch.
fn in_training(node: &Node, stand_ins: [String; 2], batch: &[String; 2]) -> Node {
    let mut node = node.clone();
    node.inputs.truncate(3);
    node.inputs.extend(stand_ins);
    node.outputs.truncate(1);
    node.outputs.extend(batch.iter().cloned());
    node.attributes.retain(|attribute| !matches!(attribute.name.as_str(), "training_mode" | "momentum"));
    node.attributes.extend([Attribute::new("training_mode", 1i64), Attribute::new("momentum", 0.0f32)]);
    node
}

/// `(1 - momentum) * old + momentum * batch`.
fn blend(b: &mut Builder, old: &Value, batch: &Value) -> Value {
    let (kept, taken) = (f64::from(1.0 - MOMENTUM), f64::from(MOMENTUM));
    b.express([old, batch], |[old, batch]| old * kept + batch * taken)
}

/// The variance with n - 1 as divisor, n being the elements of a channel of `x`.
fn unbiased(b: &mut Builder, x: &Value, variance: &Value) -> Value {
    b.express([x, variance], |[x, variance]| match x.sizes() {
        // A constant, so that nothing holds `x`.
        Some(sizes) => {
            let count = sizes.iter().product::<i64>() as f64 / sizes.get(1).copied().unwrap_or(1).max(1) as f64;
            variance * (count / (count - 1.0))
        }
        None => {
            let sizes = [x, variance].map(|value| value.apply("Size", &[]));
            let [size, channels] = sizes.map(|size| size.cast(DType::F32));
            let count = size / channels;
            variance * (count / (count - 1.0))
        }
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::graph::{BatchNormParameters, Dim, autodiff};
    use crate::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
    use crate::support::progress::Silent;
    use crate::support::seed::Seed;
    use crate::tensor::{HostTensor, Tolerance, compare};

    /// Output, running statistics and the gradients of a weighted sum, by name.
    fn computed(target: Target) -> Vec<(String, HostTensor)> {
        let drawn = |name: &str, shape: &[usize]| {
            let mut random = Seed::new(1).named(name).random();
            HostTensor::from_fn(shape, |_| random.gen_range(0.5f32..2.0))
        };
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[4, 3, 5, 5].map(Dim::Fixed));
        let [scale, bias, mean, variance] =
            ["scale", "bias", "mean", "variance"].map(|name| b.parameter(name, &drawn(name, &[3])));
        let parameters = BatchNormParameters { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        let y = b.batch_norm(&x, parameters, 1e-3);
        b.output("y", &y);
        let (model, statistics) = update_statistics(b.finish().unwrap(), target, |name| name == "scale").unwrap();
        assert_eq!(statistics, ["mean", "variance"]);
        let mut b = Builder::extend(model).unwrap();
        let [y, x, scale, bias] = ["y", "x", "scale", "bias"].map(|name| b.value(name).unwrap());
        let weights = b.constant(&drawn("weights", &[4, 3, 5, 5]));
        let product = b.mul(&y, &weights);
        let loss = b.reduce_sum(&product, &[0, 1, 2, 3], false);
        let gradients = autodiff::gradients(&mut b, &loss, &[x, scale, bias]).unwrap();
        for (name, gradient) in ["x", "scale", "bias"].iter().zip(gradients) {
            b.output(&format!("grad/{name}"), &gradient.unwrap());
        }
        let bytes = b.finish().unwrap().to_bytes().unwrap();
        let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
        let runtime = Runtime::ensure(None, &Silent).unwrap();
        let mut session = Session::open(&runtime, ModelSource::Bytes(&bytes), &options).unwrap();
        let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
        names.into_iter().zip(session.run(&[("x", &drawn("x", &[4, 3, 5, 5]))], &[]).unwrap()).collect()
    }

    #[test]
    fn both_forms_compute_the_same() {
        let [operator, composed] = [Target::Cpu, Target::Cuda].map(computed);
        assert_eq!(operator.len(), 6);
        for ((name, expected), (same, found)) in operator.iter().zip(&composed) {
            let [found, expected] = [found, expected].map(|tensor| tensor.values::<f32>().unwrap().into_owned());
            let outcome = compare(&found, &expected, Tolerance::Relative(1e-4)).unwrap();
            assert!(name == same && outcome.holds(), "{name}, {same}: {outcome}");
        }
    }
}
