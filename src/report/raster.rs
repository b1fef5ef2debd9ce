//! Figures as PNG: lines, discs and convex polygons by their distance functions, text in a TrueType
//! font of the system.
//!
//! A library that renders any SVG (`resvg` with text) took 130 s of one core to compile, for four
//! shapes; this takes 7 s, those of `ab_glyph`.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::OnceLock;

use ab_glyph::{Font as _, FontVec, PxScale, ScaleFont as _, point};
use image::{ImageFormat, Rgb, RgbImage};
use walkdir::WalkDir;

use crate::report::sheet::{Shape, Sheet};
use crate::report::style::{Anchor, GROUND, INK, Style};

/// Pixels of the picture for one of the sheet.
const SCALE: f64 = 2.0;
/// Where systems keep fonts.
const FOLDERS: [&str; 5] =
    ["/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts", "C:\\Windows\\Fonts"];
/// Fonts that are taken, the first of them that is there.
const FONTS: [&str; 8] = [
    "LiberationSans-Regular.ttf",
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "Roboto-Regular.ttf",
    "Helvetica.ttc",
    "segoeui.ttf",
];

/// The picture of a sheet; `None` where the system has no font that is known here.
pub(super) fn png(sheet: &Sheet) -> Option<Vec<u8>> {
    let font = font()?;
    let pixels = |length: f64| (length * SCALE).ceil() as u32;
    let mut canvas = Canvas { image: RgbImage::from_pixel(pixels(sheet.width), pixels(sheet.height), Rgb(GROUND)) };
    sheet.shapes.iter().for_each(|shape| canvas.draw(shape, Some(font)));
    let mut bytes = Cursor::new(Vec::new());
    canvas.image.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

/// The font of all text, found once.
fn font() -> Option<&'static FontVec> {
    static FONT: OnceLock<Option<FontVec>> = OnceLock::new();
    FONT.get_or_init(|| {
        let mut found: Vec<(usize, PathBuf)> = FOLDERS
            .iter()
            .flat_map(|folder| WalkDir::new(folder).max_depth(4).sort_by_file_name())
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().to_str()?;
                Some((FONTS.iter().position(|font| *font == name)?, entry.into_path()))
            })
            .collect();
        found.sort();
        found.into_iter().find_map(|(_, path)| FontVec::try_from_vec_and_index(std::fs::read(path).ok()?, 0).ok())
    })
    .as_ref()
}

struct Canvas {
    image: RgbImage,
}

