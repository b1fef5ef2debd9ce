//! FocalNet in folders: timm's names and arguments, and folders that spell everything out, also for
//! SEEM's form.

use serde_json::Value;

use crate::backbones::zoo::json_config::Fields;
use crate::backbones::zoo::snapshot::transformer::Key;
use crate::backbones::zoo::snapshot::{integer, list};
use crate::error::Result;

/// Sizes of timm's FocalNets: name, channels of the first stage, blocks of the third.
const SIZES: [(&str, usize, usize); 6] =
    [("tiny", 96, 6), ("small", 96, 18), ("base", 128, 18), ("large", 192, 18), ("xlarge", 256, 18), ("huge", 352, 18)];

/// A FocalNet of timm's, before `model_args` change it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FocalNet {
    width: usize,
    depths: [usize; 4],
    levels: usize,
    window: usize,
    /// Whether it overlaps, norms behind its branches and scales them, as the large ones do.
    large: bool,
    norm_in_modulation: bool,
}

/// What a name of timm's stands for: `focalnet_tiny_srf`, `focalnet_large_fl4`.
pub(super) fn named(name: &str) -> Option<FocalNet> {
    let (size, levels) = name.strip_prefix("focalnet_")?.split_once('_')?;
    let &(_, width, third) = SIZES.iter().find(|(known, ..)| *known == size)?;
    let large = width > 128;
    let levels = match (levels, large) {
        ("srf", false) => 2,
        ("lrf", false) | ("fl3", true) => 3,
        ("fl4", true) => 4,
        _ => return None,
    };
    let window = if matches!(size, "large" | "xlarge") && levels == 3 { 5 } else { 3 };
    Some(FocalNet { width, depths: [2, 2, third, 2], levels, window, large, norm_in_modulation: size == "huge" })
}

/// Arguments of timm's that decide the architecture.
pub(super) const ARGUMENTS: [&str; 12] = [
    "embed_dim",
    "depths",
    "mlp_ratio",
    "focal_levels",
    "focal_windows",
    "use_overlap_down",
    "use_post_norm",
    "use_post_norm_in_modulation",
    "normalize_modulator",
    "layerscale_value",
    "global_pool",
    "head_init_scale",
];

/// The architecture that timm's arguments make of a named one.
pub(super) fn of_timm(arguments: &Fields<'_>, defaults: &FocalNet) -> Result<toml::Table> {
    arguments.only("global_pool", &Value::from("avg"))?;
    let mut table = sizes(arguments, Some(defaults))?;
    let FocalNet { large, norm_in_modulation, .. } = *defaults;
    for (key, ours, default) in [
        ("use_overlap_down", "overlap", large),
        ("use_post_norm", "post_norm", large),
        ("use_post_norm_in_modulation", "norm_in_modulation", norm_in_modulation),
        ("normalize_modulator", "scaled_modulator", false),
    ] {
        table.insert(ours.to_owned(), arguments.flag(key, default)?.into());
    }
    table.insert("layer_scale".to_owned(), (large || arguments.has("layerscale_value")).into());
    Ok(table)
}

/// The architecture of a folder that spells it out.
pub(super) fn explicit(fields: &Fields<'_>, depthwise: bool) -> Result<toml::Table> {
    fields.only("act", &Value::from("gelu"))?;
    fields.only("focal_factor", &Value::from(2))?;
    fields.only("norm_eps", &Value::from(1e-5))?;
    let mut table = sizes(fields, None)?;
    let [overlap, post_norm, norm_in_modulation, scaled] = match depthwise {
        true => ["use_conv_embed", "use_postln", "use_postln_in_modulation", "scaling_modulator"],
        false => ["use_overlap_down", "use_post_norm", "use_post_norm_in_modulation", "normalize_modulator"],
    };
    if depthwise {
        // Without overlap the reference pads maps of odd size, which plain stages do not.
        fields.only(overlap, &Value::Bool(true))?;
    }
    for (key, ours, default) in [
        (overlap, "overlap", depthwise),
        (post_norm, "post_norm", false),
        (norm_in_modulation, "norm_in_modulation", false),
        (scaled, "scaled_modulator", false),
        ("layerscale", "layer_scale", false),
    ] {
        table.insert(ours.to_owned(), fields.flag(key, default)?.into());
    }
    table.insert("depthwise".to_owned(), depthwise.into());
    Ok(table)
}

/// Widths, depths, levels and windows; required where there are no defaults.
fn sizes(fields: &Fields<'_>, defaults: Option<&FocalNet>) -> Result<toml::Table> {
    let width = match defaults {
        Some(defaults) => Key::or("embed_dim", defaults.width),
        None => Key::required("embed_dim"),
    };
    let mut table = toml::Table::new();
    table.insert("width".to_owned(), integer(width.read(fields)?));
    for (key, ours, default) in [
        ("depths", "depths", defaults.map(|defaults| defaults.depths)),
        ("focal_levels", "levels", defaults.map(|defaults| [defaults.levels; 4])),
        ("focal_windows", "windows", defaults.map(|defaults| [defaults.window; 4])),
    ] {
        let values = match (fields.sizes(key)?, default) {
            (Some(values), _) if values.len() == 4 && !values.contains(&0) => values,
            (Some(values), _) => return Err(fields.refuse(key, format!("`{values:?}` are not four stages"))),
            (None, Some(default)) => default.to_vec(),
            (None, None) => return Err(fields.missing(key)),
        };
        if ours == "windows" && values.iter().any(|window| window % 2 == 0) {
            return Err(fields.refuse(key, format!("`{values:?}`: a window has an odd length")));
        }
        table.insert(ours.to_owned(), list(&values));
    }
    let ratio = fields.number("mlp_ratio")?.unwrap_or(4.0);
    if !(0.01..1000.0).contains(&ratio) {
        return Err(fields.refuse("mlp_ratio", format!("`{ratio}` is not supported")));
    }
    table.insert("mlp_ratio".to_owned(), ratio.into());
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_nothing_are_not_understood() {
        for name in ["focalnet_tiny_fl3", "focalnet_large_srf", "focalnet_tiny", "focalnet_nano_srf", "focal_tiny_srf"]
        {
            assert_eq!(named(name), None, "{name}");
        }
    }
}
