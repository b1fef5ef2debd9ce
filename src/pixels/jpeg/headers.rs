//! Marker segments: tables, frame and scan headers, and the application segments that say what the
//! components mean.

use crate::error::PixelError;

use super::bits::Huffman;
use super::colour::Colours;
use super::frame::{Coding, Component, Frame};
use super::{damaged, truncated, unsupported};
use crate::pixels::orientation::Metadata;

/// From zigzag order to row-major positions of an 8x8 block.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The tables that are in force.
#[derive(Default)]
pub(super) struct Tables {
    /// Row-major quantisation tables.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: usize,
}

/// A component's part in a scan.
pub(super) struct ScanComponent {
    /// Index in the frame.
    pub(super) index: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A scan header.
pub(super) struct Scan {
    pub(super) components: Vec<ScanComponent>,
    /// First and last coefficient, in zigzag order.
    pub(super) band: (usize, usize),
    /// Bit position of the previous scan over these coefficients (0: this is the first) and of this
    /// one.
    pub(super) approximation: (u32, u32),
    /// Where its entropy-coded data starts.
    pub(super) start: usize,
}

/// What [`Headers::next`] stops at.
pub(super) enum Segment {
    Frame(Frame),
    Scan(Scan),
    End,
}

/// Reads marker segments in order.
pub(super) struct Headers<'a> {
    data: &'a [u8],
    at: usize,
    pub(super) tables: Tables,
    /// Component identifiers of the frame.
    identifiers: Vec<u8>,
    is_jfif: bool,
    /// Colour transform of Adobe's segment.
    adobe: Option<u8>,
    pub(super) metadata: Metadata<'static>,
}

impl<'a> Headers<'a> {
    /// `data` starts with the start-of-image marker.
    pub(super) fn new(data: &'a [u8]) -> Self {
        Headers {
            data,
            at: 2,
            tables: Tables::default(),
            identifiers: Vec::new(),
            is_jfif: false,
            adobe: None,
            metadata: Metadata::default(),
        }
    }

    /// Goes on after a scan's entropy-coded data.
    pub(super) fn resume(&mut self, at: usize) {
        self.at = at;
    }

    /// Reads up to the next frame header, scan header or the end marker.
    pub(super) fn next(&mut self) -> Result<Segment, PixelError> {
        loop {
            let marker = self.marker()?;
            match marker {
                0xD9 => return Ok(Segment::End),
                // Restart markers and TEM stand alone.
                0x01 | 0xD0..=0xD7 => continue,
                _ => {}
            }
            let body = self.body()?;
            match marker {
                0xC0..=0xC3 => return self.frame(marker, body).map(Segment::Frame),
                0xC4 => self.huffman_tables(body)?,
                0xC5..=0xC7 | 0xCD..=0xCF => return Err(unsupported("hierarchical coding")),
                0xC9..=0xCB => return Err(unsupported("arithmetic coding")),
                0xDA => return self.scan(body).map(Segment::Scan),
                0xDB => self.quantisation_tables(body)?,
                0xDC => return Err(unsupported("a height after the first scan")),
                0xDD => match body {
                    &[high, low] => self.tables.restart_interval = usize::from(u16::from_be_bytes([high, low])),
                    _ => return Err(damaged("the restart interval is malformed")),
                },
                0xE0 if body.starts_with(b"JFIF\0") => self.is_jfif = true,
                0xE1 => self.application(body),
                0xEE if body.len() >= 12 && body.starts_with(b"Adobe") => self.adobe = Some(body[11]),
                _ => {}
            }
        }
    }

