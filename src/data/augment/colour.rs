//! Random changes of brightness, contrast, saturation and hue, as torchvision's `ColorJitter` makes
//! them of floating-point images: the four in random order, each by a factor around 1 (hue: a shift
//! around 0), results clipped to 0..=1.

use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::support::seed::Random;

/// How colours may change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// Probability that they change at all.
    pub probability: f64,
    /// Factor of brightness: 1 up to this far off, never below 0.
    pub brightness: f64,
    /// Factor of contrast: 1 up to this far off, never below 0.
    pub contrast: f64,
    /// Factor of saturation: 1 up to this far off, never below 0.
    pub saturation: f64,
    /// Shift of hue, as a share of the colour circle: up to this far off, at most one half.
    pub hue: f64,
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    Brightness(f32),
    Contrast(f32),
    Saturation(f32),
    Hue(f32),
}

impl Jitter {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let refuse = |field, found, expected| Err(DataError::Augmentation { field, found, expected });
        if !(0.0..=1.0).contains(&self.probability) {
            return refuse("jitter.probability", self.probability, "a probability from 0 to 1");
        }
        let factors = [
            ("jitter.brightness", self.brightness),
            ("jitter.contrast", self.contrast),
            ("jitter.saturation", self.saturation),
        ];
        for (field, found) in factors {
            if !(found >= 0.0 && found.is_finite()) {
                return refuse(field, found, "0 or more");
            }
        }
        match (0.0..=0.5).contains(&self.hue) {
            true => Ok(()),
            false => refuse("jitter.hue", self.hue, "a shift from 0 to 0.5"),
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> Vec<Change> {
        if !random.gen_bool(self.probability) {
            return Vec::new();
        }
        let mut factor = |most: f64| random.gen_range((1.0 - most).max(0.0)..=1.0 + most) as f32;
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let mut changes = vec![
            Change::Brightness(factors[0]),
            Change::Contrast(factors[1]),
            Change::Saturation(factors[2]),
            Change::Hue(random.gen_range(-self.hue..=self.hue) as f32),
        ];
        changes.shuffle(random);
        changes.retain(|change| !change.is_nothing());
        changes
    }
}

impl Change {
    fn is_nothing(self) -> bool {
        match self {
            Change::Brightness(factor) | Change::Contrast(factor) | Change::Saturation(factor) => factor == 1.0,
            Change::Hue(shift) => shift == 0.0,
        }
    }
}

/// Changes `samples: [channels, H, W]`, 0 to 1; without colours, saturation and hue are left as
/// they are.
pub(super) fn apply(changes: &[Change], coloured: bool, channels: usize, samples: &mut [f32]) {
    let plane = samples.len() / channels.max(1);
    for change in changes {
        match *change {
            Change::Brightness(factor) => blend(samples, factor, |_| 0.0),
            Change::Contrast(factor) => {
                let mean = mean_luma(samples, plane);
                blend(samples, factor, |_| mean);
            }
            Change::Saturation(factor) if coloured => {
                let (red, green, blue) = planes(samples, plane);
                for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
                    let grey = luma(*r, *g, *b);
                    for sample in [r, g, b] {
                        *sample = mix(*sample, factor, grey);
                    }
                }
            }
            Change::Hue(shift) if coloured => {
                let (red, green, blue) = planes(samples, plane);
                for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
                    [*r, *g, *b] = shifted([*r, *g, *b], shift);
                }
            }
            Change::Saturation(_) | Change::Hue(_) => {}
        }
    }
}

fn planes(samples: &mut [f32], plane: usize) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let (red, rest) = samples.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    (red, green, blue)
}

/// Torchvision's grey of an RGB pixel.
fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.2989 * r + 0.587 * g + 0.114 * b
}

fn mean_luma(samples: &[f32], plane: usize) -> f32 {
    let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>();
    let total = match samples.len() / plane {
        3 => {
            let sums = [0, 1, 2].map(|channel| sum(&samples[channel * plane..(channel + 1) * plane]));
            0.2989 * sums[0] + 0.587 * sums[1] + 0.114 * sums[2]
        }
        _ => sum(&samples[..plane]),
    };
    (total / plane as f64) as f32
}

fn mix(sample: f32, factor: f32, other: f32) -> f32 {
    (factor * sample + (1.0 - factor) * other).clamp(0.0, 1.0)
}

