//! The inverse cosine transform: libjpeg's accurate integer one (`jidctint.c`), to the bit.

use multiversion::multiversion;

use super::frame::Block;

/// Fractional bits of the constants.
const CONSTANT_BITS: u32 = 13;
/// Fractional bits that the first pass keeps, of samples of 8 and of 12 bits.
const FIRST_PASS_BITS: u32 = 2;
const DEEP_FIRST_PASS_BITS: u32 = 1;

const FIX_0_298631336: i32 = 2446;
const FIX_0_390180644: i32 = 3196;
const FIX_0_541196100: i32 = 4433;
const FIX_0_765366865: i32 = 6270;
const FIX_0_899976223: i32 = 7373;
const FIX_1_175875602: i32 = 9633;
const FIX_1_501321110: i32 = 12299;
const FIX_1_847759065: i32 = 15137;
const FIX_1_961570560: i32 = 16069;
const FIX_2_053119869: i32 = 16819;
const FIX_2_562915447: i32 = 20995;
const FIX_3_072711026: i32 = 25172;

/// Eight numbers that are worked on side by side.
type Lanes = [i32; 8];

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
}

#[inline(always)]
fn subtract(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane].wrapping_sub(b[lane]))
}

#[inline(always)]
fn times(a: Lanes, factor: i32) -> Lanes {
    a.map(|value| value.wrapping_mul(factor))
}

#[inline(always)]
fn shift_left(a: Lanes, bits: u32) -> Lanes {
    a.map(|value| value.wrapping_shl(bits))
}

/// Division by `2^bits` with rounding.
#[inline(always)]
fn descale(a: Lanes, bits: u32) -> Lanes {
    a.map(|value| value.wrapping_add(1 << (bits - 1)) >> bits)
}

/// One pass over eight columns at once: `rows[k]` holds coefficient k of every column.
#[inline(always)]
fn pass(rows: [Lanes; 8], bits: u32) -> [Lanes; 8] {
    let z1 = times(add(rows[2], rows[6]), FIX_0_541196100);
    let even2 = subtract(z1, times(rows[6], FIX_1_847759065));
    let even3 = add(z1, times(rows[2], FIX_0_765366865));
    let even0 = shift_left(add(rows[0], rows[4]), CONSTANT_BITS);
    let even1 = shift_left(subtract(rows[0], rows[4]), CONSTANT_BITS);
    let (sum0, sum3) = (add(even0, even3), subtract(even0, even3));
    let (sum1, sum2) = (add(even1, even2), subtract(even1, even2));

    let [odd0, odd1, odd2, odd3] = [rows[7], rows[5], rows[3], rows[1]];
    let z1 = times(add(odd0, odd3), -FIX_0_899976223);
    let z2 = times(add(odd1, odd2), -FIX_2_562915447);
    let z3 = add(odd0, odd2);
    let z4 = add(odd1, odd3);
    let z5 = times(add(z3, z4), FIX_1_175875602);
    let z3 = add(times(z3, -FIX_1_961570560), z5);
    let z4 = add(times(z4, -FIX_0_390180644), z5);
    let odd0 = add(times(odd0, FIX_0_298631336), add(z1, z3));
    let odd1 = add(times(odd1, FIX_2_053119869), add(z2, z4));
    let odd2 = add(times(odd2, FIX_3_072711026), add(z2, z3));
    let odd3 = add(times(odd3, FIX_1_501321110), add(z1, z4));

    [
        descale(add(sum0, odd3), bits),
        descale(add(sum1, odd2), bits),
        descale(add(sum2, odd1), bits),
        descale(add(sum3, odd0), bits),
        descale(subtract(sum3, odd0), bits),
        descale(subtract(sum2, odd1), bits),
        descale(subtract(sum1, odd2), bits),
        descale(subtract(sum0, odd3), bits),
    ]
}

#[inline(always)]
fn transpose(rows: [Lanes; 8]) -> [Lanes; 8] {
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
}

/// Dequantises and transforms one row of blocks into `samples: [8, 8 * blocks]`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
pub(super) fn transform(blocks: &[Block], table: &[u16; 64], samples: &mut [u8]) {
    let stride = blocks.len() * 8;
    for (index, block) in blocks.iter().enumerate() {
        let at = index * 8;
        if block[1..].iter().fold(0, |bits, &coefficient| bits | coefficient) == 0 {
            let mean = i32::from(block[0]).wrapping_mul(i32::from(table[0]));
            let sample = ((mean.wrapping_add(4) >> 3) + 128).clamp(0, 255) as u8;
            for row in samples.chunks_exact_mut(stride) {
                row[at..at + 8].fill(sample);
            }
            continue;
        }
        let rows = dequantised(block, table);
        let rows = transpose(pass(rows, CONSTANT_BITS - FIRST_PASS_BITS));
        let rows = transpose(pass(rows, CONSTANT_BITS + FIRST_PASS_BITS + 3));
        for (row, values) in samples.chunks_exact_mut(stride).zip(rows) {
            row[at..at + 8].copy_from_slice(&values.map(|value| value.wrapping_add(128).clamp(0, 255) as u8));
        }
    }
}

#[inline(always)]
fn dequantised(block: &Block, table: &[u16; 64]) -> [Lanes; 8] {
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let position = row * 8 + column;
            i32::from(block[position]).wrapping_mul(i32::from(table[position]))
        })
    })
}

/// Dequantises and transforms a block into samples of 12 bits, row by row.
pub(super) fn transform_deep(block: &Block, table: &[u16; 64]) -> [[u16; 8]; 8] {
    let rows = dequantised(block, table);
    let rows = transpose(pass(rows, CONSTANT_BITS - DEEP_FIRST_PASS_BITS));
    let rows = transpose(pass(rows, CONSTANT_BITS + DEEP_FIRST_PASS_BITS + 3));
    rows.map(|values| values.map(|value| value.wrapping_add(2048).clamp(0, 4095) as u16))
}
