//! How marks look outside of a page: the colours and widths that `style.css` gives their classes in
//! light, as values.

/// A colour, red, green and blue from 0 to 255.
pub(super) type Rgb = [u8; 3];

pub(super) const GROUND: Rgb = [0xff; 3];
pub(super) const INK: Rgb = [0x19, 0x1d, 0x24];
const SOFT: Rgb = [0x5b, 0x64, 0x72];
const FAINT: Rgb = [0x8a, 0x93, 0xa1];
const GRID: Rgb = [0xec, 0xee, 0xf2];
/// The dark end of heat maps.
const ACCENT: Rgb = [61, 76, 159];
/// Series; marker shapes tell those of one colour apart.
pub(super) const SERIES: [Rgb; 8] = [
    [0x3d, 0x4c, 0x9f],
    [0xc4, 0x50, 0x0a],
    [0x00, 0x80, 0x5e],
    [0x8a, 0x4a, 0x78],
    [0x1f, 0x8a, 0xc0],
    [0x9a, 0x76, 0x00],
    [0xb8, 0x32, 0x4e],
    [0x56, 0x5d, 0x68],
];

/// Where text stands to its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// The look of a mark.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Style {
    pub(super) stroke: Option<Rgb>,
    /// Pixels.
    pub(super) width: f64,
    /// Lengths of dashes and gaps in pixels; 0 for a line without gaps.
    pub(super) dash: [f64; 2],
    pub(super) fill: Rgb,
    pub(super) opacity: f64,
    /// Of text, in pixels.
    pub(super) size: f64,
    pub(super) anchor: Anchor,
}

impl Style {
    /// Of the classes of a mark, separated by blanks.
    pub(super) fn new(classes: &str) -> Style {
        let mut style = Style {
            stroke: None,
            width: 1.0,
            dash: [0.0; 2],
            fill: INK,
            opacity: 1.0,
            size: 12.0,
            anchor: Anchor::Start,
        };
        let series = classes.split(' ').find_map(series).unwrap_or(INK);
        for class in classes.split(' ') {
            match class {
                "grid" => style.stroke = Some(GRID),
                "axis" => style.stroke = Some(FAINT),
                "ideal" => (style.stroke, style.dash) = (Some(FAINT), [4.0, 4.0]),
                "curve" | "interval" => (style.stroke, style.width) = (Some(series), 2.0),
                "spread" => (style.stroke, style.width) = (Some(series), 1.4),
                "bar" => (style.stroke, style.width) = (Some(INK), 4.0),
                "value" => style.fill = series,
                "tick" | "name" => style.fill = SOFT,
                "over" => style.fill = GROUND,
                "middle" => style.anchor = Anchor::Middle,
                "end" => style.anchor = Anchor::End,
                _ => {}
            }
        }
        style
    }

    /// Of a cell of a heat map.
    pub(super) fn cell(share: f64) -> Style {
        let mix = |at: usize| {
            let (light, dark) = (f64::from(GROUND[at]), f64::from(ACCENT[at]));
            (light + (dark - light) * share.clamp(0.0, 1.0)).round() as u8
        };
        Style { fill: [mix(0), mix(1), mix(2)], ..Style::new("") }
    }
}

fn series(class: &str) -> Option<Rgb> {
    let number: usize = class.strip_prefix('s')?.parse().ok()?;
    SERIES.get(number).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first value of each variable in the style sheet, which is that of light pages.
    #[test]
    fn colours_are_those_of_the_style_sheet() {
        let sheet = include_str!("style.css");
        let colours = [("ground", GROUND), ("ink", INK), ("soft", SOFT), ("faint", FAINT), ("grid", GRID)];
        let series = SERIES.iter().enumerate().map(|(number, colour)| (format!("s{number}"), *colour));
        for (name, [r, g, b]) in colours.map(|(name, colour)| (name.to_owned(), colour)).into_iter().chain(series) {
            let start = sheet.find(&format!("--{name}: #")).unwrap_or_else(|| panic!("no --{name}")) + name.len() + 4;
            assert_eq!(sheet[start..start + 7], format!("#{r:02x}{g:02x}{b:02x}"), "{name}");
        }
        assert!(sheet.contains(&format!("--accent: {} {} {};", ACCENT[0], ACCENT[1], ACCENT[2])));
        assert_eq!(Style::new("curve s1").stroke, Some(SERIES[1]));
        assert_eq!(Style::cell(1.0).fill, ACCENT);
    }
}
