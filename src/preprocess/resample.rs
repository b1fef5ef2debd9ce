//! The weights of antialiased resampling as PIL computes them: fixed point for 8-bit samples,
//! floating point for deeper ones.
//!
//! Output `i` of an axis is a weighted mean of the inputs around `(i + 0.5) * scale`, with `scale =
//! input / output`; when shrinking, the filter is stretched by `scale`, which is the low-pass. The
//! weights of 8-bit samples have 22 fractional bits and each pass is rounded and clipped to 8 bits,
//! so that results equal PIL's to the bit (`Resample.c` of Pillow: `precompute_coeffs`,
//! `normalize_coeffs_8bpc`, `ImagingResampleHorizontal_8bpc` and the rest).

use super::geometry::Span;
use super::spec::Filter;

/// Fractional bits of a fixed-point weight.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

impl Filter {
    /// Half the width of the kernel, in pixels of the larger image.
    pub(super) fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    /// The kernel at distance `x`.
    fn value(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let distance = x.abs();
        match self {
            Filter::Bilinear if distance < 1.0 => 1.0 - distance,
            Filter::Bicubic if distance < 1.0 => ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0,
            Filter::Bicubic if distance < 2.0 => (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A,
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            _ => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// What one axis of a resize sums up: for each output that survives the crop, the first input and
/// the weights from there.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    /// What the weights are for; they are computed again only when it changes.
    key: Option<(Span, Filter)>,
    /// First input of each output.
    firsts: Vec<usize>,
    /// Number of inputs of each output.
    counts: Vec<usize>,
    /// Room for the weights of one output.
    taps: usize,
    /// `[outputs, taps]` in floating point, summing up to 1 per output.
    real: Vec<f64>,
    /// The same in fixed point.
    fixed: Vec<i32>,
}

impl Weights {
    /// Makes these the weights of `span`.
    pub(super) fn prepare(&mut self, span: Span, filter: Filter) {
        if self.key == Some((span, filter)) {
            return;
        }
        let scale = span.source as f64 / span.resized as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        self.taps = support.ceil() as usize * 2 + 1;
        self.firsts.clear();
        self.counts.clear();
        self.real.clear();
        self.real.resize(span.kept * self.taps, 0.0);
        for (output, weights) in (span.first..).zip(self.real.chunks_exact_mut(self.taps)) {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(span.source);
            let weights = &mut weights[..end - first];
            let mut sum = 0.0;
            for (input, weight) in (first..end).zip(weights.iter_mut()) {
                *weight = filter.value((input as f64 - center + 0.5) / stretch);
                sum += *weight;
            }
            if sum != 0.0 {
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            self.firsts.push(first);
            self.counts.push(end - first);
        }
        self.fixed.clear();
        let one = f64::from(1 << PRECISION);
        self.fixed.extend(self.real.iter().map(|&weight| (weight * one + 0.5f64.copysign(weight)) as i32));
        self.key = Some((span, filter));
    }

    /// The inputs that any output needs.
    pub(super) fn inputs(&self) -> std::ops::Range<usize> {
        let end = self.firsts.iter().zip(&self.counts).map(|(first, count)| first + count).max();
        self.firsts.first().copied().unwrap_or(0)..end.unwrap_or(0)
    }

    /// First input of one output.
    pub(super) fn first(&self, output: usize) -> usize {
        self.firsts[output]
    }

    /// First input and fixed-point weights of one output.
    pub(super) fn fixed(&self, output: usize) -> (usize, &[i32]) {
        let start = output * self.taps;
        (self.firsts[output], &self.fixed[start..start + self.counts[output]])
    }

    /// First input and floating-point weights of one output.
    pub(super) fn real(&self, output: usize) -> (usize, &[f64]) {
        let start = output * self.taps;
        (self.firsts[output], &self.real[start..start + self.counts[output]])
    }
}
