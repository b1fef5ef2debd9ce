//! Writing SVG whose marks are placed in percent: a chart fills its column at any width while text
//! and strokes keep their size.
//!
//! Colours come from the style sheet by class (`s0` ... series, `c0` ... classes), so that charts
//! follow light and dark.

use std::fmt::Write as _;

use crate::report::scale::Axis;

/// A drawing under construction; text is escaped, the rest is ours.
pub(super) struct Svg {
    body: String,
}

/// A position in percent of the drawing, from the top left.
#[derive(Clone, Copy, Debug)]
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
        Svg { body: format!("<svg class=\"{class}\" role=\"img\" aria-label=\"{}\">", escape(label)) }
    }

    pub(super) fn finish(mut self) -> String {
        self.body.push_str("</svg>");
        self.body
    }

    pub(super) fn open_group(&mut self, class: &str) {
        self.push(format_args!("<g class=\"{class}\">"));
    }

    pub(super) fn close_group(&mut self) {
        self.body.push_str("</g>");
    }

    pub(super) fn line(&mut self, class: &str, from: At, to: At) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{:.2}%\" y1=\"{:.2}%\" x2=\"{:.2}%\" y2=\"{:.2}%\"/>",
            from.x, from.y, to.x, to.y
        ));
    }

    /// A circle of `radius` pixels; pointing at it shows `title`.
    pub(super) fn circle(&mut self, class: &str, at: At, radius: f64, title: &str) {
        self.push(format_args!("<circle class=\"{class}\" cx=\"{:.2}%\" cy=\"{:.2}%\" r=\"{radius:.1}\">", at.x, at.y));
        self.title(title);
        self.body.push_str("</circle>");
    }

    /// A copy of the page's marker `shape`.
    pub(super) fn marker(&mut self, class: &str, shape: &str, at: At, title: &str) {
        self.push(format_args!("<use class=\"{class}\" href=\"#{shape}\" x=\"{:.2}%\" y=\"{:.2}%\">", at.x, at.y));
        self.title(title);
        self.body.push_str("</use>");
    }

    /// Text moved by `shift` pixels.
    pub(super) fn text(&mut self, class: &str, at: At, shift: [i32; 2], text: &str) {
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{:.2}%\" y=\"{:.2}%\" dx=\"{}\" dy=\"{}\">{}</text>",
            at.x,
            at.y,
            shift[0],
            shift[1],
            escape(text)
        ));
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

    fn title(&mut self, title: &str) {
        if !title.is_empty() {
            self.push(format_args!("<title>{}</title>", escape(title)));
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(text);
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
