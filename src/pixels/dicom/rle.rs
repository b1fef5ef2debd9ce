//! Run lengths (PS3.5, annex G): a frame's samples byte by byte, each byte plane packed by itself.

use super::description::Description;
use super::stored::StoredSamples;
use super::{damaged, truncated};
use crate::error::PixelError;

/// Segments that the header has room for.
const MAX_SEGMENTS: usize = 15;

/// Unpacks a frame into samples, pixel by pixel.
pub(super) fn decode(bytes: &[u8], image: &Description) -> Result<StoredSamples, PixelError> {
    let pixels = image.pixels();
    if image.allocated == 1 {
        return Err(super::unsupported("run lengths of single bits"));
    }
    let width = image.allocated as usize / 8;
    let header: &[u8; 64] = bytes.first_chunk().ok_or_else(truncated)?;
    let mut words = header.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word) as usize);
    let count = words.next().unwrap_or_default();
    let expected = width * image.channels;
    if count != expected || count > MAX_SEGMENTS {
        return Err(damaged(format!("{count} segments of run lengths where {expected} are expected")));
    }
    let mut starts: Vec<usize> = words.take(count).collect();
    starts.push(bytes.len());
    let mut planes = Vec::with_capacity(count);
    for pair in starts.windows(2) {
        let segment = bytes.get(pair[0]..pair[1]).ok_or_else(|| damaged("a segment of run lengths is out of place"))?;
        planes.push(unpack(segment, pixels)?);
    }
    let order = |pixel: usize| (0..image.channels).map(move |channel| (channel, pixel));
    let sample = |(channel, pixel): (usize, usize)| {
        // The most significant byte comes first.
        planes[channel * width..][..width].iter().fold(0u32, |sample, plane| sample << 8 | u32::from(plane[pixel]))
    };
    let shift = image.high_bit + 1 - image.stored;
    let mask = ((1u64 << image.stored) - 1) as u32;
    let kept = (0..pixels).flat_map(order).map(|at| (sample(at) >> shift) & mask);
    Ok(match width {
        1 => StoredSamples::U8(kept.map(|sample| sample as u8).collect()),
        2 => StoredSamples::U16(kept.map(|sample| sample as u16).collect()),
        _ => StoredSamples::U32(kept.collect()),
    })
}

/// Unpacks a segment (PackBits) to `length` bytes; what a segment holds beyond is padding.
fn unpack(mut segment: &[u8], length: usize) -> Result<Vec<u8>, PixelError> {
    let mut plane = Vec::with_capacity(length);
    while plane.len() < length {
        let (&head, rest) = segment.split_first().ok_or_else(truncated)?;
        let room = length - plane.len();
        segment = match head {
            0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(head) + 1).ok_or_else(truncated)?;
                plane.extend_from_slice(&literal[..literal.len().min(room)]);
                rest
            }
            128 => rest,
            129..=255 => {
                let (&value, rest) = rest.split_first().ok_or_else(truncated)?;
                plane.resize(plane.len() + (257 - usize::from(head)).min(room), value);
                rest
            }
        };
    }
    Ok(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_literals_are_unpacked() {
        assert_eq!(unpack(&[2, 1, 2, 3, 128, 254, 9, 0], 6).unwrap(), [1, 2, 3, 9, 9, 9]);
        assert_eq!(unpack(&[254, 9], 2).unwrap(), [9, 9]);
        for cut in [&[][..], &[2, 1, 2], &[254]] {
            assert!(matches!(unpack(cut, 3), Err(PixelError::Truncated { .. })), "{cut:?}");
        }
    }
}
