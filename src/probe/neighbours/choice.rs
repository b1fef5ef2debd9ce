//! Whether bounds along leading directions pay, and along how many.

use ndarray::{Array2, ArrayView2, Axis, s};

use crate::probe::neighbours::bound::Bound;
use crate::probe::neighbours::directions::directions as leading;
use crate::probe::neighbours::guess::Sample;
use crate::probe::neighbours::search::{limit, not_below, products};

/// Numbers of directions that are tried; with the rest multiples of 64 entries.
const TRIED: [usize; 4] = [63, 127, 191, 255];
/// Queries they are tried on.
const QUERIES: usize = 64;
/// How many times as long an inner product takes alone as in a matrix product.
const ALONE: f64 = 6.0;
/// How many times the work of the sample's moments a search must be for directions to be looked
/// for.
const WORTH: usize = 16;
/// Entries of a row for each row of the sample, at most: fewer rows do not show the directions of
/// the others.
const SHOWN: usize = 4;

/// Directions along which bounds take the least time, by a trial with few queries and a sample of
/// the bank; `None` where whole inner products do, or the search is too short to find out.
pub(super) fn directions(
    bank: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    sample: &Sample,
) -> Option<Array2<f32>> {
    let (rows, width) = sample.rows.dim();
    let is_short = bank.nrows().saturating_mul(queries.nrows()) < WORTH * rows * width;
    if width <= 2 * TRIED[0] || is_short || rows * SHOWN < width {
        return None;
    }
    let count = QUERIES.min(queries.nrows());
    let some: Vec<usize> = (0..count).map(|at| at * queries.nrows() / count).collect();
    let queries = queries.select(Axis(0), &some);
    let guesses = sample.guesses(queries.view());
    let tried = || TRIED.into_iter().filter(|count| 2 * count < width);
    let whole = Bound::whole(sample.rows.view());
    if whole.longest().is_nan() {
        return None;
    }
    let all = leading(sample.rows.view(), tried().max().unwrap_or_default());
    let cost = |bound: &Bound<'_>| {
        let entries = bound.bank().ncols() as f64;
        entries + ALONE * width as f64 * left(bound, queries.view(), &guesses)
    };
    let mut best = (cost(&whole), None);
    for count in tried() {
        let bound = Bound::leading(sample.rows.view(), all.slice(s![.., ..count]), whole.longest());
        let cost = cost(&bound);
        if cost < best.0 {
            best = (cost, Some(count));
        }
    }
    best.1.map(|count| all.slice(s![.., ..count]).to_owned())
}

/// The share of pairs that a bound does not rule out.
fn left(bound: &Bound<'_>, queries: ArrayView2<'_, f32>, guesses: &[f32]) -> f64 {
    let shape = (queries.nrows(), bound.bank().nrows());
    let mut bounds = vec![0.0; shape.0 * shape.1];
    products(&bound.vectors(queries), bound.bank(), &mut bounds);
    let mut left = Vec::new();
    for ((query, guess), bounds) in queries.rows().into_iter().zip(guesses).zip(bounds.chunks_exact(shape.1)) {
        not_below(bounds, limit(*guess, bound.slack(query)), &mut left);
    }
    left.len() as f64 / bounds.len() as f64
}
