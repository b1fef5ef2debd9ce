//! The flags that say what is fitted on validation predictions behind a classifier; probes and
//! fine-tuning share them.

use crate::metrics::ThresholdRule;
use crate::records::CalibrationConfig;

const HEADING: &str = "Fitted on validation predictions";

/// Temperatures, thresholds, cut-points.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct AdjustFlags {
    /// Divide scores by the temperature that minimises the log loss of validation data (one; with
    /// several labels per image, one each), so that probabilities mean what they say.
    #[arg(long, help_heading = HEADING)]
    calibrate: bool,
    /// Choose the probability from which on the second of two classes (`--classes` of `embed`
    /// orders them), or each label, is answered: `f1`, `youden`, `sensitivity=0.95`,
    /// `specificity=0.9`, or a number as it is.
    #[arg(long, help_heading = HEADING, value_name = "RULE")]
    threshold: Option<ThresholdRule>,
    /// Choose where the expected grade of ordered classes is cut, for the largest quadratic kappa.
    #[arg(long, help_heading = HEADING)]
    cut_points: bool,
}

impl AdjustFlags {
    /// What these flags ask for.
    pub(super) fn adjusting(self) -> CalibrationConfig {
        CalibrationConfig { calibrate: self.calibrate, threshold: self.threshold, cut_points: self.cut_points }
    }
}
