//! The charts of a report: intervals, curves over hyper-parameters, reliability, the plane of
//! principal components.

use crate::metrics::{Estimate, ReliabilityBin};
use crate::report::record::{Curve, Plane};
use crate::report::scale::Axis;
use crate::report::svg::{At, Svg};

/// Number of colours for classes in the style sheet; shapes change after as many classes.
const CLASS_COLOURS: usize = 8;
/// Markers that the page defines.
pub(super) const SHAPES: [&str; 4] = ["dot", "square", "triangle", "diamond"];

/// CSS class and marker of a class by position.
pub(super) fn class_mark(class: usize) -> (String, &'static str) {
    (format!("c{}", class % CLASS_COLOURS), SHAPES[class / CLASS_COLOURS % SHAPES.len()])
}

/// One metric of several probes: a line per interval, a dot per value, on an axis that all rows
/// share.
pub(super) fn intervals(axis: &Axis, estimates: &[Option<&Estimate>], title: &str) -> String {
    let mut svg = Svg::new("intervals", &format!("{title} with intervals"));
    for (value, _) in &axis.ticks {
        let x = axis.percent(*value);
        svg.line("grid", At { x, y: 0.0 }, At { x, y: 100.0 });
    }
    for (series, estimate) in estimates.iter().enumerate() {
        let y = 100.0 * (series as f64 + 1.0) / (estimates.len() as f64 + 1.0);
        let Some((estimate, value)) = estimate.and_then(|estimate| Some((estimate, estimate.value?))) else { continue };
        if let (Some(low), Some(high)) = (estimate.low, estimate.high) {
            let ends = [low, high].map(|end| At { x: axis.percent(end), y });
            svg.line(&format!("interval s{series}"), ends[0], ends[1]);
        }
        let at = At { x: axis.percent(value), y };
        svg.circle(&format!("value s{series}"), at, 4.5, &format!("{title}: {value:.4}"));
    }
    svg.finish()
}

/// The tick texts under a column of [`intervals`].
pub(super) fn interval_axis(axis: &Axis) -> String {
    let mut svg = Svg::new("intervals ticks", "axis");
    for (value, text) in &axis.ticks {
        svg.text("tick middle", At { x: axis.percent(*value), y: 0.0 }, [0, 13], text);
    }
    svg.finish()
}

/// Score along the candidates of a hyper-parameter, the chosen one marked; `None` for fewer than
/// two scores.
pub(super) fn curve(curve: &Curve, series: usize) -> Option<String> {
    let scored: Vec<(f64, f64)> = curve.points.iter().filter_map(|(value, score)| Some((*value, (*score)?))).collect();
    if scored.len() < 2 {
        return None;
    }
    let candidates: Vec<f64> = scored.iter().map(|point| point.0).collect();
    let (x, y) = (Axis::logarithmic(&candidates), Axis::linear(scored.iter().map(|point| point.1)));
    let at = |(value, score): (f64, f64)| At { x: x.percent(value), y: 100.0 - y.percent(score) };
    let mut svg = Svg::new("plot", &format!("{} along {}", curve.score, curve.parameter));
    svg.frame(&x, &y, [&curve.parameter, &curve.score]);
    for pair in scored.windows(2) {
        svg.line(&format!("curve s{series}"), at(pair[0]), at(pair[1]));
    }
    for &(value, score) in &scored {
        let title = format!("{} = {}: {score:.4}", curve.parameter, shortest(value));
        if value == curve.chosen {
            svg.line(&format!("drop s{series}"), at((value, score)), At { x: x.percent(value), y: 100.0 });
            svg.circle(&format!("chosen s{series}"), at((value, score)), 6.0, &title);
        } else {
            svg.circle(&format!("value s{series}"), at((value, score)), 2.5, &title);
        }
    }
    Some(svg.finish())
}

/// A number in at most four significant digits.
pub(super) fn shortest(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    let decimals = (3 - value.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A line of a reliability diagram.
#[derive(Clone, Copy)]
pub(super) struct ReliabilityLine<'a> {
    pub(super) title: &'a str,
    pub(super) series: usize,
    pub(super) bins: &'a [ReliabilityBin],
    /// Whether it is of the probabilities before they were calibrated.
    pub(super) is_before: bool,
}

/// Stated probability against how often it came true, a line per probe; areas of the dots follow
/// the number of samples.
pub(super) fn reliability(lines: &[ReliabilityLine<'_>]) -> Option<String> {
    let largest = lines.iter().flat_map(|line| line.bins.iter()).map(|bin| bin.n).max().filter(|n| *n > 0)?;
    let mut svg = Svg::new("plot", "reliability diagram");
    svg.frame(&Axis::unit(), &Axis::unit(), ["Stated probability", "Came true"]);
    svg.line("ideal", At { x: 0.0, y: 100.0 }, At { x: 100.0, y: 0.0 });
    for &ReliabilityLine { title, series, bins, is_before } in lines {
        let known: Vec<(At, &ReliabilityBin)> = bins
            .iter()
            .filter_map(|bin| Some((At { x: 100.0 * bin.confidence?, y: 100.0 - 100.0 * bin.accuracy? }, bin)))
            .collect();
        for pair in known.windows(2) {
            let kind = if is_before { "before" } else { "thin" };
            svg.line(&format!("curve {kind} s{series}"), pair[0].0, pair[1].0);
        }
        for (at, bin) in known {
            let radius = 2.0 + 6.0 * (bin.n as f64 / largest as f64).sqrt();
            let title = format!(
                "{title}{}: {} samples, {:.3} stated, {:.3} came true",
                if is_before { " before calibration" } else { "" },
                bin.n,
                at.x / 100.0,
                1.0 - at.y / 100.0
            );
            let class = if is_before { "hollow" } else { "value soft" };
            svg.circle(&format!("{class} s{series}"), at, radius, &title);
        }
    }
    Some(svg.finish())
}

/// Samples on the plane, coloured by class, drawn in the given order.
pub(super) fn plane(plane: &Plane, classes: &[String]) -> String {
    let x = Axis::plain(plane.points.iter().map(|point| point.x));
    let y = Axis::plain(plane.points.iter().map(|point| point.y));
    let mut svg = Svg::new("plot plane", "embeddings on the plane of their first two principal components");
    let names =
        [0, 1].map(|axis| format!("Component {} · {:.1} % of variance", axis + 1, 100.0 * plane.explained[axis]));
    svg.frame(&x, &y, [&names[0], &names[1]]);
    svg.line("axis", At { x: 0.0, y: 0.0 }, At { x: 0.0, y: 100.0 });
    svg.open_group("points");
    for point in &plane.points {
        let (colour, shape) = point.class.map_or(("none".to_owned(), SHAPES[0]), class_mark);
        let name = point.class.and_then(|class| classes.get(class));
        let title = name.map_or_else(|| point.id.clone(), |name| format!("{} ({name})", point.id));
        svg.marker(&colour, shape, At { x: x.percent(point.x), y: 100.0 - y.percent(point.y) }, &title);
    }
    svg.close_group();
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        assert_eq!(
            ["0.1", "0.0316", "20", "123457"],
            [0.1, 0.0316, 20.0, 123_456.7].map(shortest).each_ref().map(|s| s.as_str())
        );
        assert_eq!(shortest(1e-6), "1.00e-6");
    }

    #[test]
    fn a_single_candidate_makes_no_curve() {
        let one =
            Curve { parameter: "k".into(), score: "Accuracy".into(), points: vec![(20.0, Some(0.5))], chosen: 20.0 };
        assert_eq!(curve(&one, 0), None);
    }
}
