//! Decoded pixels, as a decoder hands them over: 8 or 16 bits, grey or RGB.

use crate::error::{PixelError, Result};

/// The samples of an image, interleaved by pixel, row by row from the top left.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8 bits, 0 to 255.
    U8(Vec<u8>),
    /// 16 bits, 0 to 65,535: the depth is kept up to the float tensor.
    U16(Vec<u16>),
}

impl Samples {
    /// Number of samples: pixels times channels.
    pub fn len(&self) -> usize {
        match self {
            Samples::U8(samples) => samples.len(),
            Samples::U16(samples) => samples.len(),
        }
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoded image: `samples: [height, width, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `width * height * channels` samples.
    pub samples: Samples,
}

impl Image {
    /// An image over `samples: [height, width, channels]`.
    ///
    /// # Errors
    /// [`PixelError::Samples`] as [`Image::check`].
    pub fn new(width: u32, height: u32, channels: usize, samples: Samples) -> Result<Self> {
        let image = Image { width, height, channels, samples };
        image.check()?;
        Ok(image)
    }

    /// Whether the fields fit each other.
    ///
    /// # Errors
    /// [`PixelError::Samples`] for an image without pixels, with other than 1 or 3 channels, or
    /// with another number of samples than `width * height * channels`.
    pub fn check(&self) -> Result<()> {
        let &Image { width, height, channels, ref samples } = self;
        let pixels = u64::from(width) * u64::from(height);
        let found = samples.len();
        if pixels > 0 && matches!(channels, 1 | 3) && pixels.checked_mul(channels as u64) == Some(found as u64) {
            return Ok(());
        }
        Err(PixelError::Samples { width, height, channels, found }.into())
    }

    /// Bits of one sample: 8 or 16.
    pub fn bits(&self) -> u32 {
        match self.samples {
            Samples::U8(_) => 8,
            Samples::U16(_) => 16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_images_with_all_their_samples_are_made() {
        assert!(Image::new(2, 3, 3, Samples::U8(vec![0; 18])).is_ok());
        for (width, height, channels, count) in [(2, 3, 3, 17), (0, 3, 3, 0), (2, 3, 4, 24), (u32::MAX, u32::MAX, 3, 3)]
        {
            assert!(Image::new(width, height, channels, Samples::U16(vec![0; count])).is_err());
        }
    }
}
