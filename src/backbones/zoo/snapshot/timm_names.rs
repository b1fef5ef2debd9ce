//! The architectures that timm's names stand for: `vit_base_patch14_reg4_dinov2`,
//! `deit_small_patch16_224`, `resnet50`.
//!
//! A name of a vision transformer is `vit_SIZE_patchP`, perhaps `_regR`, then a resolution or a
//! recipe (`dinov2`, `clip_224`, `clip_quickgelu_336`); DeiT's and SAM's are alike; FocalNet's are
//! in `focalnet`. Sizes and recipes are tables, so that all combinations are known.

use crate::backbones::zoo::snapshot::focalnet;
use crate::backbones::zoo::snapshot::focalnet::FocalNet;

/// A transformer of timm's, before `model_args` change it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vit {
    pub(super) image: usize,
    pub(super) patch: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) heads: usize,
    pub(super) mlp_ratio: f64,
    pub(super) mlp: &'static str,
    pub(super) layer_scale: bool,
    pub(super) registers: usize,
    /// Whether the class token has a position.
    pub(super) class_position: bool,
    /// Whether a distillation token follows the class token.
    pub(super) distilled: bool,
    pub(super) norm_before: bool,
    pub(super) epsilon: f64,
}

/// SAM's encoder in timm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sam {
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) heads: usize,
    pub(super) global_blocks: [usize; 4],
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Architecture {
    Vit(Vit),
    Sam(Sam),
    /// Kind of the blocks and blocks of each stage.
    ResNet(&'static str, [usize; 4]),
    /// Factors of channels and of repeats.
    EfficientNetLite(f64, f64),
    FocalNet(FocalNet),
}

/// Size, width, depth, heads, factor of the MLP.
const SIZES: [(&str, usize, usize, usize, f64); 8] = [
    ("tiny", 192, 12, 3, 4.0),
    ("small", 384, 12, 6, 4.0),
    ("medium", 512, 12, 8, 4.0),
    ("base", 768, 12, 12, 4.0),
    ("large", 1024, 24, 16, 4.0),
    ("huge", 1280, 32, 16, 4.0),
    ("giant", 1408, 40, 16, 48.0 / 11.0),
    ("gigantic", 1664, 48, 16, 64.0 / 13.0),
];

const RESNETS: [(&str, &str, [usize; 4]); 5] = [
    ("resnet18", "basic", [2, 2, 2, 2]),
    ("resnet34", "basic", [3, 4, 6, 3]),
    ("resnet50", "bottleneck", [3, 4, 6, 3]),
    ("resnet101", "bottleneck", [3, 4, 23, 3]),
    ("resnet152", "bottleneck", [3, 8, 36, 3]),
];

const EFFICIENTNET_LITE: [(&str, f64, f64); 5] = [
    ("tf_efficientnet_lite0", 1.0, 1.0),
    ("tf_efficientnet_lite1", 1.0, 1.1),
    ("tf_efficientnet_lite2", 1.1, 1.2),
    ("tf_efficientnet_lite3", 1.2, 1.4),
    ("tf_efficientnet_lite4", 1.4, 1.8),
];

const SAMS: [(&str, Sam); 3] = [
    ("samvit_base_patch16", Sam { width: 768, depth: 12, heads: 12, global_blocks: [2, 5, 8, 11] }),
    ("samvit_large_patch16", Sam { width: 1024, depth: 24, heads: 16, global_blocks: [5, 11, 17, 23] }),
    ("samvit_huge_patch16", Sam { width: 1280, depth: 32, heads: 16, global_blocks: [7, 15, 23, 31] }),
];

/// The forms of the names that are understood, for errors.
pub(super) const FORMS: [&str; 11] = [
    "vit_SIZE_patchP_RESOLUTION",
    "vit_SIZE_patchP_dinov2",
    "vit_SIZE_patchP_regR_dinov2",
    "vit_SIZE_patchP_clip_RESOLUTION",
    "vit_SIZE_patchP_clip_quickgelu_RESOLUTION",
    "deit_SIZE_patch16_RESOLUTION",
    "samvit_SIZE_patch16",
    "resnet18 to resnet152",
    "tf_efficientnet_lite0 to 4",
    "focalnet_SIZE_srf or _lrf",
    "focalnet_SIZE_fl3 or _fl4",
];

/// What a name stands for; `None` where it is not understood.
pub(super) fn architecture(name: &str) -> Option<Architecture> {
    if let Some((_, block, repeats)) = RESNETS.iter().find(|(known, ..)| *known == name) {
        return Some(Architecture::ResNet(block, *repeats));
    }
    if let Some((_, width, depth)) = EFFICIENTNET_LITE.iter().find(|(known, ..)| *known == name) {
        return Some(Architecture::EfficientNetLite(*width, *depth));
    }
    if let Some((_, sam)) = SAMS.iter().find(|(known, _)| *known == name) {
        return Some(Architecture::Sam(*sam));
    }
    if let Some(found) = focalnet::named(name) {
        return Some(Architecture::FocalNet(found));
    }
    let (rest, deit) = match name.strip_prefix("deit_") {
        Some(rest) => (rest, true),
        None => (name.strip_prefix("vit_")?, false),
    };
    let (size, rest) = rest.split_once('_')?;
    let (rest, distilled) = match rest.strip_prefix("distilled_").filter(|_| deit) {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (patch, rest) = rest.strip_prefix("patch")?.split_once('_')?;
    let (registers, recipe) = match rest.strip_prefix("reg").and_then(|rest| rest.split_once('_')) {
        Some((count, recipe)) if !deit => (number(count)?, recipe),
        _ => (0, rest),
    };
    let &(_, width, depth, heads, mlp_ratio) = SIZES.iter().find(|(known, ..)| *known == size)?;
    let plain = Vit {
        image: 224,
        patch: number(patch)?,
        width,
        depth,
        heads,
        mlp_ratio,
        mlp: "gelu",
        layer_scale: false,
        registers,
        class_position: registers == 0,
        distilled,
        norm_before: false,
        epsilon: 1e-6,
    };
    recipe_of(recipe, size, plain).filter(|_| !deit || number(recipe).is_some()).map(Architecture::Vit)
}

/// What the end of a name makes of the plain transformer.
fn recipe_of(recipe: &str, size: &str, plain: Vit) -> Option<Vit> {
    if recipe == "dinov2" {
        let base = Vit { image: 518, layer_scale: true, ..plain };
        return Some(match size {
            "giant" => Vit { width: 1536, heads: 24, mlp_ratio: 2.66667 * 2.0, mlp: "swiglu", ..base },
            _ => base,
        });
    }
    if plain.registers > 0 {
        return None;
    }
    if let Some(recipe) = recipe.strip_prefix("clip_") {
        let (image, mlp) = match recipe.strip_prefix("quickgelu_") {
            Some(image) => (image, "quick-gelu"),
            None => (recipe, "gelu"),
        };
        return Some(Vit { image: number(image)?, mlp, norm_before: true, epsilon: 1e-5, ..plain });
    }
    Some(Vit { image: number(recipe)?, ..plain })
}

fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| (1..=4096).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_another_meaning_is_not_taken_for_a_known_name() {
        for name in [
            "vit_base_patch16_224_miil",
            "vit_base_patch16_reg4_gap_256",
            "vit_medium_patch16_gap_240",
            "vit_base_patch16_siglip_224",
            "vit_base_r50_s16_224",
            "vit_base_patch16_rope_224",
            "samvit_base_patch16_224",
            "deit3_base_patch16_224",
            "resnet50d",
            "efficientnet_lite0",
            "vit_nano_patch16_224",
        ] {
            assert_eq!(architecture(name), None, "{name}");
        }
    }
}
