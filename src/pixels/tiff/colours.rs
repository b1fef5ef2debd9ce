//! What the samples of a TIFF mean: grey, palettes, RGB, CMYK, YCbCr.

use super::directory::{Directory, tag};
use super::unpack::{Compression, Depth};
use super::{Layout, damaged, unsupported};
use crate::error::PixelError;

/// A photometric interpretation that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColourSpace {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    Palette,
    Cmyk,
    YCbCr,
}

impl ColourSpace {
    /// The interpretation of a tag's value.
    pub(super) fn read(code: u64) -> Result<Self, PixelError> {
        let name = match code {
            0 => return Ok(ColourSpace::WhiteIsZero),
            1 => return Ok(ColourSpace::BlackIsZero),
            2 => return Ok(ColourSpace::Rgb),
            3 => return Ok(ColourSpace::Palette),
            5 => return Ok(ColourSpace::Cmyk),
            6 => return Ok(ColourSpace::YCbCr),
            4 => "a transparency mask",
            8 => "the colour space CIE L*a*b*",
            9 => "the colour space ICC L*a*b*",
            10 => "the colour space ITU L*a*b*",
            32_803 => "the raw mosaic of a camera",
            32_844 | 32_845 => "the colour space LogLuv",
            34_892 => "linear raw pixels of a camera",
            other => return Err(unsupported(format!("photometric interpretation {other}"))),
        };
        Err(unsupported(name))
    }

    /// Samples that the colours of a pixel take.
    pub(super) fn samples(self) -> usize {
        match self {
            ColourSpace::WhiteIsZero | ColourSpace::BlackIsZero | ColourSpace::Palette => 1,
            ColourSpace::Rgb | ColourSpace::YCbCr => 3,
            ColourSpace::Cmyk => 4,
        }
    }

    /// Channels of the image: 1 or 3.
    pub(super) fn channels(self) -> usize {
        if matches!(self, ColourSpace::WhiteIsZero | ColourSpace::BlackIsZero) { 1 } else { 3 }
    }
}

/// The image `[height, width, 1 or 3]` of samples `[height, width, samples]`.
pub(super) fn to_image<T: Depth>(
    layout: &Layout,
    pixels: Vec<T>,
    directory: &Directory<'_>,
) -> Result<Vec<T>, PixelError> {
    let colours = layout.colours.samples();
    let mut pixels = if layout.samples == colours {
        pixels
    } else if layout.is_premultiplied && layout.colours.channels() == colours {
        let each = |pixel: &[T]| {
            let alpha: u32 = pixel[colours].into();
            pixel[..colours].iter().map(|&sample| divided(sample, alpha)).collect::<Vec<T>>()
        };
        pixels.chunks_exact(layout.samples).flat_map(each).collect()
    } else {
        pixels.chunks_exact(layout.samples).flat_map(|pixel| pixel[..colours].iter().copied()).collect()
    };
    let largest = if layout.bits < 8 { (1 << layout.bits) - 1 } else { T::LARGEST };
    match layout.colours {
        ColourSpace::Rgb if layout.bits >= 8 => Ok(pixels),
        ColourSpace::WhiteIsZero | ColourSpace::BlackIsZero => {
            let is_inverted = layout.colours == ColourSpace::WhiteIsZero;
            for sample in &mut pixels {
                let value: u32 = (*sample).into();
                let value = if is_inverted { largest - value } else { value };
                *sample = T::narrow(value * (T::LARGEST / largest));
            }
            Ok(pixels)
        }
        ColourSpace::Palette => through_palette(&pixels, largest as usize + 1, directory),
        ColourSpace::Cmyk if layout.bits >= 8 => Ok(pixels.chunks_exact(4).flat_map(from_cmyk).collect()),
        ColourSpace::YCbCr if layout.bits == 8 => Ok(from_luma_chroma(layout, &pixels, directory)),
        _ => Err(unsupported(format!("colours of {}-bit samples", layout.bits))),
    }
}

/// A sample that was multiplied by its pixel's alpha, rounded down.
fn divided<T: Depth>(sample: T, alpha: u32) -> T {
    let value: u32 = sample.into();
    (value * T::LARGEST).checked_div(alpha).map_or(T::narrow(0), |quotient| T::narrow(quotient.min(T::LARGEST)))
}

/// Colours of indices; their upper bytes, as Pillow.
fn through_palette<T: Depth>(indices: &[T], size: usize, directory: &Directory<'_>) -> Result<Vec<T>, PixelError> {
    let map = directory.integers(tag::COLOR_MAP);
    if T::LARGEST > 255 {
        return Err(unsupported("a palette of 16-bit indices"));
    }
    if map.len() < 3 * size {
        return Err(damaged(format!("a palette of {} values where {} are needed", map.len(), 3 * size)));
    }
    let colour = |index: &T| {
        let index: u32 = (*index).into();
        [0, 1, 2].map(|channel| T::narrow((map[channel * size + index as usize] >> 8) as u32))
    };
    Ok(indices.iter().flat_map(colour).collect())
}

