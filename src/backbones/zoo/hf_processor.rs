//! Hugging Face's `preprocessor_config.json` as a [`Preprocess`], or the image processor in a
//! `processor_config.json`.
//!
//! Understood are the image processors of CLIP, SigLIP, ViT, DeiT, BiT (DINOv2) and ConvNeXT in
//! their slow and fast forms. A step that [`Preprocess`] cannot express is refused by its field's
//! name, and so is a value that is not given and that the processors do not agree on.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::backbones::zoo::json_config::{Fields, Subject};
use crate::error::Result;
use crate::preprocess::{Channels, Crop, CropRounding, Filter, Preprocess, Resize};
use crate::support::fs;

/// Name of the file in a model's folder.
const FILE: &str = "preprocessor_config.json";
/// Name of the file of processors of several kinds, and where images' is in it.
const SEVERAL: &str = "processor_config.json";
const OF_IMAGES: &str = "image_processor";

/// Processors by the start of their class name, with whether they crop when nothing is said.
const KNOWN: [(&str, bool); 7] = [
    ("CLIP", true),
    ("Siglip", false),
    ("ViT", false),
    ("DeiT", true),
    ("Bit", true),
    ("ConvNext", false),
    ("Blip", false),
];
/// What the files are, for errors.
const FORMAT: &str = "preprocessor configuration (JSON)";
/// Below this size ConvNeXT resizes to `size / crop_pct` and crops; from it on it resizes to a
/// square.
const CONVNEXT_SQUARE_FROM: u32 = 384;

/// A configuration as it lies in a folder.
pub(crate) struct ConfigFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// What it says.
    pub(crate) text: String,
}

/// The configuration of an image processor in a folder.
///
/// # Errors
/// [`FileError`](crate::error::FileError) where it cannot be read.
pub(crate) fn find(folder: &Path) -> Result<Option<ConfigFile>> {
    for (name, is_whole) in [(FILE, true), (SEVERAL, false)] {
        let path = folder.join(name);
        if path.is_file() {
            let text = fs::read_text(&path)?;
            if is_whole || Fields::parse(&path, &text, FORMAT)?.has(OF_IMAGES) {
                return Ok(Some(ConfigFile { path, text }));
            }
        }
    }
    Ok(None)
}

/// The same in the folder of a model's file, or, where that is called `onnx` as in repositories of
/// the hub, in the folder around it.
///
/// # Errors
/// As [`find`].
pub(crate) fn beside(model: &Path) -> Result<Option<ConfigFile>> {
    let folder = model.parent().unwrap_or_else(|| Path::new(""));
    let around = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "onnx"));
    match (find(folder)?, around) {
        (None, Some(around)) => find(around),
        (found, _) => Ok(found),
    }
}

/// The fields of the image processor in a configuration.
///
/// # Errors
/// [`FileError::Parse`](crate::error::FileError::Parse) where it is no JSON object.
pub(crate) fn fields<'a>(path: &'a Path, text: &str) -> Result<Fields<'a>> {
    let fields = Fields::parse(path, text, FORMAT)?;
    Ok(fields.inner(OF_IMAGES)?.unwrap_or(fields))
}

/// Reads the text of a `preprocessor_config.json`.
///
/// # Errors
/// [`FileError::Parse`](crate::error::FileError::Parse) where it is no JSON object,
/// [`ModelError::Processor`](crate::error::ModelError::Processor) with the field that cannot be
/// followed.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Preprocess> {
    specification(fields(path, text)?)
}

/// What the fields of a `preprocessor_config.json` ask for.
///
/// # Errors
/// [`ModelError::Processor`](crate::error::ModelError::Processor).
pub(crate) fn specification(fields: Fields<'_>) -> Result<Preprocess> {
    Processor { fields: fields.about(Subject::Preprocess) }.specification()
}

/// The class of the processor.
pub(crate) fn class<'f>(fields: &'f Fields<'_>) -> Option<&'f str> {
    let names = ["image_processor_type", "feature_extractor_type"];
    names.iter().find_map(|field| fields.value(field).and_then(Value::as_str))
}

struct Processor<'a> {
    fields: Fields<'a>,
}

