//! Which format the content of a file is of; those that are not read are named.

use image::ImageFormat;

use super::dicom;
use crate::error::{PixelError, Result};

/// A format that is read.
pub(super) enum Format {
    Dicom,
    /// Any other, with its name.
    Picture(ImageFormat, &'static str),
}

/// How far into a file the brands of an ISO container and the first element of a text are looked
/// for.
const HEAD: usize = 1024;

/// First bytes of what is read.
const READ: [(&[u8], ImageFormat, &str); 8] = [
    (b"\xff\xd8\xff", ImageFormat::Jpeg, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", ImageFormat::Png, "PNG"),
    (b"II*\0", ImageFormat::Tiff, "TIFF"),
    (b"MM\0*", ImageFormat::Tiff, "TIFF"),
    (b"II+\0", ImageFormat::Tiff, "BigTIFF"),
    (b"MM\0+", ImageFormat::Tiff, "BigTIFF"),
    (b"BM", ImageFormat::Bmp, "BMP"),
    (b"GIF8", ImageFormat::Gif, "GIF"),
];

/// Places and bytes of what is not read.
const NAMED: [(usize, &[u8], &str); 22] = [
    (8, b"CR\x02\0", "Canon raw (CR2)"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"\0\0\x02\0", "CUR"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"qoif", "QOI"),
    (0, b"PF\n", "PFM"),
    (0, b"Pf\n", "PFM"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x5c\x01\x00\x00", "NIfTI"),
    (0, b"IIU\0", "Panasonic raw (RW2)"),
    (0, b"IIRO", "Olympus raw (ORF)"),
    (0, b"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"\x1f\x8b", "gzip archive"),
];

/// The name of the format that the first bytes tell, for example `JPEG`.
pub(crate) fn format_name(bytes: &[u8]) -> Result<&'static str> {
    Ok(match recognise(bytes)? {
        Format::Dicom => "DICOM",
        Format::Picture(_, name) => name,
    })
}

/// The format that the first bytes tell.
pub(super) fn recognise(bytes: &[u8]) -> Result<Format> {
    if bytes.is_empty() {
        return Err(PixelError::Empty.into());
    }
    if dicom::is_dicom(bytes) {
        return Ok(Format::Dicom);
    }
    let named = NAMED.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some(&(.., format)) = named {
        return Err(PixelError::Format { format }.into());
    }
    if let Some(&(_, format, name)) = READ.iter().find(|(start, ..)| bytes.starts_with(start)) {
        return Ok(Format::Picture(format, name));
    }
    match *bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            return Ok(Format::Picture(ImageFormat::WebP, "WebP"));
        }
        [b'P', b'1'..=b'6', b' ' | b'\t' | b'\n' | b'\r' | b'#', ..] => {
            return Ok(Format::Picture(ImageFormat::Pnm, "PNM"));
        }
        [b'P', b'7', b'\n', ..] => return Ok(Format::Picture(ImageFormat::Pnm, "PAM")),
        _ => {}
    }
    if let Some(format) = container(bytes).or_else(|| markup(bytes)) {
        return Err(PixelError::Format { format }.into());
    }
    Err(PixelError::NotAnImage { start: bytes[..bytes.len().min(16)].escape_ascii().to_string() }.into())
}

/// What the brands of an ISO base media file say: the first one, then those it is compatible with.
fn container(bytes: &[u8]) -> Option<&'static str> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let brands = rest.strip_prefix(b"ftyp")?;
    let length = (u32::from_be_bytes(*length) as usize).clamp(12, HEAD).min(bytes.len());
    let brands = &brands[..length - 8];
    // A major brand, a version, compatible brands.
    let brands = brands.as_chunks::<4>().0.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, brand)| brand);
    let mut is_heif = false;
    for brand in brands {
        match brand {
            b"avif" | b"avis" => return Some("AVIF"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" => return Some("HEIC"),
            b"crx " => return Some("Canon raw (CR3)"),
            b"jp2 " | b"jpx " => return Some("JPEG 2000"),
            b"jxl " => return Some("JPEG XL"),
            b"mif1" | b"msf1" | b"mif2" | b"mif3" => is_heif = true,
            _ => {}
        }
    }
    Some(if is_heif { "HEIF" } else { "video (MP4 or QuickTime)" })
}

/// A text with tags: SVG, or a web page as failed downloads leave it.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_lowercase();
    let head = head.trim_start_matches('\u{feff}').trim_start();
    if !head.starts_with('<') {
        return None;
    }
    match () {
        () if head.contains("<svg") => Some("SVG"),
        () if head.starts_with("<!doctype html") || head.contains("<html") => Some("HTML"),
        () => None,
    }
}
