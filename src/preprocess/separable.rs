//! A resize as two passes over the rows and columns that survive the crop, in PIL's order.
//!
//! A pass whose length does not change is left out. The order is that of Pillow 13: vertical first
//! where that drops more rows than twice the columns it would save, horizontal first otherwise
//! (older releases are always horizontal first).

use super::geometry::Geometry;
use super::kernels::Sample;
use super::resample::Weights;
use super::spec::Filter;

/// The weights of a resize, kept from image to image.
#[derive(Debug, Default)]
pub(super) struct SeparableResize {
    pub(super) geometry: Geometry,
    rows: Weights,
    columns: Weights,
}

/// What lies between the passes, and one finished row.
#[derive(Debug, Default)]
pub(super) struct Buffers<S> {
    between: Vec<S>,
    row: Vec<S>,
}

impl SeparableResize {
    /// Makes these the passes of `geometry`.
    pub(super) fn prepare(&mut self, geometry: Geometry, filter: Filter) {
        self.geometry = geometry;
        if geometry.rows.source != geometry.rows.resized {
            self.rows.prepare(geometry.rows, filter);
        }
        if geometry.columns.source != geometry.columns.resized {
            self.columns.prepare(geometry.columns, filter);
        }
    }

    /// Resamples `samples: [rows, columns, CHANNELS]` and hands each row of the crop to `finish`,
    /// from the top.
    pub(super) fn run<S: Sample, const CHANNELS: usize>(
        &self,
        samples: &[S],
        buffers: &mut Buffers<S>,
        mut finish: impl FnMut(usize, &[S]),
    ) {
        let Geometry { rows, columns } = self.geometry;
        let Buffers { between, row } = buffers;
        let stride = columns.source * CHANNELS;
        let length = columns.kept * CHANNELS;
        row.resize(length, S::default());
        let horizontal = |row_of_input: usize, row: &mut [S]| {
            S::horizontal::<CHANNELS>(&samples[row_of_input * stride..], 0, &self.columns, row);
        };
        match (rows.source != rows.resized, columns.source != columns.resized) {
            (false, false) => {
                for y in 0..rows.kept {
                    let start = (rows.first + y) * stride + columns.first * CHANNELS;
                    finish(y, &samples[start..start + length]);
                }
            }
            (false, true) => {
                for y in 0..rows.kept {
                    horizontal(rows.first + y, row);
                    finish(y, row);
                }
            }
            (true, false) => {
                for y in 0..rows.kept {
                    let start = self.rows.first(y) * stride + columns.first * CHANNELS;
                    S::vertical(&samples[start..], stride, (&self.rows, y), row);
                    finish(y, row);
                }
            }
            (true, true) if self.is_vertical_first() => {
                let inputs = self.columns.inputs();
                between.resize(inputs.len() * CHANNELS, S::default());
                for y in 0..rows.kept {
                    let start = self.rows.first(y) * stride + inputs.start * CHANNELS;
                    S::vertical(&samples[start..], stride, (&self.rows, y), between);
                    S::horizontal::<CHANNELS>(between, inputs.start, &self.columns, row);
                    finish(y, row);
                }
            }
            (true, true) => {
                let inputs = self.rows.inputs();
                between.resize(inputs.len() * length, S::default());
                for (input, row) in inputs.clone().zip(between.chunks_exact_mut(length)) {
                    horizontal(input, row);
                }
                for y in 0..rows.kept {
                    let start = (self.rows.first(y) - inputs.start) * length;
                    S::vertical(&between[start..], length, (&self.rows, y), row);
                    finish(y, row);
                }
            }
        }
    }

    fn is_vertical_first(&self) -> bool {
        let Geometry { rows, columns } = self.geometry;
        let rows_dropped = rows.source as i64 - rows.resized as i64;
        let columns_dropped = columns.source as i64 - columns.resized as i64;
        rows_dropped > 0 && rows_dropped > 2 * columns_dropped
    }
}
