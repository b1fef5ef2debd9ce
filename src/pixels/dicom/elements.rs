//! Data elements: the few that say how an image is stored and shown, as slices of the file.
//!
//! Headers are read by dicom-rs; values are never copied, so that a length that lies allocates
//! nothing. Elements outside [`WANTED`] are passed over unread: what identifies a patient is not
//! even looked at.

use dicom_core::header::{DataElementHeader, HasLength as _, Header as _};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_encoding::decode::Decode as _;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;

use super::{damaged, truncated};
use crate::error::PixelError;

/// The length that says that a delimiter ends the value.
const UNDEFINED: u32 = u32::MAX;
/// Sequences inside sequences that are followed.
const MAX_LEVELS: usize = 16;

/// What opens and closes items of sequences and fragments of pixel data.
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITER: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITER: Tag = Tag(0xFFFE, 0xE0DD);

/// The last elements that are read.
const PIXELS: [Tag; 3] = [tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA, tags::PIXEL_DATA];

/// Every element that is looked at, at any level.
const WANTED: [Tag; 42] = [
    tags::TRANSFER_SYNTAX_UID,
    tags::MODALITY,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::VOILUT_FUNCTION,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::MODALITY_LUT_SEQUENCE,
    tags::LUT_DESCRIPTOR,
    tags::LUT_DATA,
    tags::VOILUT_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::MEDIA_STORAGE_SOP_CLASS_UID,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::FLOAT_PIXEL_DATA,
    tags::DOUBLE_FLOAT_PIXEL_DATA,
    tags::PIXEL_DATA,
];

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Implicit,
    Explicit,
    /// Retired, big-endian.
    ExplicitBig,
}

/// The encoding of a data set, which for some writers is not that of the transfer syntax: an
/// explicit representation is two letters after the first tag.
pub(super) fn actual(bytes: &[u8], stated: Encoding) -> Encoding {
    let is_explicit = bytes.get(4..6).is_some_and(|letters| letters.iter().all(u8::is_ascii_uppercase));
    match stated {
        Encoding::Implicit if is_explicit => Encoding::Explicit,
        Encoding::Explicit if !is_explicit => Encoding::Implicit,
        stated => stated,
    }
}