impl Processor<'_> {
    fn specification(&self) -> Result<Preprocess> {
        let fields = &self.fields;
        let (kind, crops) = self.kind()?;
        for field in ["do_pad", "do_thumbnail", "do_align_long_axis", "do_flip_channel_order", "do_reduce_labels"] {
            if fields.flag(field, false)? {
                return Err(fields.refuse(field, "this step is not supported".to_owned()));
            }
        }
        let resizes = fields.flag("do_resize", true)?;
        let mut resize = if resizes { Some(self.resize(kind)?) } else { None };
        let mut crop = if fields.flag("do_center_crop", crops)? { Some(self.crop()?) } else { None };
        if let (true, "ConvNext", Some(Resize::ShorterSide(side))) = (resizes, kind, resize) {
            if side < CONVNEXT_SQUARE_FROM {
                let part = fields.number("crop_pct")?.unwrap_or(224.0 / 256.0);
                resize = Some(Resize::ShorterSide((f64::from(side) / part) as u32));
                crop = Some(Crop { height: side, width: side });
            } else {
                resize = Some(Resize::Exact { height: side, width: side });
            }
        }
        let filter = if resizes { self.filter()? } else { Filter::Bicubic };
        let (mean, std) = self.normalisation()?;
        let channels = if mean.len() == 1 { Channels::Grey } else { Channels::Rgb };
        let crop_rounding = if crop.is_some() { CropRounding::Transformers } else { CropRounding::default() };
        let specification =
            Preprocess { channels, resize, filter, crop, crop_rounding, mean, std, ..Preprocess::default() };
        specification.clone().check()?;
        Ok(specification)
    }

    /// The processor's family and whether it crops when nothing is said.
    fn kind(&self) -> Result<(&'static str, bool)> {
        let name = class(&self.fields).ok_or_else(|| self.fields.missing("image_processor_type"))?;
        KNOWN.iter().find(|(start, _)| name.starts_with(start)).copied().ok_or_else(|| {
            let known = KNOWN.map(|(start, _)| format!("{start}ImageProcessor")).join("`, `");
            self.fields.refuse("image_processor_type", format!("`{name}` is not one of `{known}`"))
        })
    }

    fn resize(&self, kind: &str) -> Result<Resize> {
        let size = self.fields.value("size").ok_or_else(|| self.fields.missing("size"))?;
        // Old files give one number: the shorter side for those that crop to a square, a square
        // otherwise.
        if let Some(length) = pixels(size) {
            let exact = matches!(kind, "ViT" | "DeiT" | "Siglip" | "Blip");
            return Ok(if exact {
                Resize::Exact { height: length, width: length }
            } else {
                Resize::ShorterSide(length)
            });
        }
        let part = |name: &str| size.get(name).and_then(pixels);
        match (part("shortest_edge"), part("height"), part("width")) {
            (Some(length), None, None) if size.get("longest_edge").is_none() => Ok(Resize::ShorterSide(length)),
            (None, Some(height), Some(width)) => Ok(Resize::Exact { height, width }),
            _ => {
                Err(self.fields.refuse("size", format!("`{size}` is neither a shortest edge nor a height and a width")))
            }
        }
    }

    fn crop(&self) -> Result<Crop> {
        let size = self.fields.value("crop_size").ok_or_else(|| self.fields.missing("crop_size"))?;
        let part = |name: &str| size.get(name).and_then(pixels);
        match (pixels(size), part("height"), part("width")) {
            (Some(length), _, _) => Ok(Crop { height: length, width: length }),
            (None, Some(height), Some(width)) => Ok(Crop { height, width }),
            _ => Err(self.fields.refuse("crop_size", format!("`{size}` is neither a length nor a height and a width"))),
        }
    }

    /// Pillow's codes of filters.
    fn filter(&self) -> Result<Filter> {
        match self.fields.value("resample").and_then(Value::as_u64) {
            Some(1) => Ok(Filter::Lanczos),
            Some(2) => Ok(Filter::Bilinear),
            Some(3) => Ok(Filter::Bicubic),
            Some(code) => Err(self.fields.refuse("resample", format!("Pillow's filter {code} is not supported"))),
            None => Err(self.fields.missing("resample")),
        }
    }

    /// Mean and standard deviation of samples in 0..=1: `(255 r x - m) / s` is `(x - m / (255 r)) /
    /// (s / (255 r))`.
    fn normalisation(&self) -> Result<(Vec<f32>, Vec<f32>)> {
        let rescale = if self.fields.flag("do_rescale", true)? {
            self.fields.number("rescale_factor")?.unwrap_or(1.0 / 255.0)
        } else {
            1.0
        };
        if rescale <= 0.0 {
            return Err(self.fields.refuse("rescale_factor", format!("`{rescale}` is not above 0")));
        }
        let range = 255.0 * rescale;
        let (mean, std) = if self.fields.flag("do_normalize", true)? {
            (self.numbers("image_mean")?, self.numbers("image_std")?)
        } else {
            (vec![0.0; 3], vec![1.0; 3])
        };
        let scaled = |values: Vec<f64>| {
            // 255 times 1 / 255 in decimal digits is not quite one.
            let range = if (range - 1.0).abs() < 1e-6 { 1.0 } else { range };
            values.into_iter().map(|value| (value / range) as f32).collect()
        };
        Ok((scaled(mean), scaled(std)))
    }

    fn numbers(&self, field: &'static str) -> Result<Vec<f64>> {
        self.fields.numbers(field)?.ok_or_else(|| self.fields.missing(field))
    }
}

