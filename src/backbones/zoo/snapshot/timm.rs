//! Configurations of timm: `architecture` names the network, `model_args` change it,
//! `pretrained_cfg` says the preprocessing.
//!
//! An argument that no family has is refused by its key; arguments that only training knows are
//! passed over.

use serde_json::Value;

use crate::backbones::zoo::json_config::{Fields, Subject};
use crate::backbones::zoo::snapshot::timm_names::{Architecture, Sam, Vit};
use crate::backbones::zoo::snapshot::transformer::{Key, Keys, activation};
use crate::backbones::zoo::snapshot::{Described, Description, focalnet, integer, list, three_channels, timm_names};
use crate::error::Result;
use crate::preprocess::{Channels, Crop, Filter, Preprocess, Resize};

/// Arguments without effect on the embeddings of a network that is not trained.
const WITHOUT_EFFECT: [&str; 14] = [
    "num_classes",
    "drop_rate",
    "pos_drop_rate",
    "patch_drop_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "dynamic_img_size",
    "strict_img_size",
    "weight_init",
    "fix_init",
    "zero_init_last",
    "features_only",
];
/// The part of an image that is kept where nothing is said.
const CROP_PART: f64 = 0.875;

/// What a configuration of timm says.
pub(super) fn describe(fields: &Fields<'_>) -> Result<Description> {
    let name = fields.text("architecture")?.ok_or_else(|| fields.missing("architecture"))?;
    let architecture = timm_names::architecture(name).ok_or_else(|| {
        let forms = timm_names::FORMS.join("`, `");
        fields.refuse("architecture", format!("`{name}` is no name of timm's that is understood: `{forms}`"))
    })?;
    let arguments = fields.inner_or_empty("model_args")?;
    three_channels(&arguments, "in_chans")?;
    let (family, table) = match architecture {
        Architecture::Vit(defaults) => ("vit", vit(&arguments, &defaults)?),
        Architecture::Sam(defaults) => ("sam", sam(&arguments, &defaults)?),
        Architecture::ResNet(block, repeats) => ("resnet", resnet(&arguments, block, repeats)?),
        Architecture::FocalNet(defaults) => {
            only_known(&arguments, &focalnet::ARGUMENTS)?;
            ("focalnet", focalnet::of_timm(&arguments, &defaults)?)
        }
        Architecture::EfficientNetLite(width, depth) => {
            only_known(&arguments, &["global_pool"])?;
            let table = [("width", width), ("depth", depth)];
            ("efficientnet-lite", table.into_iter().map(|(key, factor)| (key.to_owned(), factor.into())).collect())
        }
    };
    let configuration = fields.inner("pretrained_cfg")?.unwrap_or_else(|| fields.clone());
    let licence = configuration.text("license")?.map(str::to_owned);
    let preprocess = preprocess(configuration.about(Subject::Preprocess))?;
    Ok(Description { family, architecture: table, preprocess: Some(preprocess), licence })
}

/// Refuses arguments that are neither among these nor without effect.
fn only_known(arguments: &Fields<'_>, known: &[&str]) -> Result<()> {
    let strange = arguments
        .keys()
        .find(|key| arguments.has(key) && *key != "in_chans" && !known.contains(key) && !WITHOUT_EFFECT.contains(key));
    match strange {
        Some(key) => Err(arguments.refuse(key, "this option is not supported".to_owned())),
        None => Ok(()),
    }
}

fn keys(image: usize, patch: usize, [width, depth, heads]: [usize; 3]) -> Keys {
    Keys {
        image: Key::or("img_size", image),
        patch: Key::or("patch_size", patch),
        width: Key::or("embed_dim", width),
        depth: Key::or("depth", depth),
        heads: Key::or("num_heads", heads),
    }
}

fn vit(arguments: &Fields<'_>, defaults: &Vit) -> Result<toml::Table> {
    only_known(
        arguments,
        &[
            "img_size",
            "patch_size",
            "embed_dim",
            "depth",
            "num_heads",
            "mlp_ratio",
            "init_values",
            "reg_tokens",
            "no_embed_class",
            "pre_norm",
            "act_layer",
            "global_pool",
            "class_token",
            "qkv_bias",
            "qk_norm",
            "fc_norm",
        ],
    )?;
    // The embedding is the class token behind the last norm.
    for (key, supported) in [("class_token", true), ("qkv_bias", true), ("qk_norm", false), ("fc_norm", false)] {
        arguments.only(key, &Value::Bool(supported))?;
    }
    if let Some(pool) = arguments.text("global_pool")?.filter(|pool| !matches!(*pool, "token" | "")) {
        return Err(arguments.refuse("global_pool", format!("`{pool}` is not supported, only `token` is")));
    }
    let sizes =
        keys(defaults.image, defaults.patch, [defaults.width, defaults.depth, defaults.heads]).read(arguments)?;
    let mlp = match defaults.mlp {
        "swiglu" => {
            arguments.only("act_layer", &Value::from("silu"))?;
            "swiglu"
        }
        other => activation(arguments, "act_layer", if other == "gelu" { "gelu" } else { "quick_gelu" })?,
    };
    let gates = if mlp == "swiglu" { 2 } else { 1 };
    let mut table = sizes.table();
    let hidden = mlp_width(arguments, sizes.width, defaults.mlp_ratio)? / gates;
    table.insert("hidden".to_owned(), integer(hidden));
    table.insert("mlp".to_owned(), mlp.into());
    let registers = match arguments.value("reg_tokens") {
        Some(value) => value
            .as_u64()
            .filter(|count| *count <= 1024)
            .map(|count| count as usize)
            .ok_or_else(|| arguments.refuse("reg_tokens", format!("`{value}` is no number of tokens")))?,
        None => defaults.registers,
    };
    let norm_before = arguments.flag("pre_norm", defaults.norm_before)?;
    table.insert("layer_scale".to_owned(), (defaults.layer_scale || arguments.has("init_values")).into());
    table.insert("registers".to_owned(), integer(registers));
    let class_position = !arguments.flag("no_embed_class", !defaults.class_position)?;
    table.insert("class_position".to_owned(), class_position.into());
    table.insert("distilled".to_owned(), defaults.distilled.into());
    table.insert("norm_before".to_owned(), norm_before.into());
    table.insert("patch_bias".to_owned(), (!norm_before).into());
    table.insert("epsilon".to_owned(), defaults.epsilon.into());
    Ok(table)
}

