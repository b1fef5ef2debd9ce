//! Figures as files of their own: panels side by side with title and legend, in pixels and colours
//! that need no style sheet, as SVG here and as PNG in [`raster`](crate::report::raster).

use std::fmt::Write as _;

use crate::report::charts::SHAPES;
use crate::report::style::{Anchor, GROUND, INK, Rgb, Style};
use crate::report::svg::{At, Mark, Svg, escape};

/// Width of the plot of a panel, in pixels, and its height.
const PLOT: [f64; 2] = [300.0, 210.0];
/// Room for names and ticks: left, top, right, below.
const ROOM: [f64; 4] = [70.0, 56.0, 24.0, 62.0];
/// Room for names of rows, where a panel has rows instead of a vertical axis.
const ROW_NAMES: f64 = 130.0;
const HEADING: f64 = 44.0;
const LEGEND: f64 = 190.0;
const LINE: f64 = 22.0;

/// Several panels that are one picture.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    /// Name of its files, without extension.
    pub(super) name: String,
    /// What it shows.
    pub(super) title: String,
    /// How to read it, and what is not in it.
    pub(super) caption: String,
    pub(super) panels: Vec<Panel>,
    /// Panels of a row.
    pub(super) columns: usize,
    /// Names of the series, by their number; empty where there is nothing to tell apart.
    pub(super) legend: Vec<LegendEntry>,
}

/// One chart of a figure.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) svg: Svg,
    pub(super) shape: PanelShape,
}

/// What a panel needs room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PanelShape {
    /// A plot with two axes.
    Plot,
    /// So many named rows over one axis.
    Rows(usize),
    /// A square of cells with named rows and columns.
    Square,
}

/// A series and its name.
#[derive(Clone, Debug)]
pub(super) struct LegendEntry {
    pub(super) text: String,
    pub(super) series: usize,
}

/// A figure in pixels.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
}

/// Something with a place in pixels from the top left.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Line {
        from: [f64; 2],
        to: [f64; 2],
        style: Style,
    },
    Circle {
        at: [f64; 2],
        radius: f64,
        style: Style,
    },
    /// A convex polygon.
    Polygon {
        corners: Vec<[f64; 2]>,
        style: Style,
    },
    /// `at` is on the base line.
    Text {
        at: [f64; 2],
        text: String,
        style: Style,
    },
}

impl PanelShape {
    /// Width and height of the plot, in pixels.
    fn plot(self) -> [f64; 2] {
        match self {
            PanelShape::Plot => PLOT,
            PanelShape::Rows(rows) => [PLOT[0], 30.0 * rows.max(2) as f64],
            PanelShape::Square => [PLOT[0], PLOT[0]],
        }
    }

    fn left(self) -> f64 {
        if self == PanelShape::Plot { ROOM[0] } else { ROW_NAMES }
    }
}

impl Sheet {
    /// Lays a figure out.
    pub(super) fn new(figure: &Figure) -> Sheet {
        let columns = figure.columns.clamp(1, figure.panels.len().max(1));
        let room = |panel: &Panel| {
            let [width, height] = panel.shape.plot();
            [panel.shape.left() + width + ROOM[2], ROOM[1] + height + ROOM[3]]
        };
        let largest = |at: usize| figure.panels.iter().map(|panel| room(panel)[at]).fold(0.0, f64::max);
        let (width, height) = (largest(0), largest(1));
        let rows = figure.panels.len().div_ceil(columns);
        let legend = if figure.legend.is_empty() { 0.0 } else { LEGEND };
        let below = HEADING + LINE * figure.legend.len() as f64 + ROOM[1];
        let mut sheet = Sheet {
            width: width * columns as f64 + legend,
            height: (HEADING + height * rows as f64).max(below),
            shapes: Vec::new(),
        };
        sheet.text([18.0, 28.0], &figure.title, Style { size: 17.0, ..Style::new("") });
        for (at, panel) in figure.panels.iter().enumerate() {
            let corner = [width * (at % columns) as f64, HEADING + height * (at / columns) as f64];
            let origin = [corner[0] + panel.shape.left(), corner[1] + ROOM[1]];
            sheet.text([origin[0], corner[1] + 18.0], &panel.title, Style { size: 14.0, ..Style::new("") });
            sheet.place(&panel.svg, origin, panel.shape.plot());
        }
        for (at, entry) in figure.legend.iter().enumerate() {
            let at = [width * columns as f64 + 14.0, HEADING + ROOM[1] + LINE * at as f64];
            sheet.marker(shape_of(entry.series), at, Style::new(&class_of(entry.series)));
            sheet.text([at[0] + 14.0, at[1] + 4.0], &entry.text, Style::new(""));
        }
        sheet
    }

