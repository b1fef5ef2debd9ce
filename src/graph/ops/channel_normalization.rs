//! Normalisations by channel: batch, instance and group normalisation of `x` [N, C, ...].
//! <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>; before operator set 9 batch
//! normalisation has the same shapes.

use crate::graph::ops::normalization::normalized_backwards;
use crate::graph::ops::{OpContext, OpDef, Result, Terms, VjpResult, same_shape};
use crate::graph::{Dim, Expr, Fact, Node};
use crate::tensor::{DType, HostTensor};

pub(super) const OPERATORS: &[OpDef] = &[
    OpDef::new("BatchNormalization", 7, infer_batch_normalization).formula(batch_normalization),
    OpDef::new("GroupNormalization", 7, same_shape).formula(group_normalization),
    OpDef::new("InstanceNormalization", 7, same_shape).formula(instance_normalization),
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
fn by_channel(vector: Expr<'_>, rank: usize) -> Expr<'_> {
    if rank == 2 { vector } else { vector.unsqueeze(&(1..rank as i64 - 1).collect::<Vec<i64>>()) }
}

/// `1 / sqrt(variance + epsilon)`.
fn inverse_deviation(variance: Expr<'_>, epsilon: f64) -> Expr<'_> {
    (variance + epsilon).sqrt().reciprocal()
}

/// Normalised by the stored statistics: with `r = 1 / sqrt(variance + epsilon)`, `dx = dy scale r`,
/// `dbias = sum(dy)`, `dscale = r (sum(dy x) - mean dbias)`, `dmean = -scale r dbias`, `dvariance =
/// -scale r^2 dscale / 2`.
///
/// In training mode, normalised by the statistics of the batch: see [`by_batch`].
fn batch_normalization(t: &Terms<'_>) -> VjpResult {
    let (x, scale, mean, variance, dy) = (t.input(0)?, t.input(1)?, t.input(3)?, t.input(4)?, t.cotangent()?);
    let (rank, epsilon) = (t.context.rank(0)?, t.context.float("epsilon", EPSILON));
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    if t.context.site.int("training_mode").unwrap_or(0) != 0 {
        return by_batch(t, &axes);
    }
    let wants = |index: usize| t.context.wants(index);
    let r = inverse_deviation(variance, epsilon);
    let factor = scale * r;
    let mut cotangents = vec![None; 5];
    if wants(0) {
        cotangents[0] = Some((dy * by_channel(factor, rank)).into());
    }
    if (1..5).any(wants) {
        let dbias = dy.reduce_sum(&axes, false);
        if wants(1) || wants(4) {
            let dscale = ((dy * x).reduce_sum(&axes, false) - mean * dbias) * r;
            cotangents[1] = Some(dscale.into());
            cotangents[4] = wants(4).then(|| (factor * r * -0.5 * dscale).into());
        }
        cotangents[3] = wants(3).then(|| (-(factor * dbias)).into());
        cotangents[2] = Some(dbias.into());
    }
    Ok(cotangents)
}

/// Normalised by the statistics of the batch: with `z = x - mean`, `r = 1 / sqrt(variance +
/// epsilon)` and n elements a channel, `dx = scale r (dy - sum(dy) / n - z r^2 sum(dy z) / n)`,
/// `dscale = r sum(dy z)`, `dbias = sum(dy)`; large tensors are gone through as seldom as possible.
fn by_batch(t: &Terms<'_>, axes: &[i64]) -> VjpResult {
    let (x, scale, dy, rank) = (t.input(0)?, t.input(1)?, t.cotangent()?, t.context.rank(0)?);
    let [mean, variance] = batch_statistics(t, axes)?;
    let r = inverse_deviation(variance, t.context.float("epsilon", EPSILON));
    // sum(dy z) = sum(dy x) - mean sum(dy)
    let along_x = (dy * x).reduce_sum(axes, false);
    let dbias = dy.reduce_sum(axes, false);
    let along = along_x - mean * dbias;
    let dscale = along * r;
    let dx = t.context.wants(0).then(|| {
        let one_over_n = one_over_count(x, scale);
        let slope = r * r * along;
        let factor = scale * r;
        let (slope, level) = (slope * one_over_n, dbias * one_over_n);
        // factor (dy - level - (x - mean) slope) = (factor dy + shift) - turn x
        let turn = factor * slope;
        let (level, turned_mean) = (factor * level, turn * mean);
        let shift = turned_mean - level;
        let moved = affine(dy, factor, shift, rank);
        (moved - x * by_channel(turn, rank)).into()
    });
    Ok(vec![dx, Some(dscale.into()), Some(dbias.into())])
}

/// `factor x + shift` with vectors of an entry per channel; where their length is known as a batch
/// norm, which goes through `x` once.
fn affine<'f>(x: Expr<'f>, factor: Expr<'f>, shift: Expr<'f>, rank: usize) -> Expr<'f> {
    match factor.sizes().as_deref() {
        Some(&[channels]) if x.dtype() == Some(DType::F32) => {
            let [zeros, ones] =
                [0f32, 1.0].map(|value| x.constant(&HostTensor::vector(vec![value; channels as usize])));
            let norm = Node::new("BatchNormalization", &[], &[]).with("epsilon", 0f32);
            x.node(norm, &[factor, shift, zeros, ones])
        }
        _ => {
            let [factor, shift] = [factor, shift].map(|vector| by_channel(vector, rank));
            x * factor + shift
        }
    }
}

/// Mean and variance of the batch, `[C]`: the node's own further outputs where its momentum is 0,
/// else computed again.
fn batch_statistics<'f>(t: &Terms<'f>, axes: &[i64]) -> Result<[Expr<'f>; 2]> {
    if let (0.0, Ok(mean), Ok(variance)) = (t.context.float("momentum", 0.9), t.output(1), t.output(2)) {
        return Ok([mean, variance]);
    }
    let x = t.input(0)?;
    let mean = x.reduce_mean(axes, false);
    let centred = x - by_channel(mean, t.context.rank(0)?);
    Ok([mean, (centred * centred).reduce_mean(axes, false)])
}

