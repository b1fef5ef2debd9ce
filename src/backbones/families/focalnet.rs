//! FocalNet: stages of focal modulation, a convolutional stand-in for self-attention; also the
//! variant that SEEM uses.
//!
//! Yang et al., Focal Modulation Networks, NeurIPS 2022 (arXiv 2203.11926); SEEM: Zou et al.,
//! NeurIPS 2023 (arXiv 2304.06718).
//!
//! | value | shape | what it is |
//! |---|---|---|
//! | `input` | [N, 3, H, W] | the normalised image, of any size |
//! | `block_00` to `block_03` | [N, C, H/s, W/s] | the outputs of the stages before any norm, s = 4, 8, 16, 32 |
//! | `tokens` | [N, D, H/32, W/32] | the last of them behind its norm; in SEEM `res5` |
//! | `embedding` | [N, D] | its spatial mean |
//! | `res2` to `res4` | [N, C, H/s, W/s] | SEEM only: the earlier stages, each behind a norm of its own |
//!
//! # The network
//!
//! ```text
//!  image ── stem, stride 4 ── norm ──▶ stage ── halve ── norm ──▶ stage ── halve ── norm ──▶ stage ──▶ ... ── norm ──▶ mean
//!
//!  block:       x ─┬─ norm ── modulation ── (scale) ──▶ + ─┬─ norm ── widen ── GELU ── narrow ── (scale) ──▶ + ──▶
//!                  └───────────────────────────────────▶┘  └─────────────────────────────────────────────▶┘
//!
//!  modulation:  x ── linear ─┬─ query ──────────────────────────────────────────────────────────────▶ * ── linear ──▶
//!                            ├─ context ── depthwise ── GELU ── depthwise ── GELU ── ... ── mean, GELU │
//!                            │                  └─ * gate 1         └─ * gate 2          └─ * gate L+1 │
//!                            └─ gates           └──────────── + ────────────── + ── linear ────────────┘
//! ```
//!
//! At every place, contexts of growing windows (3x3, then 5x5 over that, ...) and at last of the
//! whole map are weighed by gates of that place and summed; the mixed sum multiplies the query. All
//! linear layers are 1x1 convolutions, norms are layer norms over the channels of each place
//! (epsilon 1e-5).
//!
//! # What differs between siblings
//!
//! | | focal levels | stem and steps between stages | norms |
//! |---|---|---|---|
//! | `srf` | 2 | 4x4 and 2x2 patches | before each branch |
//! | `lrf` | 3 | 4x4 and 2x2 patches | before each branch |
//! | large (`fl3`, `fl4`) | 3, 4 | overlapping 7x7 and 3x3 (`overlap`) | behind each branch (`post_norm`), which is scaled (`layer_scale`) |
//! | huge | 3, 4 | overlapping | also within the modulation (`norm_in_modulation`) |
//! | SEEM (`depthwise`) | 3 | overlapping, the stem padded by one more | of the *sum* of input and branch |
//!
//! SEEM's form also adds a depthwise 3x3 convolution before each branch and divides the summed
//! contexts by their number (`scaled_modulator`). A map of odd size loses its last row and column
//! between plain stages; with overlap none is lost. SEEM's code pads such maps to even sizes first;
//! with its kernels those zeros are the padding's own, so nothing has to be added here.
//!
//! Weights of timm, of the original release (below `model`) and of SEEM (below `backbone.`) are
//! understood; timm stores linear layers as 1x1 convolutions, the others as matrices, and puts the
//! step between two stages at the start of the later one.

use serde::Deserialize;

use crate::backbones::Axes;
use crate::backbones::family::Family;
use crate::backbones::layers::{BackboneOutputs, Convolution, FeatureMap, Network, Padding};
use crate::backbones::naming::{Naming, replaced};
use crate::error::Result;

/// Epsilon of every norm.
const EPSILON: f32 = 1e-5;
/// By how much the window grows from one focal level to the next.
const FOCAL_FACTOR: usize = 2;

/// Sizes and options of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    /// Channels of the first stage; each later one has twice as many.
    width: usize,
    /// Blocks of each stage.
    depths: [usize; 4],
    /// Focal levels of each stage, the global one not counted.
    #[serde(default = "two")]
    levels: [usize; 4],
    /// Window of the first focal level of each stage.
    #[serde(default = "three")]
    windows: [usize; 4],
    /// Channels inside the MLP per channel outside.
    #[serde(default = "four")]
    mlp_ratio: f64,
    /// Whether the convolutions between stages overlap.
    #[serde(default)]
    overlap: bool,
    /// Whether norms come behind the branches.
    #[serde(default)]
    post_norm: bool,
    /// Whether the modulated query is normed.
    #[serde(default)]
    norm_in_modulation: bool,
    /// Whether the summed context is divided by the number of levels.
    #[serde(default)]
    scaled_modulator: bool,
    /// Whether the branches are scaled per channel.
    #[serde(default)]
    layer_scale: bool,
    /// Whether it is SEEM's form.
    #[serde(default)]
    depthwise: bool,
}

