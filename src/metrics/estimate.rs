//! A figure with its uncertainty, or the reason why there is none.

use serde::{Deserialize, Serialize};

use crate::metrics::interval::{Interval, IntervalMethod};

/// A metric on N samples with its interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The metric on all samples; `None` where it is undefined.
    pub value: Option<f64>,
    /// Lower end of the interval; `None` where the metric is undefined or no interval was asked
    /// for.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// How the interval was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<IntervalMethod>,
    /// Number of samples.
    pub n: usize,
    /// Why the metric is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

impl Estimate {
    /// A value on `n` samples, with its interval where one was computed.
    pub(super) fn new(value: f64, interval: Option<Interval>, n: usize) -> Self {
        Estimate {
            value: Some(value),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            method: interval.map(|interval| interval.method),
            n,
            undefined: None,
        }
    }
}

/// Why a metric has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undefined {
    NoSamples,
    Absent(usize),
    OnlyPositive(usize),
    NoLabelPresent,
    OneClass,
    ChanceAgreement,
    Separated,
    Uninformative,
    OutOfReach,
}

impl Undefined {
    /// The reason in words, with the names of the classes.
    pub(super) fn describe(self, names: &[String]) -> String {
        match self {
            Undefined::NoSamples => "there is no labelled sample".into(),
            Undefined::Absent(class) => format!("no sample has `{}`", names[class]),
            Undefined::OnlyPositive(class) => format!("every sample has `{}`", names[class]),
            Undefined::NoLabelPresent => "no class has both positive and negative samples".into(),
            Undefined::OneClass => "all samples are of one class".into(),
            Undefined::Separated => "every sample is on its right side, so that the log loss has no minimum".into(),
            Undefined::Uninformative => "the scores are no better than chance".into(),
            Undefined::OutOfReach => "no threshold reaches what is demanded".into(),
            Undefined::ChanceAgreement => "truth and predictions are one and the same class".into(),
        }
    }
}

/// A metric's value on weighted samples.
pub(super) type Score = Result<f64, Undefined>;
