//! Configurations of transformers: `model_type` says the class, each with defaults of its own for
//! keys that are left out.
//!
//! The image towers of CLIP, BLIP and SAM are read from a configuration of their own or from the
//! `vision_config` of the whole model. The preprocessing is that of `preprocessor_config.json` (or
//! of `image_processor` in `processor_config.json`).

use serde_json::Value;

use crate::backbones::zoo::hf_processor::ConfigFile;
use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::snapshot::transformer::{Key, Keys, activation};
use crate::backbones::zoo::snapshot::{Context, Described, Description, integer, list, three_channels};
use crate::backbones::zoo::{catalog, hf_processor};
use crate::error::Result;

/// The types that are read.
const TYPES: [&str; 11] = [
    "blip",
    "blip_vision_model",
    "clip",
    "clip_vision_model",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "resnet",
    "sam",
    "sam_vision_model",
    "vit",
];

/// The keys of all transformers, with the default sizes of a base model.
const fn keys(image: usize, patch: usize) -> Keys {
    Keys {
        image: Key::or("image_size", image),
        patch: Key::or("patch_size", patch),
        width: Key::or("hidden_size", 768),
        depth: Key::or("num_hidden_layers", 12),
        heads: Key::or("num_attention_heads", 12),
    }
}

/// What a configuration of transformers says.
pub(super) fn describe(fields: &Fields<'_>, context: &Context<'_>) -> Result<Description> {
    let r#type = fields.text("model_type")?.unwrap_or_default();
    let tower = || fields.inner_or_empty("vision_config");
    let (family, architecture) = match r#type {
        "vit" => ("vit", plain(fields, false)?),
        "deit" => ("vit", plain(fields, true)?),
        "dinov2" => ("vit", dinov2(fields, 14)?),
        "dinov2_with_registers" => {
            let mut table = dinov2(fields, 16)?;
            let registers = fields.value("num_register_tokens").map_or(Some(4), Value::as_u64);
            let registers = registers.filter(|count| *count <= 1024);
            let registers = registers
                .ok_or_else(|| fields.refuse("num_register_tokens", "it is no number of tokens".to_owned()))?;
            table.insert("registers".to_owned(), integer(registers as usize));
            ("vit", table)
        }
        "clip_vision_model" => ("vit", clip(fields, fields, context)?),
        "clip" => ("vit", clip(&tower()?, fields, context)?),
        "blip_vision_model" => ("vit", blip(fields)?),
        "blip" => ("vit", blip(&tower()?)?),
        "sam_vision_model" => ("sam", sam(fields)?),
        "sam" => ("sam", sam(&tower()?)?),
        "resnet" => ("resnet", resnet(fields)?),
        other => return Err(fields.refuse("model_type", format!("`{other}` is not one of `{}`", TYPES.join("`, `")))),
    };
    Ok(Description { family, architecture, preprocess: preprocess(family, context)?, licence: None })
}

/// ViT and DeiT, which has a distillation token.
fn plain(fields: &Fields<'_>, distilled: bool) -> Result<toml::Table> {
    fields.only("qkv_bias", &Value::Bool(true))?;
    let mut table = transformer(fields, keys(224, 16), 1e-12)?;
    table.insert("mlp".to_owned(), activation(fields, "hidden_act", "gelu")?.into());
    table.insert("hidden".to_owned(), integer(Key::or("intermediate_size", 3072).read(fields)?));
    if distilled {
        table.insert("distilled".to_owned(), true.into());
    }
    Ok(table)
}

fn dinov2(fields: &Fields<'_>, patch: usize) -> Result<toml::Table> {
    fields.only("qkv_bias", &Value::Bool(true))?;
    let keys = keys(224, patch);
    let mut table = transformer(fields, keys, 1e-6)?;
    let hidden = keys.width.read(fields)? as f64 * fields.number("mlp_ratio")?.unwrap_or(4.0);
    let hidden = hidden as usize;
    let (mlp, hidden) = match fields.flag("use_swiglu_ffn", false)? {
        true => ("swiglu", (hidden * 2 / 3).next_multiple_of(8)),
        false => (activation(fields, "hidden_act", "gelu")?, hidden),
    };
    if hidden == 0 {
        return Err(fields.refuse("mlp_ratio", "the MLP has no width".to_owned()));
    }
    table.insert("mlp".to_owned(), mlp.into());
    table.insert("hidden".to_owned(), integer(hidden));
    table.insert("layer_scale".to_owned(), true.into());
    Ok(table)
}

/// CLIP's image tower; `whole` has the length of the projection.
fn clip(tower: &Fields<'_>, whole: &Fields<'_>, context: &Context<'_>) -> Result<toml::Table> {
    let mut table = transformer(tower, keys(224, 32), 1e-5)?;
    table.insert("mlp".to_owned(), activation(tower, "hidden_act", "quick_gelu")?.into());
    table.insert("hidden".to_owned(), integer(Key::or("intermediate_size", 3072).read(tower)?));
    table.insert("norm_before".to_owned(), true.into());
    table.insert("patch_bias".to_owned(), false.into());
    if context.has_weight("visual_projection.weight") {
        table.insert("projection".to_owned(), integer(Key::or("projection_dim", 512).read(whole)?));
    }
    Ok(table)
}

