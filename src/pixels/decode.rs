//! An image file's bytes to pixels: JPEG, PNG, TIFF, BMP, WebP and DICOM, recognised by content,
//! turned upright by EXIF.
//!
//! What comes out is what PIL's `convert("RGB")` gives, except that grey stays one channel, 16-bit
//! samples keep their depth and the EXIF orientation is applied: palettes are looked up, alpha is
//! dropped, CMYK becomes RGB. Truncated files are errors, and a file whose header announces too
//! many pixels is refused before anything is allocated.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, RgbImage,
};

use super::{dicom, frame, jpeg, windowing};
use crate::error::{Error, PixelError, Result};
use crate::preprocess::{Image, Preprocess, Reduction, Samples, Window};
use crate::support::fs;

/// What a decoder may spend on one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels (width times height) that a header may announce.
    pub max_pixels: u64,
    /// Most bytes of a file.
    pub max_bytes: u64,
}

/// 178,956,970 pixels, where PIL raises its `DecompressionBombError`, and 1 GiB.
impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits { max_pixels: 178_956_970, max_bytes: 1 << 30 }
    }
}

/// How to decode an image where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decoding {
    /// What the decoder may spend.
    pub limits: DecodeLimits,
    /// How deep grey values become shades.
    pub window: Window,
    /// Which frame of a DICOM file, from 0; without a choice a file of several frames is refused.
    pub frame: Option<u32>,
    /// How far JPEGs may be reduced.
    pub reduction: Option<Reduction>,
}

impl Decoding {
    /// How images are decoded for a preprocessing.
    pub fn of(preprocess: &Preprocess, limits: DecodeLimits) -> Self {
        Decoding { limits, window: preprocess.window, frame: None, reduction: preprocess.reduction() }
    }

    /// Decodes an image from the content of its file.
    ///
    /// # Errors
    /// [`PixelError`] with the reason: empty, not an image, a format or variant that is not read,
    /// truncated, damaged, too large.
    pub fn decode(&self, bytes: &[u8]) -> Result<Image> {
        let limits = &self.limits;
        check_size(bytes.len() as u64, limits)?;
        let (format, name) = match recognise(bytes)? {
            Format::Dicom => return dicom::decode(bytes, limits, self.frame, self.window),
            Format::Picture(format, name) => (format, name),
        };
        if let Some(frame) = self.frame.filter(|&frame| frame > 0) {
            return Err(PixelError::Frame { found: u64::from(frame) + 1, frames: 1 }.into());
        }
        let image = self.picture(bytes, format, name)?;
        Ok(windowing::through(self.window, image))
    }

    /// Decodes an image file, or a frame where the path is `FILE#N`, see [`Decoding::decode`].
    ///
    /// # Errors
    /// [`FileError::Io`](crate::error::FileError::Io) when the file cannot be read,
    /// [`PixelError::File`] with the path and the reason when its content cannot be decoded.
    pub fn decode_file(&self, path: &Path) -> Result<Image> {
        let in_file = |error| match error {
            Error::Pixels(source) => PixelError::File { path: path.to_path_buf(), source: Box::new(source) }.into(),
            other => other,
        };
        let (file, frame) = frame::source(path);
        let found = std::fs::metadata(&file).map_err(fs::io_error("read", &file))?.len();
        check_size(found, &self.limits).map_err(in_file)?;
        Decoding { frame: frame.or(self.frame), ..*self }.decode(&fs::read(&file)?).map_err(in_file)
    }

    /// An image of a format other than DICOM.
    fn picture(&self, bytes: &[u8], format: ImageFormat, name: &'static str) -> Result<Image> {
        let decoded = match format {
            ImageFormat::Jpeg => self.jpeg(bytes)?,
            _ => other(bytes, format, &self.limits).map_err(|error| failure(error, name))??,
        };
        let (width, height) = (decoded.width(), decoded.height());
        let (channels, samples) = match decoded {
            DynamicImage::ImageLuma8(pixels) => (1, Samples::U8(pixels.into_raw())),
            DynamicImage::ImageLumaA8(pixels) => (1, Samples::U8(without_alpha::<2, 1, _>(pixels.as_raw()))),
            DynamicImage::ImageRgb8(pixels) => (3, Samples::U8(pixels.into_raw())),
            DynamicImage::ImageRgba8(pixels) => (3, Samples::U8(without_alpha::<4, 3, _>(pixels.as_raw()))),
            DynamicImage::ImageLuma16(pixels) => (1, Samples::U16(pixels.into_raw())),
            DynamicImage::ImageLumaA16(pixels) => (1, Samples::U16(without_alpha::<2, 1, _>(pixels.as_raw()))),
            DynamicImage::ImageRgb16(pixels) => (3, Samples::U16(pixels.into_raw())),
            DynamicImage::ImageRgba16(pixels) => (3, Samples::U16(without_alpha::<4, 3, _>(pixels.as_raw()))),
            other => {
                let feature = format!("samples of type {:?}", other.color());
                return Err(PixelError::Variant { format: name, feature }.into());
            }
        };
        Image::new(width, height, channels, samples)
    }

