//! Inverse cosine transforms to blocks of 4 x 4, 2 x 2 and 1 x 1: libjpeg's (`jidctred.c`), to the
//! bit.

use multiversion::multiversion;

use super::frame::Block;

/// Fractional bits of the constants.
const CONSTANT_BITS: u32 = 13;
/// Fractional bits that the first pass keeps.
const FIRST_PASS_BITS: u32 = 2;

/// Dequantises and transforms one row of blocks into `samples: [size, size * blocks]`; `size` is 4,
/// 2 or 1.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn transform(blocks: &[Block], table: &[u16; 64], size: usize, samples: &mut [u8]) {
    let stride = blocks.len() * size;
    for (index, block) in blocks.iter().enumerate() {
        let at = index * size;
        let value = |row: usize, column: usize| {
            let position = row * 8 + column;
            i32::from(block[position]).wrapping_mul(i32::from(table[position]))
        };
        match size {
            4 => {
                let columns: [[i32; 4]; 8] = std::array::from_fn(|column| match column {
                    4 => [0; 4],
                    _ => four(|row| value(row, column), CONSTANT_BITS - FIRST_PASS_BITS + 1),
                });
                for (y, row) in samples.chunks_exact_mut(stride).enumerate() {
                    let values = four(|column| columns[column][y], CONSTANT_BITS + FIRST_PASS_BITS + 3 + 1);
                    row[at..at + 4].copy_from_slice(&values.map(sample));
                }
            }
            2 => {
                let columns: [[i32; 2]; 8] = std::array::from_fn(|column| match column {
                    2 | 4 | 6 => [0; 2],
                    _ => two(|row| value(row, column), CONSTANT_BITS - FIRST_PASS_BITS + 2),
                });
                for (y, row) in samples.chunks_exact_mut(stride).enumerate() {
                    let values = two(|column| columns[column][y], CONSTANT_BITS + FIRST_PASS_BITS + 3 + 2);
                    row[at..at + 2].copy_from_slice(&values.map(sample));
                }
            }
            _ => samples[at] = sample(descale(value(0, 0), 3)),
        }
    }
}

#[inline(always)]
fn sample(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

/// Division by `2^bits` with rounding.
#[inline(always)]
fn descale(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

#[inline(always)]
fn sum(terms: [(i32, i32); 4]) -> i32 {
    terms.iter().fold(0, |sum: i32, &(value, factor)| sum.wrapping_add(value.wrapping_mul(factor)))
}

/// Four samples from the eight coefficients of a line, the fifth of which is not used.
#[inline(always)]
fn four(line: impl Fn(usize) -> i32, bits: u32) -> [i32; 4] {
    let mean = line(0).wrapping_shl(CONSTANT_BITS + 1);
    let even = sum([(line(2), 15_137), (line(6), -6270), (0, 0), (0, 0)]);
    let (outer, inner) = (mean.wrapping_add(even), mean.wrapping_sub(even));
    let odd = [line(7), line(5), line(3), line(1)];
    let inner_odd = sum([(odd[0], -1730), (odd[1], 11_893), (odd[2], -17_799), (odd[3], 8697)]);
    let outer_odd = sum([(odd[0], -4176), (odd[1], -4926), (odd[2], 7373), (odd[3], 20_995)]);
    [
        descale(outer.wrapping_add(outer_odd), bits),
        descale(inner.wrapping_add(inner_odd), bits),
        descale(inner.wrapping_sub(inner_odd), bits),
        descale(outer.wrapping_sub(outer_odd), bits),
    ]
}

/// Two samples from the mean and the four odd coefficients of a line.
#[inline(always)]
fn two(line: impl Fn(usize) -> i32, bits: u32) -> [i32; 2] {
    let mean = line(0).wrapping_shl(CONSTANT_BITS + 2);
    let odd = sum([(line(7), -5906), (line(5), 6967), (line(3), -10_426), (line(1), 29_692)]);
    [descale(mean.wrapping_add(odd), bits), descale(mean.wrapping_sub(odd), bits)]
}
