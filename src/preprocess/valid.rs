//! What a specification must hold before it is applied.

use super::cpu::ValidPreprocess;
use super::spec::{Channels, Preprocess, Resize};
use crate::error::{PixelError, Result};

/// The largest length, in pixels, that a resize or crop may ask for.
const LONGEST_SIDE: u32 = 16_384;

impl Preprocess {
    /// Checks the values and prepares the tables that applying needs.
    ///
    /// # Errors
    /// [`PixelError::Specification`] for other channels than colours or grey, for lengths of 0 or
    /// above 16,384, for a mean or standard deviation that has not one finite value per channel,
    /// and for a standard deviation that is not positive.
    pub fn check(self) -> Result<ValidPreprocess> {
        self.window.check()?;
        self.border.map_or(Ok(()), |border| border.check())?;
        let channels = self.channels.count();
        if let Channels::Many(count) = self.channels {
            let (found, expected) = (count.to_string(), "colours or grey, which are what images have");
            return Err(PixelError::Specification { field: "channels", found, expected }.into());
        }
        if let Some(resize) = self.resize {
            let lengths = match resize {
                Resize::ShorterSide(length) => vec![length],
                Resize::Exact { height, width } => vec![height, width],
            };
            check_lengths("resize", &lengths)?;
        }
        if let Some(crop) = self.crop {
            check_lengths("crop", &[crop.height, crop.width])?;
        }
        let refuse = |field, values: &[f32], expected| PixelError::Specification {
            field,
            found: format!("{values:?}"),
            expected,
        };
        for (field, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                let expected = if channels == 1 { "one value" } else { "three values" };
                return Err(refuse(field, values, expected).into());
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(refuse(field, values, "finite values").into());
            }
        }
        if self.std.iter().any(|&std| std < f32::MIN_POSITIVE) {
            return Err(refuse("std", &self.std, "values above 0").into());
        }
        Ok(ValidPreprocess::new(self))
    }
}

fn check_lengths(field: &'static str, lengths: &[u32]) -> Result<()> {
    if lengths.iter().all(|length| (1..=LONGEST_SIDE).contains(length)) {
        return Ok(());
    }
    let found = lengths.iter().map(u32::to_string).collect::<Vec<_>>().join(" x ");
    Err(PixelError::Specification { field, found, expected: "1 to 16384 pixels" }.into())
}
