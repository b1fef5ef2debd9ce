//! Scans: lines of samples from their neighbours, in regular mode or as runs (T.87, annexes A and
//! B).

use super::bits::Bits;
use super::contexts::{Coding, Contexts};
use super::{Presets, damaged};
use crate::error::PixelError;

/// Orders of the codes of run lengths, by how long runs were (T.87, A.2.1).
const RUN_ORDERS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// How the components of an image share a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interleave {
    /// One component per scan.
    None,
    /// Line by line.
    Lines,
    /// Sample by sample.
    Samples,
}

/// A scan's coding parameters.
pub(super) struct Scan {
    coding: Coding,
    thresholds: [i32; 3],
}

/// A line of one component and the one above, each with a sample before and one after it.
struct Lines {
    above: Vec<i32>,
    current: Vec<i32>,
    /// How long runs have been: an index of [`RUN_ORDERS`].
    run: usize,
}

impl Scan {
    pub(super) fn new(bits: u32, near: i32, presets: &Presets) -> Result<Self, PixelError> {
        let most = (1 << bits) - 1;
        let largest = if presets.largest == 0 { most } else { i32::from(presets.largest) };
        if largest > most || near > 255.min(largest / 2) {
            return Err(damaged("impossible coding parameters"));
        }
        let range = (largest + 2 * near) / (2 * near + 1) + 1;
        let bits_of = |values: i32| 32 - (values - 1).leading_zeros();
        let sample_bits = bits_of(largest + 1).max(2);
        let stated = presets.thresholds.map(i32::from);
        let defaults = default_thresholds(largest, near);
        let thresholds: [i32; 3] = std::array::from_fn(|at| if stated[at] == 0 { defaults[at] } else { stated[at] });
        let reset = if presets.reset == 0 { 64 } else { i32::from(presets.reset) };
        let is_sorted = near < thresholds[0] && thresholds.is_sorted() && thresholds[2] <= largest.max(near + 1);
        if !is_sorted || reset < 3 {
            return Err(damaged("impossible coding parameters"));
        }
        let limit = 2 * (sample_bits + sample_bits.max(8));
        let coding = Coding { largest, near, range, error_bits: bits_of(range), limit, reset };
        Ok(Scan { coding, thresholds })
    }

    /// Decodes the data at `data.1` into channel `first`, or into all channels, of `samples:
    /// [height, width, channels]`; gives the position after the data.
    pub(super) fn decode(
        &self,
        (bytes, at): (&[u8], usize),
        (samples, width, channels): (&mut [u16], usize, usize),
        first: usize,
        interleave: Interleave,
    ) -> Result<usize, PixelError> {
        let mut bits = Bits::new(bytes, at);
        let mut contexts = Contexts::new(self.coding);
        let coded = if interleave == Interleave::None { 1 } else { channels };
        let new = || Lines { above: vec![0; width + 2], current: vec![0; width + 2], run: 0 };
        let mut lines: Vec<Lines> = (0..coded).map(|_| new()).collect();
        for row in samples.chunks_exact_mut(width * channels) {
            lines.iter_mut().for_each(Lines::advance);
            match (lines.first_chunk_mut::<3>(), interleave) {
                (Some(lines), Interleave::Samples) => self.pixels(&mut bits, &mut contexts, lines)?,
                _ => lines.iter_mut().try_for_each(|line| self.line(&mut bits, &mut contexts, line))?,
            }
            for (channel, line) in lines.iter().enumerate() {
                let places = row.iter_mut().skip(first + channel).step_by(channels);
                places.zip(&line.current[1..]).for_each(|(place, &sample)| *place = sample as u16);
            }
        }
        Ok(bits.end())
    }

