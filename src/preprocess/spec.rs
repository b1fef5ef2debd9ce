//! The preprocess specification: plain data that says what happens between decoded pixels and the
//! network's input.
//!
//! In TOML:
//!
//! ```toml
//! channels = "rgb"                   # or "grey"; "rgb" if left out
//! resize = { shorter_side = 256 }    # or { exact = { height = 224, width = 224 } }; none if left out
//! filter = "bicubic"                 # or "bilinear", "lanczos"
//! crop = { height = 224, width = 224 } # none if left out
//! crop_rounding = "transformers"     # or "torchvision", also if left out, see `CropRounding`
//! mean = [0.485, 0.456, 0.406]
//! std = [0.229, 0.224, 0.225]
//! window = "40/400"                  # of deep grey images; what the file says if left out, see `Window`
//! border = { threshold = 0.04 }      # crop dark borders first; none if left out, see `Border`
//! fast_decode = true                 # decode large JPEGs smaller; false if left out
//! ```
//!
//! `window` and `fast_decode` are part of decoding: a network that contains its preprocessing takes
//! pixels that were decoded so. `border` gives every image a box of its own, which batches of a
//! graph cannot have: there it is refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::border::Border;
use super::window::Window;
use crate::support::fs;

/// Version of the arithmetic behind a specification: part of the digest, raised when the same
/// specification gives other numbers.
const ARITHMETIC: u32 = 1;

/// Resampling filter, with PIL's names and definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos with 3 lobes, support 3.
    Lanczos,
}

/// Target of the resize, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The shorter side gets this length, the other one keeps the aspect ratio (rounded down, as
    /// torchvision does).
    ShorterSide(u32),
    /// Exactly this height and width; the aspect ratio may change.
    Exact {
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },
}

/// Center crop, in pixels; an image smaller than the crop is padded with zeros, as torchvision
/// does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// Where a center crop starts, and where the odd zero goes around an image that is smaller: the two
/// libraries differ by one pixel where an odd number is left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropRounding {
    /// As torchvision's `CenterCrop`, which timm uses as well: half of what is left over, halves to
    /// the even neighbour; the odd zero behind.
    #[default]
    Torchvision,
    /// As the processors of `transformers` (those over PIL): `(length - crop) // 2`; the odd zero
    /// in front.
    Transformers,
}

/// Channels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Three channels; grey images are repeated.
    #[default]
    Rgb,
    /// One channel; colour images become luma as PIL's `convert("L")` does.
    Grey,
    /// Another number of channels, for networks whose input is made elsewhere: images cannot be
    /// brought to it.
    Many(u32),
}

impl Channels {
    /// How many they are.
    pub const fn count(self) -> usize {
        match self {
            Channels::Rgb => 3,
            Channels::Grey => 1,
            Channels::Many(count) => count as usize,
        }
    }
}

/// What happens between a file and the network's input, in this order: decoding (`window`,
/// `fast_decode`), crop of dark borders, channels, resize (antialiased as PIL does), center crop,
/// division by the largest sample value (255 or 65,535), then `(x - mean) / std` per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Channels of the input.
    #[serde(default)]
    pub channels: Channels,
    /// Resize, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Resampling filter of the resize.
    pub filter: Filter,
    /// Center crop, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
    /// How the crop is rounded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crop_rounding: CropRounding,
    /// Mean per channel of samples in 0..=1.
    pub mean: Vec<f32>,
    /// Standard deviation per channel of samples in 0..=1, each > 0.
    pub std: Vec<f32>,
    /// How deep grey values become shades.
    #[serde(default, skip_serializing_if = "is_default")]
    pub window: Window,
    /// Crop of dark borders, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// Whether JPEGs far larger than the resize needs are decoded at a half, quarter or eighth of
    /// their size, see [`Reduction`](super::Reduction); the pixels differ a little.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fast_decode: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Pixels as they are, from 0 to 1: RGB, no resize, no crop.
impl Default for Preprocess {
    fn default() -> Self {
        Preprocess {
            channels: Channels::Rgb,
            resize: None,
            filter: Filter::Bicubic,
            crop: None,
            crop_rounding: CropRounding::Torchvision,
            mean: vec![0.0; 3],
            std: vec![1.0; 3],
            window: Window::File,
            border: None,
            fast_decode: false,
        }
    }
}

