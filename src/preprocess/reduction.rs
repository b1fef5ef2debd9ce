//! How far a large image may be reduced while it is decoded, so that the resize afterwards still
//! has enough to work with.

use super::geometry;
use super::spec::{Preprocess, Resize};

/// A rule for decoding JPEGs smaller: by 2, 4 or 8, as long as what comes out is at least twice as
/// large as the resize needs in both directions, four times where dark borders are cropped in
/// between.
///
/// The reduction is that of libjpeg, and of PIL's `draft`: each block of 8 x 8 becomes one of 4 x
/// 4, 2 x 2 or 1 x 1 pixels from its lowest frequencies. The resize then averages what is left, so
/// that the result differs a little from that of the whole image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reduction {
    resize: Resize,
    times: u32,
}

impl Reduction {
    fn new(resize: Resize, is_cropped: bool) -> Self {
        Reduction { resize, times: if is_cropped { 4 } else { 2 } }
    }

    /// By how much an image of `width` x `height` is reduced: 1, 2, 4 or 8.
    pub fn of(&self, width: u32, height: u32) -> u32 {
        let (needed_height, needed_width) = geometry::resized(self.resize, height as usize, width as usize);
        let is_enough = |length: u32, needed: usize, by: u32| {
            u64::from(length.div_ceil(by)) >= needed as u64 * u64::from(self.times)
        };
        let fits = |by: &u32| is_enough(width, needed_width, *by) && is_enough(height, needed_height, *by);
        [8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }
}

impl Preprocess {
    /// How far images may be reduced while they are decoded; `None` where that was not asked for or
    /// nothing is resized.
    pub fn reduction(&self) -> Option<Reduction> {
        let resize = self.resize.filter(|_| self.fast_decode)?;
        Some(Reduction::new(resize, self.border.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_left_for_the_resize() {
        let plain = Reduction::new(Resize::ShorterSide(224), false);
        let sizes = [(3000, 2000), (1800, 1792), (1788, 1788), (896, 2000), (894, 2000), (447, 447)];
        assert_eq!(sizes.map(|(width, height)| plain.of(width, height)), [4, 4, 2, 2, 1, 1]);
        assert_eq!(plain.of(4000, 3584), 8);
        assert_eq!(Reduction::new(Resize::ShorterSide(224), true).of(3000, 2000), 2);
        let exact = Reduction::new(Resize::Exact { height: 100, width: 400 }, false);
        assert_eq!(exact.of(1600, 1600), 2);
    }
}
