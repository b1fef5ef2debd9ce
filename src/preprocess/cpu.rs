//! The specification applied to an image on the CPU: `[height, width, 1 or 3]` samples in,
//! `[channels, height, width]` f32 out.
//!
//! Only rows and columns that survive the crop are resampled. 8-bit images go through fixed-point
//! passes and one table of 256 values per channel; 16-bit images are resampled in floating point,
//! as PIL's mode `F`, clipped to 0..=65,535.

use std::borrow::Cow;

use super::geometry::Geometry;
use super::image::{Image, Samples};
use super::separable::{Buffers, SeparableResize};
use super::spec::{Channels, Preprocess, Resize};
use crate::error::{PixelError, Result};
use crate::tensor::HostTensor;

/// The most values that one image may become.
const MAX_VALUES: u64 = 1 << 28;

/// A checked [`Preprocess`], ready to be applied; made by [`Preprocess::check`].
#[derive(Clone, Debug)]
pub struct ValidPreprocess {
    specification: Preprocess,
    /// Per channel, what each 8-bit sample becomes.
    tables: Vec<[f32; 256]>,
}

/// Buffers and filter weights that one thread keeps from image to image.
#[derive(Debug, Default)]
pub struct Scratch {
    passes: SeparableResize,
    bytes: Buffers<u8>,
    reals: Buffers<f32>,
    grey: Vec<u8>,
    deep: Vec<f32>,
}

impl ValidPreprocess {
    pub(super) fn new(specification: Preprocess) -> Self {
        let scales = specification.mean.iter().zip(&specification.std);
        let tables = scales
            .map(|(&mean, &std)| std::array::from_fn(|sample| (sample as f32 / f32::from(u8::MAX) - mean) / std))
            .collect();
        ValidPreprocess { specification, tables }
    }

    /// The specification that was checked.
    pub fn specification(&self) -> &Preprocess {
        &self.specification
    }

    /// `[channels, height, width]` of the result, where it is the same for every image: with a crop
    /// or an exact resize.
    pub fn output_shape(&self) -> Option<[usize; 3]> {
        let same = |height, width| [self.tables.len(), height as usize, width as usize];
        match (self.specification.crop, self.specification.resize) {
            (Some(crop), _) => Some(same(crop.height, crop.width)),
            (None, Some(Resize::Exact { height, width })) => Some(same(height, width)),
            _ => None,
        }
    }

