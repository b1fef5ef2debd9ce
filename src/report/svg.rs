//! Drawings whose marks are placed in percent: in a page, a chart fills its column at any width
//! while text and strokes keep their size.
//!
//! Colours come from the style sheet by class (`s0` ... series, `c0` ... classes), so that charts
//! follow light and dark; a [`Sheet`](crate::report::sheet::Sheet) gives the same marks pixels and
//! colours of their own.

use std::fmt::Write as _;

use crate::report::scale::Axis;

/// A drawing under construction.
#[derive(Clone, Debug)]
pub(super) struct Svg {
    class: String,
    label: String,
    /// Pixels, where the style sheet does not say.
    height: Option<usize>,
    pub(super) marks: Vec<Mark>,
}

/// What is drawn; `class` says how it looks.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    /// The marks up to the next `GroupEnd` share a class.
    Group { class: String },
    /// Ends a group.
    GroupEnd,
    /// A line.
    Line { class: String, from: At, to: At },
    /// A circle of `radius` pixels; pointing at it shows `title`.
    Circle { class: String, at: At, radius: f64, title: String },
    /// A copy of the page's marker `shape`.
    Marker { class: String, shape: &'static str, at: At, title: String },
    /// A cell of a heat map between two corners, `share` of its colour from 0 to 1.
    Cell { from: At, to: At, share: f64, title: String },
    /// Text moved by `shift` pixels.
    Text { class: String, at: At, shift: [i32; 2], text: String },
}

/// A position in percent of the drawing, from the top left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct At {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Replaces the characters that mean something in HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

impl Svg {
    /// A drawing of CSS class `class` that `label` describes for those who do not see it.
    pub(super) fn new(class: &str, label: &str) -> Self {
        Svg { class: class.to_owned(), label: label.to_owned(), height: None, marks: Vec::new() }
    }

    /// The same, so many pixels high.
    pub(super) fn with_height(mut self, height: usize) -> Self {
        self.height = Some(height);
        self
    }

    pub(super) fn open_group(&mut self, class: &str) {
        self.marks.push(Mark::Group { class: class.to_owned() });
    }

    pub(super) fn close_group(&mut self) {
        self.marks.push(Mark::GroupEnd);
    }

    pub(super) fn line(&mut self, class: &str, from: At, to: At) {
        self.marks.push(Mark::Line { class: class.to_owned(), from, to });
    }

    pub(super) fn circle(&mut self, class: &str, at: At, radius: f64, title: &str) {
        self.marks.push(Mark::Circle { class: class.to_owned(), at, radius, title: title.to_owned() });
    }

    pub(super) fn marker(&mut self, class: &str, shape: &'static str, at: At, title: &str) {
        self.marks.push(Mark::Marker { class: class.to_owned(), shape, at, title: title.to_owned() });
    }

    pub(super) fn cell(&mut self, from: At, to: At, share: f64, title: &str) {
        self.marks.push(Mark::Cell { from, to, share, title: title.to_owned() });
    }

    pub(super) fn text(&mut self, class: &str, at: At, shift: [i32; 2], text: &str) {
        self.marks.push(Mark::Text { class: class.to_owned(), at, shift, text: text.to_owned() });
    }

    /// Grid lines, tick texts and names of both axes.
    pub(super) fn frame(&mut self, x: &Axis, y: &Axis, names: [&str; 2]) {
        for (value, text) in &y.ticks {
            let at = 100.0 - y.percent(*value);
            self.line("grid", At { x: 0.0, y: at }, At { x: 100.0, y: at });
            self.text("tick end", At { x: 0.0, y: at }, [-10, 4], text);
        }
        self.line("axis", At { x: 0.0, y: 100.0 }, At { x: 100.0, y: 100.0 });
        for (value, text) in &x.ticks {
            let at = At { x: x.percent(*value), y: 100.0 };
            self.text("tick middle", at, [0, 20], text);
        }
        self.text("name middle", At { x: 50.0, y: 100.0 }, [0, 42], names[0]);
        self.text("name start", At { x: 0.0, y: 0.0 }, [-40, -14], names[1]);
    }

    /// The drawing as an element of a page; text is escaped, the rest is ours.
    pub(super) fn finish(self) -> String {
        let label = escape(&self.label);
        let style = self.height.map_or(String::new(), |height| format!(" style=\"height:{height}px\""));
        let mut out = format!("<svg class=\"{}\"{style} role=\"img\" aria-label=\"{label}\">", self.class);
        for mark in &self.marks {
            // Writing to a string cannot fail.
            let _ = write!(out, "{mark}");
        }
        out + "</svg>"
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |title: &str| match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escape(title)),
        };
        match self {
            Mark::Group { class } => write!(f, "<g class=\"{class}\">"),
            Mark::GroupEnd => f.write_str("</g>"),
            Mark::Line { class, from: At { x, y }, to } => write!(
                f,
                "<line class=\"{class}\" x1=\"{x:.2}%\" y1=\"{y:.2}%\" x2=\"{:.2}%\" y2=\"{:.2}%\"/>",
                to.x, to.y
            ),
            Mark::Circle { class, at: At { x, y }, radius, title } => {
                let title = named(title);
                write!(f, "<circle class=\"{class}\" cx=\"{x:.2}%\" cy=\"{y:.2}%\" r=\"{radius:.1}\">{title}</circle>")
            }
            Mark::Marker { class, shape, at: At { x, y }, title } => {
                let title = named(title);
                write!(f, "<use class=\"{class}\" href=\"#{shape}\" x=\"{x:.2}%\" y=\"{y:.2}%\">{title}</use>")
            }
            Mark::Cell { from: At { x, y }, to, share, title } => {
                let (width, height) = (to.x - x, to.y - y);
                write!(
                    f,
                    "<rect class=\"cell\" fill-opacity=\"{share:.3}\" x=\"{x:.2}%\" y=\"{y:.2}%\" \
                     width=\"{width:.2}%\" height=\"{height:.2}%\">{}</rect>",
                    named(title)
                )
            }
            Mark::Text { class, at: At { x, y }, shift: [dx, dy], text } => {
                let text = escape(text);
                write!(f, "<text class=\"{class}\" x=\"{x:.2}%\" y=\"{y:.2}%\" dx=\"{dx}\" dy=\"{dy}\">{text}</text>")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_outside_cannot_leave_their_text() {
        let mut svg = Svg::new("plot", "\"><script>");
        svg.text("tick", At { x: 0.0, y: 0.0 }, [0, 0], "</text><script>alert('x')</script>");
        svg.circle("c0", At { x: 0.0, y: 0.0 }, 1.0, "a & b < c");
        let text = svg.finish();
        assert!(!text.contains("<script>") && text.contains("a &amp; b &lt; c"), "{text}");
    }
}
