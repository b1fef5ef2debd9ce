//! The preprocess specification: plain data that says what happens between decoded pixels and the network's input.

use serde::{Deserialize, Serialize};

/// Resampling filter, with PIL's names and definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos with 3 lobes, support 3.
    Lanczos,
}

/// Target of the resize, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// The shorter side gets this length, the other one keeps the aspect ratio (rounded down, as torchvision does).
    ShorterSide(u32),
    /// Exactly this height and width; the aspect ratio may change.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

/// Center crop, in pixels; an image smaller than the crop is padded with zeros, as torchvision does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crop {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// Channels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Three channels; grey images are repeated.
    #[default]
    Rgb,
    /// One channel; colour images become luma as PIL's `convert("L")` does.
    Grey,
}

/// What happens between decoded pixels and the network's input, in this order: channels, resize (antialiased as PIL
/// does), center crop, division by the largest sample value (255 or 65,535), then `(x - mean) / std` per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Channels of the input.
    #[serde(default)]
    pub channels: Channels,
    /// Resize, if any.
    pub resize: Option<Resize>,
    /// Resampling filter of the resize.
    pub filter: Filter,
    /// Center crop, if any.
    pub crop: Option<Crop>,
    /// Mean per channel of samples in 0..=1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel of samples in 0..=1, each > 0.
    pub std: Vec<f32>,
}
