//! An approximate inverse Hessian of logistic regression: `(h * [x 1]ᵀ[x 1] / S + λ I)⁻¹` for every
//! row of coefficients.
//!
//! The Hessian of the mean loss is a weighted covariance of the features; `h`, the mean of `p (1 -
//! p)`, stands for the weights. With it correlated features cost L-BFGS no more steps than
//! independent ones. The second moments are computed once for all penalties, factorised (Cholesky)
//! once for each. Above [`MAX_FEATURES`] only their diagonal is used.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use crate::probe::gemm::{Scalar, multiply, multiply_add};
use crate::probe::objective::Features;

/// Features up to which the whole matrix is used: its factorisation grows with their cube.
const MAX_FEATURES: usize = 2048;
/// Rows of the factor that are computed at once.
const PANEL: usize = 64;
/// Smallest pivot and penalty, as a share of the mean diagonal.
const SMALLEST: f64 = 1e-6;

/// Second moments of features with a constant one appended, divided by the sum of the sample
/// weights.
pub(super) enum Moments {
    /// `[D + 1, D + 1]`, the lower triangle and diagonal of it.
    Full(Array2<f64>),
    /// The diagonal.
    Diagonal(Vec<f64>),
}

impl Moments {
    /// The second moments of features `[N, D]` of samples with these weights.
    pub(super) fn new(features: &Features, weights: Option<&[f64]>) -> Self {
        match features {
            Features::Single(x) => Moments::of_rows(x.view(), weights),
            Features::Double(x) => Moments::of_rows(x.view(), weights),
        }
    }

    fn of_rows<T: Scalar>(x: ArrayView2<'_, T>, weights: Option<&[f64]>) -> Self {
        let features = x.ncols();
        let total = weights.map_or(x.nrows() as f64, |weights| weights.iter().sum());
        let mut sums = vec![0.0f64; features];
        let mut squares = vec![0.0f64; features];
        for (index, row) in x.rows().into_iter().enumerate() {
            let weight = weights.map_or(1.0, |weights| weights[index]) / total;
            for ((value, sum), square) in row.iter().zip(&mut sums).zip(&mut squares) {
                *sum += weight * value.double();
                *square += weight * value.double().powi(2);
            }
        }
        if features > MAX_FEATURES {
            squares.push(1.0);
            return Moments::Diagonal(squares);
        }
        let weighted = weights.map(|weights| {
            let mut scaled = x.to_owned();
            scaled
                .rows_mut()
                .into_iter()
                .zip(weights)
                .for_each(|(mut row, &weight)| row.mapv_inplace(|value| T::of(weight * value.double())));
            scaled
        });
        let left = weighted.as_ref().map_or_else(|| x.view(), Array2::view);
        let mut product = Array2::from_elem((features, features), T::ZERO);
        let panels: Vec<_> = product.axis_chunks_iter_mut(Axis(0), PANEL).collect();
        panels.into_par_iter().enumerate().for_each(|(panel, out)| {
            let rows = panel * PANEL..(panel * PANEL + PANEL).min(features);
            multiply(T::of(1.0 / total), left.slice(s![.., rows]).t(), x, out);
        });
        let mut moments = Array2::zeros((features + 1, features + 1));
        moments.slice_mut(s![..features, ..features]).assign(&product.mapv(T::double));
        for (feature, (&sum, &square)) in sums.iter().zip(&squares).enumerate() {
            moments[[features, feature]] = sum;
            moments[[feature, feature]] = square;
        }
        moments[[features, features]] = 1.0;
        Moments::Full(moments)
    }

    /// The factorised matrix for one scale `h` and penalty `λ`.
    pub(super) fn factorise(&self, scale: f64, penalty: f64) -> Preconditioner {
        match self {
            Moments::Diagonal(diagonal) => {
                let last = diagonal.len() - 1;
                let entry = |(feature, moment): (usize, &f64)| {
                    let penalty = if feature == last { 0.0 } else { penalty };
                    1.0 / (scale * moment + penalty).max(f64::MIN_POSITIVE)
                };
                Preconditioner::Diagonal(diagonal.iter().enumerate().map(entry).collect())
            }
            Moments::Full(moments) => {
                let mut matrix = moments * scale;
                let last = matrix.nrows() - 1;
                let mean = matrix.diag().sum() / matrix.nrows() as f64;
                let penalty = penalty.max(SMALLEST * mean);
                matrix.diag_mut().slice_mut(s![..last]).mapv_inplace(|value| value + penalty);
                cholesky(&mut matrix, SMALLEST * mean);
                Preconditioner::Factor(matrix)
            }
        }
    }
}

/// An approximate inverse Hessian.
pub(super) enum Preconditioner {
    /// Lower Cholesky factor.
    Factor(Array2<f64>),
    /// Inverse diagonal.
    Diagonal(Vec<f64>),
}

