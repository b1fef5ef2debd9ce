//! Components to grey or RGB: libjpeg's fixed-point conversion (`jdcolor.c`), and PIL's for CMYK,
//! to the bit.

use multiversion::multiversion;

use super::frame::Planes;

/// What the components mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Grey,
    Rgb,
    YCbCr,
    /// Stored inverted, as Adobe does.
    Cmyk,
    Ycck,
    /// Four components as they are.
    Separate,
}

impl Colours {
    /// Channels of the image: 1 (grey), 3 (RGB), or 4 where they stay as they are.
    pub(super) fn channels(self) -> usize {
        match self {
            Colours::Grey => 1,
            Colours::Separate => 4,
            _ => 3,
        }
    }
}

/// The image `[height, width, channels]`.
pub(super) fn convert(planes: Planes, colours: Colours) -> Vec<u8> {
    let Planes { width, height, is_smooth, planes } = planes;
    let channels = colours.channels();
    let mut samples = vec![0; width * height * channels];
    let mut rows = vec![Vec::new(); planes.len()];
    let mut sums = Vec::new();
    for (y, out) in samples.chunks_exact_mut(width * channels).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.row(y, is_smooth, &mut sums, row);
        }
        match (colours, &rows[..]) {
            (Colours::Rgb, [red, green, blue]) => interleave(red, green, blue, out),
            (Colours::YCbCr, [y, cb, cr]) => to_rgb(y, cb, cr, out),
            (Colours::Cmyk, [cyan, magenta, yellow, black]) => {
                interleave(cyan, magenta, yellow, out);
                under_black(black, out);
            }
            (Colours::Ycck, [y, cb, cr, black]) => {
                to_rgb(y, cb, cr, out);
                // What is stored inverted once more by the transform comes out as inverted CMY.
                out.iter_mut().for_each(|sample| *sample = 255 - *sample);
                under_black(black, out);
            }
            (Colours::Separate, [first, second, third, fourth]) => {
                for (at, out) in out.chunks_exact_mut(4).enumerate() {
                    out.copy_from_slice(&[first[at], second[at], third[at], fourth[at]]);
                }
            }
            (_, [grey, ..]) => out.copy_from_slice(&grey[..width]),
            (_, []) => {}
        }
    }
    samples
}

fn interleave(first: &[u8], second: &[u8], third: &[u8], out: &mut [u8]) {
    for (((out, &first), &second), &third) in out.chunks_exact_mut(3).zip(first).zip(second).zip(third) {
        out.copy_from_slice(&[first, second, third]);
    }
}

/// YCbCr to RGB with 16 fractional bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn to_rgb(y: &[u8], cb: &[u8], cr: &[u8], out: &mut [u8]) {
    const HALF: i32 = 1 << 15;
    for (((out, &y), &cb), &cr) in out.chunks_exact_mut(3).zip(y).zip(cb).zip(cr) {
        let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
        let red = y + ((91_881 * cr + HALF) >> 16);
        let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
        let blue = y + ((116_130 * cb + HALF) >> 16);
        out[0] = red.clamp(0, 255) as u8;
        out[1] = green.clamp(0, 255) as u8;
        out[2] = blue.clamp(0, 255) as u8;
    }
}

/// PIL's `convert("RGB")` of CMYK: `out` holds inverted cyan, magenta and yellow, `black` is
/// inverted too.
fn under_black(black: &[u8], out: &mut [u8]) {
    for (pixel, &white) in out.chunks_exact_mut(3).zip(black) {
        let white = i32::from(white);
        for sample in pixel {
            let product = (255 - i32::from(*sample)) * white + 128;
            *sample = (white - ((product + (product >> 8)) >> 8)).clamp(0, 255) as u8;
        }
    }
}
