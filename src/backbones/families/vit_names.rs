//! The names transformers' weights go by: a table per library, from timm's names, which the graph
//! is built with.
//!
//! A table has two parts: names outside of the blocks, and names within a block (behind
//! `blocks.I.`). A pair replaces the beginning of a name; a name that no pair matches is the same
//! in both.

use crate::backbones::layers::position::GridResampling;
use crate::backbones::layers::position::GridResampling::{Antialiased, Clamped, ClampedWithOffset};
use crate::backbones::naming::{Naming, Pairs, replaced, within_block};

/// How the projected embedding is computed from the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Projection {
    /// A linear layer with weight [P, D] and bias.
    Linear,
    /// A linear layer with weight [P, D].
    WithoutBias,
    /// A matrix [D, P] multiplied from the right.
    FromTheRight,
}

/// One library's names and habits.
#[derive(Clone, Copy)]
pub(crate) struct VitNames {
    label: &'static str,
    anchor: &'static str,
    outside: Pairs,
    blocks: &'static str,
    inside: Pairs,
    /// Names of the MLP where it is SwiGLU.
    swiglu: Pairs,
    left_out: &'static [&'static str],
    /// Whether query, key and value have a weight each.
    pub(crate) separate_attention: bool,
    /// Whether models with registers still have a position for the class token.
    pub(crate) registers_have_class_position: bool,
    /// Whether the last norm is applied to all tokens, not to the class token alone.
    pub(crate) norms_tokens: bool,
    /// How the projected embedding is computed.
    pub(crate) projection: Projection,
    /// How positions are resampled without and with registers.
    resampling: [GridResampling; 2],
}

/// timm's names; the original releases of DINO, DeiT and BLIP use them too.
const TIMM: VitNames = VitNames {
    label: "timm",
    anchor: "patch_embed.proj.weight",
    outside: &[],
    blocks: "blocks.",
    inside: &[],
    swiglu: &[],
    left_out: &["head.", "head_dist.", "fc_norm."],
    separate_attention: false,
    registers_have_class_position: false,
    norms_tokens: true,
    projection: Projection::Linear,
    resampling: [Antialiased, Antialiased],
};

