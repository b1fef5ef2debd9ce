//! JPEG to pixels, equal to libjpeg-turbo to the bit, and so to what PIL, torchvision and OpenCV
//! read.
//!
//! Sequential and progressive Huffman-coded images of 8 bits with 1, 3 or 4 components; inside
//! DICOM also those of 12 bits and lossless ones of 2 to 16 bits. The transform is libjpeg's
//! accurate integer one, subsampled chroma is interpolated as its "fancy upsampling" does, colours
//! are converted with its fixed-point constants, CMYK and YCCK become RGB as in PIL. Damage that
//! libjpeg papers over with a warning is an error here: missing entropy-coded data, impossible
//! codes, markers out of place.
//!
//! Reference: ITU-T T.81; `jdhuff.c`, `jdphuff.c`, `jidctint.c`, `jdsample.c`, `jdcolor.c` of
//! libjpeg-turbo.

mod bits;
mod colour;
mod deep;
mod frame;
mod headers;
mod inverse;
mod lossless;
mod reduced;
mod scan;
mod upsample;

use super::Codestream;
use super::orientation::Metadata;
use crate::error::PixelError;

use colour::Colours;
use frame::{Coding, Frame};
use headers::{Headers, Segment};

/// Scans of one image; more are an attempt to keep the decoder busy.
const MAX_SCANS: usize = 500;

/// A decoded JPEG, not yet turned upright.
pub(super) struct Jpeg {
    pub(super) width: u32,
    pub(super) height: u32,
    /// 1 (grey) or 3 (RGB).
    pub(super) channels: usize,
    /// `[height, width, channels]`.
    pub(super) samples: Vec<u8>,
    /// Its EXIF and XMP.
    pub(super) metadata: Metadata<'static>,
}

/// Decodes a JPEG whose width and height `admit` lets through, so many times smaller (1, 2, 4 or 8)
/// as it says.
pub(super) fn decode(
    bytes: &[u8],
    admit: impl FnOnce(u32, u32) -> Result<u32, PixelError>,
) -> Result<Jpeg, PixelError> {
    let (headers, frame) = read(bytes, |frame| {
        if frame.coding == Coding::Lossless {
            return Err(unsupported("lossless coding"));
        }
        if frame.bits != 8 {
            return Err(unsupported(format!("{}-bit samples", frame.bits)));
        }
        admit(frame.width, frame.height)
    })?;
    let colours = headers.colours(&frame)?;
    let [width, height] = frame.reduced();
    let samples = colour::convert(frame.planes()?, colours);
    Ok(Jpeg { width, height, channels: colours.channels(), samples, metadata: headers.metadata })
}

/// Decodes a JPEG inside a TIFF, which says what its components mean: three may be luma and chroma,
/// which become RGB; any others stay as they are.
pub(super) fn interchanged(
    bytes: &[u8],
    is_luma_chroma: bool,
    admit: impl FnOnce(u32, u32) -> Result<(), PixelError>,
) -> Result<Jpeg, PixelError> {
    if !bytes.starts_with(b"\xff\xd8") {
        return Err(damaged("the first marker is missing"));
    }
    let (headers, frame) = read(bytes, |frame| {
        if frame.coding == Coding::Lossless {
            return Err(unsupported("lossless coding"));
        }
        if frame.bits != 8 {
            return Err(unsupported(format!("{}-bit samples", frame.bits)));
        }
        admit(frame.width, frame.height).map(|()| 1)
    })?;
    let (width, height, channels) = (frame.width, frame.height, frame.components.len());
    let colours = match channels {
        1 => Colours::Grey,
        3 if is_luma_chroma => Colours::YCbCr,
        3 => Colours::Rgb,
        _ => Colours::Separate,
    };
    let samples = colour::convert(frame.planes()?, colours);
    Ok(Jpeg { width, height, channels, samples, metadata: headers.metadata })
}

/// Decodes a JPEG inside another format: lossless coding and samples of other than 8 bits are read
/// too, colours are not converted.
pub(super) fn components(
    bytes: &[u8],
    admit: impl FnOnce(u32, u32) -> Result<(), PixelError>,
) -> Result<Codestream, PixelError> {
    if !bytes.starts_with(b"\xff\xd8") {
        return Err(damaged("the first marker is missing"));
    }
    let (headers, frame) = read(bytes, |frame| admit(frame.width, frame.height).map(|()| 1))?;
    let (width, height, bits, channels) = (frame.width, frame.height, frame.bits, frame.components.len());
    let samples = match (frame.coding, bits) {
        (Coding::Lossless, _) => deep::interleaved(frame.components.into_iter().map(|component| component.samples)),
        (_, 8) if channels == 1 || channels == 3 => {
            let colours = if channels == 1 { Colours::Grey } else { Colours::Rgb };
            colour::convert(frame.planes()?, colours).into_iter().map(u16::from).collect()
        }
        (_, 12) => deep::samples(frame)?,
        _ => return Err(unsupported(format!("{channels} components"))),
    };
    let is_luma_chroma = headers.is_luma_chroma();
    Ok(Codestream { width, height, channels, bits, samples, is_luma_chroma })
}

/// Reads all headers and scans of a frame that `admit` lets through, so many times smaller as it
/// says.
fn read<'a>(
    bytes: &'a [u8],
    admit: impl FnOnce(&Frame) -> Result<u32, PixelError>,
) -> Result<(Headers<'a>, Frame), PixelError> {
    let mut headers = Headers::new(bytes);
    let mut frame = match headers.next()? {
        Segment::Frame(frame) => frame,
        Segment::Scan(_) => return Err(damaged("a scan precedes the frame header")),
        Segment::End => return Err(damaged("there is no image before the end marker")),
    };
    let reduction = admit(&frame)?;
    for count in 0.. {
        let scan = match headers.next()? {
            Segment::Scan(scan) => scan,
            Segment::Frame(_) => return Err(damaged("there are two frame headers")),
            Segment::End if count == 0 => return Err(damaged("a component is in no scan")),
            Segment::End => break,
        };
        if count == MAX_SCANS {
            return Err(damaged("there are more than 500 scans"));
        }
        if count == 0 {
            frame.allocate(reduction, &scan);
        }
        let end = scan::decode(bytes, &scan, &headers.tables, &mut frame)?;
        headers.resume(end);
    }
    Ok((headers, frame))
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
