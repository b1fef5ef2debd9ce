//! Uncertainty by resampling: which samples a resample holds, and percentile intervals over
//! resamples.

use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metrics::predictions::Predictions;
use crate::support::seed::Seed;

/// How intervals are computed: percentile bootstrap over samples, or over groups where there are
/// groups (Efron and Tibshirani 1993).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples; 0 gives no intervals.
    pub resamples: usize,
    /// Coverage of the interval, between 0 and 1.
    pub coverage: f64,
    /// The seed; the same seed gives the same intervals on any number of threads.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1,000 resamples, 95 %, seed 0.
    fn default() -> Self {
        Bootstrap { resamples: 1000, coverage: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// What `figures` makes of each resample, which is given as the number of times that each
    /// sample occurs.
    pub(super) fn over<T: Send>(&self, predictions: &Predictions, figures: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        let seed = Seed::new(self.seed).named("bootstrap");
        let units = predictions.group_count().unwrap_or(predictions.len());
        if units < 2 {
            return Vec::new();
        }
        let figures_of = |resample: usize| {
            let mut random = seed.numbered(resample as u64).random();
            let mut drawn = vec![0u32; units];
            for _ in 0..units {
                drawn[random.gen_range(0..units)] += 1;
            }
            match &predictions.groups {
                None => figures(&drawn),
                Some(groups) => figures(&groups.iter().map(|&group| drawn[group]).collect::<Vec<u32>>()),
            }
        };
        (0..self.resamples).into_par_iter().map(figures_of).collect()
    }

    /// The central interval over the defined values of a figure, with the number of undefined ones;
    /// `None` where fewer than half are defined.
    pub(super) fn interval(&self, values: impl Iterator<Item = Option<f64>>) -> (Option<[f64; 2]>, usize) {
        let all: Vec<Option<f64>> = values.collect();
        let mut defined: Vec<f64> = all.iter().copied().flatten().collect();
        let undefined = all.len() - defined.len();
        if defined.is_empty() || defined.len() < undefined {
            return (None, undefined);
        }
        defined.sort_by(f64::total_cmp);
        let tail = (1.0 - self.coverage) / 2.0;
        (Some([quantile(&defined, tail), quantile(&defined, 1.0 - tail)]), undefined)
    }
}

/// The quantile of sorted values with linear interpolation between neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(quantile(&[1.0], 0.975), 1.0);
    }

    #[test]
    fn interval_is_withheld_when_most_resamples_do_not_define_the_figure() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.interval([Some(1.0), None, None].into_iter()), (None, 2));
        assert_eq!(bootstrap.interval([Some(1.0), Some(1.0), None].into_iter()), (Some([1.0, 1.0]), 1));
    }
}
