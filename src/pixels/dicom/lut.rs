//! Lookup tables: of values (modality, VOI) and of colours (palettes, plain or in segments).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::elements::DataSet;
use super::{damaged, unsupported};
use crate::error::PixelError;

/// A table of values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// The value that the first entry belongs to.
    first: i64,
    /// Bits of an entry, 8 to 16.
    pub(super) bits: u32,
    entries: Vec<u16>,
}

impl Table {
    /// The entry of a value; values outside of the table have its first or last one.
    pub(super) fn entry(&self, value: i64) -> u16 {
        let last = self.entries.len() - 1;
        self.entries[usize::try_from(value.saturating_sub(self.first)).unwrap_or(0).min(last)]
    }

    /// Largest entry that its bits allow.
    pub(super) fn largest(&self) -> u16 {
        ((1u32 << self.bits) - 1) as u16
    }

    /// The table in an item of a modality or VOI LUT sequence.
    ///
    /// # Errors
    /// [`PixelError::Damaged`] where descriptor and data do not fit each other.
    pub(super) fn read(item: &DataSet<'_>, is_signed: bool) -> Result<Self, PixelError> {
        let descriptor = Descriptor::read(item, tags::LUT_DESCRIPTOR, is_signed)?;
        let data = item.bytes(tags::LUT_DATA).ok_or_else(|| damaged("a lookup table has no data"))?;
        let entries = if descriptor.bits <= 8 && data.len() < 2 * descriptor.count {
            data.iter().map(|&entry| u16::from(entry)).collect()
        } else {
            item.words(data).collect()
        };
        descriptor.table(entries)
    }

    /// The table of one colour of a palette.
    fn colour(
        data_set: &DataSet<'_>,
        [descriptor, plain, segmented]: [Tag; 3],
        is_signed: bool,
    ) -> Result<Self, PixelError> {
        let descriptor = Descriptor::read(data_set, descriptor, is_signed)?;
        let wide = |data: &[u8]| data_set.words(data).collect::<Vec<u16>>();
        let narrow = |data: &[u8]| match data_set.is_big_endian {
            // Bytes were written in pairs, as words.
            true => wide(data).into_iter().flat_map(|word| word.to_le_bytes()).map(u16::from).collect(),
            false => data.iter().map(|&entry| u16::from(entry)).collect::<Vec<u16>>(),
        };
        if let Some(data) = data_set.bytes(plain) {
            // Entries of 8 bits may be in words of 16.
            let is_narrow = descriptor.bits <= 8 && data.len() < 2 * descriptor.count;
            return descriptor.table(if is_narrow { narrow(data) } else { wide(data) });
        }
        let data = data_set.bytes(segmented).ok_or_else(|| damaged("a palette has no data"))?;
        let segments = if descriptor.bits <= 8 { narrow(data) } else { wide(data) };
        let entries = expanded(&segments, descriptor.count)?;
        descriptor.table(entries)
    }
}

/// Number of entries, first value and bits of a table.
struct Descriptor {
    count: usize,
    first: i64,
    bits: u32,
}

impl Descriptor {
    fn read(data_set: &DataSet<'_>, tag: Tag, is_signed: bool) -> Result<Self, PixelError> {
        let missing = || damaged("a lookup table has no descriptor");
        let words: Vec<u16> = data_set.words(data_set.bytes(tag).ok_or_else(missing)?).collect();
        let &[count, first, bits] = &words[..] else {
            return Err(damaged("the descriptor of a lookup table is malformed"));
        };
        let is_signed = is_signed || matches!(data_set.get(tag), Some((VR::SS, _)));
        let first = if is_signed { i64::from(first as i16) } else { i64::from(first) };
        if !(8..=16).contains(&bits) {
            return Err(unsupported(format!("lookup tables with entries of {bits} bits")));
        }
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        Ok(Descriptor { count, first, bits: bits.into() })
    }

    fn table(self, mut entries: Vec<u16>) -> Result<Table, PixelError> {
        if entries.len() < self.count {
            let found = entries.len();
            return Err(damaged(format!("a lookup table has {found} of {} entries", self.count)));
        }
        entries.truncate(self.count);
        Ok(Table { first: self.first, bits: self.bits, entries })
    }
}

/// The colours of a palette.
pub(super) struct Palette {
    colours: [Table; 3],
}

impl Palette {
    pub(super) fn read(data_set: &DataSet<'_>, is_signed: bool) -> Result<Self, PixelError> {
        let [red, green, blue] = [
            [
                tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            ],
            [
                tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            ],
            [
                tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
                tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
                tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            ],
        ]
        .map(|tags| Table::colour(data_set, tags, is_signed));
        Ok(Palette { colours: [red?, green?, blue?] })
    }

    /// Bits of a colour.
    pub(super) fn bits(&self) -> u32 {
        self.colours.iter().map(|table| table.bits).max().unwrap_or(8)
    }

    /// Red, green and blue of a value.
    pub(super) fn colour(&self, value: i64) -> [u16; 3] {
        self.colours.each_ref().map(|table| table.entry(value))
    }
}

/// A table from its segments (PS3.3, C.7.9.2): discrete, linear and indirect.
fn expanded(data: &[u16], most: usize) -> Result<Vec<u16>, PixelError> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at + 1 < data.len() && entries.len() < most {
        at = segment(data, at, &mut entries, true)?;
    }
    Ok(entries)
}

/// Appends what the segment at `at` stands for; gives the position of the next one.
fn segment(data: &[u16], at: usize, entries: &mut Vec<u16>, may_refer: bool) -> Result<usize, PixelError> {
    let cut_off = || damaged("a palette's segment is cut off");
    let &[kind, length, ref rest @ ..] = data.get(at..).unwrap_or_default() else { return Err(cut_off()) };
    let count = usize::from(length);
    match kind {
        0 => {
            entries.extend_from_slice(rest.get(..count).ok_or_else(cut_off)?);
            Ok(at + 2 + count)
        }
        1 => {
            let (&end, &start) = rest.first().zip(entries.last()).ok_or_else(cut_off)?;
            let step = (f64::from(end) - f64::from(start)) / f64::from(length);
            let value = |index: usize| (f64::from(start) + step * index as f64).round_ties_even() as u16;
            entries.extend((1..=count).map(value));
            Ok(at + 3)
        }
        2 if may_refer => {
            // The offset is in entries from the start, in two words, the lower one first.
            let &[low, high, ..] = rest else { return Err(cut_off()) };
            let mut target = usize::from(low) | usize::from(high) << 16;
            for _ in 0..count {
                target = segment(data, target, entries, false)?;
            }
            Ok(at + 4)
        }
        other => Err(damaged(format!("a palette has a segment of kind {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_expanded() {
        // Discrete 0 10, linear to 20 in 5 steps, the first segment once more.
        let data = [0, 2, 0, 10, 1, 5, 20, 2, 1, 0, 0];
        assert_eq!(expanded(&data, 100).unwrap(), [0, 10, 12, 14, 16, 18, 20, 0, 10]);
        for wrong in [&[1, 2, 3][..], &[0, 9, 1], &[7, 1, 1], &[2, 1, 0, 0]] {
            assert!(expanded(wrong, 100).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_outside_of_a_table_have_its_ends() {
        let table = Table { first: -1, bits: 8, entries: vec![5, 6, 7] };
        assert_eq!([-9, -1, 0, 1, 9].map(|value| table.entry(value)), [5, 5, 6, 7, 7]);
    }
}
