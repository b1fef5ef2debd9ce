//! JPEG to pixels, equal to libjpeg-turbo to the bit, and so to what PIL, torchvision and OpenCV read.
//!
//! Sequential and progressive Huffman-coded images of 8 bits with 1, 3 or 4 components. The transform is libjpeg's accurate
//! integer one, subsampled chroma is interpolated as its "fancy upsampling" does, colours are converted with its fixed-point
//! constants, CMYK and YCCK become RGB as in PIL. Damage that libjpeg papers over with a warning is an error here: missing
//! entropy-coded data, impossible codes, markers out of place.
//!
//! Reference: ITU-T T.81; `jdhuff.c`, `jdphuff.c`, `jidctint.c`, `jdsample.c`, `jdcolor.c` of libjpeg-turbo.

mod bits;
mod colour;
mod frame;
mod headers;
mod inverse;
mod scan;
mod upsample;

use crate::error::PixelError;

use headers::{Headers, Segment};

/// Scans of one image; more are an attempt to keep the decoder busy.
const MOST_SCANS: usize = 500;

/// A decoded JPEG, not yet turned upright.
pub(super) struct Jpeg {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 (grey) or 3 (RGB).
    pub(super) channels: usize,
    /// `[height, width, channels]`.
    pub(super) samples: Vec<u8>,
    /// The content of the EXIF segment, from its TIFF header on.
    pub(super) exif: Option<Vec<u8>>,
}

/// Decodes a JPEG whose width and height `admit` lets through.
pub(super) fn decode(bytes: &[u8], admit: impl FnOnce(u32, u32) -> Result<(), PixelError>) -> Result<Jpeg, PixelError> {
    let mut headers = Headers::new(bytes);
    let mut frame = match headers.next()? {
        Segment::Frame(frame) => frame,
        Segment::Scan(_) => return Err(damaged("a scan precedes the frame header")),
        Segment::End => return Err(damaged("there is no image before the end marker")),
    };
    admit(frame.width, frame.height)?;
    frame.allocate();
    for count in 0.. {
        let scan = match headers.next()? {
            Segment::Scan(scan) => scan,
            Segment::Frame(_) => return Err(damaged("there are two frame headers")),
            Segment::End => break,
        };
        if count == MOST_SCANS {
            return Err(damaged("there are more than 500 scans"));
        }
        let end = scan::decode(bytes, &scan, &headers.tables, &mut frame)?;
        headers.resume(end);
    }
    let colours = headers.colours(&frame)?;
    let (width, height) = (frame.width, frame.height);
    let samples = colour::convert(frame.planes()?, colours);
    Ok(Jpeg { width, height, channels: colours.channels(), samples, exif: headers.exif })
}

fn damaged(reason: impl Into<String>) -> PixelError {
    PixelError::Damaged { format: "JPEG", reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> PixelError {
    PixelError::Variant { format: "JPEG", feature: feature.into() }
}

fn truncated() -> PixelError {
    PixelError::Truncated { format: "JPEG" }
}
