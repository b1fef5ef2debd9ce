//! Strips and tiles to samples: compression, bit order, packed bits, predictor, subsampled chroma.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use weezl::decode::Configuration;
use weezl::{BitOrder, LzwStatus};

use super::{damaged, truncated, unsupported};
use crate::error::PixelError;

/// A compression that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

impl Compression {
    /// The compression of a tag's value; `None` for CCITT group 4 fax.
    pub(super) fn read(code: u64) -> Result<Option<Self>, PixelError> {
        let name = match code {
            1 => return Ok(Some(Compression::None)),
            4 => return Ok(None),
            5 => return Ok(Some(Compression::Lzw)),
            7 => return Ok(Some(Compression::Jpeg)),
            8 | 32_946 => return Ok(Some(Compression::Deflate)),
            32_773 => return Ok(Some(Compression::PackBits)),
            2 => "CCITT run-length",
            3 => "CCITT group 3 fax",
            6 => "old-style JPEG",
            34_712 => "JPEG 2000",
            34_887 => "LERC",
            34_892 => "lossy JPEG of DNG",
            34_925 => "LZMA",
            50_000 | 34_926 => "Zstandard",
            50_001 | 34_927 => "WebP",
            50_002 | 52_546 => "JPEG XL",
            other => return Err(unsupported(format!("compression {other}"))),
        };
        Err(unsupported(format!("{name} compression")))
    }

    /// Whether a predictor comes before it.
    pub(super) fn has_predictor(self) -> bool {
        matches!(self, Compression::Lzw | Compression::Deflate)
    }

    /// The first `expected` bytes that were compressed to `stored`, whose bits may be reversed.
    pub(super) fn expand<'a>(
        self,
        stored: &'a [u8],
        expected: usize,
        is_reversed: bool,
    ) -> Result<Cow<'a, [u8]>, PixelError> {
        if self == Compression::None {
            let bytes = stored.get(..expected).ok_or_else(truncated)?;
            return Ok(if is_reversed { reversed(bytes).into() } else { bytes.into() });
        }
        let turned = if is_reversed { Cow::Owned(reversed(stored)) } else { Cow::Borrowed(stored) };
        let mut expanded = vec![0; expected];
        match self {
            Compression::Lzw => lzw(&turned, &mut expanded)?,
            Compression::Deflate => {
                ZlibDecoder::new(&*turned).read_exact(&mut expanded).map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => truncated(),
                    _ => damaged(error.to_string()),
                })?;
            }
            _ => pack_bits(&turned, &mut expanded)?,
        }
        Ok(expanded.into())
    }
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte.reverse_bits()).collect()
}

/// LZW of TIFF, and that of writers before 1990, whose bits run the other way.
fn lzw(mut stored: &[u8], mut out: &mut [u8]) -> Result<(), PixelError> {
    let is_old = matches!(stored, [0, second, ..] if second & 1 == 1);
    let mut decoder = if is_old {
        Configuration::new(BitOrder::Lsb, 8).build()
    } else {
        Configuration::with_tiff_size_switch(BitOrder::Msb, 8).build()
    };
    while !out.is_empty() {
        let result = decoder.decode_bytes(stored, out);
        stored = &stored[result.consumed_in..];
        out = &mut out[result.consumed_out..];
        match result.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::NoProgress | LzwStatus::Done) if out.is_empty() => {}
            Ok(LzwStatus::NoProgress | LzwStatus::Done) => return Err(truncated()),
            Err(_) => return Err(damaged("impossible LZW code")),
        }
    }
    Ok(())
}

/// Apple's run lengths (TIFF 6.0, section 9).
fn pack_bits(mut stored: &[u8], mut out: &mut [u8]) -> Result<(), PixelError> {
    while !out.is_empty() {
        let (&head, rest) = stored.split_first().ok_or_else(truncated)?;
        let head = head as i8;
        if head == i8::MIN {
            stored = rest;
            continue;
        }
        let length = (usize::from(head.unsigned_abs()) + 1).min(out.len());
        let (now, later) = out.split_at_mut(length);
        out = later;
        if head < 0 {
            let (&value, rest) = rest.split_first().ok_or_else(truncated)?;
            now.fill(value);
            stored = rest;
        } else {
            let (literal, rest) = rest.split_at_checked(length).ok_or_else(truncated)?;
            now.copy_from_slice(literal);
            stored = rest;
        }
    }
    Ok(())
}

/// A sample of 8 or 16 bits.
pub(super) trait Depth: Copy + Default + From<u8> + Into<u32> {
    /// The largest sample.
    const LARGEST: u32;

    /// The samples of lines that start at whole bytes, `columns` in each.
    fn unpack(bytes: &[u8], columns: usize, bits: u32, is_big_endian: bool) -> Vec<Self>;

    /// The sample of a value that fits.
    fn narrow(value: u32) -> Self;

    /// The sum without its carry.
    fn sum(self, other: Self) -> Self;
}

impl Depth for u8 {
    const LARGEST: u32 = 255;

    fn unpack(bytes: &[u8], columns: usize, bits: u32, _: bool) -> Vec<u8> {
        if bits == 8 {
            return bytes.to_vec();
        }
        let (bits, per_byte) = (bits as usize, 8 / bits as usize);
        let mask = u8::MAX >> (8 - bits);
        let sample = |line: &[u8], at: usize| line[at / per_byte] >> (8 - bits - at % per_byte * bits) & mask;
        let lines = bytes.chunks_exact(columns.div_ceil(per_byte));
        lines.flat_map(|line| (0..columns).map(move |at| sample(line, at))).collect()
    }

    fn narrow(value: u32) -> u8 {
        value as u8
    }

    fn sum(self, other: u8) -> u8 {
        self.wrapping_add(other)
    }
}

impl Depth for u16 {
    const LARGEST: u32 = 65_535;

    fn unpack(bytes: &[u8], _: usize, _: u32, is_big_endian: bool) -> Vec<u16> {
        let read = if is_big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        bytes.as_chunks::<2>().0.iter().map(|&word| read(word)).collect()
    }

    fn narrow(value: u32) -> u16 {
        value as u16
    }

    fn sum(self, other: u16) -> u16 {
        self.wrapping_add(other)
    }
}

/// Undoes horizontal differencing of a line of `samples` for each pixel.
pub(super) fn sum_up<T: Depth>(line: &mut [T], samples: usize) {
    for at in samples..line.len() {
        line[at] = line[at].sum(line[at - samples]);
    }
}

/// Blocks of `across * down` luma samples, Cb and Cr as `[rows, width, 3]`: chroma is repeated.
pub(super) fn full_chroma(bytes: &[u8], width: usize, rows: usize, [across, down]: [usize; 2]) -> Vec<u8> {
    let block = across * down + 2;
    let line = width.div_ceil(across) * block;
    let pixel = |at: usize| {
        let (x, y) = (at % width, at / width);
        let start = y / down * line + x / across * block;
        let luma = start + y % down * across + x % across;
        [bytes[luma], bytes[start + block - 2], bytes[start + block - 1]]
    };
    (0..width * rows).flat_map(pixel).collect()
}
