//! Which parameters are trained, and how fast.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{FinetuneError, Result};
use crate::finetune::Classifier;

/// How much of the backbone stays as it is; the head is always trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Freeze {
    /// All of it.
    All,
    /// Nothing.
    #[default]
    None,
    /// The first blocks, with everything before them.
    Blocks(usize),
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("blocks:").map(str::parse)) {
            ("all", _) => Ok(Freeze::All),
            ("none", _) => Ok(Freeze::None),
            (_, Some(Ok(count))) => Ok(Freeze::Blocks(count)),
            _ => Err("expected `all`, `none` or `blocks:K` with a number K".to_owned()),
        }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Freeze::All => f.write_str("all"),
            Freeze::None => f.write_str("none"),
            Freeze::Blocks(count) => write!(f, "blocks:{count}"),
        }
    }
}

impl TryFrom<String> for Freeze {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> Self {
        freeze.to_string()
    }
}

impl Freeze {
    /// Names of the parameters that are trained.
    ///
    /// # Errors
    /// [`FinetuneError::Blocks`] where the backbone has fewer blocks, or names none.
    pub fn trained(self, classifier: &Classifier) -> Result<Vec<String>, FinetuneError> {
        let from = match self {
            Freeze::None => 0,
            Freeze::All => usize::MAX,
            Freeze::Blocks(count) if count > classifier.blocks() => {
                return Err(FinetuneError::Blocks { wanted: count, found: classifier.blocks() });
            }
            Freeze::Blocks(count) => count,
        };
        let names = classifier.parameters.iter();
        Ok(names.filter(|name| classifier.is_head(name) || classifier.depth(name) >= from).cloned().collect())
    }
}

/// The share of the learning rate that a parameter gets: `decay` to the power of the blocks behind
/// it (Clark et al. 2020, arXiv 2003.10555; as for BEiT).
pub(super) fn share(classifier: &Classifier, parameter: &str, decay: f64) -> f64 {
    if decay == 1.0 || classifier.is_head(parameter) {
        return 1.0;
    }
    let behind = classifier.blocks() + 1 - classifier.depth(parameter).min(classifier.blocks());
    decay.powi(i32::try_from(behind).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for text in ["all", "none", "blocks:7"] {
            assert_eq!(text.parse::<Freeze>().unwrap().to_string(), text);
        }
        assert!("blocks".parse::<Freeze>().is_err() && "blocks:x".parse::<Freeze>().is_err());
    }
}