/// One over the number of elements of a channel of `x`; `vector` has one element a channel.
fn one_over_count<'f>(x: Expr<'f>, vector: Expr<'f>) -> Expr<'f> {
    if let Some(sizes) = x.sizes().filter(|sizes| sizes.len() > 1) {
        let count = sizes.iter().product::<i64>() / sizes[1].max(1);
        return x.scalar(1.0 / count as f64);
    }
    let [all, channels] = [x, vector].map(|value| value.apply("Size", &[]).cast(x.dtype_or_f32()));
    channels / all
}

/// A normalisation by the statistics over some axes of `x`, seen backwards.
struct Normalization<'f, 'a> {
    t: &'a Terms<'f>,
    axes: &'a [i64],
    x: Expr<'f>,
    dy: Expr<'f>,
    scale: Expr<'f>,
}

impl<'f> Normalization<'f, '_> {
    /// With `n` the normalised `x` and `g = dy scale`: `dx = r (g - mean(g) - n mean(g n))`, and
    /// `dy n`, whose sum is the gradient of the scale; as far as they are wanted.
    fn backwards(&self) -> [Option<Expr<'f>>; 2] {
        let Normalization { t, axes, x, dy, scale } = *self;
        let centred = x - x.reduce_mean(axes, true);
        let variance = (centred * centred).reduce_mean(axes, true);
        let r = inverse_deviation(variance, t.context.float("epsilon", EPSILON));
        let n = centred * r;
        let dx = t.context.wants(0).then(|| normalized_backwards(dy * scale, n, r, axes));
        [dx, t.context.wants(1).then(|| dy * n)]
    }
}

/// Normalised by the statistics of each image and channel.
fn instance_normalization(t: &Terms<'_>) -> VjpResult {
    let (x, scale, dy, rank) = (t.input(0)?, t.input(1)?, t.cotangent()?, t.context.rank(0)?);
    let axes: Vec<i64> = (2..rank as i64).collect();
    let others: Vec<i64> = std::iter::once(0).chain(axes.iter().copied()).collect();
    let normalization = Normalization { t, axes: &axes, x, dy, scale: by_channel(scale, rank) };
    let [dx, dscale] = normalization.backwards();
    let dscale = dscale.map(|dscale| dscale.reduce_sum(&others, false).into());
    let dbias = t.context.wants(2).then(|| dy.reduce_sum(&others, false).into());
    Ok(vec![dx.map(Into::into), dscale, dbias])
}

/// Normalised by the statistics of each image and group of channels; scale and bias belong to
/// channels (from operator set 21 on) or to groups.
fn group_normalization(t: &Terms<'_>) -> VjpResult {
    let (x, scale, bias, dy) = (t.input(0)?, t.input(1)?, t.input(2)?, t.cotangent()?);
    let site = &t.context.site;
    let groups = site.int("num_groups").ok_or_else(|| site.error("`num_groups`", "none"))?;
    let channels = t.context.shape(0)?.get(1).and_then(Dim::fixed);
    let channels = channels.ok_or_else(|| site.error("a known number of channels", "an open one"))?;
    let per_group = channels / groups;
    // [N, groups, channels of a group, positions]
    let [image, dy] = [x, dy].map(|value| value.reshape(&[0, groups, per_group, -1]));
    let (shape, others): ([i64; 3], &[i64]) = match site.opset {
        ..21 => ([groups, 1, 1], &[0, 2, 3]),
        _ => ([groups, per_group, 1], &[0, 3]),
    };
    let normalization = Normalization { t, axes: &[2, 3], x: image, dy, scale: scale.reshape(&shape) };
    let [dx, dscale] = normalization.backwards();
    let dscale = dscale.map(|dscale| dscale.reduce_sum(others, false).reshape_like(scale).into());
    let dbias = t.context.wants(2).then(|| dy.reduce_sum(others, false).reshape_like(bias).into());
    Ok(vec![dx.map(|dx| dx.reshape_like(x).into()), dscale, dbias])
}
