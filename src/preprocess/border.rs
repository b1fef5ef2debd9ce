//! Dark borders: the part of an image that shows something, as with fundus photographs and
//! mammograms.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::image::{Image, Samples};
use crate::error::{PixelError, Result};

/// A crop to the rows and columns that are not dark.
///
/// A pixel is bright when its brightest channel is above `threshold` of the largest sample (255 or
/// 65,535, the product rounded down); a row or column counts when more than `share` of its pixels
/// are bright. What is kept reaches from the first to the last row and column that count, widened
/// on each side by `margin` times the longer of both lengths (rounded) as far as there is image. An
/// image in which nothing counts is kept as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Border {
    /// Above which part of the largest sample a pixel is bright, 0 to 1 (1 excluded).
    #[serde(default = "Border::default_threshold")]
    pub threshold: f32,
    /// Which part of a row's or column's pixels must be bright, 0 (any) to 1 (1 excluded).
    #[serde(default = "Border::default_share")]
    pub share: f32,
    /// What is kept around, as a part of the longer side, 0 to 1.
    #[serde(default)]
    pub margin: f32,
}

impl Default for Border {
    /// Bright above 0.04 (10 of 255), in more than 0.01 of a row or column; no margin.
    fn default() -> Self {
        Border { threshold: Self::default_threshold(), share: Self::default_share(), margin: 0.0 }
    }
}

impl Border {
    fn default_threshold() -> f32 {
        0.04
    }

    fn default_share() -> f32 {
        0.01
    }

    /// Checks the numbers.
    pub(super) fn check(&self) -> Result<()> {
        let is_part = |value: f32| (0.0..1.0).contains(&value);
        if is_part(self.threshold) && is_part(self.share) && (0.0..=1.0).contains(&self.margin) {
            return Ok(());
        }
        let found = format!("{} {} {}", self.threshold, self.share, self.margin);
        let expected = "threshold, share and margin from 0 to 1";
        Err(PixelError::Specification { field: "border", found, expected }.into())
    }

    /// The image without its dark border.
    ///
    /// # Errors
    /// [`PixelError::Samples`] when the image's fields do not fit each other.
    pub(super) fn cut<'a>(&self, image: &'a Image) -> Result<Cow<'a, Image>> {
        image.check()?;
        let (width, height) = (image.width as usize, image.height as usize);
        let [left, top, right, bottom] = match &image.samples {
            Samples::U8(samples) => self.content(samples, width, image.channels, 255),
            Samples::U16(samples) => self.content(samples, width, image.channels, 65_535),
        };
        if [left, top, right, bottom] == [0, 0, width, height] {
            return Ok(Cow::Borrowed(image));
        }
        fn cut<T: Copy>(samples: &[T], row: usize, rows: [usize; 2], columns: [usize; 2]) -> Vec<T> {
            let lines = samples.chunks_exact(row).take(rows[1]).skip(rows[0]);
            lines.flat_map(|line| &line[columns[0]..columns[1]]).copied().collect()
        }
        let channels = image.channels;
        let (row, rows, columns) = (width * channels, [top, bottom], [left * channels, right * channels]);
        let samples = match &image.samples {
            Samples::U8(samples) => Samples::U8(cut(samples, row, rows, columns)),
            Samples::U16(samples) => Samples::U16(cut(samples, row, rows, columns)),
        };
        Ok(Cow::Owned(Image::new((right - left) as u32, (bottom - top) as u32, channels, samples)?))
    }

    /// First column and row, and those after the last, of what is kept.
    fn content<T: Copy + Into<u32>>(&self, samples: &[T], width: usize, channels: usize, largest: u32) -> [usize; 4] {
        let limit = (f64::from(self.threshold) * f64::from(largest)).floor() as u32;
        let mut columns = vec![0u32; width];
        let rows: Vec<u32> = samples
            .chunks_exact(width * channels)
            .map(|line| {
                let mut bright = 0;
                for (pixel, column) in line.chunks_exact(channels).zip(&mut columns) {
                    let is_bright = u32::from(pixel.iter().any(|&sample| sample.into() > limit));
                    *column += is_bright;
                    bright += is_bright;
                }
                bright
            })
            .collect();
        let height = rows.len();
        let counting = |all: &[u32], length: usize| {
            let is_content = |&count: &u32| f64::from(count) > f64::from(self.share) * length as f64;
            Some((all.iter().position(is_content)?, all.iter().rposition(is_content)? + 1))
        };
        let Some(((left, right), (top, bottom))) = counting(&columns, height).zip(counting(&rows, width)) else {
            return [0, 0, width, height];
        };
        let longer = (right - left).max(bottom - top);
        let margin = (f64::from(self.margin) * longer as f64).round() as usize;
        let wider = |first: usize, last: usize, end: usize| (first.saturating_sub(margin), (last + margin).min(end));
        let ((left, right), (top, bottom)) = (wider(left, right, width), wider(top, bottom, height));
        [left, top, right, bottom]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grey image of 10 x 8 with a bright block of 4 x 3 at (3, 2).
    fn image(bright: u8, dark: u8) -> Image {
        let inside = |x: usize, y: usize| (3..7).contains(&x) && (2..5).contains(&y);
        let samples = (0..80).map(|at| if inside(at % 10, at / 10) { bright } else { dark }).collect();
        Image::new(10, 8, 1, Samples::U8(samples)).unwrap()
    }

    #[test]
    fn what_is_bright_is_kept_with_its_margin() {
        let size = |border: Border, image: &Image| {
            let cut = border.cut(image).unwrap();
            (cut.width, cut.height)
        };
        let plain = Border::default();
        assert_eq!(size(plain, &image(11, 10)), (4, 3));
        assert_eq!(plain.cut(&image(200, 3)).unwrap().samples, Samples::U8(vec![200; 12]));
        assert_eq!(size(Border { margin: 0.25, ..plain }, &image(200, 0)), (6, 5));
        assert_eq!(size(Border { margin: 1.0, ..plain }, &image(200, 0)), (10, 8));
        // Nothing bright, or too little of it: the whole image.
        assert_eq!(size(plain, &image(10, 0)), (10, 8));
        assert_eq!(size(Border { share: 0.5, ..plain }, &image(200, 0)), (10, 8));
        assert_eq!(size(Border { share: 0.35, ..plain }, &image(200, 0)), (4, 3));
    }

    #[test]
    fn depth_and_colours_do_not_matter() {
        let Samples::U8(grey) = image(200, 0).samples else { unreachable!() };
        let deep = grey.iter().map(|&sample| u16::from(sample) * 257).collect();
        let deep = Image::new(10, 8, 1, Samples::U16(deep)).unwrap();
        assert_eq!(Border::default().cut(&deep).unwrap().samples, Samples::U16(vec![200 * 257; 12]));
        let blue = grey.iter().flat_map(|&sample| [0, 0, sample]).collect();
        let blue = Image::new(10, 8, 3, Samples::U8(blue)).unwrap();
        let cut = Border::default().cut(&blue).unwrap();
        assert_eq!((cut.width, cut.height, cut.channels), (4, 3, 3));
    }
}