/// Pillow's `convert("RGB")` of CMYK: `255 - k - c (255 - k) / 255`, the quotient rounded.
fn from_cmyk<T: Depth>(pixel: &[T]) -> [T; 3] {
    let white = 255 - Into::<u32>::into(pixel[3]).min(255);
    [0, 1, 2].map(|channel| {
        let product = Into::<u32>::into(pixel[channel]).min(255) * white + 128;
        T::narrow(white.saturating_sub((product + (product >> 8)) >> 8))
    })
}

/// RGB of YCbCr, which a JPEG's decoder has converted already: as Pillow converts what is not
/// compressed, and as libtiff converts the rest.
fn from_luma_chroma<T: Depth>(layout: &Layout, pixels: &[T], directory: &Directory<'_>) -> Vec<T> {
    let convert: Box<dyn Fn([i32; 3]) -> [i32; 3]> = match layout.compression {
        Some(Compression::Jpeg) => return pixels.to_vec(),
        Some(Compression::None) if layout.subsampling == [1, 1] => Box::new(pillow),
        _ => Box::new(Libtiff::read(directory).converter()),
    };
    let colour = |pixel: &[T]| {
        let values = [0, 1, 2].map(|channel| Into::<u32>::into(pixel[channel]) as i32);
        convert(values).map(|value| T::narrow(value.clamp(0, 255) as u32))
    };
    pixels.chunks_exact(3).flat_map(colour).collect()
}

/// `ConvertYCbCr.c` of Pillow: terms of 6 fractional bits, rounded up by half and cut towards 0.
fn pillow([luma, cb, cr]: [i32; 3]) -> [i32; 3] {
    let term = |factor: f64, chroma: i32| (factor * f64::from(chroma - 128) * 64.0 + 0.5) as i32;
    [
        luma + (term(1.402, cr) >> 6),
        luma + ((term(-0.34414, cb) + term(-0.71414, cr)) >> 6),
        luma + (term(1.772, cb) >> 6),
    ]
}

/// `TIFFYCbCrToRGBInit` of libtiff: factors of 16 fractional bits from the luma coefficients.
struct Libtiff {
    /// Red, green and blue in luma.
    coefficients: [f32; 3],
    /// Black and white of luma, Cb and Cr.
    reference: [f32; 6],
}

impl Libtiff {
    fn read(directory: &Directory<'_>) -> Self {
        let stated = |tag| directory.numbers(tag).into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let coefficients = stated(tag::YCBCR_COEFFICIENTS).try_into().ok();
        let coefficients = coefficients.filter(|values: &[f32; 3]| values[1] != 0.0);
        Libtiff {
            coefficients: coefficients.unwrap_or([0.299, 0.587, 0.114]),
            reference: stated(tag::REFERENCE_BLACK_WHITE)
                .try_into()
                .unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
        }
    }

    fn converter(self) -> impl Fn([i32; 3]) -> [i32; 3] {
        const ONE_HALF: i32 = 1 << 15;
        let [red, green, blue] = self.coefficients;
        let fixed = |factor: f32| (f64::from(factor.clamp(0.0, 2.0)) * 65_536.0 + 0.5) as i32;
        let (for_red, for_blue) = (2.0 - 2.0 * red, 2.0 - 2.0 * blue);
        let from_cr = [fixed(for_red), -fixed(red * for_red / green)];
        let from_cb = [fixed(for_blue), -fixed(blue * for_blue / green)];
        let reference = self.reference;
        // A code as a value, with the reference's black and white where they should be.
        let value = move |code: i32, black: f32, white: f32, range: f32| {
            let width = if white == black { 1.0 } else { white - black };
            (((code - black as i32) as f32 * range / width) as i32).clamp(-4096, 4096)
        };
        move |[luma, cb, cr]| {
            let luma = value(luma, reference[0], reference[1], 255.0);
            let cb = value(cb - 128, reference[2] - 128.0, reference[3] - 128.0, 127.0);
            let cr = value(cr - 128, reference[4] - 128.0, reference[5] - 128.0, 127.0);
            [
                luma + ((from_cr[0] * cr + ONE_HALF) >> 16),
                luma + ((from_cb[1] * cb + from_cr[1] * cr + ONE_HALF) >> 16),
                luma + ((from_cb[0] * cb + ONE_HALF) >> 16),
            ]
        }
    }
}