impl Preconditioner {
    /// Applies the inverse to each row of `values: [K, D + 1]`, in place.
    pub(super) fn apply(&self, values: &mut ArrayViewMut2<'_, f64>) {
        match self {
            Preconditioner::Diagonal(inverse) => {
                for mut row in values.rows_mut() {
                    row.iter_mut().zip(inverse).for_each(|(value, inverse)| *value *= inverse);
                }
            }
            Preconditioner::Factor(factor) => solve(factor, values),
        }
    }
}

/// The lower Cholesky factor of the symmetric `a: [M, M]` (lower triangle read), in place, by
/// panels. Pivots below `smallest`, which rounding may make of a semi-definite matrix, are raised
/// to it.
fn cholesky(a: &mut Array2<f64>, smallest: f64) {
    let size = a.nrows();
    for start in (0..size).step_by(PANEL) {
        let end = (start + PANEL).min(size);
        for j in start..end {
            for i in j..size {
                let sum: f64 = (start..j).map(|k| a[[i, k]] * a[[j, k]]).sum();
                let value = a[[i, j]] - sum;
                a[[i, j]] = if i == j { value.max(smallest).sqrt() } else { value / a[[j, j]] };
            }
        }
        let (left, mut right) = a.view_mut().split_at(Axis(1), end);
        let panel = left.slice(s![end.., start..]);
        // The rows below each panel of the rest: only the lower triangle is needed.
        for row in (end..size).step_by(PANEL) {
            let next = (row + PANEL).min(size);
            let out = right.slice_mut(s![row..next, ..next - end]);
            multiply_add(-1.0, panel.slice(s![row - end..next - end, ..]), panel.slice(s![..next - end, ..]).t(), out);
        }
    }
}

/// Solves `L Lᵀ x = v` for each row `v` of `values: [K, M]`, in place.
fn solve(factor: &Array2<f64>, values: &mut ArrayViewMut2<'_, f64>) {
    let size = factor.nrows();
    let panels: Vec<usize> = (0..size).step_by(PANEL).collect();
    for &start in &panels {
        let end = (start + PANEL).min(size);
        let (done, mut open) = values.view_mut().split_at(Axis(1), start);
        multiply_add(
            -1.0,
            done.view(),
            factor.slice(s![start..end, ..start]).t(),
            open.slice_mut(s![.., ..end - start]),
        );
        for mut row in values.rows_mut() {
            for i in start..end {
                let sum: f64 = (start..i).map(|j| factor[[i, j]] * row[j]).sum();
                row[i] = (row[i] - sum) / factor[[i, i]];
            }
        }
    }
    for &start in panels.iter().rev() {
        let end = (start + PANEL).min(size);
        let (mut open, done) = values.view_mut().split_at(Axis(1), end);
        multiply_add(-1.0, done.view(), factor.slice(s![end.., start..end]), open.slice_mut(s![.., start..]));
        for mut row in values.rows_mut() {
            for i in (start..end).rev() {
                let sum: f64 = (i + 1..end).map(|j| factor[[j, i]] * row[j]).sum();
                row[i] = (row[i] - sum) / factor[[i, i]];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::support::seed::Seed;

    #[test]
    fn the_factor_solves_the_regularised_system() {
        let mut random = Seed::new(3).random();
        let (samples, features) = (400, 150);
        let x = Array2::from_shape_fn((samples, features), |_| random.gen_range(-1.0f32..1.5));
        let weights: Vec<f64> = (0..samples).map(|i| 1.0 + (i % 3) as f64).collect();
        let total: f64 = weights.iter().sum();
        let mut one = Array2::from_elem((samples, features + 1), 1.0f64);
        one.slice_mut(s![.., ..features]).assign(&x.mapv(f64::from));
        let mut heavy = one.clone();
        heavy.rows_mut().into_iter().zip(&weights).for_each(|(mut row, weight)| row *= *weight);
        let mut matrix = heavy.t().dot(&one) * (0.2 / total);
        matrix.diag_mut().slice_mut(s![..features]).mapv_inplace(|value| value + 0.01);

        let expected = Array2::from_shape_fn((3, features + 1), |_| random.gen_range(-1.0f64..1.0));
        let mut found = expected.dot(&matrix);
        let preconditioner = Moments::new(&Features::Single(x), Some(&weights)).factorise(0.2, 0.01);
        preconditioner.apply(&mut found.view_mut());
        let worst = (&found - &expected).iter().fold(0.0f64, |most, value| most.max(value.abs()));
        assert!(worst < 1e-4, "{worst}");
    }

    #[test]
    fn repeated_features_do_not_break_the_factorisation() {
        let mut random = Seed::new(4).random();
        let single = Array2::from_shape_fn((50, 3), |_| random.gen_range(-1.0f32..1.0));
        let x = ndarray::concatenate![Axis(1), single, single, single];
        let mut values = Array2::ones((1, 10));
        Moments::new(&Features::Single(x), None).factorise(0.25, 0.0).apply(&mut values.view_mut());
        assert!(values.iter().all(|value| value.is_finite()));
    }
}
