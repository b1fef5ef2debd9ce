//! Colours: luma and chroma to RGB, palettes, and samples of any depth to 8 or 16 bits.

use super::description::Photometric;
use super::elements::DataSet;
use super::lut::Palette;
use super::stored::{Stored, StoredSamples};
use super::unsupported;
use crate::error::PixelError;
use crate::preprocess::Samples;

/// Luma and chroma to RGB, as PS3.3 C.7.6.3.1.2 defines them, rounded half up.
pub(super) fn to_rgb(stored: &mut Stored, photometric: Photometric) -> Result<(), PixelError> {
    if !matches!(photometric, Photometric::YbrFull | Photometric::YbrFull422) {
        return Ok(());
    }
    let StoredSamples::U8(samples) = &mut stored.samples else {
        return Err(unsupported("luma and chroma of more than 8 bits"));
    };
    const BLUE_OF_GREEN: f32 = (-0.114 * 1.772 / 0.587) as f32;
    const RED_OF_GREEN: f32 = (-0.299 * 1.402 / 0.587) as f32;
    for pixel in samples.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = [f32::from(pixel[0]), f32::from(pixel[1]) - 128.0, f32::from(pixel[2]) - 128.0];
        let rgb = [y + 1.402 * cr, y + BLUE_OF_GREEN * cb + RED_OF_GREEN * cr, y + 1.772 * cb];
        *pixel = rgb.map(|sample| (sample + 0.5).floor().clamp(0.0, 255.0) as u8);
    }
    Ok(())
}

/// Red, green and blue of a palette's entries, 8 or 16 bits as the palette.
pub(super) fn from_palette(stored: &Stored, data_set: &DataSet<'_>) -> Result<Samples, PixelError> {
    let palette = Palette::read(data_set, stored.is_signed)?;
    let colours = stored.values().into_iter().flat_map(|value| palette.colour(value));
    Ok(match palette.bits() {
        8 => Samples::U8(colours.map(|sample| sample.min(255) as u8).collect()),
        bits => Samples::U16(colours.map(|sample| raised(sample.into(), bits)).collect()),
    })
}

/// Red, green and blue of 8 bits as they are, of any other depth as 16 bits.
pub(super) fn full_range(stored: &Stored) -> Samples {
    let bits = stored.bits;
    let raised = |sample: u32| raised(sample, bits);
    match &stored.samples {
        StoredSamples::U8(samples) if bits == 8 => Samples::U8(samples.clone()),
        StoredSamples::U8(samples) => Samples::U16(samples.iter().map(|&sample| raised(sample.into())).collect()),
        StoredSamples::U16(samples) => Samples::U16(samples.iter().map(|&sample| raised(sample.into())).collect()),
        StoredSamples::U32(samples) => Samples::U16(samples.iter().map(|&sample| raised(sample)).collect()),
    }
}

/// A sample of `bits` bits as one of 16.
fn raised(sample: u32, bits: u32) -> u16 {
    let largest = ((1u64 << bits) - 1) as f64;
    (f64::from(sample) / largest * f64::from(u16::MAX)).round().min(f64::from(u16::MAX)) as u16
}
