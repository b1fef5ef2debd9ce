//! The flags that say how files become pixels, shared by the verbs that prepare images for a model.

use std::time::Duration;

use crate::embed::Embedder;
use crate::preprocess::{Border, Window};

/// What a user says about the way from files to pixels; each flag changes the preprocessing, and
/// with it the cache's key.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Pixels")]
pub(crate) struct PixelFlags {
    /// Which values of grey DICOM and 16-bit images become black and white: `file` (what the file
    /// says), `full` (all values its bits can hold), `percentiles:LOW,HIGH` of each image, or
    /// `CENTER/WIDTH` (`:exact` or `:sigmoid` behind it for another function than DICOM's linear
    /// one) [default: file].
    #[arg(long, value_name = "WINDOW", allow_hyphen_values = true)]
    window: Option<Window>,
    /// Crop dark borders (fundus photographs, mammograms) before anything else: rows and columns
    /// with hardly a pixel above THRESHOLD, a part of the brightest value [default if given: 0.04].
    #[arg(long, value_name = "THRESHOLD", num_args = 0..=1, default_missing_value = "0.04")]
    crop_border: Option<f32>,
    /// Decode JPEGs far larger than needed at a half, quarter or eighth of their size; the pixels
    /// differ a little.
    #[arg(long)]
    fast_decode: bool,
}

impl PixelFlags {
    /// Tells an embedder what was said.
    pub(crate) fn apply<'a>(&self, mut embedder: Embedder<'a>) -> Embedder<'a> {
        if let Some(window) = self.window {
            embedder = embedder.window(window);
        }
        if let Some(threshold) = self.crop_border {
            embedder = embedder.crop_border(Border { threshold, ..Border::default() });
        }
        embedder.fast_decode(self.fast_decode)
    }
}

/// A time in seconds, more than none: `30`, `0.5`.
pub(crate) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let refused = || format!("`{text}` is no number of seconds above 0");
    let number: f64 = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from_secs_f64(number).map_err(|_| refused())?;
    if time.is_zero() { Err(refused()) } else { Ok(time) }
}
