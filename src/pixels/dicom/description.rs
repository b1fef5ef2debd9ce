//! What a data set says about its image: size, samples, colours, and how values are shown.

use dicom_dictionary_std::tags;

use super::elements::{DataSet, Value};
use super::syntax::{Coding, Syntax};
use super::{damaged, unsupported};
use crate::error::PixelError;
use crate::pixels::limits::DecodeLimits;

/// What the samples of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// The smallest value is white.
    Monochrome1,
    /// The smallest value is black.
    Monochrome2,
    Palette,
    Rgb,
    /// Luma and two chroma samples per pixel.
    YbrFull,
    /// Chroma of every second pixel.
    YbrFull422,
    /// JPEG 2000's own transforms, which its decoder reverts.
    YbrCodestream,
}

/// The image of a data set, checked as far as it can be without its pixels.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) frames: u32,
    /// Samples of a pixel: 1 or 3.
    pub(super) channels: usize,
    pub(super) photometric: Photometric,
    /// The photometric interpretation as it is written.
    pub(super) photometric_name: String,
    /// Bits of a sample in the file: 1, 8, 16 or 32.
    pub(super) allocated: u32,
    /// Bits of a sample that count, 1 to `allocated`.
    pub(super) stored: u32,
    /// The most significant of them.
    pub(super) high_bit: u32,
    /// Two's complement.
    pub(super) is_signed: bool,
    /// Each channel by itself instead of pixel by pixel.
    pub(super) is_planar: bool,
    /// First and last stored value that means that there is no pixel.
    pub(super) padding: Option<(i64, i64)>,
}

impl Description {
    /// Reads and checks the elements of an image.
    ///
    /// # Errors
    /// [`PixelError`] where there are no pixels, an element is missing or cannot be, or the image
    /// is larger than allowed.
    pub(super) fn of(data_set: &DataSet<'_>, syntax: &Syntax, limits: &DecodeLimits) -> Result<Self, PixelError> {
        if data_set.get(tags::PIXEL_DATA).is_none() {
            for (tag, kind) in [(tags::FLOAT_PIXEL_DATA, "float"), (tags::DOUBLE_FLOAT_PIXEL_DATA, "double float")] {
                if data_set.get(tag).is_some() {
                    return Err(unsupported(format!("{kind} pixel data")));
                }
            }
            return Err(damaged("there is no pixel data"));
        }
        let small = |tag, largest: u32| -> Result<u32, PixelError> {
            let found = data_set.integer(tag)?;
            let number = u32::try_from(found).ok().filter(|number| *number <= largest);
            number.ok_or_else(|| damaged(format!("element {tag} is {found}")))
        };
        let (rows, columns) = (small(tags::ROWS, 65_535)?, small(tags::COLUMNS, 65_535)?);
        if rows == 0 || columns == 0 {
            return Err(damaged(format!("the image has {columns} x {rows} pixels")));
        }
        limits.check_pixels(columns, rows)?;
        let frames = match data_set.get(tags::NUMBER_OF_FRAMES) {
            Some((_, Value::Bytes(bytes))) if bytes.iter().any(|byte| !matches!(byte, b' ' | 0)) => {
                small(tags::NUMBER_OF_FRAMES, i32::MAX as u32)?.max(1)
            }
            _ => 1,
        };
        let channels = small(tags::SAMPLES_PER_PIXEL, 4)?;
        let name = data_set.text(tags::PHOTOMETRIC_INTERPRETATION);
        let name = name.ok_or_else(|| damaged("there is no photometric interpretation"))?;
        let photometric = photometric(&name, channels, syntax.coding().ok())?;
        let allocated = small(tags::BITS_ALLOCATED, 64)?;
        if !matches!(allocated, 1 | 8 | 16 | 32) {
            return Err(unsupported(format!("{allocated} bits allocated per sample")));
        }
        let stored = small(tags::BITS_STORED, 64)?;
        let high_bit = match data_set.get(tags::HIGH_BIT) {
            Some(_) => small(tags::HIGH_BIT, 63)?,
            None => stored.saturating_sub(1),
        };
        if !(1..=allocated).contains(&stored) || high_bit >= allocated || high_bit + 1 < stored {
            return Err(damaged(format!("{stored} bits up to bit {high_bit} are no part of {allocated} bits")));
        }
        let is_signed = small(tags::PIXEL_REPRESENTATION, 1)? == 1;
        let is_planar = channels > 1 && data_set.integers(tags::PLANAR_CONFIGURATION, false)?.first() == Some(&1);
        let padding = data_set.integers(tags::PIXEL_PADDING_VALUE, is_signed)?.first().copied();
        let limit = data_set.integers(tags::PIXEL_PADDING_RANGE_LIMIT, is_signed)?.first().copied();
        let padding = padding.map(|value| {
            let limit = limit.unwrap_or(value);
            (value.min(limit), value.max(limit))
        });
        Ok(Description {
            columns,
            rows,
            frames,
            channels: channels as usize,
            photometric,
            photometric_name: name,
            allocated,
            stored,
            high_bit,
            is_signed,
            is_planar,
            padding,
        })
    }

    /// Pixels of a frame.
    pub(super) fn pixels(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    /// Bits of a frame that is written as it is.
    pub(super) fn native_bits(&self) -> u64 {
        let bits = self.pixels() as u64 * self.channels as u64 * u64::from(self.allocated);
        // Two pixels share their chroma samples.
        if self.photometric == Photometric::YbrFull422 { bits / 3 * 2 } else { bits }
    }
}

/// The interpretation of this name, where it fits the number of samples.
fn photometric(name: &str, channels: u32, coding: Option<Coding>) -> Result<Photometric, PixelError> {
    let (photometric, needed) = match name {
        "MONOCHROME1" => (Photometric::Monochrome1, 1),
        "MONOCHROME2" => (Photometric::Monochrome2, 1),
        "PALETTE COLOR" => (Photometric::Palette, 1),
        "RGB" => (Photometric::Rgb, 3),
        "YBR_FULL" => (Photometric::YbrFull, 3),
        "YBR_FULL_422" => (Photometric::YbrFull422, 3),
        "YBR_ICT" | "YBR_RCT" => (Photometric::YbrCodestream, 3),
        other => return Err(unsupported(format!("photometric interpretation {other:?}"))),
    };
    if channels != needed {
        return Err(damaged(format!("photometric interpretation {name} with {channels} samples per pixel")));
    }
    if photometric == Photometric::YbrCodestream && coding.is_some_and(|coding| coding != Coding::Jpeg2000) {
        return Err(damaged(format!("photometric interpretation {name} belongs to JPEG 2000")));
    }
    Ok(photometric)
}