fn blend(samples: &mut [f32], factor: f32, other: impl Fn(f32) -> f32) {
    samples.iter_mut().for_each(|sample| *sample = mix(*sample, factor, other(*sample)));
}

/// A pixel with its hue moved along the colour circle, by way of hue, saturation and value.
fn shifted([r, g, b]: [f32; 3], shift: f32) -> [f32; 3] {
    let most = r.max(g).max(b);
    let spread = most - r.min(g).min(b);
    if spread == 0.0 {
        return [r, g, b];
    }
    let saturation = spread / most;
    let sixth = if most == r {
        (g - b) / spread
    } else if most == g {
        2.0 + (b - r) / spread
    } else {
        4.0 + (r - g) / spread
    };
    let turned = ((sixth / 6.0 + shift).rem_euclid(1.0) * 6.0).min(5.999_999_5);
    let (sector, fraction) = (turned as u32, turned.fract());
    let low = most * (1.0 - saturation);
    let falling = most * (1.0 - saturation * fraction);
    let rising = most * (1.0 - saturation * (1.0 - fraction));
    match sector {
        0 => [most, rising, low],
        1 => [falling, most, low],
        2 => [low, most, rising],
        3 => [low, falling, most],
        4 => [rising, low, most],
        _ => [most, low, falling],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::seed::Seed;

    /// Four pixels as three planes, and what torchvision 0.29 makes of them.
    const PIXELS: [f32; 12] = [0.9, 0.2, 0.5, 0.0, 0.1, 0.7, 0.5, 0.25, 0.4, 0.6, 0.5, 1.0];

    #[track_caller]
    fn expect(change: Change, expected: [f32; 12]) {
        let mut found = PIXELS;
        apply(&[change], true, 3, &mut found);
        let most = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 2e-6, "{change:?}: {found:?}");
    }

    #[test]
    fn changes_are_torchvision_s() {
        expect(Change::Brightness(1.15), [1.0, 0.23, 0.575, 0.0, 0.115, 0.805, 0.575, 0.2875, 0.46, 0.69, 0.575, 1.0]);
        expect(
            Change::Contrast(1.2),
            [
                0.996_345_5,
                0.156_345_5,
                0.516_345_5,
                0.0,
                0.036_345_5,
                0.756_345_5,
                0.516_345_5,
                0.216_345_5,
                0.396_345_5,
                0.636_345_5,
                0.516_345_5,
                1.0,
            ],
        );
        expect(
            Change::Saturation(1.1),
            [
                0.952_669, 0.166_092, 0.500_005, 0.0, 0.072_669, 0.716_092, 0.500_005, 0.248_925, 0.402_669, 0.606_092,
                0.500_005, 1.0,
            ],
        );
        expect(Change::Hue(0.1), [0.9, 0.2, 0.5, 0.35, 0.28, 0.5, 0.5, 0.0, 0.1, 0.7, 0.5, 1.0]);
        expect(Change::Hue(-0.07), [0.9, 0.2, 0.5, 0.0, 0.1, 0.7, 0.5, 0.67, 0.736, 0.39, 0.5, 1.0]);
    }

    #[test]
    fn grey_stays_grey() {
        let mut grey = [0.25, 0.5, 0.25, 0.5, 0.25, 0.5];
        apply(&[Change::Saturation(1.1), Change::Hue(0.1)], false, 3, &mut grey);
        assert_eq!(grey, [0.25, 0.5, 0.25, 0.5, 0.25, 0.5]);
        let mut one = [0.25, 0.75];
        apply(&[Change::Contrast(0.5)], false, 1, &mut one);
        assert_eq!(one, [0.375, 0.625]);
    }

    #[test]
    fn the_four_changes_come_in_any_order_and_as_often_as_asked_for() {
        let jitter = Jitter { probability: 0.8, brightness: 0.2, contrast: 0.2, saturation: 0.1, hue: 0.1 };
        let random = &mut Seed::new(0).random();
        let drawn: Vec<Vec<Change>> = (0..1000).map(|_| jitter.draw(random)).collect();
        let changed = drawn.iter().filter(|changes| !changes.is_empty()).count();
        assert!((750..850).contains(&changed), "{changed}");
        let firsts = drawn.iter().filter(|changes| matches!(changes.first(), Some(Change::Hue(_)))).count();
        assert!((140..260).contains(&firsts), "{firsts}");
    }
}
