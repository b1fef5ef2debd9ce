//! One pass of a resize inside a graph: fixed-point weights as bytes, and their product with the
//! pixels, block by block.

use super::super::resample::PRECISION;
use super::numbers::Numbers as _;
use crate::graph::{Builder, Value};
use crate::preprocess::Filter;
use crate::tensor::{DType, HostTensor};

/// Outputs of a block: more waste products with weights of zero, fewer waste time between products.
const BLOCK: i64 = 32;
/// What is added to a weight so that its three bytes, each less [`ZERO`], make it up: 128 in every
/// byte.
const BALANCE: i64 = 0x80_80_80;
/// The byte that stands for zero.
const ZERO: u8 = 128;

/// The weights of one axis, in blocks of outputs.
pub(super) struct Weights {
    /// First input that is needed, i64 [1].
    pub(super) start: Value,
    /// Input behind the last that is needed, i64 [1].
    pub(super) end: Value,
    /// Number of blocks B, i64 [1].
    blocks: Value,
    /// Inputs of a block, i64 [1].
    taps: Value,
    /// First input of each block, counted from `start`: i64 [B, 1].
    firsts: Value,
    /// u8 [B, 3 * BLOCK, taps]: of each block the low bytes of the weights of all its outputs, then
    /// the middle and the high ones.
    bytes: Value,
}

/// Inputs that one output sums up, seen from its centre.
struct Reach {
    /// Inputs per output.
    scale: Value,
    /// By how much the filter is stretched.
    stretch: Value,
    /// Half the width of the stretched filter.
    support: Value,
}

impl Reach {
    fn new(b: &mut Builder, source: &Value, resized: &Value, filter: Filter) -> Self {
        let (source, resized) = (b.to_real(source), b.to_real(resized));
        let scale = b.div(&source, &resized);
        let one = b.real(1.0);
        let stretch = b.max(&scale, &one);
        let support = b.times(&stretch, filter.support());
        Reach { scale, stretch, support }
    }

    /// Where the inputs of outputs have their centre.
    fn centres(&self, b: &mut Builder, outputs: &Value) -> Value {
        let outputs = b.to_real(outputs);
        let shifted = b.plus(&outputs, 0.5);
        b.mul(&shifted, &self.scale)
    }

    /// The first input of outputs with these centres.
    fn first(&self, b: &mut Builder, centres: &Value) -> Value {
        let from = b.sub(centres, &self.support);
        let from = b.plus(&from, 0.5);
        let none = b.real(0.0);
        let from = b.max(&from, &none);
        b.cut(&from)
    }

    /// The input behind the last of outputs with these centres.
    fn end(&self, b: &mut Builder, centres: &Value, source: &Value) -> Value {
        let to = b.add(centres, &self.support);
        let to = b.plus(&to, 0.5);
        let to = b.cut(&to);
        b.min(&to, source)
    }
}

impl Weights {
    /// The weights of outputs `first` up to `first + kept` of `resized`, over `source` inputs.
    pub(super) fn new(
        b: &mut Builder,
        [source, resized]: [&Value; 2],
        [first, kept]: [&Value; 2],
        filter: Filter,
    ) -> Self {
        let reach = Reach::new(b, source, resized, filter);
        let one = b.whole(1);
        let behind = b.add(first, kept);
        let last = b.sub(&behind, &one);
        let ends = [first, &last].map(|output| reach.centres(b, output));
        let start = reach.first(b, &ends[0]);
        let end = reach.end(b, &ends[1], source);

        let size = b.whole(BLOCK);
        let fill = b.whole(BLOCK - 1);
        let padded = b.add(kept, &fill);
        let blocks = b.div(&padded, &size);
        // The inputs between the first of a block's first output and the last of its last one,
        // rounding included.
        let taps = {
            let between = b.times(&reach.scale, (BLOCK - 1) as f64);
            let width = b.add(&reach.support, &reach.support);
            let span = b.add(&between, &width);
            let span = b.plus(&span, 2.0);
            let span = b.cut(&span);
            let needed = b.sub(&end, &start);
            b.min(&span, &needed)
        };
        // Every block reads as many inputs: the last ones begin earlier than they need.
        let numbers = b.up_to(&blocks);
        let begin = b.mul(&numbers, &size);
        let begin = b.add(&begin, first);
        let centres = reach.centres(b, &begin);
        let firsts = reach.first(b, &centres);
        let latest = b.sub(&end, &taps);
        let firsts = b.min(&firsts, &latest);
        let firsts = b.unsqueeze(&firsts, &[1]);

        let offsets = b.up_to(&taps);
        let inputs = b.add(&firsts, &offsets);
        let inputs = b.to_real(&inputs);
        let inputs = b.unsqueeze(&inputs, &[1]);
        let firsts = b.sub(&firsts, &start);

        // Outputs of the last block that there are not repeat the last one.
        let all = b.mul(&blocks, &size);
        let outputs = b.up_to(&all);
        let outputs = b.add(&outputs, first);
        let outputs = b.min(&outputs, &last);
        let centres = reach.centres(b, &outputs);
        let centres = b.reshape(&centres, &[-1, BLOCK, 1]);
        let distances = b.sub(&inputs, &centres);
        let distances = b.plus(&distances, 0.5);
        let distances = b.div(&distances, &reach.stretch);
        let values = kernel(b, filter, &distances);
        let sums = b.reduce_sum(&values, &[2], true);
        let real = b.div(&values, &sums);
        let bytes = bytes(b, &real);
        Weights { start, end, blocks, taps, firsts, bytes }
    }

