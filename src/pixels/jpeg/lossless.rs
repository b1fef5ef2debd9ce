//! Lossless scans (T.81, annex H): each sample as the difference to a prediction from its
//! neighbours.

use super::bits::{Bits, Huffman};
use super::frame::Frame;
use super::headers::{Scan, Tables};
use super::scan::needed;
use super::{damaged, unsupported};
use crate::error::PixelError;

/// Decodes a scan into the frame's samples; gives the position after its data.
pub(super) fn decode(bytes: &[u8], scan: &Scan, tables: &Tables, frame: &mut Frame) -> Result<usize, PixelError> {
    if !frame.is_full() {
        return Err(unsupported("lossless coding of subsampled components"));
    }
    let (predictor, point) = (scan.band.0, scan.approximation.1);
    if !(1..=7).contains(&predictor) || point >= frame.bits {
        return Err(damaged("a lossless scan has an impossible predictor"));
    }
    let (width, height) = (frame.width as usize, frame.height as usize);
    let interval = tables.restart_interval;
    if !interval.is_multiple_of(width) {
        return Err(unsupported("lossless coding with restarts inside rows"));
    }
    let rows_between = interval / width;
    let huffman: Vec<&Huffman> = scan
        .components
        .iter()
        .map(|part| needed(tables.dc.get(part.dc).and_then(Option::as_ref)))
        .collect::<Result<_, _>>()?;
    let start = 1 << (frame.bits - point - 1);
    let mask = (1 << (frame.bits - point)) - 1;
    let mut bits = Bits::new(bytes, scan.start);
    let mut since_restart = 0;
    let mut restarts = 0u8;
    for y in 0..height {
        if rows_between > 0 && y > 0 && y.is_multiple_of(rows_between) {
            bits.restart(restarts)?;
            restarts = (restarts + 1) % 8;
            since_restart = 0;
        }
        for x in 0..width {
            for (part, table) in scan.components.iter().zip(&huffman) {
                let samples = &mut frame.components[part.index].samples;
                let at = y * width + x;
                let sample = |at: usize| i32::from(samples[at] >> point);
                let prediction = match (since_restart, x) {
                    (0, 0) => start,
                    (0, _) => sample(at - 1),
                    (_, 0) => sample(at - width),
                    _ => predict(predictor, sample(at - 1), sample(at - width), sample(at - width - 1)),
                };
                let value = prediction.wrapping_add(difference(&mut bits, table)?) & mask;
                samples[at] = (value << point) as u16;
            }
        }
        bits.check()?;
        since_restart += 1;
    }
    Ok(bits.position())
}

/// The prediction from the samples to the left, above, and above to the left.
#[inline(always)]
fn predict(predictor: usize, left: i32, above: i32, corner: i32) -> i32 {
    match predictor {
        1 => left,
        2 => above,
        3 => corner,
        4 => left + above - corner,
        5 => left + ((above - corner) >> 1),
        6 => above + ((left - corner) >> 1),
        _ => (left + above) >> 1,
    }
}

#[inline(always)]
fn difference(bits: &mut Bits<'_>, table: &Huffman) -> Result<i32, PixelError> {
    match bits.symbol(table)? {
        16 => Ok(32_768),
        size => Ok(bits.signed(u32::from(size))),
    }
}
