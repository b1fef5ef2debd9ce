//! One row of a horizontal or vertical resampling pass: the loops where preprocessing spends its
//! time.
//!
//! They are plain loops over slices, compiled for several instruction sets and chosen at run time.

use multiversion::multiversion;

use super::resample::{PRECISION, Weights};

/// One half in fixed point: where every sum starts, so that it is rounded.
const HALF: i32 = 1 << (PRECISION - 1);
/// Samples of a row that one step of the vertical pass keeps in registers.
const LANES: usize = 64;
/// Pixels that one step of the horizontal pass clips together.
const BLOCK: usize = 16;

/// A sample that resampling passes work on: `u8` in fixed point, `f32` in floating point.
pub(super) trait Sample: Copy + Default {
    /// One row of the horizontal pass. `samples` starts at the input column `origin` and holds at
    /// least the inputs that `weights` need; it may go on with the next row.
    fn horizontal<const CHANNELS: usize>(samples: &[Self], origin: usize, weights: &Weights, row: &mut [Self]);

    /// One row of the vertical pass, output `output` of `weights`. `samples` starts at the output's
    /// first input row.
    fn vertical(samples: &[Self], stride: usize, weights: (&Weights, usize), row: &mut [Self]);
}

impl Sample for u8 {
    fn horizontal<const CHANNELS: usize>(samples: &[u8], origin: usize, weights: &Weights, row: &mut [u8]) {
        match CHANNELS {
            1 => horizontal_grey(samples, origin, weights, row),
            _ => horizontal_rgb(samples, origin, weights, row),
        }
    }

    fn vertical(samples: &[u8], stride: usize, (weights, output): (&Weights, usize), row: &mut [u8]) {
        vertical_fixed(samples, stride, weights.fixed(output).1, row);
    }
}

impl Sample for f32 {
    fn horizontal<const CHANNELS: usize>(samples: &[f32], origin: usize, weights: &Weights, row: &mut [f32]) {
        horizontal_real::<CHANNELS>(samples, origin, weights, row);
    }

    fn vertical(samples: &[f32], stride: usize, (weights, output): (&Weights, usize), row: &mut [f32]) {
        vertical_real(samples, stride, weights.real(output).1, row);
    }
}

/// A fixed-point sum as 8 bits.
#[inline(always)]
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// `row[i] = sum of weights[t] * samples[start + t * stride + i]`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn vertical_fixed(samples: &[u8], stride: usize, weights: &[i32], row: &mut [u8]) {
    let length = row.len();
    let whole = length - length % LANES;
    for at in (0..whole).step_by(LANES) {
        let mut sums = [HALF; LANES];
        for (tap, &weight) in weights.iter().enumerate() {
            let start = tap * stride + at;
            for (sum, &sample) in sums.iter_mut().zip(&samples[start..start + LANES]) {
                *sum += weight * i32::from(sample);
            }
        }
        for (out, sum) in row[at..at + LANES].iter_mut().zip(sums) {
            *out = clip(sum);
        }
    }
    for at in whole..length {
        let products = weights.iter().enumerate().map(|(tap, &weight)| weight * i32::from(samples[tap * stride + at]));
        row[at] = clip(HALF + products.sum::<i32>());
    }
}

/// One row of the horizontal pass over RGB.
///
/// `samples` starts at the input column `origin`; it may reach beyond the row, which is read but
/// not used.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn horizontal_rgb(samples: &[u8], origin: usize, weights: &Weights, row: &mut [u8]) {
    for (block, pixels) in row.chunks_mut(3 * BLOCK).enumerate() {
        // Four lanes per pixel, the last of which is the next pixel's red: one multiplication per
        // input pixel.
        let mut sums = [0; 4 * BLOCK];
        for (index, lanes) in sums.chunks_exact_mut(4).take(pixels.len() / 3).enumerate() {
            let (first, taps) = weights.fixed(block * BLOCK + index);
            let start = 3 * (first - origin);
            let end = start + 3 * taps.len();
            let mut sum = [HALF; 4];
            if end < samples.len() {
                for (quad, &weight) in samples[start..=end].windows(4).step_by(3).zip(taps) {
                    for (sum, &sample) in sum.iter_mut().zip(quad) {
                        *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(sample)));
                    }
                }
            } else {
                for (triple, &weight) in samples[start..end].chunks_exact(3).zip(taps) {
                    for (sum, &sample) in sum.iter_mut().zip(triple) {
                        *sum += weight * i32::from(sample);
                    }
                }
            }
            lanes.copy_from_slice(&sum);
        }
        let mut clipped = [0; 4 * BLOCK];
        for (out, &sum) in clipped.iter_mut().zip(&sums) {
            *out = clip(sum);
        }
        for (pixel, quad) in pixels.chunks_exact_mut(3).zip(clipped.chunks_exact(4)) {
            pixel.copy_from_slice(&quad[..3]);
        }
    }
}

/// One row of the horizontal pass over grey; `samples` starts at the input column `origin`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn horizontal_grey(samples: &[u8], origin: usize, weights: &Weights, row: &mut [u8]) {
    for (output, out) in row.iter_mut().enumerate() {
        let (first, taps) = weights.fixed(output);
        let inputs = &samples[first - origin..first - origin + taps.len()];
        let sum: i32 = inputs.iter().zip(taps).map(|(&sample, &weight)| weight * i32::from(sample)).sum();
        *out = clip(HALF + sum);
    }
}

/// One row of the vertical pass in floating point, as PIL's mode `F`: summed in f64, stored as f32.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn vertical_real(samples: &[f32], stride: usize, weights: &[f64], row: &mut [f32]) {
    for (at, out) in row.chunks_mut(16).enumerate().map(|(chunk, out)| (chunk * 16, out)) {
        let mut sums = [0.0f64; 16];
        for (tap, &weight) in weights.iter().enumerate() {
            let start = tap * stride + at;
            for (sum, &sample) in sums.iter_mut().zip(&samples[start..start + out.len()]) {
                *sum += weight * f64::from(sample);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum as f32;
        }
    }
}

/// One row of the horizontal pass in floating point; `samples` starts at the input column `origin`.
fn horizontal_real<const CHANNELS: usize>(samples: &[f32], origin: usize, weights: &Weights, row: &mut [f32]) {
    for (output, pixel) in row.chunks_exact_mut(CHANNELS).enumerate() {
        let (first, taps) = weights.real(output);
        let start = CHANNELS * (first - origin);
        let mut sums = [0.0f64; CHANNELS];
        for (inputs, &weight) in samples[start..].chunks_exact(CHANNELS).zip(taps) {
            for (sum, &sample) in sums.iter_mut().zip(inputs) {
                *sum += weight * f64::from(sample);
            }
        }
        for (out, sum) in pixel.iter_mut().zip(sums) {
            *out = sum as f32;
        }
    }
}
