//! Scans: from entropy-coded data to coefficients, sequential and progressive (T.81, annexes F and
//! G).

use crate::error::PixelError;

use super::bits::{Bits, Huffman};
use super::damaged;
use super::frame::{self, Block, Frame};
use super::headers::{Scan, Tables, ZIGZAG};

/// What a scan does to each of its blocks.
#[derive(Clone, Copy)]
enum Coding {
    Sequential,
    /// Progressive, first or refining pass over the mean (DC) or the other coefficients (AC).
    FirstDc,
    RefineDc,
    FirstAc,
    RefineAc,
}

/// Blocks of a band that are still known to have no further coefficient, and the last mean of each
/// component.
#[derive(Default)]
struct State {
    end_of_band_run: u32,
    predictions: [i32; 4],
}

/// Decodes a scan into the frame's coefficients; gives the position after its data.
pub(super) fn decode(bytes: &[u8], scan: &Scan, tables: &Tables, frame: &mut Frame) -> Result<usize, PixelError> {
    if frame.coding == frame::Coding::Lossless {
        return super::lossless::decode(bytes, scan, tables, frame);
    }
    let coding = coding(scan, frame)?;
    for part in &scan.components {
        let component = &mut frame.components[part.index];
        if component.table.is_none() {
            component.table = tables.quantisation[component.quantisation];
        }
        if component.table.is_none() {
            return Err(damaged("a quantisation table is missing"));
        }
    }
    let mut bits = Bits::new(bytes, scan.start);
    let mut state = State::default();
    // A scan of one component has no padding blocks: its MCU is one block.
    let alone = match &scan.components[..] {
        [part] => Some(&frame.components[part.index]),
        _ => None,
    };
    let (across, down) = match alone {
        Some(component) => (component.width.div_ceil(8), component.height.div_ceil(8)),
        None => (frame.mcus_across, frame.mcus_down),
    };
    let is_alone = alone.is_some();
    let huffman: Vec<(Option<&Huffman>, Option<&Huffman>)> = scan
        .components
        .iter()
        .map(|part| (tables.dc.get(part.dc).and_then(Option::as_ref), tables.ac.get(part.ac).and_then(Option::as_ref)))
        .collect();
    let is_streamed = frame.is_streamed;
    let interval = tables.restart_interval;
    let mut until_restart = interval;
    let mut restarts = 0u8;
    for row in 0..down {
        for column in 0..across {
            if interval > 0 {
                if until_restart == 0 {
                    bits.restart(restarts)?;
                    restarts = (restarts + 1) % 8;
                    state = State::default();
                    until_restart = interval;
                }
                until_restart -= 1;
            }
            for (part, &(dc, ac)) in scan.components.iter().zip(&huffman) {
                let component = &mut frame.components[part.index];
                let (wide, high) = if is_alone { (1, 1) } else { (component.horizontal, component.vertical) };
                let first = if is_streamed { row * high } else { 0 };
                for y in row * high..(row + 1) * high {
                    for x in column * wide..(column + 1) * wide {
                        let block = &mut component.blocks[(y - first) * component.blocks_across + x];
                        let prediction = &mut state.predictions[part.index];
                        match coding {
                            Coding::Sequential => {
                                sequential(&mut bits, needed(dc)?, needed(ac)?, prediction, block)?;
                            }
                            Coding::FirstDc => {
                                *prediction = prediction.wrapping_add(difference(&mut bits, needed(dc)?)?);
                                block[0] = (*prediction << scan.approximation.1) as i16;
                            }
                            Coding::RefineDc => block[0] |= i16::from(bits.bit()) << scan.approximation.1,
                            Coding::FirstAc => {
                                first_ac(&mut bits, needed(ac)?, scan, &mut state.end_of_band_run, block)?;
                            }
                            Coding::RefineAc => {
                                refine_ac(&mut bits, needed(ac)?, scan, &mut state.end_of_band_run, block)?;
                            }
                        }
                    }
                }
            }
            bits.check()?;
        }
        for part in scan.components.iter().filter(|_| is_streamed) {
            let component = &mut frame.components[part.index];
            let high = if is_alone { 1 } else { component.vertical };
            component.transform(row * high, high)?;
            component.blocks.fill([0; 64]);
        }
    }
    Ok(bits.position())
}