    /// One line of one component.
    fn line(&self, bits: &mut Bits<'_>, contexts: &mut Contexts, lines: &mut Lines) -> Result<(), PixelError> {
        let end = lines.current.len() - 1;
        let mut x = 1;
        while x < end {
            match self.context(lines, x) {
                Some(number) => {
                    let prediction = lines.prediction(x);
                    lines.current[x] = contexts.regular(bits, number, prediction)?;
                    x += 1;
                }
                None => {
                    let (length, is_ended) = run_length(bits, &mut lines.run, end - x)?;
                    let left = lines.current[x - 1];
                    lines.current[x..x + length].fill(left);
                    x += length;
                    if is_ended {
                        let order = RUN_ORDERS[lines.run];
                        lines.current[x] = contexts.after_run(bits, (left, lines.above[x]), order, true)?;
                        lines.run = lines.run.saturating_sub(1);
                        x += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// One line of three components, pixel by pixel; they share their runs.
    fn pixels(&self, bits: &mut Bits<'_>, contexts: &mut Contexts, lines: &mut [Lines; 3]) -> Result<(), PixelError> {
        let end = lines[0].current.len() - 1;
        let mut x = 1;
        while x < end {
            let numbers = lines.each_ref().map(|line| self.context(line, x));
            if numbers.iter().any(Option::is_some) {
                for (channel, number) in numbers.into_iter().enumerate() {
                    let prediction = lines[channel].prediction(x);
                    lines[channel].current[x] = contexts.regular(bits, number.unwrap_or(0), prediction)?;
                }
                x += 1;
                continue;
            }
            let (length, is_ended) = run_length(bits, &mut lines[0].run, end - x)?;
            let order = RUN_ORDERS[lines[0].run];
            for line in &mut *lines {
                let left = line.current[x - 1];
                line.current[x..x + length].fill(left);
            }
            x += length;
            if is_ended {
                for line in &mut *lines {
                    let neighbours = (line.current[x - 1], line.above[x]);
                    line.current[x] = contexts.after_run(bits, neighbours, order, false)?;
                }
                lines[0].run = lines[0].run.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// The context of a sample; `None` where a run starts.
    #[inline(always)]
    fn context(&self, lines: &Lines, x: usize) -> Option<i32> {
        let [left, corner, above, right] = lines.neighbours(x);
        let gradients = [right - above, above - corner, corner - left];
        if gradients.iter().all(|gradient| gradient.abs() <= self.coding.near) {
            return None;
        }
        let [first, second, third] = gradients.map(|gradient| self.quantised(gradient));
        Some((first * 9 + second) * 9 + third)
    }

    #[inline(always)]
    fn quantised(&self, gradient: i32) -> i32 {
        let magnitude = gradient.abs();
        let [low, middle, high] = self.thresholds;
        let level = if magnitude <= self.coding.near {
            0
        } else if magnitude < low {
            1
        } else if magnitude < middle {
            2
        } else if magnitude < high {
            3
        } else {
            4
        };
        if gradient < 0 { -level } else { level }
    }
}

impl Lines {
    /// Makes the current line the one above the next.
    fn advance(&mut self) {
        std::mem::swap(&mut self.above, &mut self.current);
        let end = self.above.len() - 1;
        self.above[end] = self.above[end - 1];
        self.current[0] = self.above[1];
    }

    /// The samples to the left, above to the left, above, above to the right.
    #[inline(always)]
    fn neighbours(&self, x: usize) -> [i32; 4] {
        [self.current[x - 1], self.above[x - 1], self.above[x], self.above[x + 1]]
    }

    /// The prediction by the nearest edge (T.87, A.4.1).
    #[inline(always)]
    fn prediction(&self, x: usize) -> i32 {
        let [left, corner, above, _] = self.neighbours(x);
        if corner >= left.max(above) {
            left.min(above)
        } else if corner <= left.min(above) {
            left.max(above)
        } else {
            left + above - corner
        }
    }
}

/// The length of a run, of at most `room` samples, and whether a sample that ends it follows.
fn run_length(bits: &mut Bits<'_>, run: &mut usize, room: usize) -> Result<(usize, bool), PixelError> {
    let mut length = 0;
    while length < room {
        let step = 1 << RUN_ORDERS[*run];
        if !bits.bit()? {
            length += bits.number(RUN_ORDERS[*run])? as usize;
            if length >= room {
                return Err(damaged("a run is longer than its line"));
            }
            return Ok((length, true));
        }
        if step <= room - length {
            *run = (*run + 1).min(RUN_ORDERS.len() - 1);
        }
        length += step.min(room - length);
    }
    Ok((length, false))
}

/// Thresholds of gradients where none are stated (T.87, C.2.4.1.1).
fn default_thresholds(largest: i32, near: i32) -> [i32; 3] {
    let clamped = |value: i32, low: i32| if value > largest || value < low { low } else { value };
    let values = if largest >= 128 {
        let factor = (largest.min(4095) + 128) >> 8;
        [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
    } else {
        let factor = 256 / (largest + 1);
        [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
    };
    let first = clamped(values[0], near + 1);
    let second = clamped(values[1], first);
    [first, second, clamped(values[2], second)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_those_of_the_standard() {
        assert_eq!(default_thresholds(255, 0), [3, 7, 21]);
        assert_eq!(default_thresholds(255, 3), [12, 22, 42]);
        assert_eq!(default_thresholds(4095, 0), [18, 67, 276]);
        assert_eq!(default_thresholds(65_535, 0), [18, 67, 276]);
    }
}
