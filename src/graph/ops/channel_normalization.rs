//! Normalisations by channel: batch, instance and group normalisation of `x` [N, C, ...].
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>; before operator set 9 batch
//! normalisation has the same shapes.

use crate::graph::ops::{OpContext, OpDef, Result, VjpContext, VjpResult, same_shape};
use crate::graph::{Builder, Fact, Node, Value};
use crate::tensor::{DType, HostTensor};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("BatchNormalization", 7, infer_batch_normalization).vjp(batch_normalization),
    OpDef::new("GroupNormalization", 7, same_shape).vjp(group_normalization),
    OpDef::new("InstanceNormalization", 7, same_shape).vjp(instance_normalization),
];

/// Epsilon where the node names none.
const EPSILON: f32 = 1e-5;

/// The outputs behind the first are statistics, [C].
fn infer_batch_normalization(site: &OpContext<'_>) -> Result<Vec<Fact>> {
    let x = site.input(0)?;
    if let Some(channels) = x.shape.as_ref().and_then(|shape| shape.get(1)) {
        for index in 1..5 {
            if let Some([size]) = site.input(index)?.shape.as_deref() {
                site.same_size(&format!("input {index} of size"), channels, size)?;
            }
        }
    }
    let mut outputs = vec![Fact::new(x.element, x.shape.clone())];
    for _ in 0..4 {
        let statistic = site.input(3)?;
        outputs.push(Fact::new(statistic.element, statistic.shape.clone()));
    }
    Ok(outputs)
}

/// A vector with an entry per channel as [C, 1, ...], to be broadcast over `x`.
fn by_channel(b: &mut Builder, vector: &Value, rank: usize) -> Value {
    if rank == 2 {
        return vector.clone();
    }
    b.unsqueeze(vector, &(1..rank as i64 - 1).collect::<Vec<i64>>())
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviation(b: &mut Builder, variance: &Value, epsilon: f64) -> Value {
    let epsilon = b.scalar_like(variance, epsilon);
    let sum = b.add(variance, &epsilon);
    let deviation = b.sqrt(&sum);
    b.apply("Reciprocal", &[&deviation])
}

/// Normalised by the stored statistics: with `r = 1 / sqrt(variance + epsilon)`, `dx = dy scale r`,
/// `dbias = sum(dy)`, `dscale = r (sum(dy x) - mean dbias)`, `dmean = -scale r dbias`, `dvariance =
/// -scale r^2 dscale / 2`.
///
/// In training mode, normalised by the statistics of the batch: see [`by_batch`].
fn batch_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, scale, mean, variance) = (a.input(0)?, a.input(1)?, a.input(3)?, a.input(4)?);
    let dy = a.cotangent()?;
    let (rank, epsilon) = (a.rank(0)?, a.float("epsilon", EPSILON));
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    if a.site.int("training_mode").unwrap_or(0) != 0 {
        return by_batch(a, b, &axes);
    }
    let inverse = inverse_deviation(b, variance, epsilon);
    let factor = b.mul(scale, &inverse);
    let mut passed = vec![None; 5];
    if a.wants(0) {
        let wide = by_channel(b, &factor, rank);
        passed[0] = Some(b.mul(dy, &wide).into());
    }
    if (1..5).any(|index| a.wants(index)) {
        let sum = b.reduce_sum(dy, &axes, false);
        if a.wants(1) || a.wants(4) {
            let product = b.mul(dy, x);
            let along = b.reduce_sum(&product, &axes, false);
            let shift = b.mul(mean, &sum);
            let centred = b.sub(&along, &shift);
            let dscale = b.mul(&centred, &inverse);
            if a.wants(4) {
                let half = b.scalar_like(&factor, -0.5);
                let curve = b.mul(&factor, &inverse);
                let curve = b.mul(&curve, &half);
                passed[4] = Some(b.mul(&curve, &dscale).into());
            }
            passed[1] = Some(dscale.into());
        }
        if a.wants(3) {
            let product = b.mul(&factor, &sum);
            passed[3] = Some(b.neg(&product).into());
        }
        passed[2] = Some(sum.into());
    }
    Ok(passed)
}

