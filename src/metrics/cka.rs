//! Similarity of two representations of the same samples: centred kernel alignment with linear
//! kernels.
//!
//! Linear CKA is `||Yc' Xc||^2 / (||Xc' Xc|| ||Yc' Yc||)` over column-centred features (Kornblith
//! 2019, biased upwards for few samples); the unbiased one replaces the numerator and the two
//! factors by the HSIC estimator of Song et al. (2012), which may be negative and needs at least
//! four samples. Both are computed in feature space: time `N Dx Dy`, memory `Dx Dy`, never an `N x
//! N` matrix.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Features of N samples, centred, with what CKA needs of them alone; compute it once for each
/// representation that is compared.
#[derive(Clone, Debug)]
pub struct Representation {
    /// `[N, D]`, column means 0.
    centred: Array2<f64>,
    /// Squared norm of each row: the diagonal of the kernel matrix.
    diagonal: Array1<f64>,
    /// `||Xc' Xc||^2`.
    own: f64,
}

impl Representation {
    /// From features `[N, D]`.
    pub fn new(features: ArrayView2<'_, f64>) -> Self {
        let mean = features.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(features.ncols()));
        let centred = &features - &mean;
        let diagonal = centred.map_axis(Axis(1), |row| row.dot(&row));
        let own = squared_norm_of_product(&centred, &centred);
        Representation { centred, diagonal, own }
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.centred.nrows()
    }

    /// Linear CKA, from 0 to 1; `None` when the numbers of samples differ or either representation
    /// is constant.
    pub fn linear_cka(&self, other: &Representation) -> Option<f64> {
        let scale = (self.own * other.own).sqrt();
        (self.samples() == other.samples() && scale > 0.0)
            .then(|| squared_norm_of_product(&self.centred, &other.centred) / scale)
    }

    /// Unbiased CKA, at most about 1; `None` when the numbers of samples differ or are below 4, or
    /// either representation's own HSIC is not positive.
    pub fn unbiased_cka(&self, other: &Representation) -> Option<f64> {
        let (own, others) = (self.hsic_of(self, self.own)?, other.hsic_of(other, other.own)?);
        (own > 0.0 && others > 0.0).then_some(())?;
        Some(self.hsic(other)? / (own * others).sqrt())
    }

    /// Unbiased HSIC of the two linear kernels; `None` when the numbers of samples differ or are
    /// below 4.
    pub fn hsic(&self, other: &Representation) -> Option<f64> {
        if self.samples() != other.samples() {
            return None;
        }
        self.hsic_of(other, squared_norm_of_product(&self.centred, &other.centred))
    }

    /// `[tr(KL) + (1'K1)(1'L1) / ((n - 1)(n - 2)) - 2 / (n - 2) 1'KL1] / (n (n - 3))` with the
    /// diagonals of K and L set to 0.
    ///
    /// Centred features make the row sums of the full kernel 0, so those without the diagonal are
    /// the negated diagonal.
    fn hsic_of(&self, other: &Representation, product: f64) -> Option<f64> {
        let n = self.samples() as f64;
        if n < 4.0 {
            return None;
        }
        let shared = self.diagonal.dot(&other.diagonal);
        let trace = product - shared;
        let sums = self.diagonal.sum() * other.diagonal.sum();
        Some((trace + sums / ((n - 1.0) * (n - 2.0)) - 2.0 / (n - 2.0) * shared) / (n * (n - 3.0)))
    }
}

/// `||A' B||^2` (Frobenius), in blocks of columns of A.
fn squared_norm_of_product(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    const BLOCK: usize = 64;
    let starts: Vec<usize> = (0..a.ncols()).step_by(BLOCK).collect();
    let blocks: Vec<f64> = starts
        .into_par_iter()
        .map(|start| {
            let block = a.slice(ndarray::s![.., start..(start + BLOCK).min(a.ncols())]);
            block.t().dot(b).iter().map(|value| value * value).sum()
        })
        .collect();
    blocks.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_samples_or_constant_features_have_no_unbiased_similarity() {
        let three =
            Representation::new(Array2::from_shape_fn((3, 2), |(row, column)| (row * 2 + column) as f64).view());
        assert_eq!(three.unbiased_cka(&three), None);
        let constant = Representation::new(Array2::<f64>::ones((5, 2)).view());
        assert_eq!(constant.linear_cka(&constant), None);
        assert_eq!(constant.linear_cka(&three), None);
    }
}
