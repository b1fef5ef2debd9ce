//! DICOM files to pixels: frames are found, decoded, and shown as their file or a chosen window
//! says.
//!
//! ```text
//! file ──elements──▶ frame ──codec──▶ stored values ──modality, window──▶ shades, or colours
//! ```
//!
//! Elements are found with dicom-rs, codecs are written in safe Rust: native and deflated pixels,
//! run lengths, JPEG (baseline, extended, progressive and lossless of 8 to 16 bits), JPEG-LS and
//! JPEG 2000. What is not read is refused by its name: video, JPEG XL, high-throughput JPEG 2000,
//! float pixels. Overlays are not drawn, presentation states and colour profiles not applied.
//!
//! Nothing that identifies a patient leaves the file: elements outside a short list about pixels
//! are passed over unread, and error messages quote tags and numbers only.
//!
//! Reference: DICOM PS3.3, C.7.6.3 and C.11; PS3.5, sections 7 and 8, annexes A and G; PS3.10. The
//! values equal those of pydicom (`scripts/dicom_parity.py`).

mod coded;
mod colour;
mod description;
mod elements;
mod frames;
mod grey;
mod lut;
mod rle;
mod stored;
mod summary;
mod syntax;

use std::borrow::Cow;
use std::io::Read as _;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::error::{PixelError, Result};
use crate::pixels::limits::DecodeLimits;
use crate::preprocess::{Image, Window};

use description::{Description, Photometric};
use elements::{DataSet, Encoding};
use grey::Grey;
use syntax::Syntax;

pub use stored::{Stored, StoredSamples};
pub use summary::DicomSummary;

/// Bytes in front of a file's first element: a preamble and four letters.
const PREAMBLE: usize = 132;
/// What media directories are called by their class: they list images and hold none.
const DIRECTORY_CLASS: &str = "1.2.840.10008.1.3.10";

/// Whether the content of a file, or its first 132 bytes, is DICOM.
pub(crate) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..PREAMBLE) == Some(b"DICM")
}

/// The content of a DICOM file, its data set inflated where it is deflated.
pub struct DicomFile<'a> {
    syntax: Syntax,
    class: Option<String>,
    data_set: Cow<'a, [u8]>,
    limits: DecodeLimits,
}

/// An image of a DICOM file.
pub struct DicomImage<'a> {
    syntax: &'a Syntax,
    data_set: DataSet<'a>,
    image: Description,
    limits: &'a DecodeLimits,
}

impl<'a> DicomFile<'a> {
    /// Reads the file's meta information.
    ///
    /// # Errors
    /// [`PixelError`] where it is no DICOM file, names no transfer syntax, or inflates to more
    /// bytes than allowed.
    pub fn open(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self> {
        if !is_dicom(bytes) {
            return Err(damaged("the letters `DICM` are missing").into());
        }
        let rest = &bytes[PREAMBLE..];
        let (meta, length) = DataSet::read(rest, Encoding::Explicit, |tag: Tag| tag.group() != 0x0002)?;
        let uid = meta.text(tags::TRANSFER_SYNTAX_UID).ok_or_else(|| damaged("there is no transfer syntax"))?;
        let syntax = Syntax::of(&uid);
        let rest = &rest[length..];
        let data_set = match syntax.is_deflated {
            true => Cow::Owned(inflated(rest, limits.max_bytes)?),
            false => Cow::Borrowed(rest),
        };
        Ok(DicomFile { syntax, class: meta.text(tags::MEDIA_STORAGE_SOP_CLASS_UID), data_set, limits: *limits })
    }

    /// Reads elements up to the first that `ends`; gives the position.
    fn read(&self, ends: impl Fn(Tag) -> bool) -> Result<(DataSet<'_>, usize), PixelError> {
        DataSet::read(&self.data_set, elements::actual(&self.data_set, self.syntax.encoding), ends)
    }

    /// Reads the elements about pixels.
    ///
    /// # Errors
    /// [`PixelError`] where there is no image, or what the elements say of it cannot be or is not
    /// read.
    pub fn image(&self) -> Result<DicomImage<'_>> {
        if self.class.as_deref() == Some(DIRECTORY_CLASS) {
            return Err(unsupported("a directory of files instead of an image").into());
        }
        let (data_set, _) = self.read(|tag| tag > tags::PIXEL_DATA)?;
        let image = Description::of(&data_set, &self.syntax, &self.limits)?;
        Ok(DicomImage { syntax: &self.syntax, data_set, image, limits: &self.limits })
    }
}