fn blip(fields: &Fields<'_>) -> Result<toml::Table> {
    let mut table = transformer(fields, keys(384, 16), 1e-5)?;
    table.insert("mlp".to_owned(), activation(fields, "hidden_act", "gelu")?.into());
    table.insert("hidden".to_owned(), integer(Key::or("intermediate_size", 3072).read(fields)?));
    Ok(table)
}

fn sam(fields: &Fields<'_>) -> Result<toml::Table> {
    for key in ["qkv_bias", "use_abs_pos", "use_rel_pos"] {
        fields.only(key, &Value::Bool(true))?;
    }
    fields.only("hidden_act", &Value::from("gelu"))?;
    let keys = keys(1024, 16);
    let mut table = transformer(fields, keys, 1e-6)?;
    let hidden = match fields.size("mlp_dim")? {
        Some(hidden) => hidden,
        None => (keys.width.read(fields)? as f64 * fields.number("mlp_ratio")?.unwrap_or(4.0)) as usize,
    };
    let global = fields.sizes("global_attn_indexes")?.unwrap_or_else(|| vec![2, 5, 8, 11]);
    table.insert("hidden".to_owned(), integer(hidden));
    table.insert("window".to_owned(), integer(Key::or("window_size", 14).read(fields)?));
    table.insert("global_blocks".to_owned(), list(&global));
    table.insert("neck".to_owned(), integer(Key::or("output_channels", 256).read(fields)?));
    Ok(table)
}

fn resnet(fields: &Fields<'_>) -> Result<toml::Table> {
    three_channels(fields, "num_channels")?;
    fields.only("hidden_act", &Value::from("relu"))?;
    for key in ["downsample_in_first_stage", "downsample_in_bottleneck"] {
        fields.only(key, &Value::Bool(false))?;
    }
    let kind = fields.text("layer_type")?.unwrap_or("bottleneck");
    let expansion = match kind {
        "basic" => 1,
        "bottleneck" => 4,
        other => return Err(fields.refuse("layer_type", format!("`{other}` is neither `basic` nor `bottleneck`"))),
    };
    let depths = fields.sizes("depths")?.unwrap_or_else(|| vec![3, 4, 6, 3]);
    let widths = fields.sizes("hidden_sizes")?.unwrap_or_else(|| vec![256, 512, 1024, 2048]);
    for (key, values) in [("depths", &depths), ("hidden_sizes", &widths)] {
        if values.len() != 4 || values.contains(&0) {
            return Err(fields.refuse(key, format!("`{values:?}` are not four stages")));
        }
    }
    if widths.iter().any(|width| width % expansion != 0) {
        return Err(fields.refuse("hidden_sizes", format!("`{widths:?}` are not multiples of {expansion}")));
    }
    let channels: Vec<usize> = widths.iter().map(|width| width / expansion).collect();
    let mut table = toml::Table::new();
    table.insert("block".to_owned(), kind.into());
    table.insert("repeats".to_owned(), list(&depths));
    table.insert("channels".to_owned(), list(&channels));
    table.insert("stem".to_owned(), integer(Key::or("embedding_size", 64).read(fields)?));
    Ok(table)
}

/// The sizes of a transformer and the epsilon of its norms.
fn transformer(fields: &Fields<'_>, keys: Keys, epsilon: f64) -> Result<toml::Table> {
    three_channels(fields, "num_channels")?;
    let mut table = keys.read(fields)?.table();
    table.insert("epsilon".to_owned(), fields.number("layer_norm_eps")?.unwrap_or(epsilon).into());
    Ok(table)
}

/// What the image processor of the folder does, where it has one.
fn preprocess(family: &str, context: &Context<'_>) -> Result<Option<Described>> {
    let Some(ConfigFile { path, text }) = hf_processor::find(context.folder)? else { return Ok(None) };
    let fields = hf_processor::fields(&path, &text)?;
    // SAM's processor pads a scaled image to a square for its decoder, which no classifier of whole
    // images needs.
    if family == "sam" && hf_processor::class(&fields).is_some_and(|class| class.starts_with("Sam")) {
        let specification = catalog::find("sam-base")?.variant.preprocess;
        context.progress.note(&format!(
            "note: `{}` asks for SAM's padding to a square, which serves its mask decoder; images are preprocessed as for \
             `sam-base` instead ({specification}); choose otherwise with `preprocess`",
            path.display()
        ));
        return Ok(Some(Described { specification, path, size_field: "size" }));
    }
    let size_field = if fields.has("crop_size") { "crop_size" } else { "size" };
    let specification = hf_processor::specification(fields)?;
    Ok(Some(Described { specification, path, size_field }))
}
