//! Percentiles of values, and windows on deep grey images of formats that state none: PNG and TIFF
//! of 16 bits.

use crate::preprocess::{Image, Samples, Window};

/// The image with the shades that `window` gives its values, 0 to 65,535; colours, images of 8
/// bits, and windows that are the file's own or all of its range leave it as it is.
pub(super) fn through(window: Window, mut image: Image) -> Image {
    let Samples::U16(samples) = &mut image.samples else { return image };
    if image.channels != 1 {
        return image;
    }
    let shade: Box<dyn Fn(f64) -> f64> = match window {
        Window::File | Window::Full => return image,
        Window::Fixed { center, width, function } => Box::new(move |value| function.shade(value, center, width)),
        Window::Percentiles { low, high } => {
            let mut counts = vec![0u64; 1 << 16];
            samples.iter().for_each(|&sample| counts[usize::from(sample)] += 1);
            let occurring = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
            let counts: Vec<(f64, u64)> = occurring.map(|(value, count)| (value as f64, count)).collect();
            let (low, high) = (percentile(&counts, low), percentile(&counts, high));
            let range = (high - low).max(f64::MIN_POSITIVE);
            Box::new(move |value| ((value - low) / range).clamp(0.0, 1.0))
        }
    };
    let table: Vec<u16> =
        (0..=u16::MAX).map(|value| (shade(value.into()) * f64::from(u16::MAX)).round() as u16).collect();
    samples.iter_mut().for_each(|sample| *sample = table[usize::from(*sample)]);
    image
}

/// A percentile of sorted values with their counts, linearly interpolated; 0 of no values.
pub(super) fn percentile(counts: &[(f64, u64)], percent: f64) -> f64 {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let position = percent / 100.0 * total.saturating_sub(1) as f64;
    let at = |index: u64| {
        let mut passed = 0;
        let found = counts.iter().find(|(_, count)| {
            passed += count;
            passed > index
        });
        found.or(counts.last()).map_or(0.0, |(value, _)| *value)
    };
    let (below, above) = (at(position.floor() as u64), at(position.ceil() as u64));
    below + (above - below) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bits_in_sixteen_become_shades_by_percentiles_or_a_window() {
        let image = || Image::new(5, 1, 1, Samples::U16(vec![100, 200, 300, 400, 4095])).unwrap();
        let shades = |window: &str| through(window.parse().unwrap(), image()).samples;
        assert_eq!(shades("full"), image().samples);
        assert_eq!(shades("percentiles:0,75"), Samples::U16(vec![0, 21_845, 43_690, 65_535, 65_535]));
        assert_eq!(shades("2047.5/4095:exact"), Samples::U16(vec![1600, 3201, 4801, 6401, 65_535]));
        let colours = Image::new(1, 1, 3, Samples::U16(vec![1, 2, 3])).unwrap();
        assert_eq!(through("percentiles:0,100".parse().unwrap(), colours.clone()), colours);
    }
}