/// transformers' `ViTModel`.
const TRANSFORMERS_VIT: VitNames = VitNames {
    label: "transformers-vit",
    anchor: "encoder.layer.0.layernorm_before.weight",
    outside: &[
        ("cls_token", "embeddings.cls_token"),
        ("pos_embed", "embeddings.position_embeddings"),
        ("reg_token", "embeddings.register_tokens"),
        ("dist_token", "embeddings.distillation_token"),
        ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
        ("norm.", "layernorm."),
    ],
    blocks: "encoder.layer.",
    inside: &[
        ("norm1.", "layernorm_before."),
        ("norm2.", "layernorm_after."),
        ("attn.q.", "attention.attention.query."),
        ("attn.k.", "attention.attention.key."),
        ("attn.v.", "attention.attention.value."),
        ("attn.proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    ],
    left_out: &["pooler.", "embeddings.mask_token", "classifier."],
    separate_attention: true,
    registers_have_class_position: true,
    projection: Projection::WithoutBias,
    resampling: [Clamped, Clamped],
    ..TIMM
};

/// transformers' `CLIPVisionModel`.
const TRANSFORMERS_CLIP: VitNames = VitNames {
    label: "transformers-clip",
    anchor: "pre_layrnorm.weight",
    outside: &[
        ("cls_token", "embeddings.class_embedding"),
        ("pos_embed", "embeddings.position_embedding.weight"),
        ("patch_embed.proj.", "embeddings.patch_embedding."),
        ("norm_pre.", "pre_layrnorm."),
        ("norm.", "post_layernorm."),
        ("head.", "../visual_projection."),
    ],
    blocks: "encoder.layers.",
    inside: &[
        ("norm1.", "layer_norm1."),
        ("norm2.", "layer_norm2."),
        ("attn.q.", "self_attn.q_proj."),
        ("attn.k.", "self_attn.k_proj."),
        ("attn.v.", "self_attn.v_proj."),
        ("attn.proj.", "self_attn.out_proj."),
    ],
    left_out: &["embeddings.position_ids", "visual_projection."],
    norms_tokens: false,
    ..TRANSFORMERS_VIT
};

/// All libraries; where several match, the first one is meant.
pub(crate) const NAMES: &[VitNames] = &[
    TRANSFORMERS_VIT,
    TRANSFORMERS_CLIP,
    VitNames {
        label: "transformers-dinov2",
        anchor: "encoder.layer.0.norm1.weight",
        inside: &[
            ("ls1.gamma", "layer_scale1.lambda1"),
            ("ls2.gamma", "layer_scale2.lambda1"),
            ("attn.q.", "attention.attention.query."),
            ("attn.k.", "attention.attention.key."),
            ("attn.v.", "attention.attention.value."),
            ("attn.proj.", "attention.output.dense."),
        ],
        swiglu: &[("mlp.fc1.", "mlp.weights_in."), ("mlp.fc2.", "mlp.weights_out.")],
        resampling: [Clamped, Antialiased],
        ..TRANSFORMERS_VIT
    },
    VitNames {
        label: "transformers-blip",
        anchor: "encoder.layers.0.self_attn.qkv.weight",
        outside: &[
            ("cls_token", "embeddings.class_embedding"),
            ("pos_embed", "embeddings.position_embedding"),
            ("patch_embed.proj.", "embeddings.patch_embedding."),
            ("norm.", "post_layernorm."),
        ],
        inside: &[
            ("norm1.", "layer_norm1."),
            ("norm2.", "layer_norm2."),
            ("attn.qkv.", "self_attn.qkv."),
            ("attn.proj.", "self_attn.projection."),
        ],
        left_out: &[],
        separate_attention: false,
        norms_tokens: true,
        ..TRANSFORMERS_CLIP
    },
    VitNames {
        label: "open_clip",
        anchor: "ln_pre.weight",
        outside: &[
            ("cls_token", "class_embedding"),
            ("pos_embed", "positional_embedding"),
            ("patch_embed.proj.", "conv1."),
            ("norm_pre.", "ln_pre."),
            ("norm.", "ln_post."),
            ("head.weight", "proj"),
        ],
        blocks: "transformer.resblocks.",
        inside: &[
            ("ls1.gamma", "ls_1.gamma"),
            ("ls2.gamma", "ls_2.gamma"),
            ("norm1.", "ln_1."),
            ("norm2.", "ln_2."),
            ("attn.qkv.weight", "attn.in_proj_weight"),
            ("attn.qkv.bias", "attn.in_proj_bias"),
            ("attn.proj.", "attn.out_proj."),
            ("mlp.fc1.", "mlp.c_fc."),
            ("mlp.fc2.", "mlp.c_proj."),
        ],
        left_out: &["proj"],
        projection: Projection::FromTheRight,
        ..TIMM
    },
    VitNames {
        label: "dinov2",
        anchor: "mask_token",
        outside: &[("reg_token", "register_tokens")],
        swiglu: &[("mlp.fc1.", "mlp.w12."), ("mlp.fc2.", "mlp.w3.")],
        left_out: &["mask_token", "head."],
        registers_have_class_position: true,
        resampling: [ClampedWithOffset, Antialiased],
        ..TIMM
    },
    TIMM,
];

impl VitNames {
    /// The library of that label; timm's for weights that come from no library.
    pub(crate) fn of(label: Option<&str>) -> &'static VitNames {
        NAMES.iter().find(|names| Some(names.label) == label).unwrap_or(&TIMM)
    }

    /// How the library resamples positions.
    pub(crate) fn resampling(&self, registers: usize) -> GridResampling {
        self.resampling[usize::from(registers > 0)]
    }

    /// The naming as parameters are looked up by it.
    pub(crate) fn naming(self, swiglu: bool) -> Naming {
        Naming {
            label: self.label,
            anchor: self.anchor,
            stored: Box::new(move |name| self.stored(name, swiglu)),
            left_out: Box::new(move |name| self.left_out.iter().any(|start| name.starts_with(start))),
        }
    }

    /// The library's name of a parameter.
    fn stored(&self, name: &str, swiglu: bool) -> String {
        let Some((index, rest)) = within_block(name) else { return replaced(name, self.outside) };
        let rest = if swiglu { replaced(rest, self.swiglu) } else { rest.to_owned() };
        format!("{}{index}.{}", self.blocks, replaced(&rest, self.inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_outside_and_inside_of_blocks() {
        let clip = VitNames::of(Some("transformers-clip"));
        assert_eq!(clip.stored("blocks.11.attn.q.bias", false), "encoder.layers.11.self_attn.q_proj.bias");
        assert_eq!(clip.stored("blocks.0.mlp.fc1.weight", false), "encoder.layers.0.mlp.fc1.weight");
        assert_eq!(clip.stored("norm_pre.weight", false), "pre_layrnorm.weight");
        let dinov2 = VitNames::of(Some("dinov2"));
        assert_eq!(dinov2.stored("blocks.39.mlp.fc2.bias", true), "blocks.39.mlp.w3.bias");
        assert_eq!(dinov2.stored("blocks.3.mlp.fc2.bias", false), "blocks.3.mlp.fc2.bias");
    }
}