fn pixels(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|length| u32::try_from(length).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Preprocess> {
        parse(Path::new("preprocessor_config.json"), text)
    }

    #[test]
    fn published_configurations_of_each_kind_are_understood() {
        // facebook/dinov2-base
        let dinov2 = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true,
            "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.485, 0.456, 0.406],
            "image_processor_type": "BitImageProcessor", "image_std": [0.229, 0.224, 0.225], "resample": 3,
            "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 256}}"#;
        let transformers = |preprocess| Preprocess { crop_rounding: CropRounding::Transformers, ..preprocess };
        assert_eq!(parsed(dinov2).unwrap(), transformers(Preprocess::imagenet(256, 224)));
        // openai/clip-vit-base-patch16
        let clip = r#"{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 224}"#;
        assert_eq!(parsed(clip).unwrap(), transformers(Preprocess::clip(224)));
        // google/vit-base-patch16-224
        let vit = r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViTImageProcessorFast", "image_std": [0.5, 0.5, 0.5], "resample": 2, "size": 224}"#;
        let vit = parsed(vit).unwrap();
        assert_eq!((vit.resize, vit.crop), (Some(Resize::Exact { height: 224, width: 224 }), None));
        assert_eq!((vit.filter, vit.mean), (Filter::Bilinear, vec![0.5; 3]));
        // facebook/convnext-tiny-224
        let convnext = r#"{"crop_pct": 0.875, "do_normalize": true, "do_rescale": true, "do_resize": true,
            "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "ConvNextImageProcessor",
            "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"shortest_edge": 224}}"#;
        assert_eq!(parsed(convnext).unwrap(), transformers(Preprocess::imagenet(256, 224)));
    }

    #[test]
    fn other_ranges_are_folded_into_mean_and_deviation() {
        let base = r#"{"image_processor_type": "ViTImageProcessor", "resample": 2, "size": 8, "image_mean": [1.0, 1.0, 1.0],
            "image_std": [2.0, 2.0, 2.0], "#;
        let raw = parsed(&format!("{base} \"do_rescale\": false}}")).unwrap();
        assert_eq!((raw.mean[0], raw.std[0]), ((1.0f64 / 255.0) as f32, (2.0f64 / 255.0) as f32));
        let doubled = parsed(&format!("{base} \"rescale_factor\": 0.00784313725490196}}")).unwrap();
        assert!((doubled.mean[0] - 0.5).abs() < 1e-6 && (doubled.std[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        for (text, expected) in [
            (r#"{"size": 224}"#, "`image_processor_type`: it is missing"),
            (r#"{"image_processor_type": "SamImageProcessor"}"#, "`SamImageProcessor` is not one of"),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "do_pad": true}"#,
                "`do_pad`: this step is not supported",
            ),
            (r#"{"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 8}}"#, "`size`: `{"),
            (r#"{"image_processor_type": "ViTImageProcessor", "size": 8, "resample": 0}"#, "filter 0 is not supported"),
            (
                r#"{"image_processor_type": "ViTImageProcessor", "size": 8, "resample": 2}"#,
                "`image_mean`: it is missing",
            ),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
