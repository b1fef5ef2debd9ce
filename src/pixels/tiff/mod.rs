//! The first image of a TIFF or BigTIFF to grey or RGB, equal to Pillow's `convert("RGB")` to the
//! bit.
//!
//! Strips and tiles, interleaved and planar, of 1, 2, 4, 8 and 16 bits: uncompressed, LZW, Deflate,
//! PackBits and JPEG; grey from either end, palettes, RGB, CMYK and YCbCr. Alpha is dropped,
//! associated alpha divided out first. Samples of 16 bits keep their depth, but those of CMYK.
//!
//! Written here, over this project's JPEG and the crates for LZW and Deflate, because the `tiff`
//! crate refuses palettes, YCbCr and most of what scanners write, and decodes JPEG up to one shade
//! beside libjpeg. CCITT group 4 fax is left to that crate. Other compressions, 12, 24 and 32 bits,
//! signed and floating-point samples are refused by their names.
//!
//! Reference: TIFF 6.0; Technical Note 2 (JPEG); `tif_getimage.c` and `tif_color.c` of libtiff.

mod colours;
pub(in crate::pixels) mod directory;
mod unpack;

use crate::error::{PixelError, Result};
use crate::pixels::jpeg;
use crate::pixels::limits::DecodeLimits;
use crate::preprocess::{Image, Samples};

use colours::{ColourSpace, to_image};
use directory::{Directory, tag};
use unpack::{Compression, Depth};

/// Samples of a pixel; more are no image.
const MAX_SAMPLES: u64 = 16;

/// The image of a directory, not yet turned upright; `None` for CCITT group 4 fax, which is read
/// elsewhere.
pub(super) fn decode(directory: &Directory<'_>, limits: &DecodeLimits) -> Result<Option<Image>> {
    let layout = Layout::read(directory)?;
    limits.check_pixels(layout.width as u32, layout.height as u32)?;
    let Some(compression) = layout.compression else { return Ok(None) };
    let (width, height) = (layout.width as u32, layout.height as u32);
    let (channels, samples) = match layout.bits {
        16 => {
            let pixels = layout.pixels::<u16>(directory, compression)?;
            if layout.colours == ColourSpace::Cmyk {
                // As Pillow, whose CMYK has 8 bits.
                let high: Vec<u8> = pixels.iter().map(|&sample| (sample >> 8) as u8).collect();
                (3, Samples::U8(to_image(&layout, high, directory)?))
            } else {
                (layout.channels(), Samples::U16(to_image(&layout, pixels, directory)?))
            }
        }
        _ => (
            layout.channels(),
            Samples::U8(to_image(&layout, layout.pixels::<u8>(directory, compression)?, directory)?),
        ),
    };
    Image::new(width, height, channels, samples).map(Some)
}

/// How the image is stored.
struct Layout {
    width: usize,
    height: usize,
    /// Bits of a sample: 1, 2, 4, 8 or 16.
    bits: u32,
    /// Samples of a pixel, alpha and others included.
    samples: usize,
    colours: ColourSpace,
    /// `None` for CCITT group 4 fax.
    compression: Option<Compression>,
    is_planar: bool,
    /// Whether samples are differences to their left neighbours.
    is_predicted: bool,
    /// Whether the first sample behind the colours is alpha that they were multiplied by.
    is_premultiplied: bool,
    /// Columns and rows of a strip or tile.
    chunk: [usize; 2],
    is_tiled: bool,
    offsets: Vec<u64>,
    counts: Vec<u64>,
    is_reversed: bool,
    /// Columns and rows that share a chroma sample.
    subsampling: [usize; 2],
}