fn two() -> [usize; 4] {
    [2; 4]
}

fn three() -> [usize; 4] {
    [3; 4]
}

fn four() -> f64 {
    4.0
}

/// Reads a variant's `architecture`.
pub(crate) fn read(table: toml::Table) -> Result<Box<dyn Family>, toml::de::Error> {
    let configuration: Configuration = table.try_into()?;
    Ok(Box::new(configuration))
}

impl Family for Configuration {
    fn namings(&self) -> Vec<Naming> {
        let release = |label, anchor, last_norm| Naming {
            label,
            anchor,
            stored: Box::new(move |name| release_name(name, last_norm)),
            left_out: Box::new(|name| name.starts_with("head.")),
        };
        if self.depthwise {
            return vec![release("seem", "layers.0.blocks.0.dw1.weight", "norm3.")];
        }
        vec![
            Naming {
                label: "timm",
                anchor: "stem.proj.weight",
                stored: Box::new(str::to_owned),
                left_out: Box::new(|name| name.starts_with("head.")),
            },
            release("microsoft", "patch_embed.proj.weight", "norm."),
        ]
    }

    fn blocks(&self) -> usize {
        self.depths.len()
    }

    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs> {
        let image = network.image("input");
        let mut map = self.shrink(network, "stem", &image, self.width, 4)?;
        let kept = network.kept_blocks(self.blocks());
        for (stage, &depth) in self.depths.iter().take(kept).enumerate() {
            if stage > 0 {
                let wide = 2 * map.channels;
                map = self.shrink(network, &format!("layers.{stage}.downsample"), &map, wide, 2)?;
            }
            for index in 0..depth {
                map = self.block(network, &format!("layers.{stage}.blocks.{index}"), map, stage)?;
            }
            network.block(&map);
            if self.depthwise && stage + 1 < kept {
                let normed = network.channel_norm(&format!("norm{stage}"), &map, EPSILON)?;
                network.tap(&format!("res{}", stage + 2), &normed.value, normed.channels, Axes::ChannelsFirst);
            }
        }
        let tokens = match (network.is_cut(), self.depthwise) {
            (false, _) => network.channel_norm("norm", &map, EPSILON)?,
            (true, true) => network.channel_norm(&format!("norm{}", kept - 1), &map, EPSILON)?,
            (true, false) => map,
        };
        let embedding = network.spatial_mean("pool", &tokens);
        Ok(BackboneOutputs {
            embedding,
            width: tokens.channels,
            tokens: tokens.value,
            token_width: tokens.channels,
            token_axes: Axes::ChannelsFirst,
        })
    }
}