/// Normalised by the statistics of the batch: with `z = x - mean`, `r = 1 / sqrt(variance +
/// epsilon)` and n elements a channel, `dx = scale r (dy - sum(dy) / n - z r^2 sum(dy z) / n)`,
/// `dscale = r sum(dy z)`, `dbias = sum(dy)`; large tensors are gone through as seldom as possible.
fn by_batch(a: &VjpContext<'_>, b: &mut Builder, axes: &[i64]) -> VjpResult {
    let (x, scale, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let rank = a.rank(0)?;
    let [mean, variance] = batch_statistics(a, b, axes)?;
    let inverse = inverse_deviation(b, &variance, a.float("epsilon", EPSILON));
    let product = b.mul(dy, x);
    let along = b.reduce_sum(&product, axes, false);
    let sum = b.reduce_sum(dy, axes, false);
    let shift = b.mul(&mean, &sum);
    let along = b.sub(&along, &shift);
    let mut passed = vec![None, Some(b.mul(&along, &inverse).into()), Some(sum.clone().into())];
    if a.wants(0) {
        let share = share(b, x, scale);
        let curve = b.mul(&inverse, &inverse);
        let curve = b.mul(&curve, &along);
        let factor = b.mul(scale, &inverse);
        let [curve, level] = [&curve, &sum].map(|value| b.mul(value, &share));
        // factor (dy - level - (x - mean) curve) = (factor dy + rest) - turn x
        let turn = b.mul(&factor, &curve);
        let [level, turned] = [(&factor, &level), (&turn, &mean)].map(|(a, c)| b.mul(a, c));
        let rest = b.sub(&turned, &level);
        let moved = affine(b, dy, (&factor, &rest), rank);
        let turn = by_channel(b, &turn, rank);
        let turned = b.mul(x, &turn);
        passed[0] = Some(b.sub(&moved, &turned).into());
    }
    Ok(passed)
}

/// `factor x + shift` with vectors of an entry per channel; where their length is known as a batch
/// norm, which goes through `x` once.
fn affine(b: &mut Builder, x: &Value, (factor, shift): (&Value, &Value), rank: usize) -> Value {
    match b.sizes(factor).as_deref() {
        Some(&[channels]) if b.dtype(x) == Some(DType::F32) => {
            let [zeros, ones] =
                [0f32, 1.0].map(|value| b.constant(&HostTensor::vector(vec![value; channels as usize])));
            let names = [x, factor, shift, &zeros, &ones].map(Value::name);
            b.node(Node::new("BatchNormalization", &names, &[]).with("epsilon", 0f32))
        }
        _ => {
            let [factor, shift] = [factor, shift].map(|vector| by_channel(b, vector, rank));
            let scaled = b.mul(x, &factor);
            b.add(&scaled, &shift)
        }
    }
}

/// Mean and variance of the batch, `[C]`: the node's own further outputs where its momentum is 0,
/// else computed again.
fn batch_statistics(a: &VjpContext<'_>, b: &mut Builder, axes: &[i64]) -> Result<[Value; 2]> {
    let own = |index: usize| a.outputs.get(index).and_then(Option::as_ref).filter(|_| a.float("momentum", 0.9) == 0.0);
    if let (Some(mean), Some(variance)) = (own(1), own(2)) {
        return Ok([mean.clone(), variance.clone()]);
    }
    let x = a.input(0)?;
    let mean = b.reduce_mean(x, axes, false);
    let wide = by_channel(b, &mean, a.rank(0)?);
    let centred = b.sub(x, &wide);
    let square = b.mul(&centred, &centred);
    Ok([mean, b.reduce_mean(&square, axes, false)])
}

/// One over the number of elements of a channel of `x`; `vector` has one element a channel.
fn share(b: &mut Builder, x: &Value, vector: &Value) -> Value {
    if let Some(sizes) = b.sizes(x).filter(|sizes| sizes.len() > 1) {
        let count = sizes.iter().product::<i64>() / sizes[1].max(1);
        return b.scalar_like(x, 1.0 / count as f64);
    }
    let dtype = b.dtype(x).unwrap_or(DType::F32);
    let [all, channels] = [x, vector].map(|value| {
        let size = b.apply("Size", &[value]);
        b.cast(&size, dtype)
    });
    b.div(&channels, &all)
}

/// The axes that statistics are taken over.
struct Statistics<'a> {
    axes: &'a [i64],
    epsilon: f64,
}

