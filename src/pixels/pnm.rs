//! PNM (PBM, PGM, PPM) as Pillow reads it: samples up to `maxval` become `sample / maxval * 255`, or
//! 65535 where two bytes hold one, halves to the even neighbour; comments may stand between the
//! samples of a text. The `image` crate, which decodes, rounds halves up and in f32, and refuses
//! such comments.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};

use image::codecs::pnm::{PnmDecoder, PnmSubtype, SampleEncoding};
use image::{DynamicImage, ImageDecoder as _, ImageResult};

use super::limits::DecodeLimits;
use crate::error::PixelError;

/// The image; its depth is that of the file.
///
/// # Errors
/// [`PixelError::TooManyPixels`] inside, those of the decoder outside.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> ImageResult<Result<DynamicImage, PixelError>> {
    let decoder = PnmDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    if let Err(error) = limits.check_pixels(width, height) {
        return Ok(Err(error));
    }
    let subtype = decoder.subtype();
    let (reader, header) = decoder.into_inner();
    let raster = &bytes[reader.position() as usize..];
    let raster =
        if subtype.sample_encoding() == SampleEncoding::Ascii { without_comments(raster) } else { raster.into() };
    // The decoder is shown samples that fill their bytes, which it leaves as they are.
    let maxval = header.maximal_sample();
    let full = if maxval > 255 { 65535 } else { 255 };
    let header = match subtype {
        PnmSubtype::Bitmap(_) => format!("{}\n{width} {height}\n", magic(subtype)),
        PnmSubtype::Graymap(_) | PnmSubtype::Pixmap(_) => format!("{}\n{width} {height}\n{full}\n", magic(subtype)),
        PnmSubtype::ArbitraryMap => return DynamicImage::from_decoder(PnmDecoder::new(Cursor::new(bytes))?).map(Ok),
    };
    let mut image = DynamicImage::from_decoder(PnmDecoder::new(header.as_bytes().chain(&*raster))?)?;
    if maxval != full && !matches!(subtype, PnmSubtype::Bitmap(_)) {
        let scaled = |sample: u32| (f64::from(sample) / f64::from(maxval) * f64::from(full)).round_ties_even();
        let deep = |sample: &mut u16| *sample = scaled(u32::from(*sample)).min(65535.0) as u16;
        let usual = |sample: &mut u8| *sample = scaled(u32::from(*sample)).min(255.0) as u8;
        match &mut image {
            DynamicImage::ImageLuma8(pixels) => pixels.iter_mut().for_each(usual),
            DynamicImage::ImageRgb8(pixels) => pixels.iter_mut().for_each(usual),
            DynamicImage::ImageLuma16(pixels) => pixels.iter_mut().for_each(deep),
            DynamicImage::ImageRgb16(pixels) => pixels.iter_mut().for_each(deep),
            _ => {}
        }
    }
    Ok(Ok(image))
}

fn magic(subtype: PnmSubtype) -> &'static str {
    std::str::from_utf8(subtype.magic_constant()).unwrap_or("P7")
}

/// The samples of a text without what stands between a `#` and the end of its line.
fn without_comments(raster: &[u8]) -> Cow<'_, [u8]> {
    if !raster.contains(&b'#') {
        return raster.into();
    }
    let mut is_comment = false;
    let kept = raster.iter().copied().filter(|&byte| {
        is_comment = (is_comment || byte == b'#') && !matches!(byte, b'\n' | b'\r');
        !is_comment
    });
    kept.collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(file: &[u8]) -> Vec<u16> {
        match decode(file, &DecodeLimits::default()).unwrap().unwrap() {
            DynamicImage::ImageLuma8(pixels) => pixels.iter().map(|&sample| u16::from(sample)).collect(),
            DynamicImage::ImageRgb8(pixels) => pixels.iter().map(|&sample| u16::from(sample)).collect(),
            DynamicImage::ImageLuma16(pixels) => pixels.into_raw(),
            other => panic!("{:?}", other.color()),
        }
    }

    /// Values of Pillow 13's `Image.open(file).convert("RGB")`, or of mode `I` where it keeps 16 bits.
    #[test]
    fn samples_below_their_bytes_are_scaled_as_pillow_does() {
        let every: Vec<u8> = (0..=254).collect();
        let found = samples(&[b"P5 255 1 254\n".as_slice(), &every].concat());
        // 127 / 254 * 255 is 127.5, which goes to the even 128; 42.5 and 212.5 would be of 102.
        assert_eq!((found[126], found[127], found[128], found[254]), (126, 128, 129, 255));
        assert_eq!(samples(b"P5 4 1 102\n\x01\x11\x33\x66"), [2, 42, 128, 255]);
        assert_eq!(samples(b"P2 4 1 102\n1 17 51 # half\n102\n"), [2, 42, 128, 255]);
        assert_eq!(samples(b"P3 1 1 102\n1 17 51\n"), [2, 42, 128]);
        assert_eq!(samples(b"P2 2 1 65534\n32767 65534\n"), [32768, 65535]);
        assert_eq!(samples(b"P2 2 1 1000\n1 1000\n"), [66, 65535]);
        assert_eq!(samples(b"P1 3 1\n10#x\n1\n"), [0, 255, 0]);
    }
}
