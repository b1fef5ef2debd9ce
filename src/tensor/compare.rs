//! Comparison of float arrays under tolerances that have names.

use std::fmt;

/// How far two arrays may differ; the value is the largest absolute difference allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Bit for bit.
    Exact,
    /// Rounding of one f32 operation order against another on values near one: 1e-5.
    Rounding,
    /// A deep network in f32 against its reference: 1e-4.
    Network,
    /// A stated largest absolute difference.
    Absolute(f64),
    /// A stated difference relative to the largest entry of the expected array.
    Relative(f64),
}

impl Tolerance {
    /// Its name: `exact`, `rounding`, `network`, `absolute`, `relative`.
    pub const fn name(self) -> &'static str {
        match self {
            Tolerance::Exact => "exact",
            Tolerance::Rounding => "rounding",
            Tolerance::Network => "network",
            Tolerance::Absolute(_) => "absolute",
            Tolerance::Relative(_) => "relative",
        }
    }

    /// The largest absolute difference allowed where the largest expected entry is 1.
    pub const fn allowed(self) -> f64 {
        match self {
            Tolerance::Exact => 0.0,
            Tolerance::Rounding => 1e-5,
            Tolerance::Network => 1e-4,
            Tolerance::Absolute(value) | Tolerance::Relative(value) => value,
        }
    }
}

/// The outcome of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Largest absolute difference; infinite if a NaN meets a number.
    pub largest: f64,
    /// Flat index of the largest difference.
    pub at: usize,
    /// What the tolerance allowed at most.
    pub allowed: f64,
}

impl Comparison {
    /// Whether the difference stays within the tolerance.
    pub fn holds(&self) -> bool {
        self.largest <= self.allowed
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "largest difference {:.3e} at element {}, allowed {:.3e}", self.largest, self.at, self.allowed)
    }
}

/// Compares `found` with `expected` element by element; `None` when their lengths differ.
pub fn compare(found: &[f32], expected: &[f32], tolerance: Tolerance) -> Option<Comparison> {
    if found.len() != expected.len() {
        return None;
    }
    let (mut largest, mut at) = (0.0f64, 0);
    for (index, (&x, &y)) in found.iter().zip(expected).enumerate() {
        let difference = match (x.is_nan(), y.is_nan()) {
            (true, true) => 0.0,
            _ if x == y => 0.0,
            _ => (f64::from(x) - f64::from(y)).abs(),
        };
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        if difference > largest {
            (largest, at) = (difference, index);
        }
    }
    let allowed = match tolerance {
        Tolerance::Relative(value) => value * expected.iter().fold(0.0f64, |most, &y| most.max(f64::from(y).abs())),
        other => other.allowed(),
    };
    Some(Comparison { largest, at, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_that_meets_a_number_never_holds() {
        let outcome = compare(&[1.0, f32::NAN], &[1.0, 2.0], Tolerance::Absolute(1e9)).unwrap();
        assert!(!outcome.holds());
        assert_eq!(outcome.at, 1);
    }

    #[test]
    fn relative_tolerance_scales_with_the_expected_array() {
        let outcome = compare(&[1000.05, 0.0], &[1000.0, 0.0], Tolerance::Relative(1e-4)).unwrap();
        assert!(outcome.holds());
        assert!(!compare(&[1.05, 0.0], &[1.0, 0.0], Tolerance::Relative(1e-4)).unwrap().holds());
    }
}