impl Layout {
    fn read(directory: &Directory<'_>) -> Result<Self, PixelError> {
        let integer = |tag| directory.integer(tag);
        let side = |tag, name: &str| match integer(tag) {
            Some(length @ 1..=0x7FFF_FFFF) => Ok(length as usize),
            _ => Err(damaged(format!("there is no {name}"))),
        };
        let (width, height) = (side(tag::WIDTH, "width")?, side(tag::HEIGHT, "height")?);
        let compression = Compression::read(integer(tag::COMPRESSION).unwrap_or(1))?;
        let photometric = integer(tag::PHOTOMETRIC).unwrap_or(0);
        let colours = ColourSpace::read(photometric)?;
        let samples = match integer(tag::SAMPLES_PER_PIXEL).unwrap_or(1) {
            samples @ 1..=MAX_SAMPLES if samples as usize >= colours.samples() => samples as usize,
            1 if colours == ColourSpace::YCbCr => 1,
            other => return Err(damaged(format!("{other} samples for a pixel of {} colours", colours.samples()))),
        };
        let colours = if samples == 1 && colours == ColourSpace::YCbCr { ColourSpace::BlackIsZero } else { colours };
        let bits = bits(directory, samples, compression)?;
        if integer(tag::PREDICTOR).unwrap_or(1) == 3 {
            return Err(unsupported("the floating-point predictor"));
        }
        let is_tiled = directory.bytes(tag::TILE_OFFSETS).is_some();
        let (chunk, offsets, counts) = if is_tiled {
            let chunk = [side(tag::TILE_WIDTH, "tile width")?, side(tag::TILE_LENGTH, "tile length")?];
            (chunk, tag::TILE_OFFSETS, tag::TILE_BYTE_COUNTS)
        } else {
            let rows = integer(tag::ROWS_PER_STRIP).filter(|&rows| rows > 0).map_or(height, |rows| rows as usize);
            ([width, rows.min(height)], tag::STRIP_OFFSETS, tag::STRIP_BYTE_COUNTS)
        };
        let subsampling = match directory.integers(tag::YCBCR_SUBSAMPLING)[..] {
            [across, down, ..] if [across, down].iter().all(|part| matches!(part, 1 | 2 | 4)) => [across, down],
            [] => [2, 2],
            _ => return Err(damaged("the chroma subsampling is impossible")),
        };
        let is_planar = integer(tag::PLANAR_CONFIGURATION) == Some(2) && samples > 1;
        let is_subsampled = colours == ColourSpace::YCbCr && compression != Some(Compression::Jpeg);
        let mut layout = Layout {
            width,
            height,
            bits,
            samples,
            colours,
            compression,
            is_planar,
            is_predicted: integer(tag::PREDICTOR) == Some(2) && compression.is_some_and(Compression::has_predictor),
            is_premultiplied: directory.integers(tag::EXTRA_SAMPLES).first() == Some(&1) && samples > colours.samples(),
            chunk,
            is_tiled,
            offsets: directory.integers(offsets),
            counts: directory.integers(counts),
            is_reversed: integer(tag::FILL_ORDER) == Some(2),
            subsampling: if is_subsampled { subsampling.map(|part| part as usize) } else { [1, 1] },
        };
        // Some writers leave the factors out and mean none; what is stored tells.
        let first = layout.rows(0) * chunk[0] * 3;
        if compression == Some(Compression::None) && layout.counts.first() == Some(&(first as u64)) {
            layout.subsampling = [1, 1];
        }
        if layout.subsampling != [1, 1] && (layout.is_planar || layout.is_predicted || bits != 8) {
            return Err(unsupported("subsampled chroma in planes"));
        }
        Ok(layout)
    }

    /// Channels of the image: 1 or 3.
    fn channels(&self) -> usize {
        self.colours.channels()
    }

    /// Chunks across and down.
    fn grid(&self) -> [usize; 2] {
        [self.width.div_ceil(self.chunk[0]), self.height.div_ceil(self.chunk[1])]
    }

    /// Stored rows of the chunks in row `down` of the grid: the last strip is shorter, a tile
    /// never.
    fn rows(&self, down: usize) -> usize {
        if self.is_tiled { self.chunk[1] } else { self.chunk[1].min(self.height - down * self.chunk[1]) }
    }

    /// All samples, `[height, width, samples]`.
    fn pixels<T: Depth>(&self, directory: &Directory<'_>, compression: Compression) -> Result<Vec<T>, PixelError> {
        let [across, down] = self.grid();
        let together = self.together();
        let planes = self.samples / together;
        let needed = across * down * planes;
        if self.offsets.len() < needed {
            return Err(damaged(format!("{} strips or tiles where {needed} are needed", self.offsets.len())));
        }
        let mut pixels = vec![T::default(); self.width * self.height * self.samples];
        for index in 0..needed {
            let (plane, place) = (index / (across * down), index % (across * down));
            let (left, top) = (place % across * self.chunk[0], place / across * self.chunk[1]);
            let rows = self.rows(place / across);
            let chunk = self.chunk::<T>(directory, compression, index, rows)?;
            let columns = self.chunk[0].min(self.width - left);
            for (y, line) in chunk.chunks_exact(self.chunk[0] * together).enumerate().take(self.height - top) {
                let start = ((top + y) * self.width + left) * self.samples;
                let out = &mut pixels[start..start + columns * self.samples];
                if together == self.samples {
                    out.copy_from_slice(&line[..columns * together]);
                } else {
                    let places = out.iter_mut().skip(plane).step_by(self.samples);
                    places.zip(line).for_each(|(out, &sample)| *out = sample);
                }
            }
        }
        Ok(pixels)
    }

