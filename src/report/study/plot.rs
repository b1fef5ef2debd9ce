//! The kinds of charts that the figures of a study are: lines with spreads, points, named rows, and
//! cells of a matrix.

use crate::report::charts::shortest;
use crate::report::scale::Axis;
use crate::report::sheet::{Panel, PanelShape, class_of, shape_of};
use crate::report::style::SERIES;
use crate::report::svg::{At, Svg};

/// Height of a named row in a page, in pixels.
const ROW: usize = 30;
/// Rows and columns up to which a matrix states its numbers.
const MAX_NUMBERED: usize = 8;

/// A value with its spread, somewhere along an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Standard deviation over repeats.
    pub(super) deviation: Option<f64>,
    /// What it is, in words.
    pub(super) title: String,
}

/// Points of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) series: usize,
    pub(super) points: Vec<Point>,
}

/// A named value, or several on one row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) line: Line,
}

/// The names of the two axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisNames<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// Lines, or points where they are not `joined`; `None` without any point.
pub(super) fn lines(title: &str, lines: &[Line], x: &Axis, names: AxisNames<'_>, joined: bool) -> Option<Panel> {
    let ends = || lines.iter().flat_map(|line| &line.points).flat_map(ends);
    ends().next()?;
    let y = Axis::linear(ends());
    let mut svg = Svg::new("plot", &format!("{title}: {} along {}", names.y, names.x));
    svg.frame(x, &y, [names.x, names.y]);
    for line in lines {
        let colour = colour(line.series);
        let at = |point: &Point, value: f64| At { x: x.percent(point.x), y: 100.0 - y.percent(value) };
        for pair in line.points.windows(2).filter(|_| joined) {
            svg.line(&format!("curve {colour}"), at(&pair[0], pair[0].y), at(&pair[1], pair[1].y));
        }
        for point in &line.points {
            if let Some(deviation) = point.deviation {
                let ends = [point.y - deviation, point.y + deviation].map(|end| at(point, end));
                svg.line(&format!("spread {colour}"), ends[0], ends[1]);
            }
            svg.marker(&class_of(line.series), shape_of(line.series), at(point, point.y), &point.title);
        }
    }
    Some(Panel { title: title.to_owned(), svg, shape: PanelShape::Plot })
}

/// Named rows over the axis of their values, the first on top; the `x` of their points is not
/// looked at. `None` without any point.
pub(super) fn rows(title: &str, rows: &[Row], axis: Option<Axis>, name: &str) -> Option<Panel> {
    let ends = || rows.iter().flat_map(|row| &row.line.points).flat_map(ends);
    ends().next()?;
    let axis = axis.unwrap_or_else(|| Axis::linear(ends()));
    let mut svg = Svg::new("plot rows", &format!("{title}: {name}")).with_height(ROW * rows.len().max(2));
    for (value, text) in &axis.ticks {
        let x = axis.percent(*value);
        svg.line("grid", At { x, y: 0.0 }, At { x, y: 100.0 });
        svg.text("tick middle", At { x, y: 100.0 }, [0, 20], text);
    }
    svg.line("axis", At { x: 0.0, y: 100.0 }, At { x: 100.0, y: 100.0 });
    svg.text("name middle", At { x: 50.0, y: 100.0 }, [0, 42], name);
    for (at, row) in rows.iter().enumerate() {
        let y = 100.0 * (at as f64 + 0.5) / rows.len() as f64;
        svg.text("tick end", At { x: 0.0, y }, [-10, 4], &row.name);
        for point in &row.line.points {
            if let Some(deviation) = point.deviation {
                let ends = [point.y - deviation, point.y + deviation].map(|end| At { x: axis.percent(end), y });
                svg.line(&format!("spread {}", colour(row.line.series)), ends[0], ends[1]);
            }
            let place = At { x: axis.percent(point.y), y };
            svg.marker(&class_of(row.line.series), shape_of(row.line.series), place, &point.title);
        }
    }
    Some(Panel { title: title.to_owned(), svg, shape: PanelShape::Rows(rows.len()) })
}

/// A matrix of values from 0 to 1 as cells, the first row on top.
pub(super) fn matrix(title: &str, rows: &[String], columns: &[String], values: &[Vec<Option<f64>>]) -> Panel {
    let mut svg = Svg::new("plot square", &format!("{title}: {} by {} similarities", rows.len(), columns.len()));
    let (height, width) = (100.0 / rows.len().max(1) as f64, 100.0 / columns.len().max(1) as f64);
    let numbered = rows.len().max(columns.len()) <= MAX_NUMBERED;
    for (row, line) in values.iter().enumerate() {
        for (column, value) in line.iter().enumerate() {
            let Some(value) = *value else { continue };
            let from = At { x: width * column as f64, y: height * row as f64 };
            let to = At { x: from.x + width, y: from.y + height };
            svg.cell(from, to, value.clamp(0.0, 1.0), &format!("{}, {}: {value:.3}", rows[row], columns[column]));
            if numbered {
                let class = if value > 0.55 { "number over middle" } else { "number middle" };
                let middle = At { x: from.x + width / 2.0, y: from.y + height / 2.0 };
                svg.text(class, middle, [0, 4], &format!("{value:.2}"));
            }
        }
    }
    for (value, name) in &Axis::places(rows).ticks {
        svg.text("tick end", At { x: 0.0, y: height * (value + 0.5) }, [-8, 4], name);
    }
    for (value, name) in &Axis::places(columns).ticks {
        svg.text("tick middle", At { x: width * (value + 0.5), y: 100.0 }, [0, 18], name);
    }
    svg.text("name middle", At { x: 50.0, y: 100.0 }, [0, 42], "faint 0, strong 1");
    Panel { title: title.to_owned(), svg, shape: PanelShape::Square }
}

/// The ends of a point's spread.
fn ends(point: &Point) -> [f64; 2] {
    let deviation = point.deviation.unwrap_or(0.0);
    [point.y - deviation, point.y + deviation]
}

fn colour(series: usize) -> String {
    format!("s{}", series % SERIES.len())
}

/// A share of labels as a tick: `5 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{} %", shortest(100.0 * share))
}

/// A large number as a tick: `86M`, `2B`.
pub(super) fn magnitude(number: f64) -> String {
    for (unit, size) in [("B", 1e9), ("M", 1e6), ("k", 1e3)] {
        if number >= size {
            return format!("{}{unit}", shortest(number / size));
        }
    }
    shortest(number)
}
