//! Entropy-coded data bit by bit, and the Huffman tables that read it.

use crate::error::PixelError;

use super::{damaged, truncated};

/// Bits that the direct tables look at; longer codes are searched.
const DIRECT: u32 = 10;

/// A reader of entropy-coded data: removes the zero after each 0xFF and stops at markers.
///
/// Beyond the end it gives zeros and remembers; [`Bits::check`] reports it.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// The next bits, from the most significant one on.
    buffer: u64,
    /// How many of them are real; negative once more were taken than there are.
    count: i32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Bits { data, at, buffer: 0, count: 0 }
    }

    /// Makes at least 32 bits available, unless the data ends before.
    #[inline(always)]
    fn refill(&mut self) {
        if self.count < 32 {
            self.refill_slowly();
        }
    }

    #[inline]
    fn refill_slowly(&mut self) {
        if self.count < 0 {
            return;
        }
        if let Some(&word) = self.data.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(word);
            // No byte is 0xFF when no byte of the complement is zero.
            let complement = !word;
            if complement.wrapping_sub(0x0101_0101_0101_0101) & !complement & 0x8080_8080_8080_8080 == 0 {
                let bytes = (63 - self.count) / 8;
                self.buffer |= word >> self.count;
                self.at += bytes as usize;
                self.count += bytes * 8;
                // Bits beyond `count` are those that the next refill brings again.
                return;
            }
        }
        // Clear what a previous fast refill left behind `count`.
        self.buffer &= if self.count == 0 { 0 } else { u64::MAX << (64 - self.count) };
        while self.count <= 48 {
            let Some(&byte) = self.data.get(self.at) else { break };
            let length = match (byte, self.data.get(self.at + 1)) {
                (0xFF, Some(0)) => 2,
                (0xFF, _) => break,
                _ => 1,
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.at += length;
            self.count += 8;
        }
    }

    #[inline(always)]
    fn peek(&self, count: u32) -> usize {
        (self.buffer >> (64 - count)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count as i32;
    }

    /// One bit.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        let bit = self.peek(1) == 1;
        self.skip(1);
        bit
    }

    /// `count` bits, 0 to 16, as an unsigned number.
    #[inline(always)]
    pub(super) fn number(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        self.refill();
        let number = self.peek(count) as i32;
        self.skip(count);
        number
    }

    /// `count` bits, 0 to 16, as a signed coefficient (T.81, `EXTEND`).
    #[inline(always)]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let number = self.number(count);
        if count > 0 && number < 1 << (count - 1) { number - (1 << count) + 1 } else { number }
    }

    /// The next symbol of `table`.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, PixelError> {
        self.refill();
        let entry = table.direct[self.peek(DIRECT)];
        if entry.length > 0 {
            self.skip(u32::from(entry.length));
            return Ok(entry.symbol);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Huffman) -> Result<u8, PixelError> {
        for length in DIRECT + 1..=16 {
            let code = self.peek(length) as i32;
            if code <= table.last_codes[length as usize] {
                self.skip(length);
                let index = table.offsets[length as usize] + code;
                return table.symbols.get(index as usize).copied().ok_or_else(|| damaged("impossible Huffman code"));
            }
        }
        self.check()?;
        Err(damaged("impossible Huffman code"))
    }

    /// The next run of zeros and non-zero coefficient of a block, where the direct table holds
    /// both.
    #[inline(always)]
    pub(super) fn short_coefficient(&mut self, table: &Huffman) -> Option<(usize, i16)> {
        self.refill();
        let entry = table.direct[self.peek(DIRECT)];
        if entry.value == 0 {
            return None;
        }
        self.skip(u32::from(entry.total));
        Some((usize::from(entry.symbol >> 4), i16::from(entry.value)))
    }

    /// Whether everything that was taken was there.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), PixelError> {
        if self.count >= 0 { Ok(()) } else { Err(self.missing()) }
    }

    #[cold]
    fn missing(&self) -> PixelError {
        match self.data.get(self.at..) {
            Some([0xFF, marker, ..]) => damaged(format!("entropy-coded data stops at marker 0xFF{marker:02X}")),
            _ => truncated(),
        }
    }

    /// Drops the bits up to the next byte and passes the restart marker `number` (0 to 7) that must
    /// follow.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), PixelError> {
        self.check()?;
        let mut at = self.position();
        // Fill bytes may precede a marker.
        while self.data.get(at..at + 2) == Some(&[0xFF, 0xFF]) {
            at += 1;
        }
        match self.data.get(at..at + 2) {
            Some(&[0xFF, marker]) if marker == 0xD0 + number => {
                *self = Bits::new(self.data, at + 2);
                Ok(())
            }
            Some(_) => Err(damaged(format!("restart marker {number} is missing"))),
            None => Err(truncated()),
        }
    }

    /// Where the data goes on after the bits taken so far: the byte after the current one.
    pub(super) fn position(&self) -> usize {
        let mut at = self.at;
        // Give back whole bytes that were read ahead; a stuffed 0xFF is two.
        for _ in 0..self.count.max(0) / 8 {
            at -= if at >= 2 && self.data[at - 2..at] == [0xFF, 0] { 2 } else { 1 };
        }
        at
    }
}