impl Preprocess {
    /// Mean per channel of ImageNet, as torchvision and timm write it.
    pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
    /// Standard deviation per channel of ImageNet, as torchvision and timm write it.
    pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
    /// Mean per channel of OpenAI's CLIP.
    pub const CLIP_MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
    /// Standard deviation per channel of OpenAI's CLIP.
    #[expect(clippy::excessive_precision, reason = "the digits as published")]
    pub const CLIP_STD: [f32; 3] = [0.26862954, 0.26130258, 0.27577711];

    /// The usual evaluation transform: shorter side to `resize` by bicubic, square center crop of
    /// `crop`, ImageNet's mean and standard deviation.
    pub fn imagenet(resize: u32, crop: u32) -> Self {
        Preprocess {
            channels: Channels::Rgb,
            resize: Some(Resize::ShorterSide(resize)),
            filter: Filter::Bicubic,
            crop: Some(Crop { height: crop, width: crop }),
            mean: Self::IMAGENET_MEAN.to_vec(),
            std: Self::IMAGENET_STD.to_vec(),
            ..Preprocess::default()
        }
    }

    /// CLIP's transform: shorter side to `size` by bicubic, square center crop of `size`, CLIP's
    /// mean and standard deviation.
    pub fn clip(size: u32) -> Self {
        Preprocess { mean: Self::CLIP_MEAN.to_vec(), std: Self::CLIP_STD.to_vec(), ..Self::imagenet(size, size) }
    }

    /// The same for images of another height and width: where a part of the scaled image is
    /// cropped, the image is scaled by as much more or less, so that the crop shows as much of it
    /// as before. Unchanged where nothing says a size.
    pub fn at_size(&self, height: u32, width: u32) -> Self {
        let (resize, crop) = match (self.resize, self.crop) {
            (Some(Resize::Exact { .. }), None) => (Some(Resize::Exact { height, width }), None),
            (Some(resize), Some(own)) => {
                let scaled = |length: u32, own: u32, wanted: u32| {
                    (f64::from(length) * f64::from(wanted) / f64::from(own.max(1))).round() as u32
                };
                let resize = match resize {
                    Resize::ShorterSide(side) => {
                        Resize::ShorterSide(scaled(side, own.height, height).max(scaled(side, own.width, width)))
                    }
                    Resize::Exact { height: rows, width: columns } => Resize::Exact {
                        height: scaled(rows, own.height, height),
                        width: scaled(columns, own.width, width),
                    },
                };
                (Some(resize), Some(Crop { height, width }))
            }
            (None, Some(_)) => (None, Some(Crop { height, width })),
            unchanged => unchanged,
        };
        Preprocess { resize, crop, ..self.clone() }
    }

    /// A sha256 that is equal for equal specifications and differs otherwise: the key under which
    /// results are cached.
    ///
    /// It is taken over a text of stable form, so that it does not depend on the order or spelling
    /// of a TOML file.
    pub fn digest(&self) -> String {
        fs::sha256(format!("defrost preprocess, arithmetic {ARITHMETIC}: {self}").as_bytes())
    }
}