    fn text(&mut self, at: [f64; 2], text: &str, style: Style) {
        self.shapes.push(Shape::Text { at, text: text.to_owned(), style });
    }

    /// Marks in percent of a plot.
    fn place(&mut self, svg: &Svg, origin: [f64; 2], size: [f64; 2]) {
        let pixels = |at: At| [origin[0] + at.x / 100.0 * size[0], origin[1] + at.y / 100.0 * size[1]];
        for mark in &svg.marks {
            match mark {
                Mark::Group { .. } | Mark::GroupEnd => {}
                Mark::Line { class, from, to } => {
                    self.shapes.push(Shape::Line { from: pixels(*from), to: pixels(*to), style: Style::new(class) });
                }
                Mark::Circle { class, at, radius, .. } => {
                    let (at, radius) = (pixels(*at), *radius);
                    self.shapes.push(Shape::Circle { at, radius, style: Style::new(class) });
                }
                Mark::Marker { class, shape, at, .. } => self.marker(shape, pixels(*at), Style::new(class)),
                Mark::Cell { from, to, share, .. } => {
                    let ([left, top], [right, bottom]) = (pixels(*from), pixels(*to));
                    let corners = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
                    self.shapes.push(Shape::Polygon { corners, style: Style::cell(*share) });
                }
                Mark::Text { class, at, shift, text } => {
                    let [x, y] = pixels(*at);
                    self.text([x + f64::from(shift[0]), y + f64::from(shift[1])], text, Style::new(class));
                }
            }
        }
    }

    /// The shapes that pages define as `dot`, `square`, `triangle` and `diamond`, a little larger.
    fn marker(&mut self, shape: &str, at: [f64; 2], style: Style) {
        let corners: &[[f64; 2]] = match shape {
            "square" => &[[-3.4, -3.4], [3.4, -3.4], [3.4, 3.4], [-3.4, 3.4]],
            "triangle" => &[[0.0, -4.6], [4.4, 3.2], [-4.4, 3.2]],
            "diamond" => &[[0.0, -4.8], [4.8, 0.0], [0.0, 4.8], [-4.8, 0.0]],
            _ => return self.shapes.push(Shape::Circle { at, radius: 3.8, style }),
        };
        let corners = corners.iter().map(|[x, y]| [at[0] + x, at[1] + y]).collect();
        self.shapes.push(Shape::Polygon { corners, style });
    }

    /// An SVG file.
    pub(super) fn svg(&self, label: &str) -> String {
        let (width, height) = (self.width, self.height);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"Helvetica, Arial, sans-serif\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n",
            escape(label),
            hex(GROUND)
        );
        for shape in &self.shapes {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{shape}");
        }
        out + "</svg>\n"
    }
}

/// The classes of the marks of a series: colours repeat after [`SERIES`](super::style::SERIES).
pub(super) fn class_of(series: usize) -> String {
    format!("value s{}", series % crate::report::style::SERIES.len())
}

/// The marker of a series.
pub(super) fn shape_of(series: usize) -> &'static str {
    SHAPES[series % SHAPES.len()]
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Line { from, to, style } => {
                let (stroke, width) = (hex(style.stroke.unwrap_or(INK)), style.width);
                let [x1, y1, x2, y2] = [from[0], from[1], to[0], to[1]].map(|value| format!("{value:.2}"));
                write!(f, "<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" stroke=\"{stroke}\" ")?;
                write!(f, "stroke-width=\"{width}\" stroke-linecap=\"round\"")?;
                if style.dash[0] > 0.0 {
                    write!(f, " stroke-dasharray=\"{} {}\"", style.dash[0], style.dash[1])?;
                }
                f.write_str("/>")
            }
            Shape::Circle { at, radius, style } => {
                let fill = hex(style.fill);
                write!(f, "<circle cx=\"{:.2}\" cy=\"{:.2}\" r=\"{radius:.1}\" fill=\"{fill}\"/>", at[0], at[1])
            }
            Shape::Polygon { corners, style } => {
                let points: Vec<String> = corners.iter().map(|[x, y]| format!("{x:.2},{y:.2}")).collect();
                write!(f, "<polygon points=\"{}\" fill=\"{}\"/>", points.join(" "), hex(style.fill))
            }
            Shape::Text { at, text, style } => {
                let anchor = match style.anchor {
                    Anchor::Start => "start",
                    Anchor::Middle => "middle",
                    Anchor::End => "end",
                };
                let (fill, size, text) = (hex(style.fill), style.size, escape(text));
                let place = format!("x=\"{:.2}\" y=\"{:.2}\"", at[0], at[1]);
                write!(f, "<text {place} font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\">{text}</text>")
            }
        }
    }
}
