//! The directions that a bank extends along most.

use ndarray::{Array2, ArrayView2, Axis, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::probe::gemm::multiply;

/// Steps of the iteration towards the leading eigenvectors; directions are orthonormal, if less
/// leading, after any number.
const STEPS: usize = 3;
/// Columns of the moments that one task computes.
const COLUMNS: usize = 64;
/// Of the directions the iteration starts with.
const SEED: u64 = 1;
/// The share of the square of a direction that must be left when its shares along the earlier ones
/// are taken away.
const INDEPENDENT: f64 = 1e-10;

/// Orthonormal directions `[D, count]` close to the leading eigenvectors of the second moments of
/// `rows: [n, D]`, finite, by orthogonal iteration from random ones (Halko, Martinsson and Tropp
/// 2011, SIAM Review 53, algorithm 4.4); columns for which there is no direction left are zero.
pub(super) fn directions(rows: ArrayView2<'_, f32>, count: usize) -> Array2<f32> {
    let width = rows.ncols();
    let count = count.min(width);
    let mut moments = Array2::zeros((width, width));
    let parts: Vec<_> = moments.axis_chunks_iter_mut(Axis(0), COLUMNS).enumerate().collect();
    parts.into_par_iter().for_each(|(part, out)| {
        let columns = part * COLUMNS..width.min(part * COLUMNS + COLUMNS);
        multiply(1.0, rows.slice(s![.., columns]).t(), rows, out);
    });
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut found = Array2::from_shape_simple_fn((width, count), || if random.r#gen() { 1.0f32 } else { -1.0 });
    for _ in 0..STEPS {
        let mut next = Array2::zeros(found.dim());
        multiply(1.0, moments.view(), found.view(), next.view_mut());
        // Twice is enough: what rounding leaves after the first time is small.
        let rows = orthonormal(orthonormal(next.t().as_standard_layout().mapv(f64::from)));
        found = rows.mapv(|x| x as f32).reversed_axes().as_standard_layout().into_owned();
    }
    found
}

/// Rows made orthonormal one after the other; those that depend on earlier ones become zero. The
/// inner products are computed at once and factored (Cholesky QR).
fn orthonormal(rows: Array2<f64>) -> Array2<f64> {
    let mut products = Array2::zeros((rows.nrows(), rows.nrows()));
    multiply(1.0, rows.view(), rows.t(), products.view_mut());
    // Each row is a combination of rows up to that one, in the order of `products`.
    let mut combinations = Array2::<f64>::zeros(products.dim());
    for at in 0..rows.nrows() {
        let (earlier, mut later) = combinations.view_mut().split_at(Axis(0), at);
        let mut combination = later.row_mut(0);
        let mut left = products[[at, at]];
        for (end, earlier) in earlier.rows().into_iter().enumerate() {
            let earlier = earlier.slice_move(s![..=end]);
            let share = earlier.dot(&products.slice(s![at, ..=end]));
            combination.slice_mut(s![..=end]).scaled_add(-share, &earlier);
            left -= share * share;
        }
        combination[at] = 1.0;
        if left > INDEPENDENT * products[[at, at]] {
            combination /= left.sqrt();
        } else {
            combination.fill(0.0);
        }
    }
    let mut found = Array2::zeros(rows.dim());
    multiply(1.0, combinations.view(), rows.view(), found.view_mut());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_orthonormal_and_hold_most_of_the_length() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let rows = Array2::from_shape_fn((300, 40), |(_, j)| random.r#gen_range(-1.0f32..1.0) / (1.0 + j as f32));
        let found = directions(rows.view(), 10);
        let products = found.t().dot(&found);
        assert!((&products - &Array2::<f32>::eye(10)).iter().all(|off| off.abs() < 1e-6), "{products}");
        let share = |length: f32| length / rows.iter().map(|x| x * x).sum::<f32>();
        let kept = share(rows.dot(&found).iter().map(|x| x * x).sum());
        // The length along the first ten coordinates, close to the leading eigenvectors.
        let along = share(rows.slice(s![.., ..10]).iter().map(|x| x * x).sum());
        assert!(kept > along - 0.01 && kept < 1.0, "{kept} {along}");
    }

    #[test]
    fn where_there_are_too_few_directions_the_others_are_zero() {
        let rows = Array2::from_shape_fn((50, 30), |(i, j)| if j % 10 == i % 3 { (1 + i * j % 7) as f32 } else { 0.0 });
        for rows in [rows, Array2::zeros((50, 30)), Array2::ones((50, 30))] {
            let found = directions(rows.view(), 20);
            for (i, column) in found.columns().into_iter().enumerate() {
                let square = column.dot(&column);
                assert!(square == 0.0 || (square - 1.0).abs() < 1e-6);
                found.columns().into_iter().take(i).for_each(|other| assert!(other.dot(&column).abs() < 1e-6));
            }
            let all = rows.iter().map(|x| x * x).sum::<f32>();
            let kept: f32 = rows.dot(&found).iter().map(|x| x * x).sum();
            assert!((kept - all).abs() <= 1e-4 * all, "{kept} of {all}");
        }
    }
}
