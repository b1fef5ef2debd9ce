//! How intervals are asked for.

use serde::{Deserialize, Serialize};

/// How intervals are computed. Their methods are those of
/// [`IntervalMethod`](crate::metrics::IntervalMethod); what is resampled, or left out, are samples,
/// or whole groups where there are groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples where a method resamples; 0 gives no intervals at all.
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
