//! Which way up an image is: the EXIF orientation, and XMP's where EXIF says none, as Pillow's
//! `ImageOps.exif_transpose` finds them.
//!
//! EXIF comes in a JPEG's segment, a PNG's `eXIf` chunk or text `Raw profile type exif`, a WebP's
//! `EXIF` chunk, or is the directory of a TIFF; its orientation may be any number but a BYTE (which
//! Pillow reads as text), of which the first value counts. XMP comes in a JPEG's segment, a PNG's
//! text `XML:com.adobe.xmp`, a WebP's `XMP ` chunk or a tag of a TIFF. A PNG may state either
//! behind its pixels. What is malformed says nothing: the image stays as it is.
//!
//! Reference: TIFF 6.0; CIPA DC-008 (EXIF); `Image.getexif` of Pillow.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::tiff::directory::{Directory, tag};
use crate::error::Result;
use crate::preprocess::{Image, Samples};

/// The most bytes that a compressed text of a PNG may inflate to.
const MAX_TEXT: u64 = 1 << 22;

/// What a file says beside its pixels.
#[derive(Debug, Default)]
pub(super) struct Metadata<'a> {
    /// EXIF: a TIFF header and directory.
    pub(super) exif: Option<Cow<'a, [u8]>>,
    /// XMP: a packet of XML.
    pub(super) xmp: Option<Cow<'a, [u8]>>,
}

impl Metadata<'_> {
    /// The orientation, [`Orientation::NoTransforms`] where nothing says another.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().map(without_prefix).and_then(stated);
        let value = exif.or_else(|| self.xmp.as_deref().and_then(stated_in_xmp).map(f64::from));
        match value {
            Some(value) if value.fract() == 0.0 && (1.0..=8.0).contains(&value) => {
                Orientation::from_exif(value as u8).unwrap_or(Orientation::NoTransforms)
            }
            _ => Orientation::NoTransforms,
        }
    }
}

/// EXIF without the letters in front of its header, however often they stand there.
fn without_prefix(mut exif: &[u8]) -> &[u8] {
    while let Some(rest) = exif.strip_prefix(b"Exif\0\0") {
        exif = rest;
    }
    exif
}

/// The orientation of a TIFF header's first directory, whatever number it is.
fn stated(tiff: &[u8]) -> Option<f64> {
    Directory::first(tiff)?.first_number(tag::ORIENTATION)
}

/// `tiff:Orientation="6"` or `<tiff:Orientation>6`.
fn stated_in_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let mut rest = packet;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        rest = &rest[at + NAME.len()..];
        let value = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"));
        if let Some(&[digit @ b'0'..=b'9', ..]) = value {
            return Some(digit - b'0');
        }
    }
    None
}

/// What the chunks of a PNG say, those behind the pixels as well.
pub(super) fn of_png(bytes: &[u8]) -> Metadata<'_> {
    let (mut exif, mut profile, mut xmp) = (None, None, None);
    for (kind, body) in png_chunks(bytes) {
        match kind {
            b"eXIf" => exif = Some(Cow::Borrowed(body)),
            b"IEND" => break,
            b"tEXt" | b"zTXt" | b"iTXt" => match png_text(kind, body) {
                Some((b"Raw profile type exif", text)) => profile = raw_profile(&text).map(Cow::Owned),
                Some((b"XML:com.adobe.xmp", text)) => xmp = Some(text.into()),
                _ => {}
            },
            _ => {}
        }
    }
    Metadata { exif: exif.or(profile), xmp }
}

/// Kind and content of the chunks of a PNG.
pub(super) fn png_chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, body, next) = png_chunk(rest)?;
        rest = next;
        Some((kind, body))
    })
}

/// Kind and content of the first chunk, and what follows it.
fn png_chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((kind, body, rest.get(4..)?))
}

/// Keyword and text of a chunk, inflated where it is compressed.
fn png_text<'a>(kind: &[u8; 4], body: &'a [u8]) -> Option<(&'a [u8], Vec<u8>)> {
    let (keyword, rest) = split_at_zero(body)?;
    let (is_compressed, text) = match kind {
        b"tEXt" => (false, rest),
        b"zTXt" => (true, rest.get(1..)?),
        _ => {
            let (&[compression, _method], rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = split_at_zero(rest)?;
            let (_translated, rest) = split_at_zero(rest)?;
            (compression != 0, rest)
        }
    };
    if !is_compressed {
        return Some((keyword, text.to_vec()));
    }
    let mut inflated = Vec::new();
    ZlibDecoder::new(text).take(MAX_TEXT).read_to_end(&mut inflated).ok()?;
    Some((keyword, inflated))
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// ImageMagick's text of a profile: a blank line, its name, its length, then hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.splitn(4, |&byte| byte == b'\n').nth(3)?.iter().copied().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    digits.as_chunks::<2>().0.iter().map(|&[high, low]| Some(value(high)? << 4 | value(low)?)).collect()
}

/// What the first directory of a TIFF says.
pub(super) fn of_tiff<'a>(directory: &Directory<'a>) -> Metadata<'a> {
    Metadata { exif: Some(directory.file().into()), xmp: directory.bytes(tag::XMP).map(Cow::Borrowed) }
}

