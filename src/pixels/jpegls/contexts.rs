//! What a scan learns as it goes: statistics of prediction errors by context (T.87, A.2 to A.7).

use super::bits::Bits;
use crate::error::PixelError;

/// Contexts of regular samples.
const REGULAR: usize = 365;

/// Statistics of one context.
#[derive(Clone, Copy, Debug)]
struct Context {
    /// Sum of the magnitudes of errors.
    magnitude: i32,
    /// Sum of errors, for the bias.
    bias: i32,
    /// What is added to predictions.
    correction: i32,
    /// Errors so far.
    count: i32,
}

/// Statistics of samples that end a run.
#[derive(Clone, Copy, Debug)]
struct RunContext {
    magnitude: i32,
    count: i32,
    negative: i32,
}

/// The numbers that the coding depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coding {
    /// Largest sample.
    pub(super) largest: i32,
    /// Largest error of a sample.
    pub(super) near: i32,
    /// Different values of a coded error.
    pub(super) range: i32,
    /// Bits of a coded error.
    pub(super) error_bits: u32,
    /// Longest code.
    pub(super) limit: u32,
    /// Errors after which statistics are halved.
    pub(super) reset: i32,
}

impl Coding {
    /// A prediction and its error as a sample.
    #[inline(always)]
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let mut sample = prediction + error * (2 * self.near + 1);
        if sample < -self.near {
            sample += self.range * (2 * self.near + 1);
        } else if sample > self.largest + self.near {
            sample -= self.range * (2 * self.near + 1);
        }
        sample.clamp(0, self.largest)
    }
}

/// All contexts of a scan.
pub(super) struct Contexts {
    coding: Coding,
    regular: Vec<Context>,
    runs: [RunContext; 2],
}

impl Contexts {
    pub(super) fn new(coding: Coding) -> Self {
        let magnitude = ((coding.range + 32) >> 6).max(2);
        Contexts {
            coding,
            regular: vec![Context { magnitude, bias: 0, correction: 0, count: 1 }; REGULAR],
            runs: [RunContext { magnitude, count: 1, negative: 0 }; 2],
        }
    }

    /// The next sample of context `number` (-364 to 364), predicted as `prediction` without
    /// correction.
    #[inline(always)]
    pub(super) fn regular(&mut self, bits: &mut Bits<'_>, number: i32, prediction: i32) -> Result<i32, PixelError> {
        let Coding { largest, near, error_bits, limit, reset, .. } = self.coding;
        let context = &mut self.regular[number.unsigned_abs() as usize];
        let sign = if number < 0 { -1 } else { 1 };
        let prediction = (prediction + sign * context.correction).clamp(0, largest);
        let k = order(context.count, context.magnitude);
        let mapped = bits.golomb(k, limit, error_bits)?;
        let inverted = near == 0 && k == 0 && 2 * context.bias <= -context.count;
        let error = match (mapped & 1 == 0, inverted) {
            (true, false) => mapped >> 1,
            (false, false) => -(mapped >> 1) - 1,
            (true, true) => -(mapped >> 1) - 1,
            (false, true) => mapped >> 1,
        };
        context.bias += error * (2 * near + 1);
        context.magnitude = context.magnitude.saturating_add(error.abs());
        if context.count == reset {
            context.magnitude >>= 1;
            context.bias >>= 1;
            context.count >>= 1;
        }
        context.count += 1;
        if context.bias <= -context.count {
            context.bias = (context.bias + context.count).max(1 - context.count);
            context.correction = (context.correction - 1).max(-128);
        } else if context.bias > 0 {
            context.bias = (context.bias - context.count).min(0);
            context.correction = (context.correction + 1).min(127);
        }
        Ok(self.coding.reconstruct(prediction, sign * error))
    }

    /// The sample that ends a run, between `left` and `above`; `order_of_run` is the order of the
    /// run's code.
    pub(super) fn after_run(
        &mut self,
        bits: &mut Bits<'_>,
        (left, above): (i32, i32),
        order_of_run: u32,
        by_kind: bool,
    ) -> Result<i32, PixelError> {
        let Coding { near, error_bits, limit, reset, .. } = self.coding;
        let kind = usize::from(by_kind && (left - above).abs() <= near);
        let context = &mut self.runs[kind];
        let expected = if kind == 1 { context.magnitude + (context.count >> 1) } else { context.magnitude };
        let k = order(context.count, expected);
        let mapped = bits.golomb(k, limit - order_of_run - 1, error_bits)?;
        let shifted = mapped + kind as i32;
        let is_odd = shifted & 1 == 1;
        let magnitude = (shifted + i32::from(is_odd)) / 2;
        let error = if (k != 0 || 2 * context.negative >= context.count) == is_odd { -magnitude } else { magnitude };
        if error < 0 {
            context.negative += 1;
        }
        context.magnitude = context.magnitude.saturating_add((mapped + 1 - kind as i32) >> 1);
        if context.count == reset {
            context.magnitude >>= 1;
            context.count >>= 1;
            context.negative >>= 1;
        }
        context.count += 1;
        Ok(match kind {
            1 => self.coding.reconstruct(left, error),
            _ if left > above => self.coding.reconstruct(above, -error),
            _ => self.coding.reconstruct(above, error),
        })
    }
}

/// The order of the code: the smallest whose multiple of the count reaches the magnitude.
#[inline(always)]
fn order(count: i32, magnitude: i32) -> u32 {
    (0..24).find(|&k| i64::from(count) << k >= i64::from(magnitude)).unwrap_or(24)
}
