//! JPEG-LS to samples: lossless and near-lossless, 2 to 16 bits, every interleaving.
//!
//! Reference: ITU-T T.87. Not read: mapping tables (palettes inside the codestream), restart
//! intervals, point transforms and the colour transforms of one vendor; each is refused by name.

mod bits;
mod contexts;
mod scan;

use super::Codestream;
use crate::error::PixelError;

use scan::{Interleave, Scan};

/// Decodes a codestream whose width and height `admit` lets through.
pub(super) fn decode(
    bytes: &[u8],
    admit: impl FnOnce(u32, u32) -> Result<(), PixelError>,
) -> Result<Codestream, PixelError> {
    let mut markers = Markers { bytes, at: 0 };
    if markers.next()?.0 != 0xD8 {
        return Err(damaged("the first marker is missing"));
    }
    let mut admit = Some(admit);
    let mut frame: Option<Frame> = None;
    let mut presets = Presets::default();
    loop {
        let (marker, body) = markers.next()?;
        match marker {
            0xF7 => {
                let found = Frame::read(body)?;
                if let Some(admit) = admit.take() {
                    admit(found.width, found.height)?;
                } else {
                    return Err(damaged("there are two frame headers"));
                }
                frame = Some(found.allocated());
            }
            0xF8 => presets.read(body)?,
            0xDA => {
                let frame = frame.as_mut().ok_or_else(|| damaged("a scan precedes the frame header"))?;
                markers.at = frame.scan(bytes, markers.at, body, &presets)?;
                if frame.filled == frame.identifiers.len() {
                    break;
                }
            }
            0xDD if body.iter().any(|&byte| byte != 0) => return Err(unsupported("restart intervals")),
            0xE8 if body.starts_with(b"mrfx") && body.get(4) != Some(&0) => {
                return Err(unsupported("a colour transform of its own"));
            }
            0xD9 => return Err(damaged("there is no complete image before the end marker")),
            _ => {}
        }
    }
    let frame = frame.ok_or_else(truncated)?;
    Ok(Codestream {
        width: frame.width,
        height: frame.height,
        channels: frame.identifiers.len(),
        bits: frame.bits,
        samples: frame.samples,
        is_luma_chroma: None,
    })
}

/// Reads marker segments in order.
struct Markers<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Markers<'a> {
    /// The next marker and the content of its segment.
    fn next(&mut self) -> Result<(u8, &'a [u8]), PixelError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let fill = rest.iter().take_while(|&&byte| byte == 0xFF).count();
        let Some(&marker) = rest.get(fill) else { return Err(truncated()) };
        if fill == 0 {
            return Err(damaged("a marker is missing"));
        }
        self.at += fill + 1;
        if matches!(marker, 0xD8 | 0xD9) {
            return Ok((marker, &[]));
        }
        let rest = &rest[fill + 1..];
        let &[high, low, ..] = rest else { return Err(truncated()) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(damaged("a segment is shorter than its own length"));
        }
        let body = rest.get(2..length).ok_or_else(truncated)?;
        self.at += length;
        Ok((marker, body))
    }
}

/// Coding parameters that a codestream may set (T.87, C.2.4.1.1); 0 is the default.
#[derive(Clone, Copy, Debug, Default)]
struct Presets {
    largest: u16,
    thresholds: [u16; 3],
    reset: u16,
}

impl Presets {
    fn read(&mut self, body: &[u8]) -> Result<(), PixelError> {
        match body {
            [1, words @ ..] if words.len() == 10 => {
                let word = |index: usize| u16::from_be_bytes([words[2 * index], words[2 * index + 1]]);
                *self = Presets { largest: word(0), thresholds: [word(1), word(2), word(3)], reset: word(4) };
                Ok(())
            }
            [2 | 3, ..] => Err(unsupported("mapping tables")),
            [4, ..] => Err(unsupported("sizes above 65,535")),
            _ => Err(damaged("coding parameters are malformed")),
        }
    }
}

/// The image as its frame header describes it.
struct Frame {
    width: u32,
    height: u32,
    bits: u32,
    identifiers: Vec<u8>,
    /// Components that scans have filled.
    filled: usize,
    samples: Vec<u16>,
}

impl Frame {
    fn read(body: &[u8]) -> Result<Self, PixelError> {
        let malformed = || damaged("the frame header is malformed");
        let (&[bits, height_high, height_low, width_high, width_low, count], rest) =
            body.split_first_chunk::<6>().ok_or_else(malformed)?;
        let height = u32::from(u16::from_be_bytes([height_high, height_low]));
        let width = u32::from(u16::from_be_bytes([width_high, width_low]));
        let (components, _) = rest.as_chunks::<3>();
        if !(2..=16).contains(&bits) || width == 0 || components.len() != usize::from(count) {
            return Err(malformed());
        }
        if height == 0 {
            return Err(unsupported("a height after the first scan"));
        }
        if !matches!(count, 1 | 3) || components.iter().any(|&[_, sampling, _]| sampling != 0x11) {
            return Err(unsupported(format!("{count} components, or subsampled ones")));
        }
        let identifiers = components.iter().map(|component| component[0]).collect();
        Ok(Frame { width, height, bits: bits.into(), identifiers, filled: 0, samples: Vec::new() })
    }

    fn allocated(mut self) -> Self {
        self.samples = vec![0; self.width as usize * self.height as usize * self.identifiers.len()];
        self
    }

    /// Decodes the scan whose header is `body` and whose data starts at `at`; gives the position
    /// after it.
    fn scan(&mut self, bytes: &[u8], at: usize, body: &[u8], presets: &Presets) -> Result<usize, PixelError> {
        let malformed = || damaged("a scan header is malformed");
        let (&count, rest) = body.split_first().ok_or_else(malformed)?;
        let (components, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(malformed)?;
        let &[near, interleave, point] = rest else { return Err(malformed()) };
        if components.as_chunks::<2>().0.iter().any(|component| component[1] != 0) {
            return Err(unsupported("mapping tables"));
        }
        if point != 0 {
            return Err(unsupported("a point transform"));
        }
        let all = self.identifiers.len();
        let (first, interleave) = match (interleave, usize::from(count)) {
            (0, 1) => {
                let place = self.identifiers.iter().position(|&identifier| identifier == components[0]);
                (place.ok_or_else(malformed)?, Interleave::None)
            }
            (1, count) if count == all => (0, Interleave::Lines),
            (2, count) if count == all => (0, Interleave::Samples),
            _ => return Err(malformed()),
        };
        let scan = Scan::new(self.bits, near.into(), presets)?;
        self.filled += usize::from(count);
        scan.decode((bytes, at), (&mut self.samples, self.width as usize, all), first, interleave)
    }
}

fn damaged(reason: impl Into<String>) -> PixelError {
    PixelError::Damaged { format: "JPEG-LS", reason: reason.into() }
}

fn unsupported(feature: impl Into<String>) -> PixelError {
    PixelError::Variant { format: "JPEG-LS", feature: feature.into() }
}

fn truncated() -> PixelError {
    PixelError::Truncated { format: "JPEG-LS" }
}
