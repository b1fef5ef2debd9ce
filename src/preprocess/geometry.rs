//! Sizes and positions: what a resize and a center crop, rounded as torchvision or transformers
//! round, take from which rows and columns.

use super::spec::{CropRounding, Preprocess, Resize};

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
        let (crop, rounding) = (preprocess.crop, preprocess.crop_rounding);
        Geometry {
            rows: Span::new(height, resized_height, crop.map(|crop| crop.height as usize), rounding),
            columns: Span::new(width, resized_width, crop.map(|crop| crop.width as usize), rounding),
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
    fn new(source: usize, resized: usize, crop: Option<usize>, rounding: CropRounding) -> Self {
        let (first, kept, padding, output) = match crop {
            None => (0, resized, 0, resized),
            Some(crop) if crop >= resized => (0, resized, rounding.padding(crop - resized), crop),
            Some(crop) => (rounding.start(resized - crop), crop, 0, crop),
        };
        Span { source, resized, first, kept, padding, output }
    }
}

impl CropRounding {
    /// Where the crop starts when so much is left over.
    fn start(self, dropped: usize) -> usize {
        let half = dropped / 2;
        match self {
            // `round(dropped / 2)` of Python: halves to the even neighbour.
            CropRounding::Torchvision => half + (dropped % 2) * (half % 2),
            CropRounding::Transformers => half,
        }
    }

    /// How many of so many zeros come first.
    fn padding(self, zeros: usize) -> usize {
        match self {
            CropRounding::Torchvision => zeros / 2,
            CropRounding::Transformers => zeros.div_ceil(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_start_where_python_rounds_to() {
        let starts: Vec<usize> =
            (0..8).map(|extra| Span::new(9, 10 + extra, Some(10), CropRounding::Torchvision).first).collect();
        assert_eq!(starts, [0, 0, 1, 2, 2, 2, 3, 4]);
        // huggingface/transformers#40856.
        let starts: Vec<usize> = (0..8).map(|dropped| CropRounding::Transformers.start(dropped)).collect();
        assert_eq!(starts, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn small_images_are_padded_with_the_odd_zero_behind_or_in_front() {
        let span = |rounding| Span::new(5, 5, Some(8), rounding);
        let torchvision = span(CropRounding::Torchvision);
        assert_eq!((torchvision.padding, torchvision.kept, torchvision.output), (1, 5, 8));
        assert_eq!(span(CropRounding::Transformers).padding, 2);
    }

    #[test]
    fn the_longer_side_is_rounded_down() {
        let geometry = Geometry::new(&Preprocess::imagenet(64, 56), 172, 120);
        assert_eq!((geometry.rows.resized, geometry.columns.resized), (91, 64));
        assert_eq!((geometry.rows.first, geometry.columns.first), (18, 4));
    }
}
