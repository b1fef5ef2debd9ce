//! The bytes of a frame to stored values, whatever they are coded with.

use super::description::{Description, Photometric};
use super::frames::FrameBytes;
use super::stored::{self, Stored, StoredSamples};
use super::syntax::Coding;
use super::{DicomImage, colour, damaged, inflated, rle, unsupported};
use crate::error::PixelError;
use crate::pixels::Codestream;
use crate::pixels::{jpeg, jpeg2000, jpegls};

/// Decodes a frame; colours come out as red, green and blue.
pub(super) fn stored(frame: &FrameBytes<'_>, from: &DicomImage<'_>, coding: Coding) -> Result<Stored, PixelError> {
    let image = &from.image;
    let mut photometric = image.photometric;
    let admit = |width: u32, height: u32| {
        if (width, height) == (image.columns, image.rows) {
            return Ok(());
        }
        Err(damaged(format!(
            "the codestream has {width} x {height} pixels, the image {} x {}",
            image.columns, image.rows
        )))
    };
    let samples = match coding {
        Coding::Native | Coding::NativeFragments => native(frame, from)?,
        Coding::DeflatedFrames => {
            let bytes = inflated(&frame.bytes, from.limits.max_bytes)?;
            native(&FrameBytes { bytes: bytes.into(), first_bit: 0 }, from)?
        }
        Coding::Rle => rle::decode(&frame.bytes, image)?,
        Coding::Jpeg => {
            let decoded = jpeg::components(&frame.bytes, admit)?;
            // The codestream knows best what its components are.
            if image.channels == 3 {
                match decoded.is_luma_chroma {
                    Some(true) => photometric = Photometric::YbrFull,
                    Some(false) => photometric = Photometric::Rgb,
                    None => {}
                }
            }
            counted(decoded, image)?
        }
        Coding::JpegLs => counted(jpegls::decode(&frame.bytes, admit)?, image)?,
        Coding::Jpeg2000 => counted(jpeg2000::decode(&frame.bytes, admit)?, image)?,
    };
    let mut stored = Stored {
        width: image.columns,
        height: image.rows,
        channels: image.channels,
        bits: image.stored,
        is_signed: image.is_signed,
        samples,
    };
    colour::to_rgb(&mut stored, photometric)?;
    Ok(stored)
}

/// Samples that are written as they are, pixel by pixel.
fn native(frame: &FrameBytes<'_>, from: &DicomImage<'_>) -> Result<StoredSamples, PixelError> {
    let image = &from.image;
    if (frame.bytes.len() as u64) * 8 < image.native_bits() + u64::from(frame.first_bit) {
        return Err(super::truncated());
    }
    let samples = stored::native(frame, image, from.data_set.is_big_endian);
    match image.photometric {
        Photometric::YbrFull422 => stored::without_subsampling(samples, image),
        _ if image.is_planar => Ok(stored::interleaved(samples, image.pixels(), image.channels)),
        _ => Ok(samples),
    }
}

/// Samples of a codestream as the numbers that the data set announces.
fn counted(decoded: Codestream, image: &Description) -> Result<StoredSamples, PixelError> {
    let Codestream { channels, bits, samples, .. } = decoded;
    if channels != image.channels {
        return Err(damaged(format!("the codestream has {channels} channels, the image {}", image.channels)));
    }
    if bits > image.allocated {
        return Err(damaged(format!("the codestream has samples of {bits} bits, the image of {}", image.allocated)));
    }
    if image.stored > 16 {
        return Err(unsupported(format!("coded samples of {} bits", image.stored)));
    }
    // Codestreams may hold fewer bits than the image: signs are spread before bits are dropped.
    let mask = ((1u32 << image.stored) - 1) as u16;
    let number = |sample: u16| stored::value(sample.into(), bits, image.is_signed) as u16 & mask;
    Ok(match image.allocated {
        8 => StoredSamples::U8(samples.into_iter().map(|sample| number(sample) as u8).collect()),
        _ => StoredSamples::U16(samples.into_iter().map(number).collect()),
    })
}
