//! One axis, rows or columns, inside a graph: lengths and positions, i64 [1] each, and the weights
//! of its pass.
//!
//! The formulas are those of [`Span`](super::super::geometry::Span) and
//! [`Weights`](super::super::resample::Weights), in f64 and in the same order of operations.

use super::numbers::Numbers as _;
use super::pass::Weights;
use crate::graph::{Builder, Value};
use crate::preprocess::spec::{CropRounding, Filter};

/// The center crop of an axis.
#[derive(Clone, Copy)]
pub(super) struct AxisCrop {
    /// Positions of the result.
    pub(super) length: u32,
    /// The fewest positions that the resize can leave.
    pub(super) shortest: u32,
    pub(super) rounding: CropRounding,
}

/// One axis on its way through resize and crop.
pub(super) struct Axis {
    /// Length before the resize.
    pub(super) source: Value,
    /// Length after the resize.
    pub(super) resized: Value,
    /// How many positions survive the crop.
    pub(super) kept: Value,
    /// Length of the result.
    pub(super) output: Value,
    /// Zeros in front and behind; none where there never are any.
    pub(super) padding: Option<[Value; 2]>,
    /// First input that is needed.
    pub(super) start: Value,
    /// Input behind the last that is needed.
    pub(super) end: Value,
    /// Weights of the resize, where there is one.
    pub(super) weights: Option<Weights>,
}

impl Axis {
    /// The axis of `source` inputs and `resized` positions, of which `crop` survive.
    pub(super) fn new(
        b: &mut Builder,
        [source, resized]: [&Value; 2],
        crop: Option<AxisCrop>,
        filter: Option<Filter>,
    ) -> Self {
        let mut first = b.whole(0);
        let (mut kept, mut output, mut padding) = (resized.clone(), resized.clone(), None);
        if let Some(AxisCrop { length, shortest, rounding }) = crop {
            output = b.whole(i64::from(length));
            kept = b.min(&output, resized);
            first = middle(b, resized, &kept, rounding);
            if length > shortest {
                let zeros = b.sub(&output, &kept);
                let two = b.whole(2);
                let less = b.div(&zeros, &two);
                let more = b.sub(&zeros, &less);
                padding = Some(match rounding {
                    CropRounding::Torchvision => [less, more],
                    CropRounding::Transformers => [more, less],
                });
            }
        }
        let weights =
            filter.map(|filter| b.scope("weights", |b| Weights::new(b, [source, resized], [&first, &kept], filter)));
        let (start, end) = match &weights {
            Some(weights) => (weights.start.clone(), weights.end.clone()),
            None => (first.clone(), b.add(&first, &kept)),
        };
        Axis { source: source.clone(), resized: resized.clone(), kept, output, padding, start, end, weights }
    }

    /// Number of inputs that are needed.
    pub(super) fn length(&self, b: &mut Builder) -> Value {
        b.sub(&self.end, &self.start)
    }

    /// Resizes the second axis of `planes`, u8 [P, inputs that are needed, others]; `others` is the
    /// length of the third.
    pub(super) fn pass(&self, b: &mut Builder, planes: &Value, others: &Value) -> Value {
        match &self.weights {
            Some(weights) => weights.apply(b, planes, (&self.kept, others)),
            None => planes.clone(),
        }
    }
}

/// Where a crop of `kept` of `resized` positions starts: half of the difference, rounded down or
/// halves to the even neighbour.
fn middle(b: &mut Builder, resized: &Value, kept: &Value, rounding: CropRounding) -> Value {
    let two = b.whole(2);
    let dropped = b.sub(resized, kept);
    let half = b.div(&dropped, &two);
    if rounding == CropRounding::Transformers {
        return half;
    }
    let is_odd = b.apply("Mod", &[&dropped, &two]);
    let half_is_odd = b.apply("Mod", &[&half, &two]);
    let up = b.mul(&is_odd, &half_is_odd);
    b.add(&half, &up)
}