/// A value.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Its bytes; fewer than announced only for pixel data that the file cuts off.
    Bytes(&'a [u8]),
    /// The items of a sequence.
    Items(Vec<DataSet<'a>>),
    /// The items of encapsulated pixel data: an offset table and fragments.
    Fragments(Vec<Fragment<'a>>),
}

/// One item of encapsulated pixel data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    /// Where its item starts, from the first item after the offset table.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
    /// The file ends before the fragment does.
    pub(super) is_cut: bool,
}

/// The wanted elements of a data set or of an item of a sequence.
#[derive(Debug)]
pub(super) struct DataSet<'a> {
    elements: Vec<(Tag, VR, Value<'a>)>,
    pub(super) is_big_endian: bool,
}

impl<'a> DataSet<'a> {
    /// Reads elements up to the end, or up to the first that `ends`; gives the position.
    pub(super) fn read(
        bytes: &'a [u8],
        encoding: Encoding,
        ends: impl Fn(Tag) -> bool,
    ) -> Result<(Self, usize), PixelError> {
        let mut reader = Reader { bytes, at: 0, encoding };
        let data_set = reader.data_set(bytes.len(), &ends, 0)?;
        Ok((data_set, reader.at))
    }

    pub(super) fn get(&self, tag: Tag) -> Option<(VR, &Value<'a>)> {
        self.elements.iter().find(|element| element.0 == tag).map(|(_, vr, value)| (*vr, value))
    }

    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        match self.get(tag)? {
            (_, Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The items of a sequence; none where it is absent.
    pub(super) fn items(&self, tag: Tag) -> &[DataSet<'a>] {
        match self.get(tag) {
            Some((_, Value::Items(items))) => items,
            _ => &[],
        }
    }

    /// A text without padding; `None` where it is absent or blank.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = String::from_utf8_lossy(self.bytes(tag)?);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// Decimal numbers, separated by backslashes, with `None` for those that are none. A comma is a
    /// point: writers under such a locale put it there. Blanks count for nothing.
    pub(super) fn decimals(&self, tag: Tag) -> Vec<Option<f64>> {
        let number = |part: &str| {
            let part: String = part.chars().filter(|c| !c.is_whitespace() && *c != '\0').collect();
            part.replace(',', ".").parse::<f64>().ok().filter(|number| number.is_finite())
        };
        self.text(tag).map_or_else(Vec::new, |text| text.split('\\').map(number).collect())
    }

    /// The first decimal number, where the element is there and not blank.
    ///
    /// # Errors
    /// [`PixelError::Damaged`] where it is no number.
    pub(super) fn decimal(&self, tag: Tag) -> Result<Option<f64>, PixelError> {
        let first = self.decimals(tag).first().copied();
        first.map(|number| number.ok_or_else(|| unreadable(tag, "a decimal number"))).transpose()
    }

    /// Whole numbers, 16 bits each unless the element says otherwise; `signed` decides where the
    /// dictionary leaves it open.
    pub(super) fn integers(&self, tag: Tag, signed: bool) -> Result<Vec<i64>, PixelError> {
        let Some((vr, _)) = self.get(tag) else { return Ok(Vec::new()) };
        let bytes = self.bytes(tag).ok_or_else(|| unreadable(tag, "a number"))?;
        Ok(match vr {
            VR::IS => {
                let text = self.text(tag).unwrap_or_default();
                let parts = text.split('\\').filter(|part| !part.trim().is_empty());
                // Some writers give whole numbers a point: `1.0`.
                let whole = |part: &str| {
                    let number = part.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse::<f64>().ok()?;
                    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
                };
                let number = |part: &str| whole(part).ok_or_else(|| unreadable(tag, "a whole number"));
                parts.map(number).collect::<Result<_, _>>()?
            }
            VR::UL => bytes.chunks_exact(4).map(|word| i64::from(self.word32(word))).collect(),
            VR::SL => bytes.chunks_exact(4).map(|word| i64::from(self.word32(word) as i32)).collect(),
            VR::SS => self.words(bytes).map(|word| i64::from(word as i16)).collect(),
            _ if signed => self.words(bytes).map(|word| i64::from(word as i16)).collect(),
            _ => self.words(bytes).map(i64::from).collect(),
        })
    }

    /// A whole number that must be there.
    pub(super) fn integer(&self, tag: Tag) -> Result<i64, PixelError> {
        let numbers = self.integers(tag, false)?;
        numbers.first().copied().ok_or_else(|| damaged(format!("element {tag} is missing")))
    }

    /// 16-bit words in the data set's byte order.
    pub(super) fn words<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = u16> + use<'b> {
        let is_big_endian = self.is_big_endian;
        bytes.as_chunks::<2>().0.iter().map(move |&word| match is_big_endian {
            true => u16::from_be_bytes(word),
            false => u16::from_le_bytes(word),
        })
    }

    fn word32(&self, word: &[u8]) -> u32 {
        let word = word.first_chunk().copied().unwrap_or_default();
        if self.is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }
}

fn unreadable(tag: Tag, expected: &str) -> PixelError {
    damaged(format!("element {tag} is not {expected}"))
}

/// A position in a data set.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    encoding: Encoding,
}

impl<'a> Reader<'a> {
    fn header(&mut self, end: usize) -> Result<DataElementHeader, PixelError> {
        let mut rest = self.bytes.get(self.at..end).unwrap_or_default();
        let header = match self.encoding {
            Encoding::Implicit => ImplicitVRLittleEndianDecoder::new().decode_header(&mut rest),
            Encoding::Explicit => ExplicitVRLittleEndianDecoder::default().decode_header(&mut rest),
            Encoding::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(&mut rest),
        };
        let (header, length) = header.map_err(|_| truncated())?;
        self.at += length;
        Ok(header)
    }

    /// Elements up to `end`, or up to an item delimiter.
    fn data_set(&mut self, end: usize, ends: &dyn Fn(Tag) -> bool, level: usize) -> Result<DataSet<'a>, PixelError> {
        let mut elements = Vec::new();
        while self.at < end {
            // Some writers pad the file.
            if self.bytes[self.at..end].len() < 8 && self.bytes[self.at..end].iter().all(|&byte| byte == 0) {
                self.at = end;
                break;
            }
            let start = self.at;
            let header = self.header(end)?;
            let tag = header.tag();
            if tag == ITEM_DELIMITER && level > 0 {
                break;
            }
            if ends(tag) {
                self.at = start;
                break;
            }
            let value = self.value(&header, end, level)?;
            if let Some(value) = value {
                elements.push((tag, header.vr(), value));
            }
            // What follows the pixels does not matter, even where it is not what it should be.
            if level == 0 && PIXELS.contains(&tag) {
                break;
            }
        }
        Ok(DataSet { elements, is_big_endian: self.encoding == Encoding::ExplicitBig })
    }

    /// The value after a header, or nothing where it is not wanted.
    fn value(&mut self, header: &DataElementHeader, end: usize, level: usize) -> Result<Option<Value<'a>>, PixelError> {
        let (tag, vr, length) = (header.tag(), header.vr(), header.length().0);
        let is_wanted = WANTED.contains(&tag);
        if length == UNDEFINED {
            if tag == tags::PIXEL_DATA {
                return self.fragments(end).map(|fragments| Some(Value::Fragments(fragments)));
            }
            // A sequence of unknown representation is written as the default transfer syntax writes
            // it.
            let encoding = self.encoding;
            if vr == VR::UN {
                self.encoding = Encoding::Implicit;
            }
            let items = self.items(end, level + 1);
            self.encoding = encoding;
            return items.map(|items| is_wanted.then_some(Value::Items(items)));
        }
        let stop = self.at.saturating_add(length as usize);
        if stop > end && (level > 0 || !PIXELS.contains(&tag)) {
            let left = end - self.at;
            return Err(damaged(format!("element {tag} announces {length} bytes where {left} are left")));
        }
        let stop = stop.min(end);
        if vr == VR::SQ && is_wanted {
            return self.items(stop, level + 1).map(|items| Some(Value::Items(items)));
        }
        let bytes = &self.bytes[self.at..stop];
        self.at = stop;
        Ok(is_wanted.then_some(Value::Bytes(bytes)))
    }

    /// The items of a sequence up to `end` or its delimiter.
    fn items(&mut self, end: usize, level: usize) -> Result<Vec<DataSet<'a>>, PixelError> {
        if level > MAX_LEVELS {
            return Err(damaged(format!("sequences are nested more than {MAX_LEVELS} deep")));
        }
        let mut items = Vec::new();
        while self.at < end {
            let header = self.header(end)?;
            match header.tag() {
                SEQUENCE_DELIMITER => break,
                ITEM => {}
                other => return Err(damaged(format!("element {other} where an item of a sequence is expected"))),
            }
            let length = header.length().0;
            let stop = if length == UNDEFINED { end } else { self.at.saturating_add(length as usize) };
            if stop > end {
                return Err(damaged("an item of a sequence is longer than the sequence"));
            }
            items.push(self.data_set(stop, &|_| false, level)?);
            if length != UNDEFINED {
                self.at = stop;
            }
        }
        Ok(items)
    }

    /// The items of encapsulated pixel data, the offset table first.
    fn fragments(&mut self, end: usize) -> Result<Vec<Fragment<'a>>, PixelError> {
        let mut fragments: Vec<Fragment<'a>> = Vec::new();
        let mut origin = 0;
        while end - self.at >= 8 {
            let start = self.at;
            let header = self.header(end)?;
            match header.tag() {
                SEQUENCE_DELIMITER => break,
                ITEM => {}
                other => return Err(damaged(format!("element {other} where a fragment of pixel data is expected"))),
            }
            let stop = self.at.saturating_add(header.length().0 as usize);
            let bytes = &self.bytes[self.at..stop.min(end)];
            self.at = stop.min(end);
            if fragments.is_empty() {
                origin = self.at;
            }
            fragments.push(Fragment { offset: start.saturating_sub(origin) as u64, bytes, is_cut: stop > end });
        }
        Ok(fragments)
    }
}
