//! Guesses of how similar the nearest rows are, from a sample of the bank.

use ndarray::{Array2, ArrayView2, Axis};

use crate::probe::gemm::multiply;

/// Bank rows for each one in the sample.
const STRIDE: usize = 32;
/// Rows of the sample, at most.
const MOST: usize = 4096;
/// The golden ratio, by whose multiples rows of the sample lie in their strides: no pattern in the
/// bank repeats as they do.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// A sample of the bank and the rank in it that stands for the k-th in the bank.
pub(super) struct Sample {
    /// `[n, D]`, in the order of the bank.
    pub(super) rows: Array2<f32>,
    rank: usize,
}

impl Sample {
    /// A sample of a bank whose `k` nearest rows are wanted.
    pub(super) fn new(bank: ArrayView2<'_, f32>, k: usize) -> Self {
        let count = (bank.nrows() / STRIDE).min(MOST);
        let stride = bank.nrows() as f64 / count as f64;
        let positions: Vec<usize> =
            (0..count).map(|at| ((at as f64 + (at as f64 * GOLDEN).fract()) * stride) as usize).collect();
        // As many of the k nearest are in the sample as a Poisson variable of this mean, but for
        // one query in hundreds at most as many as three deviations and some more.
        let mean = k as f64 / stride;
        let rank = (mean + 3.0 * mean.sqrt() + 2.0) as usize;
        Sample { rows: bank.select(Axis(0), &positions), rank }
    }

    /// For each query a similarity that hardly more than the k-th nearest row exceeds, in all
    /// likelihood; minus infinity where the sample is too small to tell.
    pub(super) fn guesses(&self, queries: ArrayView2<'_, f32>) -> Vec<f32> {
        let count = self.rows.nrows();
        if count <= self.rank {
            return vec![f32::NEG_INFINITY; queries.nrows()];
        }
        let mut similarities = Array2::zeros((queries.nrows(), count));
        multiply(1.0, queries, self.rows.t(), similarities.view_mut());
        let mut guess = |similarities: &mut [f32]| {
            let (_, guess, _) = similarities.select_nth_unstable_by(self.rank, |a, b| b.total_cmp(a));
            if guess.is_finite() { *guess } else { f32::NEG_INFINITY }
        };
        let mut similarities = similarities.into_raw_vec_and_offset().0;
        similarities.chunks_exact_mut(count).map(&mut guess).collect()
    }
}
