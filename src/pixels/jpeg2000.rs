//! JPEG 2000 to samples, through `hayro-jpeg2000`, which is written in safe Rust.
//!
//! The reversible transform gives the samples that were coded; the irreversible one is computed in
//! single precision and may differ by one from other decoders. High-throughput block coding
//! (part 15) and subsampled components are refused by name.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::Codestream;
use crate::error::PixelError;

/// Tiles that the standard allows.
const MAX_TILES: u64 = 65_535;

/// Decodes a codestream, or a JP2 file around it, whose width and height `admit` lets through.
pub(super) fn decode(
    bytes: &[u8],
    admit: impl FnOnce(u32, u32) -> Result<(), PixelError>,
) -> Result<Codestream, PixelError> {
    let codestream = codestream(bytes)?;
    let size = Size::read(codestream)?;
    admit(size.width, size.height)?;
    // The decoder must never end a run, whatever a damaged file makes of it.
    let decoded = catch_unwind(AssertUnwindSafe(|| samples(codestream, &size)));
    let samples = decoded.map_err(|_| damaged("the decoder gave up on this codestream"))??;
    let Size { width, height, channels, bits, .. } = size;
    Ok(Codestream { width, height, channels, bits, samples, is_luma_chroma: None })
}

fn samples(codestream: &[u8], size: &Size) -> Result<Vec<u16>, PixelError> {
    let failure = |error: hayro_jpeg2000::DecodeError| damaged(error.to_string());
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
    let image = Image::new(codestream, &settings).map_err(failure)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(failure)?;
    let components = decoded.components();
    let pixels = size.width as usize * size.height as usize;
    if components.len() != size.channels || components.iter().any(|component| component.samples().len() != pixels) {
        return Err(damaged("components do not have the size of the image"));
    }
    // Every component comes raised by half its range, signed ones too.
    let largest = ((1u32 << size.bits) - 1) as f32;
    let flip = if size.is_signed { 1u16 << (size.bits - 1) } else { 0 };
    let sample = |value: f32| (value.round_ties_even().clamp(0.0, largest) as u16) ^ flip;
    if let [one] = components {
        return Ok(one.samples().iter().map(|&value| sample(value)).collect());
    }
    let pixel = |at: usize| components.iter().map(move |component| sample(component.samples()[at]));
    Ok((0..pixels).flat_map(pixel).collect())
}

/// The codestream itself, or that of the first box of codestream kind in a JP2 file.
fn codestream(bytes: &[u8]) -> Result<&[u8], PixelError> {
    if bytes.starts_with(b"\xff\x4f\xff\x51") {
        return Ok(bytes);
    }
    let mut rest = bytes;
    while let Some((header, body)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if &kind == b"jp2c" {
            let body = if length == 1 { body.get(8..) } else { Some(body) };
            return body
                .filter(|body| body.starts_with(b"\xff\x4f\xff\x51"))
                .ok_or_else(|| damaged("the codestream is malformed"));
        }
        rest = match length {
            8.. => rest.get(length..).unwrap_or_default(),
            _ => break,
        };
    }
    Err(damaged("there is no codestream"))
}

/// What the size segment says.
struct Size {
    width: u32,
    height: u32,
    channels: usize,
    bits: u32,
    is_signed: bool,
}

impl Size {
    /// Reads the segment that follows the first marker (T.800, A.5.1).
    fn read(codestream: &[u8]) -> Result<Self, PixelError> {
        let malformed = || damaged("the size segment is malformed");
        let body = codestream.get(4..).ok_or_else(truncated)?;
        let (fixed, rest) = body.split_first_chunk::<38>().ok_or_else(truncated)?;
        let short = |at: usize| u32::from(u16::from_be_bytes([fixed[at], fixed[at + 1]]));
        let long = |at: usize| u64::from(short(at)) << 16 | u64::from(short(at + 2));
        let (length, capabilities, count) = (short(0), short(2), short(36));
        let (right, bottom, left, top) = (long(4), long(8), long(12), long(16));
        let (tile_width, tile_height, tile_left, tile_top) = (long(20), long(24), long(28), long(32));
        if capabilities & 0x4000 != 0 {
            return Err(unsupported("high-throughput block coding"));
        }
        if length != 38 + 3 * count || right <= left || bottom <= top || tile_width == 0 || tile_height == 0 {
            return Err(malformed());
        }
        let tiles = |end: u64, start: u64, size: u64| end.saturating_sub(start).div_ceil(size);
        let tiles = tiles(right, tile_left, tile_width).saturating_mul(tiles(bottom, tile_top, tile_height));
        if tiles > MAX_TILES {
            return Err(damaged(format!("{tiles} tiles are more than the standard allows")));
        }
        let components = rest.get(..3 * count as usize).ok_or_else(truncated)?.as_chunks::<3>().0;
        let &[first, ..] = components else { return Err(malformed()) };
        if components.iter().any(|&[kind, across, down]| kind != first[0] || across != 1 || down != 1) {
            return Err(unsupported("components that differ in depth or are subsampled"));
        }
        let bits = u32::from(first[0] & 0x7F) + 1;
        if bits > 16 || !matches!(count, 1 | 3) {
            return Err(unsupported(format!("{count} components of {bits} bits")));
        }
        let size = |end: u64, start: u64| u32::try_from(end - start).map_err(|_| malformed());
        Ok(Size {
            width: size(right, left)?,
            height: size(bottom, top)?,
            channels: count as usize,
            bits,
            is_signed: first[0] & 0x80 != 0,
        })
    }
}

fn damaged(reason: impl Into<String>) -> PixelError {
    PixelError::Damaged { format: "JPEG 2000", reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> PixelError {
    PixelError::Variant { format: "JPEG 2000", feature: feature.into() }
}

fn truncated() -> PixelError {
    PixelError::Truncated { format: "JPEG 2000" }
}
