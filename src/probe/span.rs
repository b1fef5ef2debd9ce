//! The span of samples: coordinates in which fewer samples than features are fitted.
//!
//! In: features `x: [N, D] f32` with N < D. Out: `x = l q` with `l: [N, N]` lower triangular and
//! `q: [N, D]` of orthonormal rows, both f64.
//!
//! The coefficients of a penalised model are a combination of the samples: `w = u q` with `|w| =
//! |u|` and `x wᵀ = l uᵀ` (the representer theorem; Hastie and Tibshirani 2004, "Efficient quadratic
//! regularization for expression arrays", Biostatistics 5). The same problem is thus solved with N
//! values instead of D, and its gradient by `w` is that by `u` times `q`.
//!
//! `l` and `q` are made by Householder reflections, so that equal and dependent samples do no harm:
//! a block of b of them is `H_1 .. H_b = 1 - vᵀ t v` with `v: [b, D]` and `t` upper triangular
//! (Schreiber and Van Loan 1989, "A storage-efficient WY representation for products of Householder
//! transformations"; LAPACK's `gelqf` and `larft`).

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

use crate::probe::gemm::{multiply, multiply_add};

/// Reflections of one block.
const BLOCK: usize = 32;
/// Rows that one task reflects.
const ROWS: usize = 64;

/// The span of samples.
pub(super) struct Span {
    /// `[N, D]`, rows orthonormal.
    basis: Array2<f64>,
}

/// A block of reflections.
struct Reflections {
    /// The first entry that they change.
    start: usize,
    /// `[b, D - start]`: reflection i is `1 - t[i, i] vᵢᵀ vᵢ`.
    vectors: Array2<f64>,
    /// `[b, b]`, upper triangular.
    factor: Array2<f64>,
}

impl Span {
    /// The span of `x: [N, D]`, N <= D, and the samples' coordinates in it, `[N, N]`.
    pub(super) fn new(x: ArrayView2<'_, f32>) -> (Self, Array2<f64>) {
        let (rows, width) = x.dim();
        let mut reduced = x.mapv(f64::from);
        let mut blocks = Vec::new();
        for start in (0..rows).step_by(BLOCK) {
            let end = rows.min(start + BLOCK);
            let (mut block, rest) = reduced.slice_mut(s![start.., start..]).split_at(Axis(0), end - start);
            let reflections = Reflections::new(start, &mut block);
            reflections.apply(rest, false);
            blocks.push(reflections);
        }
        let coordinates = reduced.slice(s![.., ..rows]).to_owned();
        // `x H_1 .. H_N = [l 0]`, thus `q` is the first rows of the reflections in reverse.
        let mut basis = Array2::zeros((rows, width));
        basis.diag_mut().fill(1.0);
        for reflections in blocks.iter().rev() {
            reflections.apply(basis.slice_mut(s![.., reflections.start..]), true);
        }
        (Span { basis }, coordinates)
    }

    /// Number of features.
    pub(super) fn features(&self) -> usize {
        self.basis.ncols()
    }

    /// Rows `values: [K, N + 1]` by coordinates as rows by features, `[K, D + 1]`: coefficients or
    /// their gradient, intercepts last.
    pub(super) fn expand(&self, values: ArrayView2<'_, f64>) -> Array2<f64> {
        let (rank, features) = self.basis.dim();
        let mut out = Array2::zeros((values.nrows(), features + 1));
        out.column_mut(features).assign(&values.column(rank));
        multiply(1.0, values.slice(s![.., ..rank]), self.basis.view(), out.slice_mut(s![.., ..features]));
        out
    }
}

