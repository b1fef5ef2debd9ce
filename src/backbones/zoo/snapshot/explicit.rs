//! Folders that spell their architecture out: `config.json` with `naming`, `family`, `architecture`
//! and all sizes.
//!
//! They say nothing about preprocessing unless a `preprocessor_config.json` lies beside: images
//! then go through what the catalog has for a model of that family, at the folder's image size, and
//! a note tells so.

use serde_json::Value;

use crate::backbones::zoo::hf_processor::ConfigFile;
use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::snapshot::transformer::{Key, Keys, activation};
use crate::backbones::zoo::snapshot::{Context, Described, Description, focalnet, integer, list};
use crate::backbones::zoo::{catalog, hf_processor};
use crate::error::Result;

const KEYS: Keys = Keys {
    image: Key::required("img_size"),
    patch: Key::required("patch_size"),
    width: Key::required("embed_dim"),
    depth: Key::required("depth"),
    heads: Key::required("num_heads"),
};

/// The model of the catalog whose preprocessing stands for that of a family.
const LIKE: [(&str, &str); 9] = [
    ("blip", "blip-base"),
    ("clip", "clip-base"),
    ("dinov2", "dinov2-base"),
    ("efficientnet", "efficientnet-lite0"),
    ("focalnet", "focalnet-tiny-lrf"),
    ("openclip", "openclip-base"),
    ("resnet", "resnet50"),
    ("sam", "sam-base"),
    ("vit", "dino-base"),
];

/// What the configuration says.
pub(super) fn describe(fields: &Fields<'_>, context: &Context<'_>) -> Result<Description> {
    let (family, architecture) = match fields.text("architecture")?.ok_or_else(|| fields.missing("architecture"))? {
        "vit" => ("vit", vit(fields)?),
        "sam_vit" => ("sam", sam(fields)?),
        "resnet" => ("resnet", resnet(fields)?),
        "focalnet" => ("focalnet", focalnet::explicit(fields, false)?),
        "d2focalnet" => ("focalnet", focalnet::explicit(fields, true)?),
        "efficientnet_lite" => ("efficientnet-lite", efficientnet_lite(fields)?),
        other => {
            let known = "`vit`, `sam_vit`, `resnet`, `efficientnet_lite`, `focalnet`, `d2focalnet`";
            return Err(fields.refuse("architecture", format!("`{other}` is not one of {known}")));
        }
    };
    let preprocess = preprocess(fields, context)?;
    Ok(Description { family, architecture, preprocess: Some(preprocess), licence: None })
}

fn vit(fields: &Fields<'_>) -> Result<toml::Table> {
    fields.only("qkv_bias", &Value::Bool(true))?;
    fields.only("class_token", &Value::Bool(true))?;
    let mut table = KEYS.read(fields)?.table();
    let mlp = match fields.text("mlp")?.unwrap_or("mlp") {
        "mlp" => activation(fields, "act", "gelu")?,
        "swiglu" => "swiglu",
        other => return Err(fields.refuse("mlp", format!("`{other}` is neither `mlp` nor `swiglu`"))),
    };
    table.insert("mlp".to_owned(), mlp.into());
    table.insert("hidden".to_owned(), integer(Key::required("mlp_hidden_dim").read(fields)?));
    table.insert("layer_scale".to_owned(), fields.flag("layerscale", false)?.into());
    table.insert("norm_before".to_owned(), fields.flag("pre_norm", false)?.into());
    table.insert("patch_bias".to_owned(), fields.flag("patch_embed_bias", true)?.into());
    let registers = fields.value("num_register_tokens").and_then(Value::as_u64).unwrap_or(0).min(1024);
    table.insert("registers".to_owned(), integer(registers as usize));
    table.insert("epsilon".to_owned(), epsilon(fields)?);
    // timm's CLIP has its projection as a classifier.
    let head = if fields.text("family")? == Some("clip") { fields.size("num_classes")? } else { None };
    if let Some(length) = fields.size("projection_dim")?.or(head) {
        table.insert("projection".to_owned(), integer(length));
    }
    Ok(table)
}

fn sam(fields: &Fields<'_>) -> Result<toml::Table> {
    fields.only("qkv_bias", &Value::Bool(true))?;
    let mut table = KEYS.read(fields)?.table();
    let global = fields.sizes("global_attn_indexes")?.ok_or_else(|| fields.missing("global_attn_indexes"))?;
    table.insert("hidden".to_owned(), integer(Key::required("mlp_hidden_dim").read(fields)?));
    table.insert("window".to_owned(), integer(Key::required("window_size").read(fields)?));
    table.insert("global_blocks".to_owned(), list(&global));
    table.insert("neck".to_owned(), integer(Key::required("neck_chans").read(fields)?));
    table.insert("epsilon".to_owned(), epsilon(fields)?);
    Ok(table)
}

fn resnet(fields: &Fields<'_>) -> Result<toml::Table> {
    let mut table = toml::Table::new();
    table.insert("block".to_owned(), fields.text("block")?.ok_or_else(|| fields.missing("block"))?.into());
    for (key, ours) in [("layers", "repeats"), ("channels", "channels")] {
        let values = fields.sizes(key)?.filter(|values| values.len() == 4 && !values.contains(&0));
        let values = values.ok_or_else(|| fields.refuse(key, "it does not have four stages".to_owned()))?;
        table.insert(ours.to_owned(), list(&values));
    }
    table.insert("stem".to_owned(), integer(Key::or("stem_width", 64).read(fields)?));
    Ok(table)
}

fn efficientnet_lite(fields: &Fields<'_>) -> Result<toml::Table> {
    let factor = |key: &str| -> Result<toml::Value> {
        let factor = fields.number(key)?.filter(|factor| *factor > 0.0 && *factor < 100.0);
        Ok(factor.ok_or_else(|| fields.refuse(key, "it is no factor above 0".to_owned()))?.into())
    };
    let mut table = toml::Table::new();
    table.insert("width".to_owned(), factor("channel_multiplier")?);
    table.insert("depth".to_owned(), factor("depth_multiplier")?);
    table.insert("stem".to_owned(), integer(Key::or("stem_channels", 32).read(fields)?));
    table.insert("head".to_owned(), integer(Key::or("head_channels", 1280).read(fields)?));
    Ok(table)
}

fn epsilon(fields: &Fields<'_>) -> Result<toml::Value> {
    Ok(fields.number("norm_eps")?.ok_or_else(|| fields.missing("norm_eps"))?.into())
}

/// The folder's own preprocessing, or that of the family at the folder's image size.
fn preprocess(fields: &Fields<'_>, context: &Context<'_>) -> Result<Described> {
    if let Some(ConfigFile { path, text }) = hf_processor::find(context.folder)? {
        let specification = hf_processor::parse(&path, &text)?;
        return Ok(Described { specification, path, size_field: "size" });
    }
    let family = fields.text("family")?.ok_or_else(|| fields.missing("family"))?;
    let like = LIKE.iter().find(|(known, _)| *known == family).map(|(_, like)| *like);
    let like = like.ok_or_else(|| fields.refuse("family", format!("`{family}` is not known")))?;
    let image = Key::required("img_size").read(fields)? as u32;
    let specification = catalog::find(like)?.variant.preprocess.at_size(image, image);
    context.progress.note(&format!(
        "note: `{}` says nothing about preprocessing; images are preprocessed as for `{like}`, at {image} pixels \
         ({specification}); choose otherwise with `preprocess`",
        fields.path().display()
    ));
    Ok(Described { specification, path: fields.path().to_path_buf(), size_field: "img_size" })
}
