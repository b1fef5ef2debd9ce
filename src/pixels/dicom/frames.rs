//! Where the bytes of a frame are: a slice of native pixel data, or the fragments that make up a
//! frame.

use std::borrow::Cow;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::description::Description;
use super::elements::{DataSet, Fragment, Value};
use super::syntax::Coding;
use super::{damaged, truncated};
use crate::error::PixelError;

/// The bytes of a frame, and the bit of the first byte where it starts (other than 0 only for
/// samples of one bit).
pub(super) struct FrameBytes<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) first_bit: u32,
}

/// The bytes of frame `index` (from 0).
///
/// # Errors
/// [`PixelError::Truncated`] where the file ends before the frame does, [`PixelError::Damaged`]
/// where fragments cannot be told apart or pixel data and transfer syntax contradict each other.
pub(super) fn frame<'a>(
    data_set: &DataSet<'a>,
    image: &Description,
    coding: Coding,
    index: u32,
) -> Result<FrameBytes<'a>, PixelError> {
    match (data_set.get(tags::PIXEL_DATA), coding) {
        (Some((vr, Value::Bytes(bytes))), Coding::Native) => {
            // Bytes may be written in pairs, as big-endian words.
            let is_swapped = data_set.is_big_endian && vr == VR::OW && image.allocated == 8;
            native(bytes, image, index, is_swapped)
        }
        (Some((_, Value::Fragments(fragments))), coding) if coding != Coding::Native => {
            let frames = table(data_set, fragments, image.frames)?;
            let parts = frames.get(index as usize).filter(|parts| !parts.is_empty()).ok_or_else(truncated)?;
            let bytes = match parts {
                [one] => Cow::Borrowed(one.bytes),
                several => several.iter().flat_map(|part| part.bytes).copied().collect::<Vec<u8>>().into(),
            };
            if parts.iter().any(|part| part.is_cut) {
                return Err(truncated());
            }
            Ok(FrameBytes { bytes, first_bit: 0 })
        }
        (Some((_, Value::Fragments(_))), _) => {
            Err(damaged("pixel data in fragments under a transfer syntax without them"))
        }
        (Some(_), _) => Err(damaged("pixel data without fragments under a transfer syntax of compressed frames")),
        (None, _) => Err(damaged("there is no pixel data")),
    }
}

fn native<'a>(
    bytes: &'a [u8],
    image: &Description,
    index: u32,
    is_swapped: bool,
) -> Result<FrameBytes<'a>, PixelError> {
    let bits = image.native_bits();
    let start = bits.checked_mul(u64::from(index)).ok_or_else(truncated)?;
    let end = start.checked_add(bits).ok_or_else(truncated)?.div_ceil(8);
    let range = usize::try_from(start / 8).ok().zip(usize::try_from(end).ok());
    let (first, last) = range.filter(|(_, last)| *last <= bytes.len()).ok_or_else(truncated)?;
    let bytes = match is_swapped {
        false => Cow::Borrowed(&bytes[first..last]),
        true => {
            let swapped: Option<Vec<u8>> = (first..last).map(|at| bytes.get(at ^ 1).copied()).collect();
            Cow::Owned(swapped.ok_or_else(truncated)?)
        }
    };
    Ok(FrameBytes { bytes, first_bit: (start % 8) as u32 })
}

/// The fragments of each frame.
fn table<'a, 'b>(
    data_set: &DataSet<'a>,
    fragments: &'b [Fragment<'a>],
    frames: u32,
) -> Result<Vec<&'b [Fragment<'a>]>, PixelError> {
    let (offsets, fragments) = fragments.split_first().ok_or_else(truncated)?;
    if frames == 1 {
        return Ok(vec![fragments]);
    }
    // A table that fits the fragments wins; otherwise the fragments speak for themselves.
    let basic = || offsets.bytes.as_chunks::<4>().0.iter().map(|&word| u64::from(u32::from_le_bytes(word))).collect();
    let extended = data_set.bytes(tags::EXTENDED_OFFSET_TABLE).unwrap_or_default();
    let offsets: Vec<u64> = match extended.len() {
        0 => basic(),
        _ => extended.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect(),
    };
    if offsets.len() == frames as usize
        && let Some(divided) = divided(fragments, &offsets)
    {
        return Ok(divided);
    }
    if fragments.len() == frames as usize {
        return Ok(fragments.chunks(1).collect());
    }
    let starts: Vec<u64> = fragments.iter().filter(|part| starts_image(part.bytes)).map(|part| part.offset).collect();
    if starts.len() == frames as usize
        && let Some(divided) = divided(fragments, &starts)
    {
        return Ok(divided);
    }
    let count = fragments.len();
    Err(damaged(format!("{count} fragments without a usable offset table cannot be divided into {frames} frames")))
}

/// Fragments divided where frames start; `None` where a start is no fragment's.
fn divided<'a, 'b>(fragments: &'b [Fragment<'a>], starts: &[u64]) -> Option<Vec<&'b [Fragment<'a>]>> {
    let position = |start: &u64| fragments.iter().position(|part| part.offset == *start);
    let mut positions: Vec<usize> = starts.iter().map(position).collect::<Option<_>>()?;
    if positions.first() != Some(&0) || !positions.is_sorted_by(|a, b| a < b) {
        return None;
    }
    positions.push(fragments.len());
    Some(positions.windows(2).map(|pair| &fragments[pair[0]..pair[1]]).collect())
}

/// Whether a fragment starts with the first marker of a JPEG, JPEG-LS or JPEG 2000 codestream.
fn starts_image(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xd8\xff") || bytes.starts_with(b"\xff\x4f\xff\x51")
}