/// What the chunks of a WebP say.
pub(super) fn of_webp(bytes: &[u8]) -> Metadata<'_> {
    let mut metadata = Metadata::default();
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((kind, after)) = rest.split_first_chunk::<4>() {
        let Some((length, after)) = after.split_first_chunk::<4>() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((body, after)) = after.split_at_checked(length) else { break };
        match kind {
            b"EXIF" if metadata.exif.is_none() => metadata.exif = Some(body.into()),
            b"XMP " if metadata.xmp.is_none() => metadata.xmp = Some(body.into()),
            _ => {}
        }
        rest = after.get(length % 2..).unwrap_or_default();
    }
    metadata
}

/// The image, turned and mirrored.
pub(super) fn turned(image: Image, orientation: Orientation) -> Result<Image> {
    if orientation == Orientation::NoTransforms {
        return Ok(image);
    }
    let Image { width, height, channels, samples } = image;
    let (columns, rows) = (width as usize, height as usize);
    let is_transposed = orientation.to_exif() > 4;
    let (new_columns, new_rows) = if is_transposed { (rows, columns) } else { (columns, rows) };
    // Column and row of the image that come to a place.
    let source = |x: usize, y: usize| match orientation {
        Orientation::NoTransforms => (x, y),
        Orientation::FlipHorizontal => (columns - 1 - x, y),
        Orientation::Rotate180 => (columns - 1 - x, rows - 1 - y),
        Orientation::FlipVertical => (x, rows - 1 - y),
        Orientation::Rotate90FlipH => (y, x),
        Orientation::Rotate90 => (y, rows - 1 - x),
        Orientation::Rotate270FlipH => (columns - 1 - y, rows - 1 - x),
        Orientation::Rotate270 => (columns - 1 - y, x),
    };
    fn moved<T: Copy>(samples: &[T], channels: usize, places: impl Iterator<Item = usize>) -> Vec<T> {
        places.flat_map(|place| &samples[place * channels..][..channels]).copied().collect()
    }
    let places = (0..new_rows).flat_map(|y| (0..new_columns).map(move |x| (x, y)));
    let places = places.map(|(x, y)| {
        let (x, y) = source(x, y);
        y * columns + x
    });
    let samples = match &samples {
        Samples::U8(samples) => Samples::U8(moved(samples, channels, places)),
        Samples::U16(samples) => Samples::U16(moved(samples, channels, places)),
    };
    Image::new(new_columns as u32, new_rows as u32, channels, samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one entry, little-endian.
    fn exif(kind: u16, count: u32, value: [u8; 4]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01".to_vec();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value);
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn numbers_of_every_type_but_bytes_count_and_exif_wins() {
        let of = |exif: Vec<u8>, xmp: &'static [u8]| {
            Metadata { exif: Some(exif.into()), xmp: Some(xmp.into()) }.orientation()
        };
        let xmp = b"<x tiff:Orientation=\"3\"/>";
        for (kind, value) in [(3, [6, 0, 0, 0]), (4, [6, 0, 0, 0]), (6, [6, 0, 0, 0]), (11, 6f32.to_le_bytes())] {
            assert_eq!(of(exif(kind, 1, value), xmp), Orientation::Rotate90, "{kind}");
        }
        assert_eq!(of(exif(3, 2, [6, 0, 1, 0]), xmp), Orientation::Rotate90);
        // Stated, but nothing: XMP is not asked.
        assert_eq!(of(exif(3, 1, [0; 4]), xmp), Orientation::NoTransforms);
        assert_eq!(of(exif(1, 1, [6, 0, 0, 0]), xmp), Orientation::NoTransforms);
        // Not stated.
        assert_eq!(of(b"II*\0\x08\0\0\0\0\0".to_vec(), xmp), Orientation::Rotate180);
        assert_eq!(of(b"II*".to_vec(), b"<tiff:Orientation>8</tiff:Orientation>"), Orientation::Rotate270);
        assert_eq!(of(Vec::new(), b"tiff:Orientation='6' tiff:Orientation=\"x"), Orientation::NoTransforms);
    }
}
