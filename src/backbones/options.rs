//! What a user may say about a model.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::backbones::changes::{Changes, ChannelRule, InputChannels};
use crate::error::{ModelError, Result};
use crate::preprocess::Preprocess;

/// What a user says about the model beyond its name; everything may be left out where it is not
/// ambiguous.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOptions {
    /// Weights for a model of the catalog: a file, an index of shards, or a folder with one of
    /// them.
    pub weights: Option<PathBuf>,
    /// What the names of the wanted network start with, in weights that hold several: `model_ema.`.
    pub weights_prefix: Option<String>,
    /// Seed of random weights instead of trained ones.
    pub random_weights: Option<u64>,
    /// Input of a user's ONNX file that takes the images.
    pub input: Option<String>,
    /// Output of a user's ONNX file that is the embedding.
    pub output: Option<String>,
    /// How taps, and a user's output with several vectors per image, become one vector per image.
    pub pool: Option<Pool>,
    /// Preprocessing of a user's ONNX file, or instead of the catalog's: a TOML file or a
    /// `preprocessor_config.json`.
    pub preprocess: Option<PathBuf>,
    /// Height and width of the input; those of the preprocessing if left out.
    pub size: Option<Size>,
    /// Further outputs.
    pub taps: Taps,
    /// Number of input channels of a model that is built; three unless given.
    pub channels: Option<usize>,
    /// How the first convolution is adapted to them.
    pub channel_rule: Option<ChannelRule>,
    /// Blocks or stages of a model that is built that are kept, from the first on.
    pub keep_blocks: Option<usize>,
}

impl ModelOptions {
    /// What is changed about the network.
    ///
    /// # Errors
    /// [`ModelError::Misplaced`] for a rule without channels, or for channels that it does not
    /// make.
    pub(crate) fn changes(&self) -> Result<Changes> {
        let channels = match (self.channels, self.channel_rule) {
            (Some(count), rule) => Some(InputChannels::new(count, rule)?),
            (None, None) => None,
            (None, Some(_)) => {
                let reason = "it says how `channels` are made, and there are none".to_owned();
                return Err(ModelError::Misplaced { option: "channel-rule", reason }.into());
            }
        };
        Ok(Changes { channels, keep_blocks: self.keep_blocks })
    }
}

/// How several vectors per image become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The class token: the first of `[N, T, D]`.
    Cls,
    /// The mean over the positions of the image; class token and registers are left out, where it
    /// is known which they are.
    Mean,
    /// The class token and behind it the mean.
    #[serde(rename = "cls+mean")]
    ClsMean,
    /// No pooling: all values, flattened in their order.
    None,
}

impl Pool {
    /// The name on the command line and in `cache.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Pool::Cls => "cls",
            Pool::Mean => "mean",
            Pool::ClsMean => "cls+mean",
            Pool::None => "none",
        }
    }
}

impl FromStr for Pool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Pool::Cls, Pool::Mean, Pool::ClsMean, Pool::None];
        let found = all.into_iter().find(|pool| pool.name() == text);
        found.ok_or_else(|| "expected `cls`, `mean`, `cls+mean` or `none`".to_owned())
    }
}

/// Inner values that a backbone gives besides its embedding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Taps {
    /// None.
    #[default]
    None,
    /// All that the family names.
    All,
    /// These: `tokens`, `block_03`.
    Names(Vec<String>),
}

impl FromStr for Taps {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" => Taps::None,
            "all" => Taps::All,
            names => Taps::Names(
                names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            ),
        })
    }
}

/// Height and width of a graph's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Size {
    /// Any, decided at each run.
    Any,
    /// These, in pixels: padding and positions become constants.
    Fixed {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl Size {
    /// The size of a preprocessed image, where it is the same for all.
    ///
    /// # Errors
    /// As [`Preprocess::check`].
    pub fn of(preprocess: &Preprocess) -> Result<Self> {
        Ok(match preprocess.clone().check()?.output_shape() {
            Some([_, height, width]) => Size::Fixed { height, width },
            None => Size::Any,
        })
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Size::Any);
        }
        let length = |text: &str| text.trim().parse::<usize>().ok().filter(|length| (1..=16_384).contains(length));
        match text.split_once('x').map(|(height, width)| (length(height), length(width))) {
            Some((Some(height), Some(width))) => Ok(Size::Fixed { height, width }),
            _ => Err("expected `any` or HEIGHTxWIDTH in pixels, for example `224x224`".to_owned()),
        }
    }
}

impl From<String> for Taps {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(taps) => taps,
            Err(never) => match never {},
        }
    }
}

impl From<Taps> for String {
    fn from(taps: Taps) -> Self {
        match taps {
            Taps::None => "none".to_owned(),
            Taps::All => "all".to_owned(),
            Taps::Names(names) => names.join(","),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        match size {
            Size::Any => "any".to_owned(),
            Size::Fixed { height, width } => format!("{height}x{width}"),
        }
    }
}
