//! Small versions of images as data URIs.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_encoder::{ColorType, Encoder};

use crate::pixels::{DecodeLimits, decode_file};
use crate::preprocess::{Image, Samples};

/// Longest side of a small version, in pixels: twice the size shown, for sharp displays.
const SIDE: u32 = 168;
const JPEG_QUALITY: u8 = 78;

/// The image file as a JPEG data URI of at most 168 x 168 pixels; `None` when it cannot be read as
/// an image.
///
/// 16-bit samples are stretched from their darkest to their brightest.
pub fn thumbnail(path: &Path) -> Option<String> {
    let small = shrink(decode_file(path, &DecodeLimits::default()).ok()?)?;
    let (width, height) = (u16::try_from(small.width()).ok()?, u16::try_from(small.height()).ok()?);
    let colours = if small.color().channel_count() == 1 { ColorType::Luma } else { ColorType::Rgb };
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, JPEG_QUALITY).encode(small.as_bytes(), width, height, colours).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}

fn shrink(image: Image) -> Option<DynamicImage> {
    let samples = match image.samples {
        Samples::U8(samples) => samples,
        Samples::U16(samples) => stretched(&samples),
    };
    let image = match image.channels {
        1 => DynamicImage::ImageLuma8(GrayImage::from_raw(image.width, image.height, samples)?),
        _ => DynamicImage::ImageRgb8(RgbImage::from_raw(image.width, image.height, samples)?),
    };
    let fits = image.width() <= SIDE && image.height() <= SIDE;
    Some(if fits { image } else { image.resize(SIDE, SIDE, FilterType::Triangle) })
}

fn stretched(samples: &[u16]) -> Vec<u8> {
    let low = samples.iter().copied().min().unwrap_or(0);
    let range = f64::from(samples.iter().copied().max().unwrap_or(0) - low).max(1.0);
    samples.iter().map(|&sample| (f64::from(sample - low) / range * 255.0).round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_keep_their_proportions_and_deep_ones_their_contrast() {
        let samples = (0..400 * 200).map(|at| if at % 400 < 200 { 1000 } else { 1400 }).collect();
        let small = shrink(Image::new(400, 200, 1, Samples::U16(samples)).unwrap()).unwrap().into_luma8();
        assert_eq!(small.dimensions(), (168, 84));
        assert_eq!((small.get_pixel(10, 40).0, small.get_pixel(160, 40).0), ([0], [255]));
    }

    #[test]
    fn what_is_no_image_has_no_thumbnail() {
        assert_eq!(thumbnail(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path()), None);
    }
}
