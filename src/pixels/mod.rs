//! Image files to pixels: what the formats hold, as Pillow and pydicom read it.
//!
//! [`Decoding::decode`] takes the content of a file and returns an upright
//! [`Image`](crate::preprocess::Image) of `[height, width, 1 or 3]` samples. The codecs written
//! here (JPEG, JPEG-LS, DICOM) were measured against the libraries: to the bit as libjpeg-turbo,
//! CharLS and pydicom decode, and truncated files are errors.

mod bmp;
mod decode;
mod dicom;
pub(crate) mod frame;
mod gif;
mod jpeg;
mod jpeg2000;
mod jpegls;
mod limits;
mod orientation;
mod pnm;
mod recognise;
mod tiff;
mod watch;
mod windowing;

pub(crate) use decode::check_size;
pub use decode::{Decoding, decode, decode_file};
pub(crate) use dicom::is_dicom;
pub use dicom::{DicomFile, DicomImage, DicomSummary, Stored, StoredSamples};
pub use limits::DecodeLimits;
pub(crate) use recognise::format_name;

/// The samples of an image inside another format, interleaved by pixel.
#[derive(Clone, Debug, PartialEq)]
struct Codestream {
    width: u32,
    height: u32,
    channels: usize,
    /// Bits of a sample, 1 to 16.
    bits: u32,
    /// `[height, width, channels]`: the bits of each sample, those above `bits` zero.
    samples: Vec<u16>,
    /// Whether three channels are luma and chroma, where the codestream says so.
    is_luma_chroma: Option<bool>,
}
