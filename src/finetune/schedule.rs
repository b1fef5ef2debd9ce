//! Learning rates over the course of a run: warm-up, then constant, cosine, one cycle, or lowered
//! when validation stalls.
//!
//! The rate of a step is a function of its number and of how often the rate was lowered, so that a
//! resumed run goes on as an uninterrupted one. Factors are relative to the recipe's learning rate.

use serde::{Deserialize, Serialize};

/// How the learning rate develops behind the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls to 0 along half a cosine.
    #[default]
    Cosine,
    /// Is divided by 10 when the validation metric has not improved for some epochs (the study's).
    Plateau,
    /// Rises from 1/25 over the first three tenths of all steps and falls to 1/250,000, both along
    /// half a cosine (Smith 2018, arXiv 1708.07120, with the defaults of PyTorch's `OneCycleLR`);
    /// it is a warm-up by itself.
    OneCycle,
}

/// The learning rate over a run of known length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LrSchedule {
    pub(super) schedule: Schedule,
    /// Steps of linear warm-up.
    pub(super) warmup: u64,
    /// Steps of the whole run.
    pub(super) steps: u64,
}

/// What each lowering divides the rate by.
const LOWERED_BY: f64 = 10.0;
/// First and last factor of one cycle, and the share of its steps that rise.
const CYCLE: (f64, f64, f64) = (1.0 / 25.0, 1.0 / 25.0 / 1e4, 0.3);

impl LrSchedule {
    /// The factor of step `step`, counted from 0, after `lowered` lowerings.
    pub(super) fn factor(&self, step: u64, lowered: u32) -> f64 {
        if self.schedule == Schedule::OneCycle {
            return self.cycle(step as f64);
        }
        if step < self.warmup {
            return (step + 1) as f64 / (self.warmup + 1) as f64;
        }
        match self.schedule {
            Schedule::Constant | Schedule::OneCycle => 1.0,
            Schedule::Plateau => LOWERED_BY.powi(-i32::try_from(lowered).unwrap_or(i32::MAX)),
            Schedule::Cosine => {
                let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
                along_cosine(1.0, 0.0, (step - self.warmup) as f64 / length)
            }
        }
    }

    fn cycle(&self, step: f64) -> f64 {
        let (first, last, share) = CYCLE;
        let peak = share * self.steps as f64 - 1.0;
        let end = self.steps as f64 - 1.0;
        if step <= peak {
            along_cosine(first, 1.0, step / peak)
        } else {
            along_cosine(1.0, last, (step - peak) / (end - peak).max(1.0))
        }
    }
}

fn along_cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * share.clamp(0.0, 1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, warmup: u64, steps: u64) -> Vec<f64> {
        let course = LrSchedule { schedule, warmup, steps };
        (0..steps).map(|step| course.factor(step, 0)).collect()
    }

    #[test]
    fn one_cycle_is_pytorch_s() {
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10)
        let expected =
            [0.04, 0.52, 1.0, 0.950_484_6, 0.811_745_7, 0.611_262_0, 0.388_742_0, 0.188_258_3, 0.049_519_4, 4e-6];
        for (found, expected) in factors(Schedule::OneCycle, 0, 10).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn the_rate_warms_up_and_falls_to_nothing() {
        let cosine = factors(Schedule::Cosine, 3, 13);
        assert_eq!(&cosine[..4], [0.25, 0.5, 0.75, 1.0]);
        assert!(cosine.windows(2).skip(3).all(|pair| pair[1] < pair[0]) && (cosine[8] - 0.5).abs() < 1e-12);
        assert_eq!(factors(Schedule::Constant, 1, 3), [0.5, 1.0, 1.0]);
    }

    #[test]
    fn a_plateau_lowers_the_rate_tenfold() {
        let course = LrSchedule { schedule: Schedule::Plateau, warmup: 0, steps: 100 };
        assert_eq!([course.factor(5, 0), course.factor(5, 1)], [1.0, 0.1]);
        assert!((course.factor(5, 2) - 0.01).abs() < 1e-12);
    }
}
