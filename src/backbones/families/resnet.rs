//! ResNet 18, 34, 50, 101, 152, as in torchvision and timm (v1.5: a bottleneck's stride is in its
//! 3x3 convolution).
//!
//! He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385).
//!
//! | value | shape | what it is |
//! |---|---|---|
//! | `input` | [N, 3, H, W] | the normalised image, of any size |
//! | `block_00` to `block_03` | [N, C, H/s, W/s] | the outputs of the stages, s = 4, 8, 16, 32 (rounded up) |
//! | `tokens` | [N, D, H/32, W/32] | the last of them; there is no norm behind it |
//! | `embedding` | [N, D] | its spatial mean |
//!
//! # The network
//!
//! ```text
//!  image ── 7x7, stride 2 ── norm ── ReLU ── max pool 3x3, stride 2 ──▶ four stages of blocks ──▶ mean ──▶ embedding
//!
//!  basic:       x ─┬─ 3x3 ── norm ── ReLU ── 3x3 ── norm ──▶ + ── ReLU ──▶          (18, 34)
//!  bottleneck:  x ─┬─ 1x1 ── norm ── ReLU ── 3x3 ── norm ── ReLU ── 1x1 ── norm ──▶ + ── ReLU ──▶          (50, 101, 152)
//!                  └─ (1x1 ── norm, where the shape changes) ─────────────────────▶┘
//! ```
//!
//! Norms are batch normalisations with stored statistics, epsilon 1e-5. Each stage but the first
//! halves the map in its first block and doubles the channels. A bottleneck is four times wider
//! outside than in its 3x3 convolution.
//!
//! # What differs between siblings
//!
//! Depth and kind of block only. Compared with transformers, nothing is resampled and no image size
//! is special: one graph serves all. Weights of timm and torchvision (the same names) and of
//! transformers (`ResNetModel`) are understood.

use serde::Deserialize;

use crate::backbones::Axes;
use crate::backbones::family::Family;
use crate::backbones::layers::{Activation, BackboneOutputs, ConvNormAct, Convolution, FeatureMap, Network, Padding};
use crate::backbones::naming::Naming;
use crate::error::Result;

const EPSILON: f32 = 1e-5;
const RELU: Option<Activation> = Some(Activation::Relu);

/// The residual block a network is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Block {
    Basic,
    Bottleneck,
}

impl Block {
    /// How many times wider a block's output is than its 3x3 convolution.
    const fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

/// Sizes of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    block: Block,
    /// Blocks of each stage.
    repeats: [usize; 4],
    /// Channels of the 3x3 convolutions of each stage.
    #[serde(default = "default_channels")]
    channels: [usize; 4],
    /// Channels of the stem.
    #[serde(default = "default_stem")]
    stem: usize,
}

fn default_channels() -> [usize; 4] {
    [64, 128, 256, 512]
}

fn default_stem() -> usize {
    64
}

/// Reads a variant's `architecture`.
pub(crate) fn read(table: toml::Table) -> Result<Box<dyn Family>, toml::de::Error> {
    let configuration: Configuration = table.try_into()?;
    Ok(Box::new(configuration))
}

/// transformers' name of a parameter: `layer1.0.bn2.bias` is
/// `encoder.stages.0.layers.0.layer.1.normalization.bias`.
fn transformers_name(name: &str) -> String {
    let kind = |layer: &str| if layer.starts_with("bn") { "normalization" } else { "convolution" };
    let parts: Vec<&str> = name.split('.').collect();
    let stage = |text: &str| text.strip_prefix("layer").and_then(|number| number.parse::<usize>().ok());
    match (parts.as_slice(), parts.first().copied().and_then(stage)) {
        ([_, index, "downsample", part, rest], Some(stage)) => {
            let kind = if *part == "0" { "convolution" } else { "normalization" };
            format!("encoder.stages.{}.layers.{index}.shortcut.{kind}.{rest}", stage.saturating_sub(1))
        }
        ([_, index, layer, rest], Some(stage)) => {
            let number = layer.trim_start_matches(char::is_alphabetic).parse::<usize>().unwrap_or(1).saturating_sub(1);
            let kind = kind(layer);
            format!("encoder.stages.{}.layers.{index}.layer.{number}.{kind}.{rest}", stage.saturating_sub(1))
        }
        ([layer, rest], None) => format!("embedder.embedder.{}.{rest}", kind(layer)),
        _ => name.to_owned(),
    }
}

impl Configuration {
    /// One block; `name` is `layerSTAGE.INDEX`.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn block(
        &self,
        network: &mut Network<'_>,
        name: &str,
        x: &FeatureMap,
        channels: usize,
        stride: usize,
    ) -> Result<FeatureMap> {
        let wide = channels * self.block.expansion();
        let layer = |channels, kernel, stride| {
            let padding = Padding::Zeros(kernel / 2);
            Convolution { channels, kernel, stride, groups: 1, padding }
        };
        let layers = match self.block {
            Block::Basic => vec![layer(channels, 3, stride), layer(channels, 3, 1)],
            Block::Bottleneck => vec![layer(channels, 1, 1), layer(channels, 3, stride), layer(wide, 1, 1)],
        };
        let count = layers.len();
        let mut map = x.clone();
        for (index, layer) in layers.into_iter().enumerate() {
            let (conv, norm) = (format!("{name}.conv{}", index + 1), format!("{name}.bn{}", index + 1));
            let activation = RELU.filter(|_| index + 1 < count);
            map = network.unit(&map, ConvNormAct { conv: &conv, norm: &norm, layer, epsilon: EPSILON, activation })?;
        }
        let shortcut = if stride == 1 && x.channels == wide {
            x.clone()
        } else {
            let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            let layer = layer(wide, 1, stride);
            network.unit(x, ConvNormAct { conv: &conv, norm: &norm, layer, epsilon: EPSILON, activation: None })?
        };
        let sum = network.sum(name, &map, &shortcut);
        Ok(network.activation(name, &sum, Activation::Relu))
    }
}

impl Family for Configuration {
    fn namings(&self) -> Vec<Naming> {
        vec![
            Naming {
                label: "timm",
                anchor: "layer1.0.conv1.weight",
                stored: Box::new(str::to_owned),
                left_out: Box::new(|name| name.starts_with("fc.") || name.ends_with(".num_batches_tracked")),
            },
            Naming {
                label: "transformers",
                anchor: "embedder.embedder.convolution.weight",
                stored: Box::new(transformers_name),
                left_out: Box::new(|name| name.ends_with(".num_batches_tracked")),
            },
        ]
    }

    fn blocks(&self) -> usize {
        self.repeats.len()
    }

    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs> {
        let image = network.image("input");
        let layer = Convolution { channels: self.stem, kernel: 7, stride: 2, groups: 1, padding: Padding::Zeros(3) };
        let stem = ConvNormAct { conv: "conv1", norm: "bn1", layer, epsilon: EPSILON, activation: RELU };
        let stem = network.unit(&image, stem)?;
        let mut map = network.max_pool_3x3("maxpool", &stem);
        let stages = self.repeats.iter().zip(&self.channels).take(network.kept_blocks(self.blocks()));
        for (stage, (&repeats, &channels)) in stages.enumerate() {
            for index in 0..repeats {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let name = format!("layer{}.{index}", stage + 1);
                map = self.block(network, &name, &map, channels, stride)?;
            }
            network.block(&map);
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
