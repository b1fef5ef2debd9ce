//! From values to positions: linear and logarithmic axes, where their ticks are and how these are
//! written.

/// An axis: values from `low` to `high`, positions from 0 to 100 percent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    /// Value and text of each tick.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis that encloses `values` with round ends, about five ticks.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = extent(values);
        if high - low < 1e-9 {
            (low, high) = (low - 0.05, high + 0.05);
        }
        let step = round_step((high - low) / 4.0);
        let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (first..=last).map(|at| (at as f64 * step, format!("{:.decimals$}", at as f64 * step))).collect();
        Axis { low: first as f64 * step, high: last as f64 * step, logarithmic: false, ticks }
    }

    /// The axis from 0 to 1 in fifths.
    pub(super) fn unit() -> Self {
        let ticks = (0..=5).map(|fifth| (f64::from(fifth) / 5.0, format!("{:.1}", f64::from(fifth) / 5.0))).collect();
        Axis { low: 0.0, high: 1.0, logarithmic: false, ticks }
    }

    /// A linear axis without ticks, with a margin of 4 % on either side.
    pub(super) fn plain(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values);
        let margin = ((high - low) * 0.04).max(1e-9);
        Axis { low: low - margin, high: high + margin, logarithmic: false, ticks: Vec::new() }
    }

    /// A logarithmic axis over positive candidates: few get a tick each, many get powers of ten.
    pub(super) fn logarithmic(candidates: &[f64]) -> Self {
        let (low, high) = extent(candidates.iter().copied());
        let (low, high) = if low < high { (low, high) } else { (low / 2.0, high * 2.0) };
        let ticks = if candidates.len() <= 8 {
            candidates.iter().map(|&value| (value, format!("{value}"))).collect()
        } else {
            let (first, last) = (low.log10().ceil() as i32, high.log10().floor() as i32);
            let every = if last - first > 6 { 2 } else { 1 };
            (first..=last)
                .filter(|power| power % every == 0)
                .map(|power| (10f64.powi(power), format!("10{}", superscript(power))))
                .collect()
        };
        Axis { low, high, logarithmic: true, ticks }
    }

    /// A logarithmic axis around positive values, with ticks at powers of ten, and at 2 and 5 times
    /// these where there are few; `text` writes them.
    pub(super) fn magnitudes(values: &[f64], text: fn(f64) -> String) -> Self {
        let (low, high) = extent(values.iter().copied().filter(|value| *value > 0.0));
        // Without values, the axis of 0 to 1 has no logarithm.
        let (low, high) = if low > 0.0 { (low / 1.3, high * 1.3) } else { (1.0, 10.0) };
        let factors: &[f64] = if high / low < 30.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let ticks = powers.flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        let ticks = ticks.filter(|tick| (low..=high).contains(tick)).map(|tick| (tick, text(tick))).collect();
        Axis { low, high, logarithmic: true, ticks }
    }

    /// The axis of these ends and ticks.
    pub(super) fn with_ticks(low: f64, high: f64, ticks: Vec<(f64, String)>) -> Self {
        Axis { low, high, logarithmic: false, ticks }
    }

    /// The same with other texts at the ticks.
    pub(super) fn with_texts(mut self, text: fn(f64) -> String) -> Self {
        self.ticks.iter_mut().for_each(|tick| tick.1 = text(tick.0));
        self
    }

    /// An axis of named places, half a place of margin on either side; where there are many, not
    /// all get their name.
    pub(super) fn places(names: &[String]) -> Self {
        let count = names.len().max(1);
        let every = count.div_ceil(16);
        // The last place keeps its name; numbers too close before it go without.
        let has_tick = |at: usize| at + 1 == count || (at.is_multiple_of(every) && at + every.div_ceil(2) < count);
        let ticks = names.iter().enumerate().filter(|(at, _)| has_tick(*at));
        let ticks = ticks.map(|(at, name)| (at as f64, name.clone())).collect();
        Axis { low: -0.5, high: count as f64 - 0.5, logarithmic: false, ticks }
    }

    /// The position of a value in percent of the axis.
    pub(super) fn percent(&self, value: f64) -> f64 {
        let transform = |x: f64| if self.logarithmic { x.max(f64::MIN_POSITIVE).ln() } else { x };
        100.0 * (transform(value) - transform(self.low)) / (transform(self.high) - transform(self.low))
    }
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|round| *round >= step * 0.999).unwrap_or(step)
}

fn superscript(number: i32) -> String {
    number
        .to_string()
        .chars()
        .map(|character| match character {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_have_round_ends() {
        let axis = Axis::linear([0.612, 0.774].into_iter());
        let texts: Vec<&str> = axis.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(texts, ["0.60", "0.65", "0.70", "0.75", "0.80"]);
        assert!((axis.percent(0.7) - 50.0).abs() < 1e-9);
        let exact = Axis::linear([0.0, 0.8].into_iter());
        assert_eq!((exact.low, exact.high), (0.0, 0.8));
    }

    #[test]
    fn logarithmic_axes_tick_candidates_or_decades() {
        let few = Axis::logarithmic(&[1.0, 10.0, 100.0]);
        assert_eq!(few.ticks[1], (10.0, "10".into()));
        assert!((few.percent(10.0) - 50.0).abs() < 1e-9);
        let grid: Vec<f64> = (0..45).map(|at| 10f64.powf(-6.0 + 11.0 * f64::from(at) / 44.0)).collect();
        let texts: Vec<String> = Axis::logarithmic(&grid).ticks.into_iter().map(|tick| tick.1).collect();
        assert_eq!(texts, ["10⁻⁶", "10⁻⁴", "10⁻²", "10⁰", "10²", "10⁴"]);
    }

    #[test]
    fn magnitudes_tick_where_there_is_room() {
        let texts = |values: &[f64]| -> Vec<f64> {
            Axis::magnitudes(values, |value| value.to_string()).ticks.into_iter().map(|tick| tick.0).collect()
        };
        assert_eq!(texts(&[1.28e6, 1.42e8, 2e9]), [1e6, 1e7, 1e8, 1e9]);
        assert_eq!(texts(&[22e6, 86e6]), [2e7, 5e7, 1e8]);
        assert_eq!((texts(&[]), texts(&[0.0])), (vec![1.0, 2.0, 5.0, 10.0], vec![1.0, 2.0, 5.0, 10.0]));
    }

    #[test]
    fn places_are_named_while_there_is_room() {
        let names = |count: usize| (0..count).map(|at| at.to_string()).collect::<Vec<_>>();
        assert_eq!(Axis::places(&names(13)).ticks.len(), 13);
        let many: Vec<String> = Axis::places(&names(42)).ticks.into_iter().map(|tick| tick.1).collect();
        assert!(many.len() <= 16 && many.last().unwrap() == "41", "{many:?}");
        assert!((Axis::places(&names(4)).percent(0.0) - 12.5).abs() < 1e-9);
    }

    #[test]
    fn equal_values_still_span_an_axis() {
        assert!((Axis::linear([0.5, 0.5].into_iter()).percent(0.5) - 50.0).abs() < 1e-9);
        assert!((Axis::logarithmic(&[20.0]).percent(20.0) - 50.0).abs() < 1e-9);
    }
}
