//! Entropy-coded data bit by bit: after 0xFF the next byte carries seven bits (T.87, A.1).

use super::truncated;
use crate::error::PixelError;

/// A reader that stops at markers.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the most significant one on.
    buffer: u64,
    count: u32,
    /// The last byte taken was 0xFF.
    after_ones: bool,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Bits { bytes, at, buffer: 0, count: 0, after_ones: false }
    }

    /// Makes bits available as long as there are some and room for a byte.
    #[inline(always)]
    fn refill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            let (bits, width) = match (byte, self.after_ones) {
                (0xFF, _) if self.bytes.get(self.at + 1).is_none_or(|&next| next & 0x80 != 0) => return,
                // A marker's second byte cannot be here: its first one stopped the reader.
                (_, true) => (u64::from(byte & 0x7F), 7),
                (_, false) => (u64::from(byte), 8),
            };
            self.after_ones = byte == 0xFF;
            self.buffer |= bits << (64 - width - self.count);
            self.count += width;
            self.at += 1;
        }
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) -> Result<(), PixelError> {
        if count > self.count {
            return Err(truncated());
        }
        self.buffer = self.buffer.checked_shl(count).unwrap_or(0);
        self.count -= count;
        Ok(())
    }

    /// One bit.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> Result<bool, PixelError> {
        self.refill();
        let bit = self.buffer >> 63 == 1;
        self.skip(1)?;
        Ok(bit)
    }

    /// `count` bits, 0 to 32, as a number.
    #[inline(always)]
    pub(super) fn number(&mut self, count: u32) -> Result<i32, PixelError> {
        if count == 0 {
            return Ok(0);
        }
        self.refill();
        let number = (self.buffer >> (64 - count)) as i32;
        self.skip(count)?;
        Ok(number)
    }

    /// A number in the limited Golomb code of order `k` (T.87, A.5.3).
    #[inline(always)]
    pub(super) fn golomb(&mut self, k: u32, limit: u32, escape_bits: u32) -> Result<i32, PixelError> {
        self.refill();
        let zeros = self.buffer.leading_zeros();
        let longest = limit - escape_bits - 1;
        if zeros > longest || zeros >= self.count {
            return Err(if zeros >= self.count && zeros <= longest {
                truncated()
            } else {
                super::damaged("impossible code")
            });
        }
        self.skip(zeros + 1)?;
        match zeros < longest {
            true => Ok(((zeros as i32) << k) + self.number(k)?),
            false => Ok(self.number(escape_bits)? + 1),
        }
    }

    /// Where the data goes on: at the next marker.
    pub(super) fn end(&self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_marker = |pair: &[u8]| pair[0] == 0xFF && pair[1] & 0x80 != 0;
        self.at + rest.windows(2).position(is_marker).unwrap_or(rest.len())
    }
}
