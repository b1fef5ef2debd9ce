//! Position embeddings for another image size: each reference library resamples the learned grid in
//! its own way.
//!
//! Every way is linear and separable, so it is a matrix per axis: a grid `[height, width, D]`
//! becomes `rows @ grid @ columns^T`, a table of relative positions `[L, D]` becomes `matrix @
//! table`. As matrix products in the graph they cost nothing (a runtime folds them once) and
//! gradients flow through them to the stored parameter.

use serde::Deserialize;

use crate::graph::{Builder, Value};
use crate::tensor::HostTensor;

/// How a library resamples the grid of learned position embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GridResampling {
    /// timm and open_clip, also DINOv2's own code for models with registers: bicubic (a = -0.5)
    /// with antialias. The kernel widens when the grid shrinks, taps outside the grid are dropped
    /// and the weights renormalised.
    Antialiased,
    /// transformers: bicubic (a = -0.75) over 4 taps, indices clamped to the border, no low-pass.
    Clamped,
    /// DINOv2's own code for models without registers: as [`GridResampling::Clamped`], but the step
    /// is `old / (new + 0.1)` instead of `old / new`.
    ClampedWithOffset,
}

impl GridResampling {
    /// The matrix `[to, from] f32` that resamples one axis of a grid.
    ///
    /// It is for an axis of a grid that changes: a grid that keeps its size is not resampled by any
    /// reference.
    pub(crate) fn matrix(self, from: usize, to: usize) -> HostTensor {
        let step = from as f64 / to as f64;
        dense(from, to, |index| match self {
            GridResampling::Antialiased => antialiased_taps(index, from, step),
            GridResampling::Clamped => clamped_taps(index, from, step),
            GridResampling::ClampedWithOffset => clamped_taps(index, from, from as f64 / (to as f64 + 0.1)),
        })
    }

    /// A grid of positions `[h * w, width]` at another size, as two matrix products; unchanged
    /// where the size is the same.
    pub(crate) fn resample(self, b: &mut Builder, grid: &Value, [from, to]: [[usize; 2]; 2], width: usize) -> Value {
        if from == to {
            return grid.clone();
        }
        let (rows, columns) = (self.matrix(from[0], to[0]), self.matrix(from[1], to[1]));
        let (rows, columns) = (b.constant(&rows), b.constant(&columns));
        let lines = b.reshape(grid, &[from[0] as i64, (from[1] * width) as i64]);
        let down = b.matmul(&rows, &lines);
        let cells = b.reshape(&down, &[to[0] as i64, from[1] as i64, width as i64]);
        let across = b.matmul(&columns, &cells);
        b.reshape(&across, &[-1, width as i64])
    }
}

/// The matrix `[to, from] f32` that interpolates a relative-position table linearly, with
/// half-pixel centres and clamped at the border, as SAM does for image sizes it was not trained on.
pub(crate) fn linear_matrix(from: usize, to: usize) -> HostTensor {
    let step = from as f64 / to as f64;
    dense(from, to, |index| {
        let center = ((index as f64 + 0.5) * step - 0.5).max(0.0);
        let low = center.floor();
        let first = low as usize;
        vec![(first, 1.0 - (center - low)), ((first + 1).min(from - 1), center - low)]
    })
}

/// The weights of one output position: input index and weight; an index may occur more than once.
type Taps = Vec<(usize, f64)>;

fn dense(from: usize, to: usize, taps: impl Fn(usize) -> Taps) -> HostTensor {
    let mut sums = vec![0f64; to * from];
    for index in 0..to {
        for (position, weight) in taps(index) {
            sums[index * from + position] += weight;
        }
    }
    HostTensor::from_fn(&[to, from], |flat| sums[flat] as f32)
}

/// The cubic convolution kernel of Keys (1981) with parameter `a`.
fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

fn antialiased_taps(index: usize, from: usize, step: f64) -> Taps {
    let stretch = step.max(1.0);
    let support = 2.0 * stretch;
    let center = step * (index as f64 + 0.5);
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(from);
    let weights: Vec<f64> = (first..end).map(|i| cubic((i as f64 - center + 0.5) / stretch, -0.5)).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().enumerate().map(|(offset, weight)| (first + offset, weight / total)).collect()
}

fn clamped_taps(index: usize, from: usize, step: f64) -> Taps {
    let center = (index as f64 + 0.5) * step - 0.5;
    let low = center.floor();
    let taps = -1i64..=2;
    taps.map(|offset| {
        let position = (low as i64 + offset).clamp(0, from as i64 - 1) as usize;
        (position, cubic(center - low - offset as f64, -0.75))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tensor::{Tolerance, compare, safetensors};

    /// `grid [5, 5, 6]` at another size, as the graph computes it.
    fn resampled(grid: &[f32], to: [usize; 2], how: GridResampling) -> Vec<f32> {
        let matrices = to.map(|length| how.matrix(5, length));
        let [rows, columns] = [0, 1].map(|axis| matrices[axis].values::<f32>().unwrap());
        let mut out = Vec::new();
        for (y, x, channel) in (0..to[0] * to[1] * 6).map(|i| (i / 6 / to[1], i / 6 % to[1], i % 6)) {
            let cells =
                (0..25).map(|cell| rows[y * 5 + cell / 5] * columns[x * 5 + cell % 5] * grid[cell * 6 + channel]);
            out.push(cells.sum());
        }
        out
    }

    #[test]
    fn every_way_of_resampling_equals_its_reference() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/numerics/resample.safetensors");
        let (stored, _) = safetensors::read(&path).unwrap();
        let grid = stored["grid"].values::<f32>().unwrap();
        let ways = [
            ("timm_openclip", GridResampling::Antialiased),
            ("transformers", GridResampling::Clamped),
            ("dinov2_hub", GridResampling::ClampedWithOffset),
        ];
        for (name, how) in ways {
            for to in [[7, 9], [3, 4], [2, 8]] {
                let expected = &stored[&format!("{name}.{}x{}", to[0], to[1])];
                let found = resampled(&grid, to, how);
                let outcome = compare(&found, &expected.values::<f32>().unwrap(), Tolerance::Rounding).unwrap();
                assert!(outcome.holds(), "{name} {to:?}: {outcome}");
            }
        }
    }
}