/// One line for reports: `rgb, resize shorter side to 256 bicubic, crop 224x224, mean 0.485 0.456
/// 0.406, std ...`.
///
/// Lengths are height x width. Every field is printed in full: two specifications that print alike
/// are equal.
impl fmt::Display for Preprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channels {
            Channels::Rgb => f.write_str("rgb")?,
            Channels::Grey => f.write_str("grey")?,
            Channels::Many(count) => write!(f, "{count} channels")?,
        }
        if self.window != Window::File {
            write!(f, ", window {}", self.window)?;
        }
        if self.fast_decode {
            f.write_str(", fast decode")?;
        }
        if let Some(Border { threshold, share, margin }) = self.border {
            write!(f, ", crop border up to {threshold} in {share} margin {margin}")?;
        }
        match self.resize {
            Some(Resize::ShorterSide(length)) => write!(f, ", resize shorter side to {length}")?,
            Some(Resize::Exact { height, width }) => write!(f, ", resize to {height}x{width}")?,
            None => {}
        }
        if self.resize.is_some() {
            f.write_str(match self.filter {
                Filter::Bilinear => " bilinear",
                Filter::Bicubic => " bicubic",
                Filter::Lanczos => " lanczos",
            })?;
        }
        if let Some(Crop { height, width }) = self.crop {
            write!(f, ", crop {height}x{width}")?;
            if self.crop_rounding == CropRounding::Transformers {
                f.write_str(" rounded as transformers")?;
            }
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            write!(f, ", {name}")?;
            values.iter().try_for_each(|value| write!(f, " {value}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        filter = "bicubic"
        std = [0.229, 0.224, 0.225]
        crop = { width = 224, height = 224 }
        mean = [0.485, 0.456, 0.406]
        resize = { shorter_side = 256 }
    "#;

    #[test]
    fn toml_gives_the_specification_its_line_and_its_digest() {
        let read: Preprocess = toml::from_str(TOML).unwrap();
        assert_eq!(read, Preprocess::imagenet(256, 224));
        assert_eq!(
            read.to_string(),
            "rgb, resize shorter side to 256 bicubic, crop 224x224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
        );
        assert_eq!(read.digest(), Preprocess::imagenet(256, 224).digest());
        assert_eq!(toml::from_str::<Preprocess>(&toml::to_string(&read).unwrap()).unwrap(), read);
        let exact = TOML.replace("{ shorter_side = 256 }", "{ exact = { height = 224, width = 200 } }");
        let exact: Preprocess = toml::from_str(&exact).unwrap();
        assert_eq!(exact.resize, Some(Resize::Exact { height: 224, width: 200 }));
        assert_ne!(exact.digest(), read.digest());
    }

    #[test]
    fn what_is_not_used_is_not_part_of_the_digest() {
        let plain = Preprocess::imagenet(256, 224);
        assert_eq!(plain.digest(), "e778f083c6d905b46e6449de1c5d8b12f0b14547a589996b566065043f089dd7");
        let mut all = plain.clone();
        all.window = Window::Percentiles { low: 1.0, high: 99.0 };
        all.border = Some(Border::default());
        all.fast_decode = true;
        let text = toml::to_string(&all).unwrap();
        assert_eq!(toml::from_str::<Preprocess>(&text).unwrap(), all, "{text}");
        assert!(
            all.to_string().starts_with(
                "rgb, window percentiles:1,99, fast decode, crop border up to 0.04 in 0.01 margin 0, resize"
            ),
            "{all}"
        );
        let changes: [fn(&mut Preprocess); 3] =
            [|p| p.window = Window::Full, |p| p.border = Some(Border::default()), |p| p.fast_decode = true];
        for change in changes {
            let mut changed = plain.clone();
            change(&mut changed);
            assert_ne!(changed.digest(), plain.digest(), "{changed}");
        }
    }

    #[test]
    fn unknown_fields_are_refused() {
        for wrong in [TOML.replace("filter", "interpolation"), TOML.replace("width", "breadth")] {
            assert!(toml::from_str::<Preprocess>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_size_shows_as_much_of_the_image() {
        let usual = Preprocess::imagenet(256, 224);
        assert_eq!(usual.at_size(518, 518), Preprocess::imagenet(592, 518));
        assert_eq!(usual.at_size(224, 224), usual);
        let wide = usual.at_size(224, 448);
        assert_eq!((wide.resize, wide.crop), (Some(Resize::ShorterSide(512)), Some(Crop { height: 224, width: 448 })));
        let exact = Resize::Exact { height: 384, width: 384 };
        let squashed = Preprocess { resize: Some(exact), crop: None, ..usual.clone() }.at_size(96, 64);
        assert_eq!((squashed.resize, squashed.crop), (Some(Resize::Exact { height: 96, width: 64 }), None));
        let open = Preprocess { crop: None, ..usual };
        assert_eq!(open.at_size(96, 64), open);
    }

    #[test]
    fn impossible_values_are_refused_by_field() {
        let good = Preprocess::imagenet(256, 224);
        let cases = [
            (Preprocess { resize: Some(Resize::ShorterSide(0)), ..good.clone() }, "`resize` is 0, expected 1 to"),
            (Preprocess { crop: Some(Crop { height: 2, width: 20_000 }), ..good.clone() }, "`crop` is 2 x 20000"),
            (Preprocess { mean: vec![0.5], ..good.clone() }, "`mean` is [0.5], expected three values"),
            (Preprocess { channels: Channels::Grey, ..good.clone() }, "expected one value"),
            (
                Preprocess { std: vec![0.2, 0.0, 0.2], ..good.clone() },
                "`std` is [0.2, 0.0, 0.2], expected values above 0",
            ),
            (Preprocess { mean: vec![0.5, f32::NAN, 0.5], ..good.clone() }, "expected finite values"),
        ];
        for (specification, message) in cases {
            let error = specification.check().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(good.check().is_ok());
    }
}
