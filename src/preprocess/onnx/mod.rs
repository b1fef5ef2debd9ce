//! The specification as nodes of a graph: `uint8 [N, H, W, 3]` of any size in, `f32 [N, C, height,
//! width]` out.
//!
//! The second interpreter: for 8-bit RGB pixels it gives, bit for bit, what
//! [`ValidPreprocess::apply`] gives, in standard operators that have the same meaning in all
//! operator sets from 13 to 17. Sizes, positions and filter weights are computed from the shape of
//! the images when the graph runs. A pass of the resize is a product of matrices: the weights are
//! numbers of 22 fractional bits, cut into three bytes so that `MatMulInteger` multiplies bytes by
//! bytes, exactly and fast on every processor; outputs are taken 32 at a time with only the inputs
//! that these need, so that the work does not grow with the square of the image. As PIL does, each
//! pass is rounded to bytes, and the image's shape decides which axis comes first.
//!
//! Grey images go in with three equal channels. Pixels of 16 bits cannot go in.

mod axis;
mod numbers;
mod pass;

use super::cpu::ValidPreprocess;
use super::spec::{Channels, Preprocess, Resize};
use crate::error::{PixelError, Result};
use crate::graph::{Builder, Value};
use crate::preprocess::onnx::axis::{Axis, AxisCrop};
use crate::preprocess::onnx::numbers::Numbers;
use crate::tensor::{DType, HostTensor};

/// Rows and columns of the images on their way through resize and crop.
struct Axes {
    rows: Axis,
    columns: Axis,
}

impl ValidPreprocess {
    /// Adds the nodes that make the network's input, f32 [N, C, height, width], of `images`, u8 [N,
    /// H, W, 3].
    ///
    /// `window` and `fast_decode` are part of decoding: the images must have been decoded so.
    ///
    /// # Errors
    /// [`PixelError::NotInGraph`] for a crop of dark borders, which would give every image of a
    /// batch another size, and for another number of channels than 1 or 3.
    pub fn add_to(&self, b: &mut Builder, images: &Value) -> Result<Value> {
        // A field that is added to the specification must be interpreted here, too.
        let Preprocess { channels, resize, filter, crop, crop_rounding, mean, std, window: _, border, fast_decode: _ } =
            self.specification();
        if border.is_some() {
            let reason = "every image of a batch would have another size";
            return Err(PixelError::NotInGraph { field: "border", reason }.into());
        }
        if let Channels::Many(_) = channels {
            let reason = "the images have three channels";
            return Err(PixelError::NotInGraph { field: "channels", reason }.into());
        }
        let sizes = b.shape(images);
        let sizes = [1, 2].map(|axis| b.narrow(&sizes, 0, axis..axis + 1));
        let resized = resized(b, *resize, &sizes);
        let crops = [crop.map(|crop| crop.height), crop.map(|crop| crop.width)];
        let [rows, columns] = std::array::from_fn(|at| {
            let shortest = match resize {
                Some(Resize::ShorterSide(length)) => *length,
                Some(Resize::Exact { height, width }) => [*height, *width][at],
                None => 1,
            };
            let filter = resize.map(|_| *filter);
            let name = ["rows", "columns"][at];
            b.scope(name, |b| {
                let crop = crops[at].map(|length| AxisCrop { length, shortest, rounding: *crop_rounding });
                Axis::new(b, [&sizes[at], &resized[at]], crop, filter)
            })
        });
        let axes = Axes { rows, columns };
        let pixels = axes.needed(b, images);
        let pixels = if *channels == Channels::Grey { luma(b, &pixels) } else { pixels };
        let planes = axes.planes(b, &pixels);
        let planes = if resize.is_some() { axes.resize(b, &planes) } else { planes };
        let planes = axes.pad(b, &planes);
        let shape = match self.output_shape() {
            Some([channels, height, width]) => b.integers(&[-1, channels as i64, height as i64, width as i64]),
            None => {
                let front = b.integers(&[-1, channels.count() as i64]);
                b.concat(&[&front, &axes.rows.output, &axes.columns.output], 0)
            }
        };
        let planes = b.reshape_to(&planes, &shape);
        Ok(b.scope("normalize", |b| {
            let samples = b.cast(&planes, DType::F32);
            let largest = b.scalar(f32::from(u8::MAX));
            let samples = b.div(&samples, &largest);
            let per_channel = |b: &mut Builder, values: &[f32]| {
                b.constant(&HostTensor::from_fn(&[values.len(), 1, 1], |channel| values[channel]))
            };
            let (mean, std) = (per_channel(b, mean), per_channel(b, std));
            let centred = b.sub(&samples, &mean);
            b.div(&centred, &std)
        }))
    }
}