    /// The image without its dark border, where the specification crops it; otherwise as it is.
    ///
    /// # Errors
    /// [`PixelError::Samples`] when the image's fields do not fit each other.
    pub fn content<'a>(&self, image: &'a Image) -> Result<Cow<'a, Image>> {
        self.specification.border.map_or(Ok(Cow::Borrowed(image)), |border| border.cut(image))
    }

    /// `[channels, height, width]` of the result for one image.
    ///
    /// # Errors
    /// As [`ValidPreprocess::content`].
    pub fn output_shape_of(&self, image: &Image) -> Result<[usize; 3]> {
        Ok(self.shape_of(&*self.content(image)?))
    }

    /// `[channels, height, width]` of the result for the content of an image.
    fn shape_of(&self, image: &Image) -> [usize; 3] {
        let geometry = self.geometry(image);
        [self.tables.len(), geometry.rows.output, geometry.columns.output]
    }

    /// The network's input for one image: `[channels, height, width]` f32.
    ///
    /// # Errors
    /// As [`ValidPreprocess::apply_into`], and [`PixelError::OutputSize`] above 2^28 values, which
    /// needs a specification without crop.
    pub fn apply(&self, image: &Image) -> Result<HostTensor> {
        image.check()?;
        let image = &*self.content(image)?;
        let shape = self.shape_of(image).to_vec();
        let found = shape.iter().map(|&size| size as u64).product();
        let too_large = PixelError::OutputSize { found, expected: MAX_VALUES };
        if found > MAX_VALUES {
            return Err(too_large.into());
        }
        let mut output = vec![0.0; found as usize];
        self.write(image, &mut Scratch::default(), &mut output)?;
        Ok(HostTensor::from_vec(shape, output).ok_or(too_large)?)
    }

    /// Writes the network's input for one image into `output: [channels, height, width]`, for
    /// example a slice of a batch.
    ///
    /// # Errors
    /// [`PixelError::Samples`] when the image's fields do not fit each other,
    /// [`PixelError::OutputSize`] when `output` has another length than
    /// [`ValidPreprocess::output_shape_of`] says.
    pub fn apply_into(&self, image: &Image, scratch: &mut Scratch, output: &mut [f32]) -> Result<()> {
        image.check()?;
        self.write(&*self.content(image)?, scratch, output)
    }

    /// Writes the network's input for the content of an image.
    fn write(&self, image: &Image, scratch: &mut Scratch, output: &mut [f32]) -> Result<()> {
        let shape = self.shape_of(image);
        let found = shape.iter().map(|&size| size as u64).product();
        if found != output.len() as u64 {
            return Err(PixelError::OutputSize { found, expected: output.len() as u64 }.into());
        }
        let geometry = self.geometry(image);
        scratch.passes.prepare(geometry, self.specification.filter);
        if geometry.rows.kept < geometry.rows.output || geometry.columns.kept < geometry.columns.output {
            let plane = geometry.rows.output * geometry.columns.output;
            for (plane, table) in output.chunks_exact_mut(plane).zip(&self.tables) {
                plane.fill(table[0]);
            }
        }
        let to_grey = image.channels == 3 && self.specification.channels == Channels::Grey;
        match &image.samples {
            Samples::U8(samples) if to_grey => {
                let mut grey = std::mem::take(&mut scratch.grey);
                grey.clear();
                grey.extend(samples.chunks_exact(3).map(|pixel| luma(pixel) as u8));
                self.bytes::<1>(&grey, scratch, output);
                scratch.grey = grey;
            }
            Samples::U8(samples) if image.channels == 3 => self.bytes::<3>(samples, scratch, output),
            Samples::U8(samples) => self.bytes::<1>(samples, scratch, output),
            Samples::U16(samples) => {
                let mut deep = std::mem::take(&mut scratch.deep);
                deep.clear();
                if to_grey {
                    deep.extend(samples.chunks_exact(3).map(|pixel| luma(pixel) as f32));
                } else {
                    deep.extend(samples.iter().map(|&sample| f32::from(sample)));
                }
                if image.channels == 3 && !to_grey {
                    self.reals::<3>(&deep, scratch, output);
                } else {
                    self.reals::<1>(&deep, scratch, output);
                }
                scratch.deep = deep;
            }
        }
        Ok(())
    }

    fn geometry(&self, image: &Image) -> Geometry {
        Geometry::new(&self.specification, image.height as usize, image.width as usize)
    }

    /// Resamples 8-bit samples `[rows, columns, CHANNELS]` into the planes of `output`.
    fn bytes<const CHANNELS: usize>(&self, samples: &[u8], scratch: &mut Scratch, output: &mut [f32]) {
        let Scratch { passes, bytes, .. } = scratch;
        let mut planes = Planes::new(passes.geometry, output);
        passes.run::<u8, CHANNELS>(samples, bytes, |y, row| {
            planes.write::<CHANNELS, u8>(y, row, |channel, sample| self.tables[channel][usize::from(sample)]);
        });
    }

    /// Resamples floating-point samples `[rows, columns, CHANNELS]`, 0 to 65,535, into the planes
    /// of `output`.
    fn reals<const CHANNELS: usize>(&self, samples: &[f32], scratch: &mut Scratch, output: &mut [f32]) {
        let Scratch { passes, reals, .. } = scratch;
        let mut planes = Planes::new(passes.geometry, output);
        let Preprocess { mean, std, .. } = &self.specification;
        passes.run::<f32, CHANNELS>(samples, reals, |y, row| {
            planes.write::<CHANNELS, f32>(y, row, |channel, sample| {
                let largest = f32::from(u16::MAX);
                (sample.clamp(0.0, largest) / largest - mean[channel]) / std[channel]
            });
        });
    }
}

/// PIL's `convert("L")`: 0.299, 0.587 and 0.114 of red, green and blue with 16 fractional bits.
fn luma(pixel: &[impl Copy + Into<u64>]) -> u64 {
    (pixel[0].into() * 19_595 + pixel[1].into() * 38_470 + pixel[2].into() * 7_471 + 0x8000) >> 16
}

/// The result `[channels, height, width]` while rows are written into it.
struct Planes<'a> {
    geometry: Geometry,
    output: &'a mut [f32],
}

impl<'a> Planes<'a> {
    fn new(geometry: Geometry, output: &'a mut [f32]) -> Self {
        Planes { geometry, output }
    }

    /// Writes kept row `y`, interleaved by pixel, into every plane; one channel goes into all of
    /// them.
    fn write<const CHANNELS: usize, T: Copy>(&mut self, y: usize, row: &[T], value: impl Fn(usize, T) -> f32) {
        let Geometry { rows, columns } = self.geometry;
        let planes = self.output.chunks_exact_mut(rows.output * columns.output).enumerate();
        for (channel, plane) in planes {
            let start = (rows.padding + y) * columns.output + columns.padding;
            let line = &mut plane[start..start + columns.kept];
            let source = if CHANNELS == 1 { 0 } else { channel };
            for (out, pixel) in line.iter_mut().zip(row.chunks_exact(CHANNELS)) {
                *out = value(channel, pixel[source]);
            }
        }
    }
}
