//! Upper bounds of inner products from short vectors.
//!
//! With m orthonormal directions V: [D, m], a row x is V c + r, where c = V'x and r is what they
//! miss. For a query q and a bank row x,
//!
//! ```text
//! q x  =  c_q c_x + r_q r_x  <=  c_q c_x + |r_q| |r_x|  =  (c_q, |r_q|) (c_x, |r_x|)
//! ```
//!
//! by Cauchy-Schwarz: the inner product of vectors of m + 1 entries bounds that of vectors of D
//! entries, closely where the directions hold most of the rows' length. Where V is the identity,
//! c = x and r = 0, the bound is the inner product itself.
//!
//! Short vectors, bounds and similarities are computed in f32. What that can amount to is a
//! multiple of |q| |x|, see [`Bound::whole`] and [`Bound::leading`], so that a query's bound plus
//! its slack, the multiple of |q| and the bank's longest row, is never below the inner product as
//! [`inner_products`](super::search::inner_products) computes it. This does not hold for rows that
//! are not finite or so long or short that f32 overflows or underflows: with any in the bank every
//! slack is NaN, which rules nothing out.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2, s};
use rayon::prelude::*;

use crate::probe::gemm::multiply;

/// Rows projected at once.
const ROWS: usize = 1024;
/// Half the distance between 1 and the next larger f32: the relative error of one operation.
const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// For errors of second order and those in f64.
const ROOM: f64 = 1.01;
/// Lengths of rows whose products neither overflow nor underflow in f32.
const TAME: std::ops::RangeInclusive<f64> = 1e-15..=1e15;

/// Vectors whose inner products with those of queries bound the bank's similarities.
pub(super) struct Bound<'a> {
    /// `[N, m + 1]`, or the bank itself.
    bank: CowArray<'a, f32, Ix2>,
    /// `[D, m]`, columns orthonormal or zero; `None` is the identity.
    directions: Option<ArrayView2<'a, f32>>,
    /// What rounding can take from a bound and add to a similarity, in units of |q| |x|.
    error: f64,
    /// What the directions and rounding can add to the square of a rest, in units of the square of
    /// the length.
    uncertainty: f64,
    /// Length of the longest row of the bank; NaN if f32 is not enough for any of them.
    longest: f64,
}

impl<'a> Bound<'a> {
    /// The inner products themselves as bounds.
    pub(super) fn whole(bank: ArrayView2<'a, f32>) -> Self {
        let parts: Vec<_> = bank.axis_chunks_iter(Axis(0), ROWS).collect();
        let longest = parts.into_par_iter().map(longest).reduce(|| 0.0, larger);
        // The bound and the similarity are sums of D products.
        let error = 2.0 * rounding(bank.ncols()) * ROOM;
        Bound { bank: bank.into(), directions: None, error, uncertainty: 0.0, longest }
    }

    /// Bounds from `bank: [N, D]` along `directions: [D, m]`, orthonormal but for rounding, given
    /// the length of the longest row.
    ///
    /// Let e be the norm of V'V - 1 without the columns that are zero, and d that of V'x - c for
    /// |x| = 1, as c is computed: each of its m entries is a sum of D products. With r = x - V c
    ///
    /// ```text
    /// q x - c_q c_x - r_q r_x  =  c_q (V'V - 1) c_x + c_q V'r_x + r_q V c_x   <=  (e + 2 (d + e)) |q| |x|
    /// |r|^2 - |x|^2 + |c|^2    =  2 (c - V'x) c + c (V'V - 1) c               <=  (2 d + e) |x|^2
    /// ```
    ///
    /// up to factors of 1 + d + e, as |V'r| <= (d + e) |x|. The bound is a sum of m + 1 products,
    /// the similarity one of D.
    pub(super) fn leading(bank: ArrayView2<'_, f32>, directions: ArrayView2<'a, f32>, longest: f64) -> Self {
        let (width, count) = directions.dim();
        let skew = skew(directions);
        let drift = (count as f64).sqrt() * rounding(width);
        let room = (1.0 + drift + skew).powi(2) * ROOM;
        let error = (2.0 * drift + 3.0 * skew + rounding(width) + rounding(count + 1)) * room;
        let uncertainty = (2.0 * drift + skew) * room;
        let empty = Array2::zeros((0, 0)).into();
        let mut bound = Bound { bank: empty, directions: Some(directions), error, uncertainty, longest };
        bound.bank = bound.vectors(bank).into_owned().into();
        bound
    }

    /// The vectors of the bank.
    pub(super) fn bank(&self) -> ArrayView2<'_, f32> {
        self.bank.view()
    }

    /// The vectors of rows `x: [n, D]`, whose inner products with the bank's are bounds.
    pub(super) fn vectors<'b>(&self, x: ArrayView2<'b, f32>) -> CowArray<'b, f32, Ix2> {
        let Some(directions) = &self.directions else { return x.into() };
        let count = directions.ncols();
        let mut vectors = Array2::zeros((x.nrows(), count + 1));
        let parts: Vec<_> =
            vectors.axis_chunks_iter_mut(Axis(0), ROWS).zip(x.axis_chunks_iter(Axis(0), ROWS)).collect();
        parts.into_par_iter().for_each(|(mut vectors, x)| {
            multiply(1.0, x, directions.view(), vectors.slice_mut(s![.., ..count]));
            for (mut vector, x) in vectors.rows_mut().into_iter().zip(x.rows()) {
                let all = square(x);
                let rest = (all - square(vector.slice(s![..count]))).max(0.0) + self.uncertainty * all;
                vector[count] = (rest.sqrt() as f32).next_up();
            }
        });
        vectors.into()
    }

    /// Length of the longest row of the bank; NaN if f32 is not enough for any of them.
    pub(super) fn longest(&self) -> f64 {
        self.longest
    }

    /// How far the similarity of a query and any row of the bank can be above its bound; NaN if
    /// that is unknown.
    pub(super) fn slack(&self, query: ArrayView1<'_, f32>) -> f64 {
        self.error * tame(square(query).sqrt()) * self.longest
    }
}

