//! Exact nearest neighbours by inner product: blocks of one matrix product, from which only what can still be among the k
//! largest is looked at.
//!
//! In: bank `[N, D]` and queries `[Q, D]`, f32, rows of unit length for cosine similarity. Out: for each query the k bank rows of
//! largest similarity in falling order, equal ones in the order of the bank. Memory beyond that is one block per thread.

use ndarray::Array2;
use ndarray::ArrayView2;
use ndarray::Axis;
use rayon::prelude::*;

use crate::probe::product::multiply;

/// Queries of one block, at most.
const QUERIES: usize = 512;
/// Blocks that few queries are divided into, so that all cores have some.
const LEAST_BLOCKS: usize = 8;
/// Bank rows of one block: the product of a block (2 MiB with as many queries as there may be) stays in the cache until it is read.
const BANK: usize = 1024;
/// Similarities that are compared with the threshold at once.
const LANES: usize = 16;

/// The nearest bank rows of each query.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// `[Q, k]` positions in the bank, nearest first.
    pub positions: Array2<u32>,
    /// `[Q, k]` similarities, falling.
    pub similarities: Array2<f32>,
}

/// The `k` rows of `bank: [N, D]` with the largest inner product with each row of `queries: [Q, D]`; `k` is at most N.
///
/// The result depends on neither the number of threads nor the other queries' values.
pub fn nearest(bank: ArrayView2<'_, f32>, queries: ArrayView2<'_, f32>, k: usize) -> Neighbours {
    let k = k.min(bank.nrows());
    let mut positions = Array2::zeros((queries.nrows(), k));
    let mut similarities = Array2::zeros((queries.nrows(), k));
    if k == 0 || queries.nrows() == 0 {
        return Neighbours { positions, similarities };
    }
    let block = queries.nrows().div_ceil(LEAST_BLOCKS).next_multiple_of(16).min(QUERIES);
    let outputs = positions.axis_chunks_iter_mut(Axis(0), block).zip(similarities.axis_chunks_iter_mut(Axis(0), block));
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), block).zip(outputs).collect();
    blocks.into_par_iter().for_each(|(queries, (mut positions, mut similarities))| {
        let mut best: Vec<Largest> = (0..queries.nrows()).map(|_| Largest::new(k)).collect();
        let mut scores = vec![0.0f32; queries.nrows() * BANK.min(bank.nrows())];
        for (chunk, bank) in bank.axis_chunks_iter(Axis(0), BANK).enumerate() {
            let size = queries.nrows() * bank.nrows();
            if let Ok(out) = ndarray::ArrayViewMut2::from_shape((queries.nrows(), bank.nrows()), &mut scores[..size]) {
                multiply(1.0, queries, bank.t(), out);
            }
            for (best, scores) in best.iter_mut().zip(scores[..size].chunks_exact(bank.nrows())) {
                best.offer(scores, (chunk * BANK) as u32);
            }
        }
        for ((best, mut positions), mut similarities) in
            best.into_iter().zip(positions.rows_mut()).zip(similarities.rows_mut())
        {
            let entries = best.finish();
            for ((key, position), similarity) in entries.into_iter().zip(&mut positions).zip(&mut similarities) {
                (*similarity, *position) = decode(key);
            }
        }
    });
    Neighbours { positions, similarities }
}

/// The largest similarities seen so far, of one query.
struct Largest {
    k: usize,
    /// Keys of [`encode`], more than k of them until the next clean-up, in no order.
    keys: Vec<u64>,
    /// Similarities up to this one cannot be among the k largest.
    threshold: f32,
}

impl Largest {
    fn new(k: usize) -> Self {
        Largest { k, keys: Vec::with_capacity(2 * k + LANES), threshold: f32::NEG_INFINITY }
    }