impl Statistics<'_> {
    /// With `n` the normalised `x` and `g = dy scale`: `dx = r (g - mean(g) - n mean(g n))`, and
    /// `dy n`, whose sum is the gradient of the scale.
    fn pass(
        &self,
        b: &mut Builder,
        (x, dy, scale): (&Value, &Value, &Value),
        (image, factor): (bool, bool),
    ) -> (Option<Value>, Option<Value>) {
        let mean = b.reduce_mean(x, self.axes, true);
        let centred = b.sub(x, &mean);
        let square = b.mul(&centred, &centred);
        let variance = b.reduce_mean(&square, self.axes, true);
        let inverse = inverse_deviation(b, &variance, self.epsilon);
        let normal = b.mul(&centred, &inverse);
        let dx = image.then(|| {
            let g = b.mul(dy, scale);
            let mean = b.reduce_mean(&g, self.axes, true);
            let product = b.mul(&g, &normal);
            let along = b.reduce_mean(&product, self.axes, true);
            let turned = b.mul(&normal, &along);
            let rest = b.sub(&g, &turned);
            let rest = b.sub(&rest, &mean);
            b.mul(&rest, &inverse)
        });
        let product = factor.then(|| b.mul(dy, &normal));
        (dx, product)
    }
}

/// Normalised by the statistics of each image and channel.
fn instance_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, scale, dy) = (a.input(0)?, a.input(1)?, a.cotangent()?);
    let rank = a.rank(0)?;
    let spatial: Vec<i64> = (2..rank as i64).collect();
    let others: Vec<i64> = std::iter::once(0).chain(spatial.iter().copied()).collect();
    let wide = by_channel(b, scale, rank);
    let statistics = Statistics { axes: &spatial, epsilon: a.float("epsilon", EPSILON) };
    let (dx, dscale) = statistics.pass(b, (x, dy, &wide), (a.wants(0), a.wants(1)));
    let dscale = dscale.map(|product| b.reduce_sum(&product, &others, false).into());
    let dbias = a.wants(2).then(|| b.reduce_sum(dy, &others, false).into());
    Ok(vec![dx.map(Into::into), dscale, dbias])
}

/// Normalised by the statistics of each image and group of channels; scale and bias belong to
/// channels (from operator set 21 on) or to groups.
fn group_normalization(a: &VjpContext<'_>, b: &mut Builder) -> VjpResult {
    let (x, scale, bias, dy) = (a.input(0)?, a.input(1)?, a.input(2)?, a.cotangent()?);
    let groups = a.site.int("num_groups").ok_or_else(|| a.site.error("`num_groups`", "none"))?;
    let channels = a.shape(0)?.get(1).and_then(|dim| dim.fixed());
    let channels = channels.ok_or_else(|| a.site.error("a known number of channels", "an open one"))?;
    let per_group = channels / groups;
    let of_groups = a.site.opset < 21;
    // [N, groups, channels of a group, positions]
    let apart = |b: &mut Builder, value: &Value| b.reshape(value, &[0, groups, per_group, -1]);
    let (image, steps) = (apart(b, x), apart(b, dy));
    let shape: &[i64] = if of_groups { &[groups, 1, 1] } else { &[groups, per_group, 1] };
    let wide = b.reshape(scale, shape);
    let statistics = Statistics { axes: &[2, 3], epsilon: a.float("epsilon", EPSILON) };
    let (dx, dscale) = statistics.pass(b, (&image, &steps, &wide), (a.wants(0), a.wants(1)));
    let axes: &[i64] = if of_groups { &[0, 2, 3] } else { &[0, 3] };
    let sum = |b: &mut Builder, value: &Value, like: &Value| -> Value {
        let sum = b.reduce_sum(value, axes, false);
        b.reshape_like(&sum, like)
    };
    let dscale = dscale.map(|product| sum(b, &product, scale).into());
    let dbias = if a.wants(2) { Some(sum(b, &steps, bias).into()) } else { None };
    let dx: Option<Value> = dx.map(|dx| b.reshape_like(&dx, x));
    Result::Ok(vec![dx.map(Into::into), dscale, dbias])
}