impl Reflections {
    /// Reflections that make the rows of `block: [b, M]` lower triangular; the rows become so.
    fn new(start: usize, block: &mut ArrayViewMut2<'_, f64>) -> Self {
        let (count, width) = block.dim();
        let mut vectors = Array2::zeros((count, width));
        let mut factor = Array2::zeros((count, count));
        for at in 0..count {
            let (mut own, mut later) = block.slice_mut(s![at.., at..]).split_at(Axis(0), 1);
            let mut row = own.row_mut(0);
            let (vector, scale, length) = reflection(row.view());
            row.fill(0.0);
            row[0] = length;
            for mut row in later.rows_mut() {
                let share = -scale * row.dot(&vector);
                row.scaled_add(share, &vector);
            }
            vectors.slice_mut(s![at, at..]).assign(&vector);
            // t[..i, i] = -t[i, i] t[..i, ..i] (v[..i] vᵢ)
            let products = vectors.slice(s![..at, at..]).dot(&vector);
            let column = factor.slice(s![..at, ..at]).dot(&products) * -scale;
            factor.slice_mut(s![..at, at]).assign(&column);
            factor[[at, at]] = scale;
        }
        Reflections { start, vectors, factor }
    }

    /// `rows - rows vᵀ t v`, or with `t` transposed the reflections in reverse order.
    fn apply(&self, rows: ArrayViewMut2<'_, f64>, reverse: bool) {
        let factor = if reverse { self.factor.t() } else { self.factor.view() };
        let mut rows = rows;
        let chunks: Vec<_> = rows.axis_chunks_iter_mut(Axis(0), ROWS).collect();
        chunks.into_par_iter().for_each(|rows| {
            let shape = (rows.nrows(), self.vectors.nrows());
            let (mut products, mut shares) = (Array2::zeros(shape), Array2::zeros(shape));
            multiply(1.0, rows.view(), self.vectors.t(), products.view_mut());
            multiply(1.0, products.view(), factor, shares.view_mut());
            multiply_add(-1.0, shares.view(), self.vectors.view(), rows);
        });
    }
}

/// The reflection `1 - scale vᵀ v` that turns `row` into `(length, 0, ..)`, with `v[0] = 1`; gives
/// `v`, `scale` and `length` (Golub and Van Loan, *Matrix Computations*, algorithm 5.1.1).
fn reflection(row: ArrayView1<'_, f64>) -> (Array1<f64>, f64, f64) {
    let rest: f64 = row.iter().skip(1).map(|value| value * value).sum();
    let mut vector = row.to_owned();
    vector[0] = 1.0;
    if rest == 0.0 {
        return (vector, 0.0, row[0]);
    }
    let length = -(row[0] * row[0] + rest).sqrt().copysign(row[0]);
    let first = row[0] - length;
    vector.iter_mut().skip(1).for_each(|value| *value /= first);
    (vector, -first / length, length)
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;
    use crate::support::seed::Seed;

    fn check(x: &Array2<f32>) {
        let (span, coordinates) = Span::new(x.view());
        let (rows, size) = (x.nrows(), x.iter().fold(1e-30f64, |most, &value| most.max(f64::from(value.abs()))));
        let products = span.basis.dot(&span.basis.t());
        assert!((&products - &Array2::<f64>::eye(rows)).iter().all(|off| off.abs() < 1e-13), "orthonormal");
        let off = &coordinates.dot(&span.basis) - &x.mapv(f64::from);
        assert!(off.iter().all(|off| off.abs() < 1e-13 * size * x.ncols() as f64), "the samples themselves");
        assert!(coordinates.indexed_iter().all(|((i, j), &value)| j <= i || value == 0.0), "lower triangular");
    }

    #[test]
    fn samples_are_their_coordinates_times_orthonormal_rows() {
        let mut random = Seed::new(5).random();
        for (rows, width) in [(1, 2), (3, 3), (31, 40), (32, 65), (33, 90), (150, 151)] {
            check(&Array2::from_shape_fn((rows, width), |_| random.gen_range(-1.0f32..1.5)));
        }
    }

    #[test]
    fn dependent_equal_and_empty_samples_do_no_harm() {
        let mut random = Seed::new(6).random();
        let some = Array2::from_shape_fn((7, 90), |_| random.gen_range(-1.0f32..1.0));
        check(&some.select(Axis(0), &(0..70).map(|at| at * at % 7).collect::<Vec<_>>()));
        let mut centred = some.clone();
        centred -= &some.mean_axis(Axis(0)).unwrap();
        check(&centred);
        check(&(centred * 1e-20));
        check(&Array2::zeros((40, 50)));
    }
}