    /// Takes what may be among the largest of `scores`, the similarities of the bank rows from `first` on.
    fn offer(&mut self, scores: &[f32], first: u32) {
        let mut start = 0;
        while let Some(chunk) = next_above(scores, start, self.threshold) {
            let end = scores.len().min(chunk + LANES);
            for (offset, &score) in scores[chunk..end].iter().enumerate() {
                if score > self.threshold {
                    self.keys.push(encode(score, first + (chunk + offset) as u32));
                }
            }
            if self.keys.len() >= 2 * self.k {
                self.shrink();
            }
            start = end;
        }
    }

    /// Keeps the k largest and raises the threshold to the least of them. Later rows come after earlier ones of the same
    /// similarity, so that only larger ones matter from here on.
    fn shrink(&mut self) {
        if self.keys.len() > self.k {
            self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
            self.keys.truncate(self.k);
        }
        if self.keys.len() == self.k {
            self.threshold = decode(self.keys.iter().copied().min().unwrap_or_default()).0;
        }
    }

    fn finish(mut self) -> Vec<u64> {
        self.shrink();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys
    }
}

/// Where the first run of [`LANES`] scores from `start` on begins that holds one above `threshold`; runs begin at `start`.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn next_above(scores: &[f32], start: usize, threshold: f32) -> Option<usize> {
    let rest = &scores[start..];
    let mut at = start;
    let chunks = rest.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        let mut above = 0u32;
        for &score in chunk {
            above |= u32::from(score > threshold);
        }
        if above != 0 {
            return Some(at);
        }
        at += LANES;
    }
    tail.iter().any(|&score| score > threshold).then_some(at)
}

/// A key whose order is that of rank: larger similarity first, then lower position. Zeros of both signs are equal.
fn encode(similarity: f32, position: u32) -> u64 {
    let bits = (similarity + 0.0).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(!position)
}

fn decode(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    (f32::from_bits(bits), !(key as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Similarities of small integers are exact in any order of summation, so that ties are ties.
    fn by_sorting(bank: &Array2<f32>, queries: &Array2<f32>, k: usize) -> Neighbours {
        let (mut positions, mut similarities) =
            (Array2::zeros((queries.nrows(), k)), Array2::zeros((queries.nrows(), k)));
        for (query, row) in queries.rows().into_iter().enumerate() {
            let mut ranked: Vec<(f32, u32)> =
                bank.rows().into_iter().enumerate().map(|(i, other)| (row.dot(&other), i as u32)).collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (rank, &(similarity, position)) in ranked.iter().take(k).enumerate() {
                positions[[query, rank]] = position;
                similarities[[query, rank]] = similarity;
            }
        }
        Neighbours { positions, similarities }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn neighbours_are_those_of_sorting_with_lower_positions_first_among_equals(
            values in proptest::collection::vec(-2i8..=2, 3 * 1500),
            size in 1usize..1400,
            k in 1usize..260,
        ) {
            let all = Array2::from_shape_vec((1500, 3), values.into_iter().map(f32::from).collect()).unwrap();
            let (bank, queries) = all.view().split_at(Axis(0), size);
            let k = k.min(size);
            let found = nearest(bank, queries, k);
            prop_assert_eq!(found, by_sorting(&bank.to_owned(), &queries.to_owned(), k));
        }
    }

    #[test]
    fn nothing_is_nearest_where_there_is_no_query_or_no_bank() {
        let (none, some) = (Array2::zeros((0, 3)), Array2::ones((2, 3)));
        assert_eq!(nearest(some.view(), none.view(), 5).positions.dim(), (0, 2));
        assert_eq!(nearest(none.view(), some.view(), 5).positions.dim(), (2, 0));
    }

    #[test]
    fn keys_keep_similarity_and_position() {
        for similarity in [-1.0f32, -1e-30, 0.0, 1e-30, 0.5, 1.0] {
            assert_eq!(decode(encode(similarity, 77)), (similarity, 77));
        }
        assert_eq!(encode(-0.0, 3), encode(0.0, 3));
        assert!(encode(0.5, 1) > encode(0.5, 2) && encode(0.5, 2) > encode(0.25, 1));
    }
}