    /// Samples of a pixel that lie beside each other.
    fn together(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// The samples of a strip or tile, `[rows, chunk width, together]`.
    fn chunk<T: Depth>(
        &self,
        directory: &Directory<'_>,
        compression: Compression,
        index: usize,
        rows: usize,
    ) -> Result<Vec<T>, PixelError> {
        let together = self.together();
        let start = usize::try_from(self.offsets[index]).ok();
        let rest = start.and_then(|start| directory.file().get(start..)).ok_or_else(truncated)?;
        let stored = match self.counts.get(index).and_then(|&count| usize::try_from(count).ok()) {
            // Counts that reach over the end, or are left out, mean what there is.
            Some(count) if count > 0 && compression != Compression::None => rest.get(..count).unwrap_or(rest),
            _ => rest,
        };
        let width = self.chunk[0];
        if compression == Compression::Jpeg {
            let samples = self.jpeg(directory, stored, rows)?;
            return Ok(samples.into_iter().map(T::from).collect());
        }
        let [across, down] = self.subsampling;
        let expected = if self.subsampling == [1, 1] {
            (width * together * self.bits as usize).div_ceil(8) * rows
        } else {
            width.div_ceil(across) * rows.div_ceil(down) * (across * down + 2)
        };
        let bytes = compression.expand(stored, expected, self.is_reversed)?;
        if self.subsampling != [1, 1] {
            return Ok(unpack::full_chroma(&bytes, width, rows, self.subsampling).into_iter().map(T::from).collect());
        }
        let mut samples = T::unpack(&bytes, width * together, self.bits, directory.is_big_endian);
        if self.is_predicted {
            if self.bits < 8 {
                return Err(unsupported(format!("a predictor over {}-bit samples", self.bits)));
            }
            samples.chunks_exact_mut(width * together).for_each(|line| unpack::sum_up(line, together));
        }
        Ok(samples)
    }

    /// The samples of a strip or tile that is a JPEG of its own.
    fn jpeg(&self, directory: &Directory<'_>, stored: &[u8], rows: usize) -> Result<Vec<u8>, PixelError> {
        let together = self.together();
        let width = self.chunk[0];
        let tables = directory.bytes(tag::JPEG_TABLES).unwrap_or_default();
        let tables = tables.strip_suffix(b"\xff\xd9").unwrap_or(tables);
        let stream = match stored.strip_prefix(b"\xff\xd8") {
            Some(rest) if !tables.is_empty() => &[tables, rest].concat(),
            _ => stored,
        };
        let is_luma_chroma = self.colours == ColourSpace::YCbCr;
        let decoded = jpeg::interchanged(stream, is_luma_chroma, |found_width, found_height| {
            if found_width as usize != width || (found_height as usize) < rows || found_height as usize > self.chunk[1]
            {
                let found = format!("{found_width} x {found_height}");
                return Err(damaged(format!("a strip or tile of {width} x {rows} holds a JPEG of {found}")));
            }
            Ok(())
        })?;
        if decoded.channels != together {
            return Err(damaged(format!("a JPEG of {} components for {together} samples", decoded.channels)));
        }
        let mut samples = decoded.samples;
        samples.truncate(width * rows * together);
        Ok(samples)
    }
}

/// Bits of every sample, which must be equal, and whole numbers.
fn bits(directory: &Directory<'_>, samples: usize, compression: Option<Compression>) -> Result<u32, PixelError> {
    let stated = directory.integers(tag::BITS_PER_SAMPLE);
    let bits = stated.first().copied().unwrap_or(1);
    if stated.iter().take(samples).any(|&other| other != bits) {
        return Err(unsupported("samples of different depths"));
    }
    match directory.integer(tag::SAMPLE_FORMAT).unwrap_or(1) {
        1 | 4 => {}
        2 if bits == 8 => {}
        2 => return Err(unsupported(format!("signed {bits}-bit samples"))),
        3 => return Err(unsupported(format!("{bits}-bit floating-point samples"))),
        other => return Err(unsupported(format!("sample format {other}"))),
    }
    match bits {
        1 | 2 | 4 | 8 => Ok(bits as u32),
        16 if compression != Some(Compression::Jpeg) => Ok(16),
        other => Err(unsupported(format!("{other}-bit samples"))),
    }
}

fn damaged(reason: impl Into<String>) -> PixelError {
    PixelError::Damaged { format: "TIFF", reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> PixelError {
    PixelError::Variant { format: "TIFF", feature: feature.into() }
}

fn truncated() -> PixelError {
    PixelError::Truncated { format: "TIFF" }
}