/// A bound of the error of a sum of `count` products in f32, in any order, for vectors of unit
/// length: count u / (1 - count u) (Higham, Accuracy and Stability of Numerical Algorithms, section
/// 3.1), and some for the last of denormal numbers.
fn rounding(count: usize) -> f64 {
    let error = (count + 1) as f64 * UNIT;
    if error < 0.5 { error / (1.0 - error) } else { f64::NAN }
}

/// How far columns are from being orthonormal: the Frobenius norm of V'V - 1 without the columns
/// that are zero.
fn skew(directions: ArrayView2<'_, f32>) -> f64 {
    let directions = directions.mapv(f64::from);
    let mut moments = Array2::zeros((directions.ncols(), directions.ncols()));
    multiply(1.0, directions.t(), directions.view(), moments.view_mut());
    moments.diag_mut().iter_mut().filter(|square| **square > 0.0).for_each(|square| *square -= 1.0);
    moments.iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

fn tame(length: f64) -> f64 {
    if length == 0.0 || TAME.contains(&length) { length } else { f64::NAN }
}

/// The larger of two lengths; NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn longest(rows: ArrayView2<'_, f32>) -> f64 {
    rows.rows().into_iter().map(|row| tame(square(row).sqrt())).fold(0.0, larger)
}

/// The square of a row's length, in f64.
fn square(row: ArrayView1<'_, f32>) -> f64 {
    const LANES: usize = 8;
    let Some(row) = row.to_slice() else { return row.iter().map(|x| f64::from(*x).powi(2)).sum() };
    let mut sums = [0.0f64; LANES];
    let (runs, tail) = row.as_chunks::<LANES>();
    for run in runs {
        sums.iter_mut().zip(run).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
    }
    sums.iter().sum::<f64>() + tail.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::probe::neighbours::directions::directions;
    use crate::probe::neighbours::search::inner_products;

    /// Every bound with its slack, and how far it is above the similarity on average, in units of
    /// the lengths.
    fn above(bound: &Bound<'_>, bank: &Array2<f32>, queries: &Array2<f32>) -> f64 {
        let vectors = bound.vectors(queries.view());
        let bounds = vectors.dot(&bound.bank().t());
        let all: Vec<u32> = (0..bank.nrows() as u32).collect();
        let mut total = 0.0;
        for (query, bounds) in queries.rows().into_iter().zip(bounds.rows()) {
            let mut found = Vec::new();
            inner_products(query.to_slice().unwrap(), bank.as_slice().unwrap(), &all, &mut found);
            for (bound_of_row, found) in bounds.iter().zip(found) {
                let most = f64::from(*bound_of_row) + bound.slack(query);
                assert!(most >= f64::from(found), "{most} is below {found}");
                total += (most - f64::from(found)) / (square(query).sqrt() * bound.longest());
            }
        }
        total / (bank.nrows() * queries.nrows()) as f64
    }

    #[test]
    fn no_similarity_is_above_its_bound() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for scale in [1.0f32, 1e-12, 1e14] {
            for fall in [0.0f32, 1.0, 3.0] {
                let mut rows = |count: usize| {
                    let rows = Array2::from_shape_fn((count, 96), |(_, j)| {
                        random.r#gen_range(-1.0f32..1.0) * (1.0 + j as f32).powf(-fall)
                    });
                    rows * scale
                };
                let (bank, queries) = (rows(100), rows(30));
                let whole = Bound::whole(bank.view());
                assert!(above(&whole, &bank, &queries) < 1e-4);
                let found = directions(bank.view(), 96);
                let mut last = f64::INFINITY;
                for count in [1, 8, 32, 64, 96] {
                    let bound = Bound::leading(bank.view(), found.slice(s![.., ..count]), whole.longest());
                    let above = above(&bound, &bank, &queries);
                    assert!(above <= last + 1e-3, "more directions, closer bounds");
                    last = above;
                }
                assert!(last < 1e-2, "along all directions little but rounding is left: {last}");
            }
        }
    }

    #[test]
    fn rows_out_of_range_have_no_slack() {
        let bank = Array2::from_shape_fn((4, 3), |(i, j)| (i + j) as f32);
        let queries = ndarray::array![[1.0f32, 2.0, 3.0], [0.0, 0.0, 0.0], [1e20, 0.0, 0.0], [f32::NAN, 0.0, 0.0]];
        let slacks = |bank: &Array2<f32>| -> Vec<f64> {
            let bound = Bound::whole(bank.view());
            queries.rows().into_iter().map(|query| bound.slack(query)).collect()
        };
        let usual = slacks(&bank);
        assert!(usual[0] > 0.0 && usual[0] < 1e-4 && usual[1] == 0.0 && usual[2].is_nan() && usual[3].is_nan());
        for odd in [f32::INFINITY, f32::NAN, 1e16, 1e-16] {
            let mut bank = bank.clone();
            bank.row_mut(2).fill(odd);
            assert!(slacks(&bank).iter().all(|slack| slack.is_nan()), "{odd}");
        }
    }
}
