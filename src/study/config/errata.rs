//! Deviations of the reference code (joanaapa/Foundation-Medical) from good practice that a study
//! can repeat, to compare both numbers; all are off unless they are named.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A deviation that is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Erratum {
    /// Of BLIP, the embedding is token 1, the first patch, instead of the class token.
    #[serde(rename = "blip-token-1")]
    BlipToken1,
    /// Of one-channel images, the patch embedding keeps its red filters instead of their sum.
    RedFilters,
    /// Patients and lesions are ignored where splits are drawn, so that images of one fall into
    /// several.
    UngroupedSplits,
    /// The learning rate stays behind its warm-up instead of being lowered on a plateau.
    ConstantRate,
}

impl Erratum {
    /// What it does, for reports.
    pub const fn about(self) -> &'static str {
        match self {
            Erratum::BlipToken1 => "the embedding of BLIP is its first patch token instead of its class token",
            Erratum::RedFilters => "one-channel images see the red filters alone instead of the sum over the colours",
            Erratum::UngroupedSplits => "splits ignore groups: images of one patient fall into several",
            Erratum::ConstantRate => "the learning rate never decays",
        }
    }
}

impl fmt::Display for Erratum {
    /// Its name in a study file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