    /// EXIF, which may go on in further segments, and XMP.
    fn application(&mut self, body: &[u8]) {
        if let Some(exif) = body.strip_prefix(b"Exif\0\0") {
            self.metadata.exif.get_or_insert_default().to_mut().extend_from_slice(exif);
        } else if let Some(xmp) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.metadata.xmp = Some(xmp.to_vec().into());
        }
    }

    /// Passes anything up to the next marker, as libjpeg does, and the marker.
    fn marker(&mut self) -> Result<u8, PixelError> {
        loop {
            match self.data.get(self.at..self.at + 2) {
                None => return Err(truncated()),
                Some(&[0xFF, marker]) if !matches!(marker, 0 | 0xFF) => {
                    self.at += 2;
                    return Ok(marker);
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// The content of the segment whose length comes next.
    fn body(&mut self) -> Result<&'a [u8], PixelError> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let &[high, low, ..] = rest else { return Err(truncated()) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(damaged("a segment is shorter than its own length"));
        }
        let body = rest.get(2..length).ok_or_else(truncated)?;
        self.at += length;
        Ok(body)
    }

    fn quantisation_tables(&mut self, mut body: &[u8]) -> Result<(), PixelError> {
        while let [kind, rest @ ..] = body {
            let (precision, number) = (kind >> 4, usize::from(kind & 15));
            let size = if precision == 0 { 64 } else { 128 };
            let (values, rest) =
                rest.split_at_checked(size).ok_or_else(|| damaged("a quantisation table is cut off"))?;
            let mut table = [0; 64];
            for (index, &position) in ZIGZAG.iter().enumerate() {
                table[usize::from(position)] = match precision {
                    0 => u16::from(values[index]),
                    _ => u16::from_be_bytes([values[2 * index], values[2 * index + 1]]),
                };
            }
            let slot = self.tables.quantisation.get_mut(number);
            *slot.ok_or_else(|| damaged("a quantisation table has a number above 3"))? = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn huffman_tables(&mut self, mut body: &[u8]) -> Result<(), PixelError> {
        while let [kind, rest @ ..] = body {
            let cut_off = || damaged("a Huffman table is cut off");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(cut_off)?;
            let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(cut_off)?;
            let is_ac = kind >> 4 == 1;
            if !is_ac && symbols.iter().any(|&symbol| symbol > 16) {
                return Err(damaged("impossible Huffman table"));
            }
            let class = if is_ac { &mut self.tables.ac } else { &mut self.tables.dc };
            let slot = class.get_mut(usize::from(kind & 15));
            *slot.ok_or_else(|| damaged("a Huffman table has a number above 3"))? =
                Some(Huffman::new(counts, symbols)?);
            body = rest;
        }
        Ok(())
    }

    fn frame(&mut self, marker: u8, body: &[u8]) -> Result<Frame, PixelError> {
        let malformed = || damaged("the frame header is malformed");
        let (&[bits, height_high, height_low, width_high, width_low, count], rest) =
            body.split_first_chunk::<6>().ok_or_else(malformed)?;
        let height = u32::from(u16::from_be_bytes([height_high, height_low]));
        let width = u32::from(u16::from_be_bytes([width_high, width_low]));
        let coding = match marker {
            0xC2 => Coding::Progressive,
            0xC3 => Coding::Lossless,
            _ => Coding::Sequential,
        };
        match (coding, bits) {
            (Coding::Lossless, 2..=16) | (_, 8 | 12) => {}
            _ => return Err(unsupported(format!("{bits}-bit samples"))),
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!("{count} components")));
        }
        if height == 0 {
            return Err(unsupported("a height after the first scan"));
        }
        if width == 0 || rest.len() != 3 * usize::from(count) {
            return Err(malformed());
        }
        let mut components = Vec::new();
        self.identifiers.clear();
        for description in rest.chunks_exact(3) {
            let (horizontal, vertical) = (usize::from(description[1] >> 4), usize::from(description[1] & 15));
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) || description[2] > 3 {
                return Err(malformed());
            }
            self.identifiers.push(description[0]);
            components.push(Component::new(horizontal, vertical, usize::from(description[2])));
        }
        Frame::new(width, height, (coding, bits.into()), components)
    }

    fn scan(&mut self, body: &[u8]) -> Result<Scan, PixelError> {
        let malformed = || damaged("a scan header is malformed");
        let (&count, rest) = body.split_first().ok_or_else(malformed)?;
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(malformed)?;
        let &[first, last, approximation] = rest else { return Err(malformed()) };
        let mut components: Vec<ScanComponent> = Vec::new();
        for selector in selectors.chunks_exact(2) {
            let index = self.identifiers.iter().position(|&identifier| identifier == selector[0]);
            let index = index.ok_or_else(malformed)?;
            if components.iter().any(|component| component.index == index) {
                return Err(malformed());
            }
            let (dc, ac) = (usize::from(selector[1] >> 4), usize::from(selector[1] & 15));
            components.push(ScanComponent { index, dc, ac });
        }
        let band = (usize::from(first), usize::from(last));
        let approximation = (u32::from(approximation >> 4), u32::from(approximation & 15));
        if components.is_empty() || band.0 > 63 || band.1 > 63 || approximation.1 > 13 {
            return Err(malformed());
        }
        Ok(Scan { components, band, approximation, start: self.at })
    }

    /// Whether three components are luma and chroma, where identifiers or markers say so.
    pub(super) fn is_luma_chroma(&self) -> Option<bool> {
        match self.identifiers[..] {
            [82, 71, 66] | [114, 103, 98] => Some(false),
            _ if self.is_jfif || self.adobe == Some(1) => Some(true),
            _ => None,
        }
    }

    /// What the components mean, as libjpeg decides it.
    pub(super) fn colours(&self, frame: &Frame) -> Result<Colours, PixelError> {
        Ok(match (frame.components.len(), self.adobe) {
            (1, _) => Colours::Grey,
            (3, _) if self.is_jfif => Colours::YCbCr,
            (3, Some(0)) => Colours::Rgb,
            (3, Some(_)) => Colours::YCbCr,
            (3, None) if self.identifiers == *b"RGB" => Colours::Rgb,
            (3, None) => Colours::YCbCr,
            (_, None | Some(0)) => Colours::Cmyk,
            (_, Some(_)) => Colours::Ycck,
        })
    }
}
