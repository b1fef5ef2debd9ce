//! The curves of a training: loss and learning rate along the steps, the deciding metric along the
//! epochs.

use serde::Serialize;

use crate::report::charts::shortest;
use crate::report::record::{Fact, TrainingFacts};
use crate::report::scale::Axis;
use crate::report::svg::{At, Svg};

/// Points of a curve along steps at most: more are averaged.
const MAX_POINTS: usize = 240;

/// What the template sees.
#[derive(Serialize)]
pub(super) struct TrainingView<'a> {
    facts: &'a [Fact],
    loss: Option<String>,
    learning_rate: Option<String>,
    validation: Option<String>,
    metric: &'a str,
}

impl<'a> TrainingView<'a> {
    pub(super) fn new(facts: &'a TrainingFacts) -> Self {
        TrainingView {
            facts: &facts.facts,
            loss: curve(&thinned(&facts.loss), ["Step", "Loss"], None),
            learning_rate: curve(&thinned(&facts.learning_rate), ["Step", "Learning rate"], None),
            validation: curve(&facts.validation, ["Epoch", &facts.metric], Some(facts.best)),
            metric: &facts.metric,
        }
    }
}

/// Means of neighbours, so that few enough points remain.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(MAX_POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let count = part.len() as f64;
        let sum = part.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(each).map(mean).collect()
}

/// A line through points, the one at `chosen` marked; `None` for fewer than two.
fn curve(points: &[(f64, f64)], names: [&str; 2], chosen: Option<f64>) -> Option<String> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|point| point.1.is_finite()).collect();
    if points.len() < 2 {
        return None;
    }
    let (x, y) = (Axis::linear(points.iter().map(|point| point.0)), Axis::linear(points.iter().map(|point| point.1)));
    let at = |point: (f64, f64)| At { x: x.percent(point.0), y: 100.0 - y.percent(point.1) };
    let mut svg = Svg::new("plot", &format!("{} along {}", names[1], names[0]));
    svg.frame(&x, &y, names);
    for pair in points.windows(2) {
        svg.line("curve thin s0", at(pair[0]), at(pair[1]));
    }
    for &point in points.iter().filter(|_| chosen.is_some()) {
        let title = format!("{} {}: {:.4}", names[0], shortest(point.0), point.1);
        if Some(point.0) == chosen {
            svg.circle("chosen s0", at(point), 6.0, &title);
        } else {
            svg.circle("value s0", at(point), 2.5, &title);
        }
    }
    Some(svg.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_become_means_of_their_neighbours() {
        let points: Vec<(f64, f64)> = (0..1000).map(|step| (f64::from(step), f64::from(step % 2))).collect();
        let thinned = thinned(&points);
        assert_eq!(thinned.len(), 200);
        assert_eq!(thinned[0], (2.0, 0.4));
    }
}
