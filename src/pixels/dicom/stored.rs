//! Stored values: the samples of a frame as the file has them, before anything is done to show
//! them.

use super::damaged;
use super::description::Description;
use super::frames::FrameBytes;
use crate::error::PixelError;

/// The samples of a frame, interleaved by pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1, or 3 for colours.
    pub channels: usize,
    /// Bits of a sample.
    pub bits: u32,
    /// Whether a sample's bits are two's complement.
    pub is_signed: bool,
    /// `[height, width, channels]`: the bits of each sample.
    pub samples: StoredSamples,
}

/// Bits of samples; those beyond [`Stored::bits`] are zero.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredSamples {
    /// Up to 8 bits.
    U8(Vec<u8>),
    /// Up to 16 bits.
    U16(Vec<u16>),
    /// Up to 32 bits.
    U32(Vec<u32>),
}

impl Stored {
    /// The number that a sample's bits stand for.
    pub fn value(&self, sample: u32) -> i64 {
        value(sample, self.bits, self.is_signed)
    }

    /// All values, in order.
    pub fn values(&self) -> Vec<i64> {
        match &self.samples {
            StoredSamples::U8(samples) => samples.iter().map(|&sample| self.value(sample.into())).collect(),
            StoredSamples::U16(samples) => samples.iter().map(|&sample| self.value(sample.into())).collect(),
            StoredSamples::U32(samples) => samples.iter().map(|&sample| self.value(sample)).collect(),
        }
    }
}

/// The number that the low `bits` of a sample stand for.
pub(super) fn value(sample: u32, bits: u32, is_signed: bool) -> i64 {
    let sample = i64::from(sample) & ((1 << bits) - 1);
    if is_signed && sample >> (bits - 1) == 1 { sample - (1 << bits) } else { sample }
}

/// Reads native samples, in pixel or plane order as the file has them, keeping the bits that count.
pub(super) fn native(frame: &FrameBytes<'_>, image: &Description, is_big: bool) -> StoredSamples {
    let bytes = &*frame.bytes;
    let shift = image.high_bit + 1 - image.stored;
    let mask = ((1u64 << image.stored) - 1) as u32;
    let keep = |sample: u32| (sample >> shift) & mask;
    match image.allocated {
        1 => {
            let count = image.pixels() * image.channels;
            let first = frame.first_bit as usize;
            StoredSamples::U8((first..first + count).map(|bit| (bytes[bit / 8] >> (bit % 8)) & 1).collect())
        }
        8 => StoredSamples::U8(bytes.iter().map(|&sample| keep(sample.into()) as u8).collect()),
        16 => {
            let word = |&word: &[u8; 2]| if is_big { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) };
            StoredSamples::U16(bytes.as_chunks().0.iter().map(|bytes| keep(word(bytes).into()) as u16).collect())
        }
        _ => {
            let word = |&word: &[u8; 4]| if is_big { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
            StoredSamples::U32(bytes.as_chunks().0.iter().map(|bytes| keep(word(bytes))).collect())
        }
    }
}

/// Samples of whole planes, pixel by pixel.
pub(super) fn interleaved(samples: StoredSamples, pixels: usize, channels: usize) -> StoredSamples {
    fn interleave<T: Copy>(planes: &[T], pixels: usize, channels: usize) -> Vec<T> {
        (0..pixels).flat_map(|pixel| (0..channels).map(move |channel| planes[channel * pixels + pixel])).collect()
    }
    match samples {
        StoredSamples::U8(planes) => StoredSamples::U8(interleave(&planes, pixels, channels)),
        StoredSamples::U16(planes) => StoredSamples::U16(interleave(&planes, pixels, channels)),
        StoredSamples::U32(planes) => StoredSamples::U32(interleave(&planes, pixels, channels)),
    }
}

/// Luma, luma, chroma, chroma of two pixels as three samples each.
pub(super) fn without_subsampling(samples: StoredSamples, image: &Description) -> Result<StoredSamples, PixelError> {
    match samples {
        StoredSamples::U8(samples) if image.columns.is_multiple_of(2) => {
            let pairs = samples.as_chunks::<4>().0.iter();
            Ok(StoredSamples::U8(pairs.flat_map(|&[first, second, cb, cr]| [first, cb, cr, second, cb, cr]).collect()))
        }
        StoredSamples::U8(_) => Err(damaged("subsampled chroma needs an even number of columns")),
        _ => Err(damaged("subsampled chroma needs samples of 8 bits")),
    }
}

/// The samples that occur and how often, in the order of their bits.
pub(super) fn counts(samples: &StoredSamples, bits: u32) -> Vec<(u32, u64)> {
    fn tally(samples: impl Iterator<Item = usize>, size: usize) -> Vec<(u32, u64)> {
        let mut counts = vec![0u64; size];
        samples.for_each(|sample| counts[sample] += 1);
        let occurring = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
        occurring.map(|(sample, count)| (sample as u32, count)).collect()
    }
    match samples {
        StoredSamples::U8(samples) => tally(samples.iter().map(|&sample| sample.into()), 256),
        StoredSamples::U16(samples) => tally(samples.iter().map(|&sample| sample.into()), 1 << bits.min(16)),
        StoredSamples::U32(samples) => {
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect()
        }
    }
}
