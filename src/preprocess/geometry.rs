//! Sizes and positions: what a resize and a center crop, rounded as torchvision rounds, take from
//! which rows and columns.

use super::spec::{Preprocess, Resize};

/// One axis, rows or columns, on its way through resize and crop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// Length before the resize.
    pub(super) source: usize,
    /// Length after the resize.
    pub(super) resized: usize,
    /// First position of the resized axis that survives the crop.
    pub(super) first: usize,
    /// How many positions survive.
    pub(super) kept: usize,
    /// Zeros in front of them.
    pub(super) padding: usize,
    /// Length of the result: padding, kept, padding.
    pub(super) output: usize,
}

/// Rows and columns of an image on their way through resize and crop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) rows: Span,
    pub(super) columns: Span,
}

impl Geometry {
    /// What `preprocess` makes of an image of `height` x `width`, both at least 1.
    pub(super) fn new(preprocess: &Preprocess, height: usize, width: usize) -> Self {
        let (resized_height, resized_width) = match preprocess.resize {
            None => (height, width),
            Some(resize) => resized(resize, height, width),
        };
        let crop = preprocess.crop;
        Geometry {
            rows: Span::new(height, resized_height, crop.map(|crop| crop.height as usize)),
            columns: Span::new(width, resized_width, crop.map(|crop| crop.width as usize)),
        }
    }
}

/// Height and width that a resize makes of an image.
pub(super) fn resized(resize: Resize, height: usize, width: usize) -> (usize, usize) {
    match resize {
        Resize::Exact { height, width } => (height as usize, width as usize),
        Resize::ShorterSide(length) => {
            let length = length as usize;
            if width <= height { (length * height / width, length) } else { (length, length * width / height) }
        }
    }
}

impl Span {
    fn new(source: usize, resized: usize, crop: Option<usize>) -> Self {
        let (first, kept, padding, output) = match crop {
            None => (0, resized, 0, resized),
            Some(crop) if crop >= resized => (0, resized, (crop - resized) / 2, crop),
            Some(crop) => (half_to_even(resized - crop), crop, 0, crop),
        };
        Span { source, resized, first, kept, padding, output }
    }
}

/// `round(length / 2)` with halves to the even neighbour, as Python rounds.
fn half_to_even(length: usize) -> usize {
    let half = length / 2;
    half + (length % 2) * (half % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_start_where_python_rounds_to() {
        let starts: Vec<usize> = (0..8).map(|extra| Span::new(9, 10 + extra, Some(10)).first).collect();
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn small_images_are_padded_with_the_odd_zero_behind() {
        let span = Span::new(5, 5, Some(8));
        assert_eq!((span.padding, span.kept, span.output), (1, 5, 8));
    }

    #[test]
    fn the_longer_side_is_rounded_down() {
        let geometry = Geometry::new(&Preprocess::imagenet(64, 56), 172, 120);
        assert_eq!((geometry.rows.resized, geometry.columns.resized), (91, 64));
        assert_eq!((geometry.rows.first, geometry.columns.first), (18, 4));
    }
}
