//! Failures of decoding and preprocessing images.

use std::path::PathBuf;

use crate::error::Diagnostic;

/// An image could not be decoded or preprocessed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PixelError {
    /// Any other variant, with the file it is about.
    #[error("cannot decode `{path}`")]
    File {
        /// The image file.
        path: PathBuf,
        /// What is wrong with its content.
        source: Box<PixelError>,
    },
    /// Decoding takes too long.
    #[error("decoding takes longer than {seconds} seconds")]
    Time {
        /// The time that was allowed.
        seconds: f64,
    },
    /// The decoder panicked.
    #[error("the decoder gave up on this file")]
    Panic,
    /// No thread can be started.
    #[error("no thread can be started to decode the file")]
    Thread {
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file has no content.
    #[error("the file is empty")]
    Empty,
    /// The content is of no known image format.
    #[error("not an image: the content starts with `{start}`")]
    NotAnImage {
        /// The first bytes, escaped.
        start: String,
    },
    /// The content is an image of a format that is not read.
    #[error("`{format}` images are not supported")]
    Format {
        /// The format's name.
        format: &'static str,
    },
    /// The format is read, but not this variant of it.
    #[error("{format} with {feature} is not supported")]
    Variant {
        /// The format's name.
        format: &'static str,
        /// What the decoder lacks.
        feature: String,
    },
    /// The content ends before the last pixel.
    #[error("truncated {format}: the file ends before the image is complete")]
    Truncated {
        /// The format's name.
        format: &'static str,
    },
    /// The content breaks the rules of its format.
    #[error("damaged {format}: {reason}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// The decoder's reason.
        reason: String,
    },
    /// The file has several frames, and none was chosen.
    #[error("the file has {frames} frames and none was chosen")]
    SeveralFrames {
        /// How many there are.
        frames: u32,
    },
    /// A frame was chosen that the file does not have.
    #[error("frame {found} of a file with {frames}")]
    Frame {
        /// The frame, from 1.
        found: u64,
        /// How many there are.
        frames: u32,
    },
    /// The header announces more pixels than allowed; nothing was decoded.
    #[error("{width} x {height} pixels are more than the {most} allowed")]
    TooManyPixels {
        /// Announced columns.
        width: u32,
        /// Announced rows.
        height: u32,
        /// The limit, in pixels.
        most: u64,
    },
    /// The file is larger than allowed; nothing was decoded.
    #[error("{found} bytes are more than the {most} allowed")]
    TooManyBytes {
        /// Size of the file, in bytes.
        found: u64,
        /// The limit, in bytes.
        most: u64,
    },
    /// Width, height, channels and number of samples of an image do not fit each other.
    #[error("an image of {width} x {height} x {channels} holds {found} samples")]
    Samples {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Channels.
        channels: usize,
        /// Number of samples found.
        found: usize,
    },
    /// A field of a preprocess specification has a value that cannot be.
    #[error("preprocess `{field}` is {found}, expected {expected}")]
    Specification {
        /// The field, as in TOML.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A field of a preprocess specification has no counterpart in a graph.
    #[error("preprocess `{field}` cannot be part of a graph: {reason}")]
    NotInGraph {
        /// The field, as in TOML.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The result of preprocessing would be too large, or does not fit the buffer it is written to.
    #[error("preprocessing gives {found} values, expected {expected}")]
    OutputSize {
        /// Values that preprocessing gives.
        found: u64,
        /// Values of the buffer, or the most that are allowed.
        expected: u64,
    },
}

impl Diagnostic for PixelError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            PixelError::File { source, .. } => return source.hint(),
            PixelError::Empty | PixelError::Truncated { .. } => "copy or download the file again",
            PixelError::NotAnImage { .. } | PixelError::Format { .. } => {
                "JPEG, PNG, TIFF, BMP, WebP, GIF, PNM and DICOM are read; convert the file or leave it out"
            }
            PixelError::Variant { .. } => "convert the file to an 8-bit or 16-bit PNG",
            PixelError::Time { .. } => "allow more seconds, or convert the file",
            PixelError::Panic => "convert the file, and report it if other programs read it",
            PixelError::Thread { .. } => "use fewer threads, or free memory",
            PixelError::TooManyPixels { .. } | PixelError::TooManyBytes { .. } => {
                "scale the image down, or cut it into tiles"
            }
            PixelError::SeveralFrames { .. } => "choose with `<frames>`, or write `FILE#FRAME` in the column of paths",
            PixelError::Frame { .. } => "frames are counted from 1",
            PixelError::OutputSize { .. } => "add a `crop` to the preprocess specification, or resize to an exact size",
            PixelError::NotInGraph { .. } => "leave the field out, and do this to the images beforehand",
            PixelError::Damaged { .. } | PixelError::Samples { .. } | PixelError::Specification { .. } => return None,
        };
        Some(hint.into())
    }
}