    /// A JPEG, upright.
    fn jpeg(&self, bytes: &[u8]) -> Result<DynamicImage> {
        let decoded = jpeg::decode(bytes, |width, height| {
            self.limits.check_pixels(width, height)?;
            Ok(self.reduction.map_or(1, |reduction| reduction.of(width, height)))
        })?;
        let jpeg::Jpeg { width, height, samples, .. } = decoded;
        let found = samples.len();
        let pixels = match decoded.channels {
            1 => GrayImage::from_raw(width, height, samples).map(DynamicImage::ImageLuma8),
            _ => RgbImage::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
        };
        let mut pixels = pixels.ok_or(PixelError::Samples { width, height, channels: decoded.channels, found })?;
        if let Some(orientation) = decoded.exif.as_deref().and_then(Orientation::from_exif_chunk) {
            pixels.apply_orientation(orientation);
        }
        Ok(pixels)
    }
}

/// Decodes an image file, see [`decode`].
///
/// # Errors
/// [`FileError::Io`](crate::error::FileError::Io) when the file cannot be read,
/// [`PixelError::File`] with the path and the reason when its content cannot be decoded.
pub fn decode_file(path: &Path, limits: &DecodeLimits) -> Result<Image> {
    Decoding { limits: *limits, ..Decoding::default() }.decode_file(path)
}

/// Decodes an image from the content of its file.
///
/// # Errors
/// [`PixelError`] with the reason: empty, not an image, a format or variant that is not read,
/// truncated, damaged, too large.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Image> {
    Decoding { limits: *limits, ..Decoding::default() }.decode(bytes)
}

/// An image of any other format, upright.
fn other(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> ImageResult<Result<DynamicImage>> {
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let (width, height) = decoder.dimensions();
    if let Err(error) = limits.check_pixels(width, height) {
        return Ok(Err(error.into()));
    }
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(1 << 26));
    decoder.set_limits(memory)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut decoded = DynamicImage::from_decoder(decoder)?;
    decoded.apply_orientation(orientation);
    Ok(Ok(decoded))
}

pub(crate) fn check_size(found: u64, limits: &DecodeLimits) -> Result<()> {
    if found > limits.max_bytes {
        return Err(PixelError::TooManyBytes { found, most: limits.max_bytes }.into());
    }
    Ok(())
}

impl DecodeLimits {
    /// Whether so many pixels may be decoded.
    pub(super) fn check_pixels(&self, width: u32, height: u32) -> Result<(), PixelError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(PixelError::TooManyPixels { width, height, most: self.max_pixels });
        }
        Ok(())
    }
}

/// The first `KEPT` of every `ALL` samples.
fn without_alpha<const ALL: usize, const KEPT: usize, T: Copy>(samples: &[T]) -> Vec<T> {
    samples.chunks_exact(ALL).flat_map(|pixel| &pixel[..KEPT]).copied().collect()
}

/// The name of the format that the first bytes tell, for example `JPEG`.
pub(crate) fn format_name(bytes: &[u8]) -> Result<&'static str> {
    Ok(match recognise(bytes)? {
        Format::Dicom => "DICOM",
        Format::Picture(_, name) => name,
    })
}

/// A format that is read.
enum Format {
    Dicom,
    /// Any other, with its name.
    Picture(ImageFormat, &'static str),
}

/// The format that the first bytes tell.
fn recognise(bytes: &[u8]) -> Result<Format> {
    const READ: [(&[u8], ImageFormat, &str); 8] = [
        (b"\xff\xd8\xff", ImageFormat::Jpeg, "JPEG"),
        (b"\x89PNG\r\n\x1a\n", ImageFormat::Png, "PNG"),
        (b"II*\0", ImageFormat::Tiff, "TIFF"),
        (b"MM\0*", ImageFormat::Tiff, "TIFF"),
        (b"II+\0", ImageFormat::Tiff, "BigTIFF"),
        (b"MM\0+", ImageFormat::Tiff, "BigTIFF"),
        (b"RIFF", ImageFormat::WebP, "WebP"),
        (b"BM", ImageFormat::Bmp, "BMP"),
    ];
    const KNOWN: [(usize, &[u8], &str); 12] = [
        (0, b"GIF8", "GIF"),
        (4, b"ftypavif", "AVIF"),
        (4, b"ftypheic", "HEIC"),
        (4, b"ftypmif1", "HEIF"),
        (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
        (0, b"\xff\x0a", "JPEG XL"),
        (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
        (0, b"8BPS", "Photoshop"),
        (0, b"\x76\x2f\x31\x01", "OpenEXR"),
        (0, b"%PDF", "PDF"),
        (0, b"\x5c\x01\x00\x00", "NIfTI"),
    ];
    if bytes.is_empty() {
        return Err(PixelError::Empty.into());
    }
    if dicom::is_dicom(bytes) {
        return Ok(Format::Dicom);
    }
    let is_webp = |name| name != "WebP" || bytes.get(8..12) == Some(b"WEBP");
    if let Some(&(_, format, name)) = READ.iter().find(|(start, _, name)| bytes.starts_with(start) && is_webp(*name)) {
        return Ok(Format::Picture(format, name));
    }
    for (offset, magic, format) in KNOWN {
        if bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic)) {
            return Err(PixelError::Format { format }.into());
        }
    }
    Err(PixelError::NotAnImage { start: bytes[..bytes.len().min(16)].escape_ascii().to_string() }.into())
}

/// What a decoder's error means for the file.
fn failure(error: ImageError, format: &'static str) -> PixelError {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            PixelError::Truncated { format }
        }
        ImageError::Unsupported(error) => PixelError::Variant { format, feature: error.to_string() },
        error => PixelError::Damaged { format, reason: error.to_string() },
    }
}
