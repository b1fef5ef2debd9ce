//! Configurations of open_clip: `open_clip_config.json` with `model_cfg` and `preprocess_cfg`.
//!
//! Understood is the plain vision transformer of `vision_cfg`; ResNets, timm trunks and pooling by
//! attention are refused.

use serde_json::Value;

use crate::backbones::zoo::json_config::{Fields, Subject};
use crate::backbones::zoo::snapshot::transformer::Key;
use crate::backbones::zoo::snapshot::{Described, Description, integer};
use crate::error::Result;
use crate::preprocess::{Channels, Crop, Filter, Preprocess, Resize};

/// What changes nothing in a network that is not trained.
const WITHOUT_EFFECT: [&str; 4] = ["patch_dropout", "output_tokens", "attn_pooler_queries", "attn_pooler_heads"];
/// What decides the network.
const READ: [&str; 9] = [
    "layers",
    "width",
    "head_width",
    "mlp_ratio",
    "patch_size",
    "image_size",
    "ls_init_value",
    "pool_type",
    "pos_embed_type",
];

/// What a configuration of open_clip says.
pub(super) fn describe(fields: &Fields<'_>) -> Result<Description> {
    let model = fields.inner("model_cfg")?.ok_or_else(|| fields.missing("model_cfg"))?;
    let tower = model.inner("vision_cfg")?.ok_or_else(|| model.missing("vision_cfg"))?;
    let unknown = tower.keys().find(|key| {
        let off = tower.value(key).is_none_or(|value| *value == Value::Bool(false));
        !off && !READ.contains(key) && !WITHOUT_EFFECT.contains(key)
    });
    if let Some(key) = unknown {
        return Err(tower.refuse(key, "this option is not supported".to_owned()));
    }
    tower.only("pool_type", &Value::from("tok"))?;
    tower.only("pos_embed_type", &Value::from("learnable"))?;
    if tower.value("layers").is_some_and(Value::is_array) {
        return Err(tower.refuse("layers", "a list is that of a ResNet, which is not supported".to_owned()));
    }
    let image = Key::or("image_size", 224).read(&tower)?;
    let patch = Key::or("patch_size", 16).read(&tower)?;
    let width = Key::or("width", 768).read(&tower)?;
    let depth = Key::or("layers", 12).read(&tower)?;
    let head = Key::or("head_width", 64).read(&tower)?;
    if image % patch != 0 {
        let reason = format!("{image} pixels are not whole patches of `patch_size` = {patch}");
        return Err(tower.refuse("image_size", reason));
    }
    if width % head != 0 {
        return Err(tower.refuse("head_width", format!("{head} does not divide `width` = {width}")));
    }
    let hidden = (width as f64 * tower.number("mlp_ratio")?.unwrap_or(4.0)) as usize;
    let quick = model.flag("quick_gelu", false)?;
    let mut table = toml::Table::new();
    let sizes = [
        ("image", image),
        ("patch", patch),
        ("width", width),
        ("depth", depth),
        ("heads", width / head),
        ("hidden", hidden),
        ("projection", Key::required("embed_dim").read(&model)?),
    ];
    table.extend(sizes.map(|(key, size)| (key.to_owned(), integer(size))));
    table.insert("mlp".to_owned(), if quick { "quick-gelu" } else { "gelu" }.into());
    table.insert("layer_scale".to_owned(), tower.has("ls_init_value").into());
    table.insert("norm_before".to_owned(), true.into());
    table.insert("patch_bias".to_owned(), false.into());
    table.insert("epsilon".to_owned(), 1e-5.into());
    let preprocess = preprocess(fields.inner_or_empty("preprocess_cfg")?.about(Subject::Preprocess), image as u32)?;
    Ok(Description { family: "vit", architecture: table, preprocess: Some(preprocess), licence: None })
}

/// open_clip's transform for evaluation, with its defaults.
fn preprocess(fields: Fields<'_>, image: u32) -> Result<Described> {
    let size = match fields.value("size") {
        None => [image; 2],
        Some(value) => {
            let length = |value: &Value| value.as_u64().and_then(|length| u32::try_from(length).ok());
            let sides = value.as_array().map(|sides| sides.iter().map(length).collect::<Vec<_>>());
            match (length(value), sides.as_deref()) {
                (Some(side), _) => [side; 2],
                (None, Some([Some(height), Some(width)])) => [*height, *width],
                // Channels come first.
                (None, Some([_, Some(height), Some(width)])) => [*height, *width],
                _ => {
                    return Err(
                        fields.refuse("size", format!("`{value}` is neither a length nor a height and a width"))
                    );
                }
            }
        }
    };
    let [height, width] = size;
    fields.only("mode", &Value::from("RGB"))?;
    let (resize, crop) = match fields.text("resize_mode")?.unwrap_or("shortest") {
        "squash" => (Resize::Exact { height, width }, None),
        "shortest" if height == width => (Resize::ShorterSide(height), Some(Crop { height, width })),
        other => {
            return Err(fields.refuse("resize_mode", format!("`{other}` is not supported for {height}x{width} pixels")));
        }
    };
    let filter = match fields.text("interpolation")?.unwrap_or("bicubic") {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        other => return Err(fields.refuse("interpolation", format!("`{other}` is neither `bicubic` nor `bilinear`"))),
    };
    let values = |key: &str, default: [f32; 3]| -> Result<Vec<f32>> {
        let given = fields.numbers(key)?;
        Ok(given.map_or(default.to_vec(), |values| values.into_iter().map(|value| value as f32).collect()))
    };
    let mean = values("mean", Preprocess::CLIP_MEAN)?;
    let std = values("std", Preprocess::CLIP_STD)?;
    let specification =
        Preprocess { channels: Channels::Rgb, resize: Some(resize), filter, crop, mean, std, ..Preprocess::default() };
    specification.clone().check()?;
    Ok(Described { specification, path: fields.path().to_path_buf(), size_field: "preprocess_cfg.size" })
}
