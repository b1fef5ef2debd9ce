//! Which interval a metric gets, and from which statistics.
//!
//! | metric | interval |
//! |---|---|
//! | accuracy, top-5, subset accuracy, sensitivity, specificity, shares of a class | Wilson 1927 |
//! | areas under the ROC curve | score interval at DeLong's variance, with groups Obuchowski's |
//! | means over classes of recall, precision, F1; kappas; average precision; one-vs-one | score interval at the jackknife's variance |
//! | log loss, Brier score | studentised bootstrap |
//! | calibration errors | folded normal variables around the debiased error |

use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::calibration::CalibrationBins;
use crate::metrics::confusion::ClassShare;
use crate::metrics::interval::{Basis, Interval, IntervalMethod};
use crate::metrics::metric::Metric;
use crate::metrics::predictions::Predictions;
use crate::metrics::ratio::Ratio;
use crate::metrics::scorer::Scorer;
use crate::metrics::units::{Units, error_of_sum, jackknife};

/// Errors, or right answers, below which the losses of those that were not seen count.
const FEW: f64 = 3.0;

/// The intervals of one set of predictions.
pub(super) struct Intervals<'a> {
    predictions: &'a Predictions,
    scorer: &'a Scorer,
    bootstrap: &'a Bootstrap,
    units: Units,
    /// Standard error of the (mean) area under the ROC curve.
    area_error: f64,
    /// Every metric without each block of units.
    without: Vec<Vec<Option<f64>>>,
}

impl<'a> Intervals<'a> {
    pub(super) fn new(predictions: &'a Predictions, scorer: &'a Scorer, bootstrap: &'a Bootstrap) -> Self {
        let units = Units::new(predictions);
        Intervals {
            predictions,
            area_error: error_of_sum(&units.sums(scorer.area_influences(predictions).into_iter().enumerate())),
            without: units.leave_out(|counts| scorer.values(counts)),
            scorer,
            bootstrap,
            units,
        }
    }

    /// The interval of a metric at its position among all.
    pub(super) fn of(&self, metric: Metric, position: usize, value: f64, bins: Option<&CalibrationBins>) -> Interval {
        if let (Metric::Ece, Some(bins)) = (metric, bins) {
            return bins.interval(self.bootstrap.coverage);
        }
        let range = metric.range();
        if let Some(parts) = self.scorer.parts(metric) {
            let ratio = Ratio::new(&self.units, parts.into_iter());
            if !matches!(metric, Metric::LogLoss | Metric::Brier) {
                return share(&ratio, self.bootstrap.coverage);
            }
            return self.of_loss(metric, &ratio);
        }
        let (error, method) = match metric.is_area() {
            true => (Some(self.area_error), IntervalMethod::Delong),
            false => {
                let without = self.without.iter().map(|values| values[position]);
                (jackknife(value, without), IntervalMethod::Jackknife)
            }
        };
        let [low, high] = self.basis(metric).interval(value, error, range, self.bootstrap.coverage);
        Interval { low, high, method }
    }

    /// The interval of a mean loss. Of few errors, or none, resamples do not tell how many more
    /// could have been: the upper end is at least the mean loss of right answers and, with the
    /// share that is the upper end of Wilson's interval of errors, of wrong ones. Likewise the
    /// lower end, of few right answers.
    fn of_loss(&self, metric: Metric, ratio: &Ratio) -> Interval {
        let mut found = ratio.bootstrap_t(self.bootstrap, metric.range()[1]);
        let answers = self.scorer.parts(Metric::Accuracy).unwrap_or_default();
        let answers = Ratio::new(&self.units, answers.into_iter());
        let (hits, errors) = (answers.hits(), answers.errors());
        if hits < FEW || errors < FEW {
            let right_share = share(&answers, self.bootstrap.coverage);
            let [right, wrong] = self.scorer.losses(metric, self.predictions);
            let mixed = |share: f64| share * right + (1.0 - share) * wrong;
            if errors < FEW {
                found.high = found.high.max(mixed(right_share.low)).min(metric.range()[1]);
            }
            if hits < FEW {
                found.low = found.low.min(mixed(right_share.high)).max(0.0);
            }
        }
        found
    }

    /// Wilson's interval of a share of one class; `None` where no sample counts.
    pub(super) fn of_class(&self, class: usize, of: ClassShare) -> Option<[f64; 2]> {
        let ratio = Ratio::new(&self.units, self.scorer.class_parts(class, of).into_iter());
        let Interval { low, high, .. } = (ratio.units() > 0).then(|| share(&ratio, self.bootstrap.coverage))?;
        Some([low, high])
    }

    /// What a metric that is no share rests on.
    fn basis(&self, metric: Metric) -> Basis {
        let samples = Basis::new(&self.units.sizes());
        let mean = |of_ranks: bool| match self.scorer.class_bases(&self.units, of_ranks) {
            bases if bases.is_empty() => samples,
            bases => Basis::mean(&bases, self.units.len()),
        };
        match (metric, self.scorer) {
            // One error more lowers kappa, whose range is two, by 1 / (n * chance disagreement).
            (Metric::CohenKappa, Scorer::Multiclass(scorer)) => {
                Basis { size: samples.size * 2.0 * scorer.chance_disagreement(), ..samples }
            }
            (Metric::QuadraticKappa, _) => samples,
            _ if metric.is_area() => mean(true),
            (Metric::RocAucOneVsOne | Metric::RocAucOneVsOnePresent, _) => mean(true),
            _ => mean(false),
        }
    }
}

/// Wilson's interval of a share.
fn share(ratio: &Ratio, coverage: f64) -> Interval {
    let basis = ratio.basis();
    let error = (basis.clustering > 1.0).then(|| ratio.standard_error());
    let [low, high] = basis.interval(ratio.value(), error, [0.0, 1.0], coverage);
    Interval { low, high, method: IntervalMethod::Wilson }
}
