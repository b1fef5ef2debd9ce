//! Crops of random size, shape and place, as torchvision's `RandomResizedCrop` draws them.
//!
//! Ten times, a share of the area and an aspect ratio are drawn; the first rectangle that fits is
//! placed at random. Where none fits, the largest central rectangle of an allowed ratio is taken.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};
use crate::preprocess::{Image, Samples};
use crate::support::seed::Random;

/// How often a rectangle is drawn before the central one is taken.
const ATTEMPTS: usize = 10;

/// The sizes and shapes of crops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Least and most share of the image's area; a share above 1 fits no image, and is drawn again.
    pub scale: [f64; 2],
    /// Least and most width divided by height, before the crop is resized to the network's input.
    pub ratio: [f64; 2],
}

/// A rectangle of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    top: u32,
    left: u32,
    height: u32,
    width: u32,
}

impl RandomCrop {
    pub(super) fn check(&self) -> Result<(), DataError> {
        for (field, [least, most]) in [("crop.scale", self.scale), ("crop.ratio", self.ratio)] {
            if !(least > 0.0 && least <= most && most.is_finite()) {
                let found = if least > 0.0 { most } else { least };
                return Err(DataError::Augmentation { field, found, expected: "two positive numbers, ascending" });
            }
        }
        match self.scale[0] > 1.0 {
            true => Err(DataError::Augmentation {
                field: "crop.scale",
                found: self.scale[0],
                expected: "a least share of the area of at most 1",
            }),
            false => Ok(()),
        }
    }

    pub(super) fn draw(&self, height: u32, width: u32, random: &mut Random) -> Region {
        let area = f64::from(height) * f64::from(width);
        let ([least, most], [narrow, wide]) = (self.scale, self.ratio.map(f64::ln));
        for _ in 0..ATTEMPTS {
            let wanted = area * random.gen_range(least..=most);
            let ratio = random.gen_range(narrow..=wide).exp();
            let (w, h) = ((wanted * ratio).sqrt().round(), (wanted / ratio).sqrt().round());
            if w >= 1.0 && h >= 1.0 && w <= f64::from(width) && h <= f64::from(height) {
                let (w, h) = (w as u32, h as u32);
                let (top, left) = (random.gen_range(0..=height - h), random.gen_range(0..=width - w));
                return Region { top, left, height: h, width: w };
            }
        }
        let ratio = (f64::from(width) / f64::from(height)).clamp(self.ratio[0], self.ratio[1]);
        let w = ((f64::from(height) * ratio).round() as u32).clamp(1, width);
        let h = ((f64::from(width) / ratio).round() as u32).clamp(1, height);
        Region { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
    }
}

impl Region {
    /// The rectangle as an image of its own.
    pub(super) fn cut(self, image: &Image) -> Result<Image> {
        let samples = match &image.samples {
            Samples::U8(samples) => Samples::U8(self.lines(image, samples)),
            Samples::U16(samples) => Samples::U16(self.lines(image, samples)),
        };
        Image::new(self.width, self.height, image.channels, samples)
    }

    fn lines<T: Copy>(self, image: &Image, samples: &[T]) -> Vec<T> {
        let stride = image.width as usize * image.channels;
        let (start, length) = (self.left as usize * image.channels, self.width as usize * image.channels);
        let lines = samples.chunks_exact(stride).skip(self.top as usize).take(self.height as usize);
        lines.flat_map(|line| &line[start..start + length]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::seed::Seed;

    #[test]
    fn crops_have_the_share_and_shape_asked_for_and_lie_inside() {
        let crop = RandomCrop { scale: [0.2, 0.6], ratio: [0.5, 2.0] };
        let random = &mut Seed::new(0).random();
        let mut tops = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let Region { top, left, height, width } = crop.draw(100, 150, random);
            assert!(top + height <= 100 && left + width <= 150);
            let share = f64::from(height * width) / 15_000.0;
            let ratio = f64::from(width) / f64::from(height);
            assert!((0.19..0.61).contains(&share) && (0.48..2.1).contains(&ratio), "{share} {ratio}");
            tops.insert(top);
        }
        assert!(tops.len() > 20);
    }

    #[test]
    fn a_shape_that_fits_nowhere_becomes_the_central_rectangle() {
        let crop = RandomCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0] };
        let region = crop.draw(50, 100, &mut Seed::new(0).random());
        assert_eq!(region, Region { top: 0, left: 25, height: 50, width: 50 });
        let image = Image::new(100, 50, 1, Samples::U16((0..5000).collect())).unwrap();
        let cut = region.cut(&image).unwrap();
        let Samples::U16(samples) = &cut.samples else { unreachable!() };
        assert_eq!((samples[0], samples[49], samples[50], cut.width, cut.height), (25, 74, 125, 50, 50));
    }
}
