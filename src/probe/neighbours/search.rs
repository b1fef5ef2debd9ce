//! The search of a block of queries: what bounds do not rule out is computed.

use ndarray::{ArrayView2, ArrayViewMut2, Axis, CowArray, Ix2, s};

use crate::probe::gemm::multiply;
use crate::probe::neighbours::bound::Bound;
use crate::probe::neighbours::guess::Sample;
use crate::probe::neighbours::largest::Largest;

/// Bank rows of one block: the bounds of a block stay in the cache until they are read.
const BANK: usize = 1024;
/// Bank rows that stay in the nearest cache of a core while all queries are compared with them.
const CACHED: usize = 256;
/// Bounds that are compared with a limit at once.
const RUN: usize = 16;
/// Partial sums of an inner product.
const LANES: usize = 32;
/// Partial sums of the partial sums.
const FEW: usize = 8;

/// What queries are compared with.
pub(super) struct Search<'a> {
    /// `[N, D]`, in standard layout.
    pub(super) bank: ArrayView2<'a, f32>,
    pub(super) bound: &'a Bound<'a>,
    pub(super) sample: &'a Sample,
    /// At least 1 and at most N.
    pub(super) k: usize,
}

impl Search<'_> {
    /// The k largest similarities of each of `queries: [q, D]`, in standard layout, with their
    /// positions in the bank.
    pub(super) fn nearest(&self, queries: ArrayView2<'_, f32>) -> Vec<Vec<(f32, u32)>> {
        let guesses = self.sample.guesses(queries);
        let mut found = self.not_below(queries, &guesses);
        // Where k similarities are not below the guess, they are the largest. Others can be only
        // where the guess was too high.
        let is_open = |at: &usize| !found[*at].get(self.k - 1).is_some_and(|(last, _)| *last >= guesses[*at]);
        let open: Vec<usize> = (0..found.len()).filter(is_open).collect();
        let again = self.not_below(queries.select(Axis(0), &open).view(), &vec![f32::NEG_INFINITY; open.len()]);
        open.into_iter().zip(again).for_each(|(at, again)| found[at] = again);
        found
    }

    /// For each query the largest of the similarities that are not below its entry of `least` or
    /// not a number, at most k.
    fn not_below(&self, queries: ArrayView2<'_, f32>, least: &[f32]) -> Vec<Vec<(f32, u32)>> {
        let vectors = self.bound.vectors(queries);
        let (bank, rows) = (self.bound.bank(), self.bank.to_slice().unwrap_or_default());
        let mut best: Vec<Largest> = least.iter().map(|least| Largest::new(self.k, *least)).collect();
        let slacks: Vec<f64> = queries.rows().into_iter().map(|query| self.bound.slack(query)).collect();
        let mut bounds = vec![0.0; queries.nrows() * BANK.min(bank.nrows())];
        let (mut left, mut similarities) = (Vec::with_capacity(BANK), Vec::with_capacity(BANK));
        for first in (0..bank.nrows()).step_by(BANK) {
            let count = BANK.min(bank.nrows() - first);
            bounds.truncate(queries.nrows() * count);
            products(&vectors, bank.slice(s![first..first + count, ..]), &mut bounds);
            for start in (0..count).step_by(CACHED) {
                let part = start..count.min(start + CACHED);
                for (((query, bounds), slack), best) in
                    queries.rows().into_iter().zip(bounds.chunks_exact(count)).zip(&slacks).zip(&mut best)
                {
                    left.clear();
                    not_below(&bounds[part.clone()], limit(best.threshold(), *slack), &mut left);
                    let (Some(query), first) = (query.to_slice(), first + start) else { continue };
                    similarities.clear();
                    inner_products(query, &rows[first * query.len()..], &left, &mut similarities);
                    left.iter().zip(&similarities).for_each(|(row, found)| best.push(*found, first as u32 + row));
                }
            }
        }
        best.into_iter().map(Largest::finish).collect()
    }
}

/// What a bound must not be below for the similarity to reach a threshold; NaN if every one can.
pub(super) fn limit(threshold: f32, slack: f64) -> f32 {
    ((f64::from(threshold) - slack) as f32).next_down()
}

/// `out` is `[q, n]` as a slice; `queries: [q, m]`, `bank: [n, m]`.
pub(super) fn products(queries: &CowArray<'_, f32, Ix2>, bank: ArrayView2<'_, f32>, out: &mut [f32]) {
    if let Ok(out) = ArrayViewMut2::from_shape((queries.nrows(), bank.nrows()), out) {
        multiply(1.0, queries.view(), bank.t(), out);
    }
}

/// Appends the positions of the bounds that are not below a limit: all of them if it is NaN.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn not_below(bounds: &[f32], limit: f32, out: &mut Vec<u32>) {
    let (runs, tail) = bounds.as_chunks::<RUN>();
    let mut first = 0;
    let mut kept = [0; RUN];
    for run in runs {
        let mut below = 0;
        for bound in run {
            below += u32::from(*bound < limit);
        }
        if below < RUN as u32 {
            let mut count = 0;
            for (at, bound) in (first..).zip(run) {
                kept[count % RUN] = at;
                let is_below = *bound < limit;
                count += usize::from(!is_below);
            }
            out.extend_from_slice(&kept[..count]);
        }
        first += RUN as u32;
    }
    for (at, bound) in (first..).zip(tail) {
        let is_below = *bound < limit;
        out.extend((!is_below).then_some(at));
    }
}

/// Appends the inner products of a query and some rows of a bank, each a sum of [`LANES`] sums: the
/// same on every processor.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn inner_products(query: &[f32], bank: &[f32], rows: &[u32], out: &mut Vec<f32>) {
    let width = query.len();
    let (queries, tail) = query.as_chunks::<LANES>();
    for row in rows {
        let (entries, end) = bank[*row as usize * width..][..width].as_chunks::<LANES>();
        let mut sums = [0.0f32; LANES];
        for (a, b) in queries.iter().zip(entries) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
        let end: f32 = tail.iter().zip(end).map(|(a, b)| a * b).sum();
        let mut few = [0.0f32; FEW];
        for part in sums.as_chunks::<FEW>().0 {
            for (sum, part) in few.iter_mut().zip(part) {
                *sum += part;
            }
        }
        out.push(few.iter().fold(end, |total, sum| total + sum));
    }
}
