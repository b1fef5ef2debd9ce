//! How good predictions are, in f64: metrics with intervals, paired differences,
//! similarity of representations; and what makes them better afterwards: temperatures, thresholds,
//! cut-points.
//!
//! In: probabilities `[N, C]` with the truth ([`Predictions`]); out: each [`Metric`] as an
//! [`Estimate`] ([`evaluate`]). A metric that the samples do not define (a class that is absent
//! cannot be ranked) has no value but a reason; nothing is filled in. Knows nothing of images,
//! datasets or probes.
//!
//! ```
//! use defrost::metrics::{Bootstrap, Metric, Predictions, evaluate};
//! let probabilities = ndarray::arr2(&[[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]);
//! let predictions = Predictions::of_classes(vec![0, 1, 1, 1], probabilities)?;
//! let evaluation = evaluate(&predictions, &Bootstrap::default());
//! assert_eq!(evaluation.metrics[&Metric::Accuracy].value, Some(0.75));
//! # Ok::<(), defrost::Error>(())
//! ```

mod bootstrap;
mod calibration;
pub mod cka;
mod confusion;
mod cut_points;
mod decision;
mod delong;
mod estimate;
mod evaluation;
mod holm;
mod interval;
mod intervals;
mod metric;
mod multiclass;
mod multilabel;
mod paired;
mod predictions;
mod ranking;
mod ranks;
mod ratio;
mod repeated;
mod scorer;
mod scores;
mod smoothing;
mod temperature;
mod threshold;
mod units;

pub use bootstrap::Bootstrap;
pub use calibration::{CALIBRATION_BINS, ReliabilityBin};
pub use cut_points::{CutPoints, cut_points};
pub use decision::{Decision, expected_grades, predicted_classes};
pub use delong::{DeLong, delong};
pub use estimate::Estimate;
pub use evaluation::{ClassScores, Evaluation, evaluate};
pub use holm::holm;
pub use interval::IntervalMethod;
pub use metric::Metric;
pub use paired::{Difference, difference};
pub use predictions::Predictions;
pub use ranks::{AverageRanks, average_ranks, middle_ranks, spearman};
pub use repeated::{LeaveOut, RepeatedDifference, repeated_difference};
pub use scores::Activation;
pub use smoothing::smoothed_log_loss;
pub use temperature::{Temperature, temperatures};
pub use threshold::{ClassThreshold, ThresholdRule, thresholds};
