//! An image file's bytes to pixels: JPEG, PNG, TIFF, BMP, WebP, GIF, PNM and DICOM, recognised by
//! content, turned upright by EXIF or XMP; of several images or frames of a TIFF or GIF the first.
//!
//! What comes out is what PIL's `ImageOps.exif_transpose` and `convert("RGB")` give, except that
//! grey stays one channel and 16-bit samples keep their depth: palettes are looked up, alpha is
//! dropped, CMYK becomes RGB. Truncated files are errors, and a file whose header announces too
//! many pixels is refused before anything is allocated.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits};

use super::limits::DecodeLimits;
use super::recognise::{Format, recognise};
use super::{bmp, dicom, frame, gif, jpeg, orientation, pnm, tiff, watch, windowing};
use crate::error::{Error, PixelError, Result};
use crate::preprocess::{Image, Preprocess, Reduction, Samples, Window};
use crate::support::fs;

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
    /// truncated, damaged, too large, too slow.
    pub fn decode(&self, bytes: &[u8]) -> Result<Image> {
        let limits = &self.limits;
        if let Some(time) = limits.max_time {
            let decoding = Decoding { limits: DecodeLimits { max_time: None, ..*limits }, ..*self };
            return watch::within(time, bytes, move |bytes| decoding.decode(bytes));
        }
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

    /// An image of a format other than DICOM, upright.
    fn picture(&self, bytes: &[u8], format: ImageFormat, name: &'static str) -> Result<Image> {
        let (image, orientation) = match format {
            ImageFormat::Jpeg => self.jpeg(bytes)?,
            ImageFormat::Tiff => self.tiff(bytes, name)?,
            ImageFormat::Png => (self.other(bytes, format, name)?, orientation::of_png(bytes).orientation()),
            ImageFormat::WebP => (self.other(bytes, format, name)?, orientation::of_webp(bytes).orientation()),
            ImageFormat::Bmp => {
                let image = match bmp::decode(bytes, &self.limits)? {
                    Some(image) => image,
                    None => self.other(bytes, format, name)?,
                };
                (image, Orientation::NoTransforms)
            }
            ImageFormat::Gif => {
                let bytes = gif::with_whole_screen(bytes);
                let mut image = self.other(&bytes, format, name)?;
                gif::fill_screen(&bytes, &mut image);
                (image, Orientation::NoTransforms)
            }
            _ => (self.other(bytes, format, name)?, Orientation::NoTransforms),
        };
        orientation::turned(image, orientation)
    }

    /// A JPEG, and how it is turned.
    fn jpeg(&self, bytes: &[u8]) -> Result<(Image, Orientation)> {
        let decoded = jpeg::decode(bytes, |width, height| {
            self.limits.check_pixels(width, height)?;
            Ok(self.reduction.map_or(1, |reduction| reduction.of(width, height)))
        })?;
        let orientation = decoded.metadata.orientation();
        let samples = Samples::U8(decoded.samples);
        Ok((Image::new(decoded.width, decoded.height, decoded.channels, samples)?, orientation))
    }

    /// The first image of a TIFF, and how it is turned.
    fn tiff(&self, bytes: &[u8], name: &'static str) -> Result<(Image, Orientation)> {
        let directory = tiff::directory::Directory::first(bytes).ok_or(PixelError::Truncated { format: name })?;
        let image = match tiff::decode(&directory, &self.limits)? {
            Some(image) => image,
            None => self.other(bytes, ImageFormat::Tiff, name)?,
        };
        Ok((image, orientation::of_tiff(&directory).orientation()))
    }

    /// An image that the `image` crate decodes as Pillow does.
    fn other(&self, bytes: &[u8], format: ImageFormat, name: &'static str) -> Result<Image> {
        let decoded = other(bytes, format, &self.limits).map_err(|error| failure(error, name))??;
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

/// An image as the `image` crate decodes it; of several frames the first.
fn other(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> ImageResult<Result<DynamicImage>> {
    if format == ImageFormat::Pnm {
        return Ok(pnm::decode(bytes, limits)?.map_err(Error::from));
    }
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
    let (width, height) = decoder.dimensions();
    if let Err(error) = limits.check_pixels(width, height) {
        return Ok(Err(error.into()));
    }
    let mut memory = Limits::no_limits();
    memory.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(1 << 26));
    decoder.set_limits(memory)?;
    Ok(Ok(DynamicImage::from_decoder(decoder)?))
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
