//! BMP of 16 bits a pixel to RGB, as Pillow: 5 or 6 bits become `value * 255 / 31` (or 63), rounded
//! down. The `image` crate, which reads every other BMP, rounds to the nearest.

use crate::error::{PixelError, Result};
use crate::pixels::limits::DecodeLimits;
use crate::preprocess::{Image, Samples};

/// Where the second header starts, and where masks of colours stand in it or behind it.
const HEADER: usize = 14;
const MASKS: usize = HEADER + 40;

/// The image, or `None` where it has other than 16 bits or masks of its own.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Option<Image>> {
    let word = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|word| u32::from_le_bytes(*word));
    let half = |at: usize| bytes.get(at..at + 2)?.first_chunk().map(|half| u16::from_le_bytes(*half));
    let header = || {
        let size = word(HEADER).filter(|&size| size >= 40)?;
        let is_packed = half(HEADER + 14)? == 16;
        is_packed.then_some((size, word(HEADER + 4)?, word(HEADER + 8)? as i32, word(HEADER + 16)?))
    };
    let Some((_, width, height, compression)) = header() else { return Ok(None) };
    let masks = || Some([word(MASKS)?, word(MASKS + 4)?, word(MASKS + 8)?]);
    let green_bits = match (compression, masks()) {
        (0, _) | (3, Some([0x7C00, 0x03E0, 0x001F])) => 5,
        (3, Some([0xF800, 0x07E0, 0x001F])) => 6,
        _ => return Ok(None),
    };
    let rows = height.unsigned_abs();
    if width == 0 || rows == 0 || width > i32::MAX as u32 {
        return Err(PixelError::Damaged { format: "BMP", reason: "a side of 0 or below".into() }.into());
    }
    limits.check_pixels(width, rows)?;
    let truncated = || PixelError::Truncated { format: "BMP" };
    let start = word(10).ok_or_else(truncated)? as usize;
    let (columns, stride) = (width as usize, (width as usize * 2).next_multiple_of(4));
    // The last row need not be filled up.
    let needed = stride * (rows as usize - 1) + columns * 2;
    let stored = bytes.get(start..).and_then(|rest| rest.get(..needed)).ok_or_else(truncated)?;
    let colour = |pixel: &[u8; 2]| {
        let pixel = u32::from(u16::from_le_bytes(*pixel));
        let part = |shift: u32, bits: u32| {
            let largest = (1 << bits) - 1;
            ((pixel >> shift & largest) * 255 / largest) as u8
        };
        [part(5 + green_bits, 5), part(5, green_bits), part(0, 5)]
    };
    let line = |y: usize| {
        let y = if height < 0 { y } else { rows as usize - 1 - y };
        stored[y * stride..][..columns * 2].as_chunks::<2>().0
    };
    let samples = (0..rows as usize).flat_map(|y| line(y).iter().flat_map(colour)).collect();
    Image::new(width, rows, 3, Samples::U8(samples)).map(Some)
}