/// Rows and columns, [1] each, behind the resize.
fn resized(b: &mut Builder, resize: Option<Resize>, sizes: &[Value; 2]) -> [Value; 2] {
    let [height, width] = sizes;
    match resize {
        None => sizes.clone(),
        Some(Resize::Exact { height, width }) => [height, width].map(|length| b.integers(&[i64::from(length)])),
        Some(Resize::ShorterSide(length)) => {
            let length = b.integers(&[i64::from(length)]);
            let is_wide = b.less(height, width);
            let longer = |b: &mut Builder, long: &Value, short: &Value| {
                let product = b.mul(&length, long);
                b.div(&product, short)
            };
            let (tall, wide) = (longer(b, height, width), longer(b, width, height));
            [b.select(&is_wide, &length, &tall), b.select(&is_wide, &wide, &length)]
        }
    }
}

/// Luma of `pixels`, u8 [N, H, W, 3]: u8 [N, H, W, 1]. All sums are whole numbers below 2^24, which
/// f32 holds.
fn luma(b: &mut Builder, pixels: &Value) -> Value {
    b.scope("luma", |b| {
        let samples = b.cast(pixels, DType::F32);
        let weights = b.constant(&HostTensor::from_fn(&[3, 1], |channel| [19_595.0f32, 38_470.0, 7_471.0][channel]));
        let sums = b.matmul(&samples, &weights);
        let (half, unit) = (b.scalar(32_768.0), b.scalar(1.0 / 65_536.0));
        let rounded = b.add(&sums, &half);
        let scaled = b.mul(&rounded, &unit);
        b.cast(&scaled, DType::U8)
    })
}

impl Axes {
    /// The part of `images`, [N, H, W, C], that any output needs.
    fn needed(&self, b: &mut Builder, images: &Value) -> Value {
        let starts = b.concat(&[&self.rows.start, &self.columns.start], 0);
        let ends = b.concat(&[&self.rows.end, &self.columns.end], 0);
        let axes = b.integers(&[1, 2]);
        b.apply("Slice", &[images, &starts, &ends, &axes])
    }

    /// [N, H, W, C] as [N * C, H, W].
    fn planes(&self, b: &mut Builder, pixels: &Value) -> Value {
        let planes = b.transpose(pixels, &[0, 3, 1, 2]);
        let (rows, columns) = (self.rows.length(b), self.columns.length(b));
        let front = b.integers(&[-1]);
        let shape = b.concat(&[&front, &rows, &columns], 0);
        b.reshape_to(&planes, &shape)
    }

    /// Both passes, in PIL's order: the axis that drops more first, if that pays.
    fn resize(&self, b: &mut Builder, planes: &Value) -> Value {
        let dropped = [&self.rows, &self.columns].map(|axis| b.sub(&axis.source, &axis.resized));
        let (none, two) = (b.whole(0), b.whole(2));
        let drops = b.greater(&dropped[0], &none);
        let most = b.mul(&dropped[1], &two);
        let pays = b.greater(&dropped[0], &most);
        let is_vertical_first = b.apply("And", &[&drops, &pays]);
        let turn = |b: &mut Builder, planes: &Value| b.transpose(planes, &[0, 2, 1]);
        b.branch(
            &is_vertical_first,
            |b| {
                let width = self.columns.length(b);
                let planes = b.scope("rows", |b| self.rows.pass(b, planes, &width));
                let planes = turn(b, &planes);
                let planes = b.scope("columns", |b| self.columns.pass(b, &planes, &self.rows.kept));
                turn(b, &planes)
            },
            |b| {
                let planes = turn(b, planes);
                let height = self.rows.length(b);
                let planes = b.scope("columns", |b| self.columns.pass(b, &planes, &height));
                let planes = turn(b, &planes);
                b.scope("rows", |b| self.rows.pass(b, &planes, &self.columns.kept))
            },
        )
    }

    /// Zeros around images that are smaller than the crop.
    fn pad(&self, b: &mut Builder, planes: &Value) -> Value {
        let none = b.integers(&[0]);
        let [rows, columns] =
            [&self.rows, &self.columns].map(|axis| axis.padding.clone().unwrap_or([none.clone(), none.clone()]));
        if self.rows.padding.is_none() && self.columns.padding.is_none() {
            return planes.clone();
        }
        let pads = b.concat(&[&none, &rows[0], &columns[0], &none, &rows[1], &columns[1]], 0);
        let zero = b.constant(&HostTensor::scalar(0u8));
        b.apply("Pad", &[planes, &pads, &zero])
    }
}
