//! The first directory of a TIFF, which EXIF is as well: tags to values, in both byte orders, TIFF
//! and BigTIFF.

/// Tags that are looked at (TIFF 6.0, section 8 and 21; supplement 2; XMP).
pub(in crate::pixels) mod tag {
    pub(in crate::pixels) const WIDTH: u16 = 256;
    pub(in crate::pixels) const HEIGHT: u16 = 257;
    pub(in crate::pixels) const BITS_PER_SAMPLE: u16 = 258;
    pub(in crate::pixels) const COMPRESSION: u16 = 259;
    pub(in crate::pixels) const PHOTOMETRIC: u16 = 262;
    pub(in crate::pixels) const FILL_ORDER: u16 = 266;
    pub(in crate::pixels) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::pixels) const ORIENTATION: u16 = 274;
    pub(in crate::pixels) const SAMPLES_PER_PIXEL: u16 = 277;
    pub(in crate::pixels) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::pixels) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(in crate::pixels) const PLANAR_CONFIGURATION: u16 = 284;
    pub(in crate::pixels) const PREDICTOR: u16 = 317;
    pub(in crate::pixels) const COLOR_MAP: u16 = 320;
    pub(in crate::pixels) const TILE_WIDTH: u16 = 322;
    pub(in crate::pixels) const TILE_LENGTH: u16 = 323;
    pub(in crate::pixels) const TILE_OFFSETS: u16 = 324;
    pub(in crate::pixels) const TILE_BYTE_COUNTS: u16 = 325;
    pub(in crate::pixels) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::pixels) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::pixels) const JPEG_TABLES: u16 = 347;
    pub(in crate::pixels) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(in crate::pixels) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(in crate::pixels) const REFERENCE_BLACK_WHITE: u16 = 532;
    pub(in crate::pixels) const XMP: u16 = 700;
}

/// The entries of a directory, whose values lie inside the file.
#[derive(Debug)]
pub(in crate::pixels) struct Directory<'a> {
    file: &'a [u8],
    pub(in crate::pixels) is_big_endian: bool,
    entries: Vec<Entry<'a>>,
    /// Whether another directory follows.
    pub(in crate::pixels) has_next: bool,
}

#[derive(Debug)]
struct Entry<'a> {
    tag: u16,
    kind: u16,
    /// The values' bytes; as many as there are.
    value: &'a [u8],
}

impl<'a> Directory<'a> {
    /// The first directory; `None` where the header or the directory's position is none.
    pub(in crate::pixels) fn first(file: &'a [u8]) -> Option<Self> {
        let is_big_endian = match file.get(..2)? {
            b"II" => false,
            b"MM" => true,
            _ => return None,
        };
        let mut directory = Directory { file, is_big_endian, entries: Vec::new(), has_next: false };
        let is_large = match directory.unsigned(file.get(2..4)?) {
            42 => false,
            43 => true,
            _ => return None,
        };
        let (at, count_size, entry_size, inline) = if is_large {
            (directory.unsigned(file.get(8..16)?), 8, 20, 8)
        } else {
            (directory.unsigned(file.get(4..8)?), 2, 12, 4)
        };
        let rest = file.get(usize::try_from(at).ok()?..)?;
        let (count, rest) = rest.split_at_checked(count_size)?;
        let count = usize::try_from(directory.unsigned(count)).ok()?;
        for entry in rest.chunks_exact(entry_size).take(count) {
            let (tag, kind) = (directory.unsigned(&entry[..2]) as u16, directory.unsigned(&entry[2..4]) as u16);
            let (count, field) = entry[4..].split_at(entry_size - 4 - inline);
            let Some(size) = size_of(kind) else { continue };
            let Some(length) = usize::try_from(directory.unsigned(count)).ok().and_then(|n| n.checked_mul(size)) else {
                continue;
            };
            let value = if length <= inline {
                field.get(..length)
            } else {
                let start = usize::try_from(directory.unsigned(field)).ok();
                start.and_then(|start| file.get(start..start.checked_add(length)?))
            };
            if let Some(value) = value {
                directory.entries.push(Entry { tag, kind, value });
            }
        }
        let next = count.checked_mul(entry_size).and_then(|end| rest.get(end..)?.get(..inline));
        directory.has_next = next.is_some_and(|next| directory.unsigned(next) != 0);
        Some(directory)
    }

    /// The content of the whole file.
    pub(in crate::pixels) fn file(&self) -> &'a [u8] {
        self.file
    }

    /// The bytes of a value.
    pub(in crate::pixels) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.entry(tag).map(|entry| entry.value)
    }

    /// Whole numbers without sign; none where the tag is absent or of another type.
    pub(in crate::pixels) fn integers(&self, tag: u16) -> Vec<u64> {
        let Some(entry) = self.entry(tag) else { return Vec::new() };
        match entry.kind {
            1 | 3 | 4 | 13 | 16 | 18 => {
                let size = size_of(entry.kind).map_or(1, |size| size);
                entry.value.chunks_exact(size).map(|value| self.unsigned(value)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The first of [`Directory::integers`].
    pub(in crate::pixels) fn integer(&self, tag: u16) -> Option<u64> {
        self.integers(tag).first().copied()
    }

    /// Numbers of any type but BYTE and text, as Pillow takes them for numbers.
    pub(in crate::pixels) fn numbers(&self, tag: u16) -> Vec<f64> {
        let Some(entry) = self.entry(tag) else { return Vec::new() };
        let Some(size) = size_of(entry.kind) else { return Vec::new() };
        entry.value.chunks_exact(size).filter_map(|value| self.number(entry.kind, value)).collect()
    }

    /// The first of [`Directory::numbers`]; NaN where the tag is there and is no number.
    pub(in crate::pixels) fn first_number(&self, tag: u16) -> Option<f64> {
        self.entry(tag).map(|_| self.numbers(tag).first().copied().unwrap_or(f64::NAN))
    }

    fn number(&self, kind: u16, value: &[u8]) -> Option<f64> {
        let whole = self.unsigned(value);
        Some(match kind {
            3 | 4 | 13 | 16 | 18 => whole as f64,
            6 => f64::from(whole as u8 as i8),
            8 => f64::from(whole as u16 as i16),
            9 => f64::from(whole as u32 as i32),
            17 => whole as i64 as f64,
            5 => self.unsigned(&value[..4]) as f64 / self.unsigned(&value[4..]) as f64,
            10 => {
                f64::from(self.unsigned(&value[..4]) as u32 as i32)
                    / f64::from(self.unsigned(&value[4..]) as u32 as i32)
            }
            11 => f64::from(f32::from_bits(whole as u32)),
            12 => f64::from_bits(whole),
            _ => return None,
        })
    }

    fn entry(&self, tag: u16) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// Up to eight bytes as a number in the file's byte order.
    fn unsigned(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        if self.is_big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }
}

/// Bytes of one value of a type.
fn size_of(kind: u16) -> Option<usize> {
    Some(match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => return None,
    })
}