/// What the scan header asks for, if it may.
fn coding(scan: &Scan, frame: &Frame) -> Result<Coding, PixelError> {
    if frame.coding == frame::Coding::Sequential {
        return Ok(Coding::Sequential);
    }
    let (first, last) = scan.band;
    let is_refinement = scan.approximation.0 != 0;
    if is_refinement && scan.approximation.0 != scan.approximation.1 + 1 {
        return Err(damaged("a progressive scan skips a bit"));
    }
    match (first, is_refinement) {
        (0, _) if last != 0 => Err(damaged("a progressive scan mixes the mean with other coefficients")),
        (0, false) => Ok(Coding::FirstDc),
        (0, true) => Ok(Coding::RefineDc),
        _ if last < first || scan.components.len() != 1 => Err(damaged("a progressive scan has an impossible band")),
        (_, false) => Ok(Coding::FirstAc),
        (_, true) => Ok(Coding::RefineAc),
    }
}

pub(super) fn needed(table: Option<&Huffman>) -> Result<&Huffman, PixelError> {
    table.ok_or_else(|| damaged("a Huffman table is missing"))
}

#[inline(always)]
fn difference(bits: &mut Bits<'_>, dc: &Huffman) -> Result<i32, PixelError> {
    let size = bits.symbol(dc)?;
    if size > 15 {
        return Err(damaged("a difference is too large"));
    }
    Ok(bits.signed(u32::from(size)))
}

#[inline(always)]
fn sequential(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    prediction: &mut i32,
    block: &mut Block,
) -> Result<(), PixelError> {
    *prediction = prediction.wrapping_add(difference(bits, dc)?);
    block[0] = *prediction as i16;
    let mut at = 1;
    while at < 64 {
        if let Some((run, value)) = bits.short_coefficient(ac) {
            at += run;
            set(block, at, value)?;
            at += 1;
            continue;
        }
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += run;
        set(block, at, bits.signed(size) as i16)?;
        at += 1;
    }
    Ok(())
}

/// Sets the coefficient at zigzag position `at`.
#[inline(always)]
fn set(block: &mut Block, at: usize, value: i16) -> Result<(), PixelError> {
    let position = *ZIGZAG.get(at).ok_or_else(|| damaged("a block has more than 64 coefficients"))?;
    block[usize::from(position)] = value;
    Ok(())
}

fn first_ac(
    bits: &mut Bits<'_>,
    ac: &Huffman,
    scan: &Scan,
    run_of_ends: &mut u32,
    block: &mut Block,
) -> Result<(), PixelError> {
    if *run_of_ends > 0 {
        *run_of_ends -= 1;
        return Ok(());
    }
    let mut at = scan.band.0;
    while at <= scan.band.1 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run < 15 {
                *run_of_ends = (1 << run) - 1 + bits.number(run as u32) as u32;
                break;
            }
            at += 16;
            continue;
        }
        at += run;
        if at > scan.band.1 {
            return Err(damaged("a block has more coefficients than its scan"));
        }
        set(block, at, (bits.signed(size) << scan.approximation.1) as i16)?;
        at += 1;
    }
    Ok(())
}

fn refine_ac(
    bits: &mut Bits<'_>,
    ac: &Huffman,
    scan: &Scan,
    run_of_ends: &mut u32,
    block: &mut Block,
) -> Result<(), PixelError> {
    let one = 1i16 << scan.approximation.1;
    let (mut at, last) = scan.band;
    if *run_of_ends == 0 {
        while at <= last {
            let symbol = bits.symbol(ac)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            let mut value = 0;
            if size == 0 {
                if run < 15 {
                    *run_of_ends = (1 << run) + bits.number(u32::from(run)) as u32;
                    break;
                }
            } else {
                value = if bits.bit() { one } else { -one };
            }
            // Pass `run` zeros; what is not zero on the way is refined.
            while at <= last {
                let coefficient = &mut block[usize::from(ZIGZAG[at])];
                if *coefficient != 0 {
                    refine(bits, coefficient, one);
                } else if run == 0 {
                    *coefficient = value;
                    at += 1;
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
        }
    }
    if *run_of_ends > 0 {
        for &position in &ZIGZAG[at..=last] {
            let coefficient = &mut block[usize::from(position)];
            if *coefficient != 0 {
                refine(bits, coefficient, one);
            }
        }
        *run_of_ends -= 1;
    }
    Ok(())
}

/// Adds the next bit to a coefficient that is not zero.
#[inline(always)]
fn refine(bits: &mut Bits<'_>, coefficient: &mut i16, one: i16) {
    if bits.bit() && *coefficient & one == 0 {
        *coefficient = if *coefficient >= 0 { coefficient.wrapping_add(one) } else { coefficient.wrapping_sub(one) };
    }
}
