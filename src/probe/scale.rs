//! Scaling of features before a linear probe: standardised, L2-normalised, or as they are.
//!
//! In: features `[N, D] f32`. Out: the same shape. The statistics are f64 and come from the samples
//! the probe is fitted on, never from those it is evaluated on.

use linfa::DatasetBase;
use linfa::traits::{Fit, Transformer};
use ndarray::{Array2, ArrayBase, ArrayView1, ArrayView2, Axis, Data, Ix2};
use rayon::prelude::*;

use crate::error::ProbeError;
use crate::records::Scale;

/// A scaling with its statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaler {
    scale: Scale,
    /// Mean of each feature; empty unless standardised.
    mean: Vec<f64>,
    /// What each feature is divided by; empty unless standardised.
    deviation: Vec<f64>,
}

/// Rows that one task scales.
const ROWS: usize = 256;
/// Norms below this one are not divided by.
const SMALLEST_NORM: f64 = 1e-12;

impl Scaler {
    /// What it does.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Mean of each feature, where features are standardised.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Standard deviation of each feature (1 for constant ones), where features are standardised.
    pub fn deviation(&self) -> &[f64] {
        &self.deviation
    }

    /// A scaler with statistics that were computed before.
    pub(super) fn stored(scale: Scale, mean: Vec<f64>, deviation: Vec<f64>) -> Self {
        Scaler { scale, mean, deviation }
    }

    /// The scaler of `samples: [N, D]`.
    pub(super) fn new(scale: Scale, samples: ArrayView2<'_, f32>) -> Self {
        if scale != Scale::Standard || samples.is_empty() {
            return Scaler { scale, mean: Vec::new(), deviation: Vec::new() };
        }
        let count = samples.nrows() as f64;
        let mut mean = vec![0.0f64; samples.ncols()];
        for row in samples.rows() {
            mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut deviation = vec![0.0f64; samples.ncols()];
        for row in samples.rows() {
            let features = deviation.iter_mut().zip(&mean).zip(row);
            features.for_each(|((sum, mean), &value)| *sum += (f64::from(value) - mean).powi(2));
        }
        for (deviation, mean) in deviation.iter_mut().zip(&mean) {
            let variance = *deviation / count;
            // The variance that rounding gives a constant feature, as scikit-learn bounds it.
            let rounding = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
            *deviation = if variance <= rounding { 1.0 } else { variance.sqrt() };
        }
        Scaler { scale, mean, deviation }
    }

    /// `samples: [N, D]` scaled.
    pub fn apply(&self, samples: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut scaled = samples.to_owned();
        if self.scale == Scale::None || scaled.is_empty() {
            return scaled;
        }
        let blocks: Vec<_> = scaled.axis_chunks_iter_mut(Axis(0), ROWS).collect();
        blocks.into_par_iter().for_each(|mut rows| {
            for mut row in rows.rows_mut() {
                if self.scale == Scale::L2 {
                    let norm = norm(row.view());
                    row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
                } else {
                    let features = row.iter_mut().zip(&self.mean).zip(&self.deviation);
                    features.for_each(|((value, mean), deviation)| {
                        *value = ((f64::from(*value) - mean) / deviation) as f32;
                    });
                }
            }
        });
        scaled
    }
}

/// Euclidean norm, at least 1e-12.
pub(super) fn norm(row: ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt().max(SMALLEST_NORM)
}

impl<D: Data<Elem = f32>, T> Fit<ArrayBase<D, Ix2>, T, ProbeError> for Scale {
    type Object = Scaler;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Scaler, ProbeError> {
        Ok(Scaler::new(*self, dataset.records.view()))
    }
}

impl<D: Data<Elem = f32>> Transformer<&ArrayBase<D, Ix2>, Array2<f32>> for Scaler {
    fn transform(&self, samples: &ArrayBase<D, Ix2>) -> Array2<f32> {
        self.apply(samples.view())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn standardised_features_have_mean_zero_and_spread_one() {
        let samples = array![[1.0f32, 1e6], [2.0, 1e6 + 2.0], [6.0, 1e6 + 4.0]];
        let scaled = Scaler::new(Scale::Standard, samples.view()).apply(samples.view());
        for column in scaled.columns() {
            let (sum, squares): (f32, f32) = (column.sum(), column.mapv(|value| value * value).sum());
            assert!(sum.abs() < 1e-6 && (squares - 3.0).abs() < 1e-5, "{column}");
        }
    }

    #[test]
    fn a_constant_feature_becomes_zero() {
        let samples = array![[0.1f32, 1.0], [0.1, 2.0], [0.1, 3.0]];
        let scaled = Scaler::new(Scale::Standard, samples.view()).apply(samples.view());
        assert!(scaled.column(0).iter().all(|value| value.abs() < 1e-6), "{scaled}");
    }

    #[test]
    fn a_zero_vector_stays_zero_when_normalised() {
        let samples = array![[0.0f32, 0.0], [3.0, 4.0]];
        let scaled = Scaler::new(Scale::L2, samples.view()).apply(samples.view());
        assert_eq!(scaled, array![[0.0, 0.0], [0.6, 0.8]]);
    }
}