fn sam(arguments: &Fields<'_>, defaults: &Sam) -> Result<toml::Table> {
    only_known(
        arguments,
        &[
            "img_size",
            "patch_size",
            "embed_dim",
            "depth",
            "num_heads",
            "mlp_ratio",
            "window_size",
            "global_attn_indexes",
            "neck_chans",
            "global_pool",
            "qkv_bias",
            "use_abs_pos",
            "use_rel_pos",
        ],
    )?;
    for key in ["qkv_bias", "use_abs_pos", "use_rel_pos"] {
        arguments.only(key, &Value::Bool(true))?;
    }
    let sizes = keys(1024, 16, [defaults.width, defaults.depth, defaults.heads]).read(arguments)?;
    let global = arguments.sizes("global_attn_indexes")?.unwrap_or_else(|| defaults.global_blocks.to_vec());
    let mut table = sizes.table();
    table.insert("hidden".to_owned(), integer(mlp_width(arguments, sizes.width, 4.0)?));
    table.insert("window".to_owned(), integer(Key::or("window_size", 14).read(arguments)?));
    table.insert("global_blocks".to_owned(), list(&global));
    table.insert("neck".to_owned(), integer(Key::or("neck_chans", 256).read(arguments)?));
    table.insert("epsilon".to_owned(), 1e-5.into());
    Ok(table)
}

fn mlp_width(arguments: &Fields<'_>, width: usize, ratio: f64) -> Result<usize> {
    let ratio = arguments.number("mlp_ratio")?.unwrap_or(ratio);
    let hidden = (width as f64 * ratio) as usize;
    if !(1..=1 << 20).contains(&hidden) {
        return Err(arguments.refuse("mlp_ratio", format!("`{ratio}` makes an MLP of width {hidden}")));
    }
    Ok(hidden)
}

fn resnet(arguments: &Fields<'_>, block: &str, repeats: [usize; 4]) -> Result<toml::Table> {
    only_known(arguments, &["layers", "channels", "global_pool"])?;
    arguments.only("global_pool", &Value::from("avg"))?;
    let mut table = toml::Table::new();
    table.insert("block".to_owned(), block.into());
    table.insert("repeats".to_owned(), list(&repeats));
    for (key, ours) in [("layers", "repeats"), ("channels", "channels")] {
        match arguments.sizes(key)? {
            Some(values) if values.len() == 4 && !values.contains(&0) => {
                table.insert(ours.to_owned(), list(&values));
            }
            Some(values) => return Err(arguments.refuse(key, format!("`{values:?}` are not four stages"))),
            None => {}
        }
    }
    Ok(table)
}

/// timm's transform for evaluation, with its defaults: the shorter side to `size / crop_pct`, then
/// a central crop.
fn preprocess(fields: Fields<'_>) -> Result<Described> {
    let [height, width] = match fields.sizes("input_size")?.as_deref() {
        None => [224, 224],
        Some([3, height, width]) if *height > 0 && *width > 0 => [*height, *width],
        Some(other) => return Err(fields.refuse("input_size", format!("`{other:?}` is not 3, height, width"))),
    };
    let part = fields.number("crop_pct")?.filter(|part| *part != 0.0).unwrap_or(CROP_PART);
    if part.is_nan() || part <= 0.0 {
        return Err(fields.refuse("crop_pct", format!("`{part}` is not above 0")));
    }
    let scaled = [height, width].map(|length| (length as f64 / part).floor() as u32);
    let resize = match fields.text("crop_mode")?.unwrap_or("center") {
        "squash" => Resize::Exact { height: scaled[0], width: scaled[1] },
        "center" if height == width => Resize::ShorterSide(scaled[0]),
        other => {
            return Err(fields.refuse("crop_mode", format!("`{other}` is not supported for {height}x{width} pixels")));
        }
    };
    let filter = match fields.text("interpolation")?.unwrap_or("bicubic") {
        "bicubic" => Filter::Bicubic,
        "bilinear" => Filter::Bilinear,
        "lanczos" => Filter::Lanczos,
        other => {
            let known = "`bicubic`, `bilinear`, `lanczos`";
            return Err(fields.refuse("interpolation", format!("`{other}` is not one of {known}")));
        }
    };
    let values = |key: &str, default: [f32; 3]| -> Result<Vec<f32>> {
        let given = fields.numbers(key)?;
        Ok(given.map_or(default.to_vec(), |values| values.into_iter().map(|value| value as f32).collect()))
    };
    let specification = Preprocess {
        channels: Channels::Rgb,
        resize: Some(resize),
        filter,
        crop: Some(Crop { height: height as u32, width: width as u32 }),
        mean: values("mean", Preprocess::IMAGENET_MEAN)?,
        std: values("std", Preprocess::IMAGENET_STD)?,
        ..Preprocess::default()
    };
    specification.clone().check()?;
    let size_field = if fields.has("architecture") { "input_size" } else { "pretrained_cfg.input_size" };
    Ok(Described { specification, path: fields.path().to_path_buf(), size_field })
}