/// One entry of the direct table.
#[derive(Clone, Copy, Default)]
struct Direct {
    /// Bits of the code; 0 if it is longer than the table's index.
    length: u8,
    symbol: u8,
    /// Bits of the code and of the coefficient after it, where both fit the index.
    total: u8,
    /// That coefficient; 0 if it does not fit.
    value: i8,
}

/// A Huffman table (T.81, annex C).
#[derive(Clone)]
pub(super) struct Huffman {
    symbols: Vec<u8>,
    direct: Vec<Direct>,
    /// By length: the largest code, -1 if there is none.
    last_codes: [i32; 17],
    /// By length: what to add to a code to get its index in `symbols`.
    offsets: [i32; 17],
}

impl Huffman {
    /// A table from the number of codes of each length, 1 to 16, and the symbols in order of their
    /// codes.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, PixelError> {
        let mut table = Huffman {
            symbols: symbols.to_vec(),
            direct: vec![Direct::default(); 1 << DIRECT],
            last_codes: [-1; 17],
            offsets: [0; 17],
        };
        let (mut code, mut index) = (0i32, 0);
        for (length, &count) in (1u32..).zip(counts) {
            let count = i32::from(count);
            if code + count > 1 << length {
                return Err(damaged("impossible Huffman table"));
            }
            if count > 0 {
                table.offsets[length as usize] = index - code;
                table.last_codes[length as usize] = code + count - 1;
            }
            if length <= DIRECT {
                for symbol in &symbols[index as usize..(index + count) as usize] {
                    let spare = DIRECT - length;
                    let start = (code << spare) as usize;
                    for (rest, entry) in table.direct[start..start + (1 << spare)].iter_mut().enumerate() {
                        *entry = Direct::new(length, *symbol, rest as i32);
                    }
                    code += 1;
                }
            } else {
                code += count;
            }
            index += count;
            code <<= 1;
        }
        Ok(table)
    }
}

impl Direct {
    /// The entry of a code of `length` bits that is followed by the `DIRECT - length` bits `rest`.
    fn new(length: u32, symbol: u8, rest: i32) -> Self {
        let mut entry = Direct { length: length as u8, symbol, total: 0, value: 0 };
        let size = u32::from(symbol & 15);
        if size > 0 && length + size <= DIRECT {
            let number = rest >> (DIRECT - length - size);
            let value = if number < 1 << (size - 1) { number - (1 << size) + 1 } else { number };
            if let Ok(value) = i8::try_from(value) {
                entry.total = (length + size) as u8;
                entry.value = value;
            }
        }
        entry
    }
}