impl Configuration {
    /// The stem, or what lies between two stages: a convolution of that stride and a norm.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn shrink(
        &self,
        network: &mut Network<'_>,
        name: &str,
        x: &FeatureMap,
        channels: usize,
        stride: usize,
    ) -> Result<FeatureMap> {
        let (kernel, padding) = match (self.overlap, stride) {
            (false, _) => (stride, 0),
            (true, 4) if self.depthwise => (7, 3),
            (true, 4) => (7, 2),
            (true, _) => (3, 1),
        };
        let layer = Convolution { channels, kernel, stride, groups: 1, padding: Padding::Zeros(padding) };
        let map = network.biased_convolution(&format!("{name}.proj"), x, layer)?;
        network.channel_norm(&format!("{name}.norm"), &map, EPSILON)
    }

    fn block(&self, network: &mut Network<'_>, name: &str, x: FeatureMap, stage: usize) -> Result<FeatureMap> {
        let x = self.branch(network, name, 1, x, |network, x| {
            self.modulation(network, &format!("{name}.modulation"), x, stage)
        })?;
        self.branch(network, name, 2, x, |network, x| {
            let hidden = (x.channels as f64 * self.mlp_ratio) as usize;
            let inner = network.pointwise(&format!("{name}.mlp.fc1"), x, hidden)?;
            let active = network.gelu(&format!("{name}.mlp"), &inner);
            network.pointwise(&format!("{name}.mlp.fc2"), &active, x.channels)
        })
    }

    /// `x` plus a branch of it, with norm, scale and depthwise convolution where the options put
    /// them.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn branch(
        &self,
        network: &mut Network<'_>,
        block: &str,
        number: usize,
        x: FeatureMap,
        inner: impl FnOnce(&mut Network<'_>, &FeatureMap) -> Result<FeatureMap>,
    ) -> Result<FeatureMap> {
        let mut x = x;
        if self.depthwise {
            let filtered = network.biased_convolution(&format!("{block}.dw{number}"), &x, depthwise(x.channels, 3))?;
            x = network.sum(block, &x, &filtered);
        }
        let behind = format!("{block}.norm{number}_post");
        let mut branch = match self.post_norm {
            true => inner(network, &x)?,
            false => {
                let normed = network.channel_norm(&format!("{block}.norm{number}"), &x, EPSILON)?;
                inner(network, &normed)?
            }
        };
        if self.post_norm && !self.depthwise {
            branch = network.channel_norm(&behind, &branch, EPSILON)?;
        }
        if self.layer_scale {
            branch = network.channel_scale(&format!("{block}.ls{number}.gamma"), &branch)?;
        }
        let sum = network.sum(block, &x, &branch);
        match self.post_norm && self.depthwise {
            true => network.channel_norm(&behind, &sum, EPSILON),
            false => Ok(sum),
        }
    }

    /// Focal modulation of `x` [N, C, H, W].
    fn modulation(&self, network: &mut Network<'_>, name: &str, x: &FeatureMap, stage: usize) -> Result<FeatureMap> {
        let (channels, levels) = (x.channels, self.levels[stage]);
        let all = network.pointwise(&format!("{name}.f"), x, 2 * channels + levels + 1)?;
        let [query, context, gates] = network
            .builder
            .scope(name, |b| b.split(&all.value, 1, [channels as i64, channels as i64, levels as i64 + 1]));
        let mut context = FeatureMap { value: context, ..x.clone() };
        let mut summed = None;
        for level in 0..=levels {
            context = if level < levels {
                let kernel = FOCAL_FACTOR * level + self.windows[stage];
                let layer = format!("{name}.focal_layers.{level}.0");
                let filtered = network.convolution(&layer, &context, depthwise(channels, kernel))?;
                network.gelu(&layer, &filtered)
            } else {
                let value = network.builder.scope(name, |b| b.global_average_pool(&context.value));
                network.gelu(name, &FeatureMap { value, channels, size: Some([1, 1]) })
            };
            summed = Some(network.builder.scope(name, |b| {
                let gate = b.narrow(&gates, 1, level as i64..level as i64 + 1);
                let gated = b.mul(&context.value, &gate);
                match &summed {
                    Some(sum) => b.add(sum, &gated),
                    None => gated,
                }
            }));
        }
        let value = summed.unwrap_or(context.value);
        let value = match self.scaled_modulator {
            true => network.builder.scope(name, |b| {
                let count = b.scalar(levels as f32 + 1.0);
                b.div(&value, &count)
            }),
            false => value,
        };
        let mixed = network.pointwise(&format!("{name}.h"), &FeatureMap { value, ..x.clone() }, channels)?;
        let value = network.builder.scope(name, |b| b.mul(&query, &mixed.value));
        let mut modulated = FeatureMap { value, ..x.clone() };
        if self.norm_in_modulation {
            modulated = network.channel_norm(&format!("{name}.norm"), &modulated, EPSILON)?;
        }
        network.pointwise(&format!("{name}.proj"), &modulated, channels)
    }
}

/// A convolution of every channel by itself, that keeps the size.
fn depthwise(channels: usize, kernel: usize) -> Convolution {
    Convolution { channels, kernel, stride: 1, groups: channels, padding: Padding::Zeros(kernel / 2) }
}

/// The name in the original releases and in SEEM: the step to the next stage belongs to the stage
/// before it, a norm has one name wherever it stands.
fn release_name(name: &str, last_norm: &'static str) -> String {
    if let Some((stage, rest)) = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        let before = stage.parse::<usize>().ok().and_then(|stage| stage.checked_sub(1));
        return match before.filter(|_| rest.starts_with("downsample.")) {
            Some(before) => format!("layers.{before}.{rest}"),
            None => {
                let rest = rest.replace("_post.", ".").replace("modulation.norm.", "modulation.ln.");
                let rest = rest.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2");
                format!("layers.{stage}.{rest}")
            }
        };
    }
    let name = if name.starts_with("norm.") { name.replacen("norm.", last_norm, 1) } else { name.to_owned() };
    replaced(&name, &[("stem.", "patch_embed.")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_releases_differ_in_place_and_spelling() {
        let pairs = [
            ("stem.proj.weight", "patch_embed.proj.weight"),
            ("layers.1.downsample.norm.bias", "layers.0.downsample.norm.bias"),
            ("layers.3.blocks.1.norm2_post.weight", "layers.3.blocks.1.norm2.weight"),
            ("layers.0.blocks.0.ls1.gamma", "layers.0.blocks.0.gamma_1"),
            ("layers.2.blocks.5.modulation.norm.bias", "layers.2.blocks.5.modulation.ln.bias"),
            (
                "layers.2.blocks.5.modulation.focal_layers.1.0.weight",
                "layers.2.blocks.5.modulation.focal_layers.1.0.weight",
            ),
            ("norm.weight", "norm3.weight"),
            ("norm1.weight", "norm1.weight"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(release_name(ours, "norm3."), theirs);
        }
    }
}
