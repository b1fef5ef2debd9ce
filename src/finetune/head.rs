//! What stands on the backbone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The part of the network between the backbone and the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Head {
    /// One linear map of the embedding.
    #[default]
    Linear,
    /// The study's stacked classifier: a transformer over the patch tokens with a class token and
    /// positions of its own, and a linear map of its class token.
    Deit {
        /// Length of its tokens.
        width: usize,
        /// Number of blocks.
        depth: usize,
        /// Heads of every attention.
        heads: usize,
    },
}

impl Head {
    /// The tap of the backbone that it reads, where it is another value than the embedding.
    pub fn tap(self) -> Option<&'static str> {
        matches!(self, Head::Deit { .. }).then_some("tokens")
    }
}

impl FromStr for Head {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || "expected `linear`, `deit-b` or `deit:WIDTHxDEPTHxHEADS`, for example `deit:192x4x3`".to_owned();
        match text {
            "linear" => return Ok(Head::Linear),
            "deit-b" => return Ok(Head::Deit { width: 768, depth: 12, heads: 12 }),
            _ => {}
        }
        let sizes = text.strip_prefix("deit:").ok_or_else(expected)?;
        let sizes: Vec<usize> = sizes.split('x').filter_map(|size| size.parse().ok()).collect();
        match *sizes.as_slice() {
            [width, depth, heads] if depth > 0 && heads > 0 && width > 0 && width.is_multiple_of(heads) => {
                Ok(Head::Deit { width, depth, heads })
            }
            [_, _, _] => Err("the width of a head must be a multiple of its number of heads".to_owned()),
            _ => Err(expected()),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Head::Linear => f.write_str("linear"),
            Head::Deit { width: 768, depth: 12, heads: 12 } => f.write_str("deit-b"),
            Head::Deit { width, depth, heads } => write!(f, "deit:{width}x{depth}x{heads}"),
        }
    }
}

impl TryFrom<String> for Head {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Head> for String {
    fn from(head: Head) -> Self {
        head.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_and_written() {
        for text in ["linear", "deit-b", "deit:192x4x3"] {
            assert_eq!(text.parse::<Head>().unwrap().to_string(), text);
        }
        assert_eq!("deit:768x12x12".parse::<Head>().unwrap().to_string(), "deit-b");
        assert!("deit:10x2x3".parse::<Head>().is_err() && "deit:10".parse::<Head>().is_err());
    }
}
