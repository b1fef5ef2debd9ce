//! Decoded pixels, as a decoder hands them over: 8 or 16 bits, grey or RGB.

/// The samples of an image, interleaved by pixel, row by row from the top left.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8 bits, 0 to 255.
    U8(Vec<u8>),
    /// 16 bits, 0 to 65,535: the depth is kept up to the float tensor.
    U16(Vec<u16>),
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