impl Canvas {
    fn draw(&mut self, shape: &Shape, font: Option<&FontVec>) {
        match shape {
            Shape::Line { from, to, style } => self.line(from.map(scaled), to.map(scaled), style),
            Shape::Circle { at, radius, style } => {
                let (at, radius) = (at.map(scaled), radius * SCALE);
                self.fill([at, at], radius, style, |p| distance(p, at) - radius);
            }
            Shape::Polygon { corners, style } => {
                let corners: Vec<[f64; 2]> = corners.iter().map(|corner| corner.map(scaled)).collect();
                let ends = |pick: fn(f64, f64) -> f64, start: f64| {
                    corners.iter().fold([start; 2], |end, corner| [pick(end[0], corner[0]), pick(end[1], corner[1])])
                };
                let bounds = [ends(f64::min, f64::INFINITY), ends(f64::max, f64::NEG_INFINITY)];
                self.fill(bounds, 0.0, style, |p| outside(&corners, p));
            }
            Shape::Text { at, text, style } => {
                font.into_iter().for_each(|font| self.text(at.map(scaled), text, style, font));
            }
        }
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], style: &Style) {
        let style = Style { fill: style.stroke.unwrap_or(INK), ..style.clone() };
        let (radius, length) = (style.width * SCALE / 2.0, distance(from, to));
        let [dash, gap] = style.dash.map(scaled);
        let pieces = if dash > 0.0 { (length / (dash + gap)).ceil() as usize } else { 1 };
        let along = |part: f64| {
            let share = if length > 0.0 { (part / length).min(1.0) } else { 0.0 };
            [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share]
        };
        for piece in 0..pieces {
            let start = piece as f64 * (dash + gap);
            let (a, b) = if dash > 0.0 { (along(start), along(start + dash)) } else { (from, to) };
            let corners = [[a[0].min(b[0]), a[1].min(b[1])], [a[0].max(b[0]), a[1].max(b[1])]];
            self.fill(corners, radius, &style, |p| from_segment(p, a, b) - radius);
        }
    }

    /// Paints where `signed`, the distance to the shape, is below 0, half a pixel of it soft, within
    /// `margin` of a rectangle.
    fn fill(&mut self, bounds: [[f64; 2]; 2], margin: f64, style: &Style, signed: impl Fn([f64; 2]) -> f64) {
        let low = bounds[0].map(|value| (value - margin - 1.0).floor().max(0.0) as u32);
        let high = bounds[1].map(|value| (value + margin + 2.0).max(0.0) as u32);
        for y in low[1]..high[1].min(self.image.height()) {
            for x in low[0]..high[0].min(self.image.width()) {
                let cover = 0.5 - signed([f64::from(x) + 0.5, f64::from(y) + 0.5]);
                self.blend([x, y], style, cover.clamp(0.0, 1.0));
            }
        }
    }

    fn blend(&mut self, [x, y]: [u32; 2], style: &Style, cover: f64) {
        let share = cover * style.opacity;
        if share > 0.0 && x < self.image.width() && y < self.image.height() {
            let pixel = self.image.get_pixel_mut(x, y);
            for (value, target) in pixel.0.iter_mut().zip(style.fill) {
                *value = (f64::from(*value) + (f64::from(target) - f64::from(*value)) * share).round() as u8;
            }
        }
    }

    fn text(&mut self, at: [f64; 2], text: &str, style: &Style, font: &FontVec) {
        let scale = PxScale::from((style.size * SCALE * 1.16) as f32);
        let sized = font.as_scaled(scale);
        let width: f32 = text.chars().map(|character| sized.h_advance(font.glyph_id(character))).sum();
        let start = match style.anchor {
            Anchor::Start => at[0] as f32,
            Anchor::Middle => at[0] as f32 - width / 2.0,
            Anchor::End => at[0] as f32 - width,
        };
        let mut x = start;
        for character in text.chars() {
            let glyph = font.glyph_id(character);
            if let Some(outline) = font.outline_glyph(glyph.with_scale_and_position(scale, point(x, at[1] as f32))) {
                let corner = outline.px_bounds().min;
                outline.draw(|dx, dy, cover| {
                    let place = [corner.x as i64 + i64::from(dx), corner.y as i64 + i64::from(dy)];
                    if let [Ok(x), Ok(y)] = place.map(u32::try_from) {
                        self.blend([x, y], style, f64::from(cover));
                    }
                });
            }
            x += sized.h_advance(glyph);
        }
    }
}

fn scaled(length: f64) -> f64 {
    length * SCALE
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// From a point to a segment.
fn from_segment(p: [f64; 2], a: [f64; 2], b: [f64; 2]) -> f64 {
    let along = [b[0] - a[0], b[1] - a[1]];
    let square = along[0].powi(2) + along[1].powi(2);
    let share = if square > 0.0 { ((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / square } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    distance(p, [a[0] + share * along[0], a[1] + share * along[1]])
}

/// How far a point is outside of the edges of a convex polygon whose corners go clockwise on the
/// screen.
fn outside(corners: &[[f64; 2]], p: [f64; 2]) -> f64 {
    let edge = |at: usize| {
        let (a, b) = (corners[at], corners[(at + 1) % corners.len()]);
        let along = [b[0] - a[0], b[1] - a[1]];
        ((p[0] - a[0]) * along[1] - (p[1] - a[1]) * along[0]) / distance(a, b).max(f64::MIN_POSITIVE)
    };
    (0..corners.len()).map(edge).fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::style::SERIES;

    #[test]
    fn shapes_cover_what_is_inside_of_them() {
        let sheet = Sheet {
            width: 20.0,
            height: 10.0,
            shapes: vec![
                Shape::Polygon {
                    corners: vec![[1.0, 1.0], [5.0, 1.0], [5.0, 5.0], [1.0, 5.0]],
                    style: Style::new("value s0"),
                },
                Shape::Circle { at: [10.0, 5.0], radius: 3.0, style: Style::new("value s1") },
                Shape::Line { from: [15.0, 2.0], to: [15.0, 8.0], style: Style::new("curve s2") },
            ],
        };
        let mut canvas = Canvas { image: RgbImage::from_pixel(40, 20, Rgb(GROUND)) };
        sheet.shapes.iter().for_each(|shape| canvas.draw(shape, None));
        let at = |x: u32, y: u32| canvas.image.get_pixel(x, y).0;
        assert_eq!([at(3, 3), at(20, 10), at(30, 10)], [SERIES[0], SERIES[1], SERIES[2]]);
        assert_eq!([at(12, 3), at(20, 2), at(34, 10)], [GROUND; 3]);
    }
}
