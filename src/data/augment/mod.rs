//! Random changes of training images: crops of random size and place, flips, colour jitter.
//!
//! An [`Augmentation`] says what may happen and how often; [`Augmentation::draw`] decides it for
//! one image from a seeded generator, [`Augmenter::apply`] carries it out and gives the network's
//! input. The order is crop and resize, flips, colour, normalisation. What is drawn depends on the
//! generator and the image's size alone, so that a sample of an epoch looks the same whoever
//! prepares it, and whenever.
//!
//! Crops are those of torchvision's `RandomResizedCrop`, colours those of its `ColorJitter` on
//! floating-point images.

mod colour;
mod crop;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use colour::Jitter;
pub use crop::RandomCrop;

use crate::data::augment::colour::Change;
use crate::data::augment::crop::Region;
use crate::error::{DataError, Result};
use crate::preprocess::{Channels, Image, Preprocess, Resize, Scratch, ValidPreprocess};
use crate::support::seed::Random;

/// What may happen to a training image; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Probability of a mirror image, left and right exchanged.
    #[serde(default)]
    pub horizontal_flip: f64,
    /// Probability of top and bottom being exchanged.
    #[serde(default)]
    pub vertical_flip: f64,
    /// A crop of random size and place instead of the preprocessing's resize and centre crop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<RandomCrop>,
    /// Random changes of colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
}

/// What happens to one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    region: Option<Region>,
    mirrored: bool,
    upside_down: bool,
    colour: Vec<Change>,
}

impl Augmentation {
    /// The study's: flips both ways, colour jitter with probability .8, crops of .8 to 1.2 of the
    /// area.
    pub fn study() -> Self {
        Augmentation {
            horizontal_flip: 0.5,
            vertical_flip: 0.5,
            crop: Some(RandomCrop { scale: [0.8, 1.2], ratio: [3.0 / 4.0, 4.0 / 3.0] }),
            jitter: Some(Jitter { probability: 0.8, brightness: 0.2, contrast: 0.2, saturation: 0.1, hue: 0.1 }),
        }
    }

    /// For images whose colours matter and whose up and down differ: mirror images and crops of
    /// half the area and more.
    pub fn light() -> Self {
        Augmentation {
            horizontal_flip: 0.5,
            crop: Some(RandomCrop { scale: [0.5, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }),
            ..Augmentation::default()
        }
    }

    /// For images without up and down, seen at one scale: square crops of 7/8 of each side, flips
    /// both ways.
    pub fn crop_flips() -> Self {
        let share = (7.0f64 / 8.0).powi(2);
        Augmentation {
            horizontal_flip: 0.5,
            vertical_flip: 0.5,
            crop: Some(RandomCrop { scale: [share, share], ratio: [1.0, 1.0] }),
            ..Augmentation::default()
        }
    }

    /// The augmentation of a name: `none`, `light`, `crop-flips` or `study`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Augmentation::default()),
            "light" => Some(Augmentation::light()),
            "crop-flips" => Some(Augmentation::crop_flips()),
            "study" => Some(Augmentation::study()),
            _ => None,
        }
    }

    /// Decides what happens to an image of `height` x `width` pixels.
    pub fn draw(&self, height: u32, width: u32, random: &mut Random) -> Changes {
        Changes {
            region: self.crop.map(|crop| crop.draw(height, width, random)),
            mirrored: random.gen_bool(self.horizontal_flip),
            upside_down: random.gen_bool(self.vertical_flip),
            colour: self.jitter.map(|jitter| jitter.draw(random)).unwrap_or_default(),
        }
    }

    fn check(&self) -> Result<(), DataError> {
        let refuse = |field, found: f64, expected| Err(DataError::Augmentation { field, found, expected });
        for (field, found) in [("horizontal_flip", self.horizontal_flip), ("vertical_flip", self.vertical_flip)] {
            if !(0.0..=1.0).contains(&found) {
                return refuse(field, found, "a probability from 0 to 1");
            }
        }
        self.crop.map_or(Ok(()), |crop| crop.check())?;
        self.jitter.map_or(Ok(()), |jitter| jitter.check())
    }
}