impl DicomImage<'_> {
    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.image.frames
    }

    /// The stored values of frame `index` (from 0): of colours red, green and blue, of palettes the
    /// entries' numbers.
    ///
    /// # Errors
    /// [`PixelError`] where the frame is not there or cannot be decoded.
    pub fn stored(&self, index: u32) -> Result<Stored> {
        if index >= self.image.frames {
            let found = u64::from(index) + 1;
            return Err(PixelError::Frame { found, frames: self.image.frames }.into());
        }
        let coding = self.syntax.coding()?;
        let frame = frames::frame(&self.data_set, &self.image, coding, index)?;
        Ok(coded::stored(&frame, self, coding)?)
    }

    /// Grey values after the modality transform, of stored ones.
    ///
    /// # Errors
    /// [`PixelError`] for lookup tables and numbers that cannot be read.
    pub fn modality_values(&self, stored: &Stored, index: u32) -> Result<Vec<f64>> {
        let grey = Grey::read(&self.data_set, &self.image, index)?;
        grey.check_modality()?;
        Ok(stored.values().into_iter().map(|value| grey.value(value)).collect())
    }

    /// Grey values after modality and VOI transform as the file says, in the range that PS3.3
    /// defines.
    ///
    /// # Errors
    /// As [`DicomImage::modality_values`].
    pub fn voi_values(&self, stored: &Stored, index: u32) -> Result<Vec<f64>> {
        let grey = Grey::read(&self.data_set, &self.image, index)?;
        grey.check_modality()?;
        Ok(stored.values().into_iter().map(|value| grey.file_voi(value)).collect())
    }

    /// Frame `index` (from 0) as it is shown: shades of grey through `window`, or colours.
    ///
    /// # Errors
    /// [`PixelError`] where the frame is not there or cannot be decoded.
    pub fn shown(&self, index: u32, window: Window) -> Result<Image> {
        let stored = self.stored(index)?;
        let (width, height) = (stored.width, stored.height);
        let (channels, samples) = match self.image.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => {
                let grey = Grey::read(&self.data_set, &self.image, index)?;
                (1, grey.shades(&stored, window)?)
            }
            Photometric::Palette => (3, colour::from_palette(&stored, &self.data_set)?),
            _ => (3, colour::full_range(&stored)),
        };
        Image::new(width, height, channels, samples)
    }
}

/// Decodes a frame (from 0) of the content of a DICOM file; without a choice the file must have one
/// frame.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits, frame: Option<u32>, window: Window) -> Result<Image> {
    let file = DicomFile::open(bytes, limits)?;
    let image = file.image()?;
    match frame {
        None if image.frames() > 1 => Err(PixelError::SeveralFrames { frames: image.frames() }.into()),
        _ => image.shown(frame.unwrap_or(0), window),
    }
}

/// Number of frames of the file that starts with `bytes`; `None` where they do not reach so far.
pub(super) fn count_frames(bytes: &[u8], limits: &DecodeLimits) -> Option<u32> {
    let file = DicomFile::open(bytes, limits).ok()?;
    let (data_set, length) = file.read(|tag| tag > tags::NUMBER_OF_FRAMES).ok()?;
    let frames = data_set.integers(tags::NUMBER_OF_FRAMES, false).ok()?;
    match frames.first() {
        Some(&frames) => u32::try_from(frames).ok(),
        None => (length < file.data_set.len()).then_some(1),
    }
}

/// Inflates a data set to at most `most` bytes.
fn inflated(bytes: &[u8], most: u64) -> Result<Vec<u8>, PixelError> {
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(bytes).take(most.saturating_add(1));
    decoder.read_to_end(&mut inflated).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => truncated(),
        _ => damaged(format!("its deflated part cannot be read: {error}")),
    })?;
    if inflated.len() as u64 > most {
        return Err(PixelError::TooManyBytes { found: inflated.len() as u64, most });
    }
    Ok(inflated)
}

fn damaged(reason: impl Into<String>) -> PixelError {
    PixelError::Damaged { format: "DICOM", reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> PixelError {
    PixelError::Variant { format: "DICOM", feature: feature.into() }
}

fn truncated() -> PixelError {
    PixelError::Truncated { format: "DICOM" }
}
