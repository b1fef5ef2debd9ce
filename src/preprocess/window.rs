//! How deep grey values become shades: the choice of a window.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, PixelError, Result};

/// Which grey values become black and white, and what happens between. As text: `file`, `full`,
/// `percentiles:LOW,HIGH`, or `CENTER/WIDTH` with `:exact` or `:sigmoid` behind it where the window
/// is not linear as DICOM's default is.
///
/// It applies to grey DICOM images, in the units that the file's rescaling gives (Hounsfield for
/// CT), and to grey images of 16 bits in other formats, whose values `file` and `full` leave as
/// they are. Colours are never changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Window {
    /// What the file says: its first VOI lookup table, otherwise its first window. Where it says
    /// nothing, all values that its bits can hold up to 8 bits, and the smallest to the largest
    /// value of the image above.
    #[default]
    File,
    /// All values that the file's bits can hold.
    Full,
    /// From one percentile of the image's values to another, linearly interpolated as numpy does;
    /// pixel padding is left out.
    Percentiles {
        /// The percentile that becomes black, 0 to 100.
        low: f64,
        /// The percentile that becomes white, above `low`, up to 100.
        high: f64,
    },
    /// A stated window.
    Fixed {
        /// The value that becomes medium grey.
        center: f64,
        /// How many values there are between black and white, above 0.
        width: f64,
        /// How values become shades.
        function: WindowFunction,
    },
}

/// How values of a window become shades (DICOM PS3.3, C.11.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WindowFunction {
    /// `((x - (center - 0.5)) / (width - 1) + 0.5)`, for whole numbers.
    #[default]
    Linear,
    /// `((x - center) / width + 0.5)`.
    LinearExact,
    /// `1 / (1 + exp(-4 (x - center) / width))`.
    Sigmoid,
}

impl Window {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`PixelError::Specification`] for percentiles out of order and for a width that the function
    /// does not allow.
    pub fn check(self) -> Result<Self> {
        let is_sound = match self {
            Window::File | Window::Full => true,
            Window::Percentiles { low, high } => 0.0 <= low && low < high && high <= 100.0,
            Window::Fixed { center, width, function } => {
                let least = if function == WindowFunction::Linear { 1.0 } else { f64::MIN_POSITIVE };
                center.is_finite() && width.is_finite() && width >= least
            }
        };
        if is_sound { Ok(self) } else { Err(refused(&self.to_string())) }
    }
}

impl WindowFunction {
    /// The shade of a value, 0 (black) to 1 (white).
    #[inline]
    pub fn shade(self, value: f64, center: f64, width: f64) -> f64 {
        let (center, width) = match self {
            WindowFunction::Linear => (center - 0.5, width - 1.0),
            WindowFunction::LinearExact => (center, width),
            WindowFunction::Sigmoid => return 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        };
        if value <= center - width / 2.0 {
            0.0
        } else if value > center + width / 2.0 {
            1.0
        } else {
            (value - center) / width + 0.5
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::File => f.write_str("file"),
            Window::Full => f.write_str("full"),
            Window::Percentiles { low, high } => write!(f, "percentiles:{low},{high}"),
            Window::Fixed { center, width, function } => {
                write!(f, "{center}/{width}")?;
                f.write_str(match function {
                    WindowFunction::Linear => "",
                    WindowFunction::LinearExact => ":exact",
                    WindowFunction::Sigmoid => ":sigmoid",
                })
            }
        }
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "file" => return Ok(Window::File),
            "full" => return Ok(Window::Full),
            _ => {}
        }
        let pair = |text: &str, separator: char| {
            let (first, second) = text.split_once(separator)?;
            Some((first.trim().parse::<f64>().ok()?, second.trim().parse::<f64>().ok()?))
        };
        let window = match text.strip_prefix("percentiles:") {
            Some(rest) => pair(rest, ',').map(|(low, high)| Window::Percentiles { low, high }),
            None => {
                let (numbers, function) = match text.split_once(':') {
                    None => (text, Some(WindowFunction::Linear)),
                    Some((numbers, "exact")) => (numbers, Some(WindowFunction::LinearExact)),
                    Some((numbers, "sigmoid")) => (numbers, Some(WindowFunction::Sigmoid)),
                    Some((numbers, _)) => (numbers, None),
                };
                let pair = pair(numbers, '/').zip(function);
                pair.map(|((center, width), function)| Window::Fixed { center, width, function })
            }
        };
        window.ok_or_else(|| refused(text))?.check()
    }
}

fn refused(found: &str) -> Error {
    let expected =
        "`file`, `full`, `percentiles:LOW,HIGH` (0 to 100), or `CENTER/WIDTH` with `:exact` or `:sigmoid` if wanted";
    PixelError::Specification { field: "window", found: format!("`{found}`"), expected }.into()
}

impl TryFrom<String> for Window {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse().map_err(|error: Error| error.to_string())
    }
}

impl From<Window> for String {
    fn from(window: Window) -> String {
        window.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_alike() {
        for text in ["file", "full", "percentiles:0.5,99.5", "40/400", "-600/1500:exact", "40.5/80:sigmoid"] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for wrong in ["", "auto", "40", "40/0", "0.5/0.5", "percentiles:5,5", "percentiles:-1,50", "1/2:cubic", "nan/3"]
        {
            let error = wrong.parse::<Window>().unwrap_err().to_string();
            assert!(error.starts_with("preprocess `window` is `"), "{error}");
        }
    }

    #[test]
    fn shades_are_those_of_the_standard() {
        // PS3.3 C.11.2.1.2.1: c = 2048, w = 4096 becomes 0..=255 for 0..=4095.
        let shade = |value| (WindowFunction::Linear.shade(value, 2048.0, 4096.0) * 255.0).round();
        assert_eq!([0.0, 4095.0, 2047.5].map(shade), [0.0, 255.0, 128.0]);
        // A window of width 1 is a threshold.
        assert_eq!([99.4, 99.5, 99.6].map(|value| WindowFunction::Linear.shade(value, 100.0, 1.0)), [0.0, 0.0, 1.0]);
        assert_eq!(WindowFunction::LinearExact.shade(10.0, 10.0, 4.0), 0.5);
        assert_eq!(WindowFunction::Sigmoid.shade(10.0, 10.0, 4.0), 0.5);
    }
}