    /// Resizes the second axis of `planes`, u8 [P, inputs that are needed, others], to `kept`.
    pub(super) fn apply(&self, b: &mut Builder, planes: &Value, (kept, others): (&Value, &Value)) -> Value {
        let blocks = b.single(&self.blocks);
        let zero = b.constant(&HostTensor::scalar(ZERO));
        let axis = b.whole(1);
        let digits = HostTensor::from_fn(&[1, 3], |digit| f64::from(1 << (8 * digit)) / f64::from(1 << PRECISION));
        let stacked = b.stack(&blocks, |b, number| {
            let first = b.gather(&self.firsts, number, 0);
            let end = b.add(&first, &self.taps);
            let inputs = b.apply("Slice", &[planes, &first, &end, &axis]);
            let weights = b.gather(&self.bytes, number, 0);
            let sums = b.apply("MatMulInteger", &[&weights, &inputs, &zero]);
            let sums = b.reshape(&sums, &[0, 3, -1]);
            let sums = b.cast(&sums, DType::F64);
            let digits = b.constant(&digits);
            let total = b.matmul(&digits, &sums);
            let total = b.plus(&total, 0.5);
            let (least, most) = (b.real(0.0), b.real(255.0));
            let total = b.apply("Clip", &[&total, &least, &most]);
            let samples = b.cast(&total, DType::U8);
            b.reshape(&samples, &[0, BLOCK, -1])
        });
        let front = b.integers(&[0, -1]);
        let shape = b.concat(&[&front, others], 0);
        let joined = b.transpose(&stacked, &[1, 0, 2, 3]);
        let joined = b.reshape_to(&joined, &shape);
        let none = b.whole(0);
        b.apply("Slice", &[&joined, &none, kept, &axis])
    }
}

/// The filter at distances `x`, f64, in the order of operations of the CPU's.
fn kernel(b: &mut Builder, filter: Filter, x: &Value) -> Value {
    let (none, one) = (b.real(0.0), b.real(1.0));
    let distance = b.abs(x);
    match filter {
        Filter::Bilinear => {
            let value = b.sub(&one, &distance);
            b.max(&value, &none)
        }
        Filter::Bicubic => {
            let near = b.times(&distance, 1.5);
            let near = b.plus(&near, -2.5);
            let near = b.mul(&near, &distance);
            let near = b.mul(&near, &distance);
            let near = b.plus(&near, 1.0);
            let far = b.plus(&distance, -5.0);
            let far = b.mul(&far, &distance);
            let far = b.plus(&far, 8.0);
            let far = b.mul(&far, &distance);
            let far = b.plus(&far, -4.0);
            let far = b.times(&far, -0.5);
            let two = b.real(2.0);
            let (is_near, is_far) = (b.less(&distance, &one), b.less(&distance, &two));
            let far = b.select(&is_far, &far, &none);
            b.select(&is_near, &near, &far)
        }
        Filter::Lanczos => {
            let three = b.real(3.0);
            let third = b.div(x, &three);
            let (wide, narrow) = (sinc(b, x), sinc(b, &third));
            let value = b.mul(&wide, &narrow);
            let is_inside = b.less(&distance, &three);
            b.select(&is_inside, &value, &none)
        }
    }
}

/// `sin(pi x) / (pi x)`.
fn sinc(b: &mut Builder, x: &Value) -> Value {
    let scaled = b.times(x, std::f64::consts::PI);
    let sine = b.apply("Sin", &[&scaled]);
    let ratio = b.div(&sine, &scaled);
    let (none, one) = (b.real(0.0), b.real(1.0));
    let is_centre = b.equal(x, &none);
    b.select(&is_centre, &one, &ratio)
}

/// Weights, f64 [B, BLOCK, taps], as numbers of 22 fractional bits in three bytes: u8 [B, 3 *
/// BLOCK, taps].
fn bytes(b: &mut Builder, weights: &Value) -> Value {
    let scaled = b.times(weights, f64::from(1 << PRECISION));
    let sign = b.apply("Sign", &[weights]);
    let half = b.times(&sign, 0.5);
    let rounded = b.add(&scaled, &half);
    let fixed = b.cut(&rounded);
    let balance = b.whole(BALANCE);
    let low = b.add(&fixed, &balance);
    let base = b.whole(256);
    let middle = b.div(&low, &base);
    let high = b.div(&middle, &base);
    let parts = [low, middle, high].map(|part| {
        let part = b.apply("Mod", &[&part, &base]);
        b.cast(&part, DType::U8)
    });
    b.concat(&[&parts[0], &parts[1], &parts[2]], 1)
}