/// An augmentation together with the preprocessing it replaces in part, ready to be applied.
#[derive(Clone, Debug)]
pub struct Augmenter {
    augmentation: Augmentation,
    /// What is decoded, without dark borders.
    content: ValidPreprocess,
    /// Pixels from 0 to 1, resized and cropped as without augmentation.
    plain: ValidPreprocess,
    /// Pixels from 0 to 1, a region resized to the whole input.
    resized: ValidPreprocess,
    shape: [usize; 3],
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Augmenter {
    /// Checks both.
    ///
    /// # Errors
    /// [`DataError::Augmentation`] for values out of range, [`DataError::OpenSize`] for a
    /// preprocessing whose result has not one size for all images, and those of
    /// [`Preprocess::check`].
    pub fn new(augmentation: Augmentation, preprocess: &Preprocess) -> Result<Self> {
        augmentation.check()?;
        let shape = preprocess.clone().check()?.output_shape().ok_or(DataError::OpenSize)?;
        let [channels, height, width] = shape;
        let plain = Preprocess { mean: vec![0.0; channels], std: vec![1.0; channels], ..preprocess.clone() };
        // Borders are cropped before anything is drawn.
        let content = Preprocess { resize: None, crop: None, ..plain.clone() };
        let plain = Preprocess { border: None, ..plain };
        let (height, width) = (height as u32, width as u32);
        let resized = Preprocess { resize: Some(Resize::Exact { height, width }), crop: None, ..plain.clone() };
        Ok(Augmenter {
            augmentation,
            content: content.check()?,
            plain: plain.check()?,
            resized: resized.check()?,
            shape,
            mean: preprocess.mean.clone(),
            std: preprocess.std.clone(),
        })
    }

    /// How files are decoded, and how the image begins.
    pub fn specification(&self) -> &Preprocess {
        self.content.specification()
    }

    /// `[channels, height, width]` of what [`Augmenter::apply`] writes.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Draws changes, carries them out and writes the network's input `[channels, height, width]`.
    ///
    /// # Errors
    /// Those of [`ValidPreprocess::apply_into`].
    pub fn apply(&self, image: &Image, random: &mut Random, scratch: &mut Scratch, output: &mut [f32]) -> Result<()> {
        let image = &*self.content.content(image)?;
        let changes = self.augmentation.draw(image.height, image.width, random);
        match changes.region {
            Some(region) => self.resized.apply_into(&region.cut(image)?, scratch, output)?,
            None => self.plain.apply_into(image, scratch, output)?,
        }
        let [channels, height, width] = self.shape;
        let plane = height * width;
        for samples in output.chunks_exact_mut(plane) {
            if changes.mirrored {
                samples.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            }
            if changes.upside_down {
                let (top, bottom) = samples.split_at_mut(height / 2 * width);
                let lines = top.chunks_exact_mut(width).zip(bottom.chunks_exact_mut(width).rev());
                lines.for_each(|(upper, lower)| upper.swap_with_slice(lower));
            }
        }
        let coloured = self.plain.specification().channels == Channels::Rgb && image.channels == 3;
        colour::apply(&changes.colour, coloured, channels, output);
        for ((samples, mean), std) in output.chunks_exact_mut(plane).zip(&self.mean).zip(&self.std) {
            samples.iter_mut().for_each(|sample| *sample = (*sample - mean) / std);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::Samples;
    use crate::support::seed::Seed;

    fn image() -> Image {
        let samples = (0..40 * 30 * 3).map(|index| (index * 7 % 251) as u8).collect();
        Image::new(40, 30, 3, Samples::U8(samples)).unwrap()
    }

    fn applied(augmentation: Augmentation, seed: u64) -> Vec<f32> {
        let augmenter = Augmenter::new(augmentation, &Preprocess::imagenet(24, 16)).unwrap();
        let mut output = vec![0.0; 3 * 16 * 16];
        let random = &mut Seed::new(seed).random();
        augmenter.apply(&image(), random, &mut Scratch::default(), &mut output).unwrap();
        output
    }

    #[test]
    fn without_augmentation_the_input_is_that_of_the_preprocessing() {
        let expected = Preprocess::imagenet(24, 16).check().unwrap().apply(&image()).unwrap();
        let found = applied(Augmentation::default(), 0);
        let most =
            found.iter().zip(&*expected.values::<f32>().unwrap()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-6, "{most}");
    }

    #[test]
    fn flips_exchange_sides_and_twice_is_nothing() {
        let plain = applied(Augmentation::default(), 0);
        let flipped = applied(Augmentation { horizontal_flip: 1.0, vertical_flip: 1.0, ..Augmentation::default() }, 0);
        for channel in 0..3usize {
            for (y, x) in [(0usize, 0usize), (3, 5), (15, 1)] {
                let at = |y: usize, x: usize| channel * 256 + y * 16 + x;
                assert_eq!(flipped[at(15 - y, 15 - x)], plain[at(y, x)]);
            }
        }
    }

    #[test]
    fn a_seed_decides_everything() {
        assert_eq!(applied(Augmentation::study(), 1), applied(Augmentation::study(), 1));
        assert_ne!(applied(Augmentation::study(), 1), applied(Augmentation::study(), 2));
        assert!(applied(Augmentation::study(), 3).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let error = |augmentation| Augmenter::new(augmentation, &Preprocess::imagenet(24, 16)).unwrap_err().to_string();
        let found = error(Augmentation { horizontal_flip: 1.5, ..Augmentation::default() });
        assert_eq!(found, "augmentation `horizontal_flip` is 1.5, expected a probability from 0 to 1");
        let crop = RandomCrop { scale: [0.9, 0.1], ratio: [1.0, 1.0] };
        assert!(error(Augmentation { crop: Some(crop), ..Augmentation::default() }).contains("crop.scale"));
        let jitter = Jitter { hue: 0.7, ..Augmentation::study().jitter.unwrap() };
        assert!(error(Augmentation { jitter: Some(jitter), ..Augmentation::default() }).contains("jitter.hue"));
    }
}
