//! Vision transformers: DINOv2, DINO, DeiT, OpenCLIP, CLIP and BLIP are configurations of one
//! network and names for its weights.
//!
//! Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (arXiv 2010.11929).
//!
//! | value | shape | what it is |
//! |---|---|---|
//! | `input` | [N, 3, H, W] | the normalised image; H and W are multiples of the patch P |
//! | `block_00`... | [N, T, D] | the output of each block; T tokens: class, registers, then H/P x W/P patches row by row |
//! | `tokens` | [N, T, D] | the last block's output behind the last norm; in transformers' CLIP without it |
//! | `embedding` | [N, D] | the class token behind the last norm |
//! | `projected` | [N, P'] | the embedding in the space shared with text, where there is one |
//!
//! # The network
//!
//! ```text
//!  image ── convolution P x P, stride P ──▶ patches ── before them: class token, registers; added: positions ──▶ tokens
//!                                                                                                                 │ (norm)
//!  ┌──────────────────────────────────────────────── block, repeated ───────────────────────────────────────────┐ │
//!  │  x ─┬─ norm ── attention ── (scale) ──▶ + ─┬─ norm ── widen ── activation ── narrow ── (scale) ──▶ + ──▶   │◀┘
//!  │     └──────────────────────────────────▶┘  └───────────────────────────────────────────────────▶┘           │
//!  └─────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
//!                                         last norm ── class token ──▶ embedding ── (projection) ──▶ projected
//! ```
//!
//! Attention: every token makes a query, a key and a value per head; softmax of query times key
//! over the root of the head's width weighs the values, a linear layer mixes the heads. What stands
//! in brackets depends on the sibling.
//!
//! Tokens flow through the blocks as one matrix `[N * T, D]`, so that every linear layer is a
//! `Gemm` over the weight as it is stored. The tokens before the patches are written by padding the
//! patches with zeros and adding one table that holds class token, registers and positions: no
//! shape depends on the batch. Positions were learned for one grid and are resampled for another
//! one while the graph is built, as each library does it (see `position.rs`): the graph stands for
//! one image size.
//!
//! # Siblings
//!
//! | | paper | differs from the plain network in |
//! |---|---|---|
//! | DeiT | Touvron et al. 2021 (arXiv 2012.12877) | nothing; the distilled one has a second token, with a position, behind the class token |
//! | DINO | Caron et al. 2021 (arXiv 2104.14294) | nothing but its training, without labels |
//! | DINOv2 | Oquab et al. 2024 (arXiv 2304.07193) | patch 14; the branches are scaled per channel (`layer_scale`); positions for 518 pixels |
//! | DINOv2 with registers | Darcet et al. 2024 (arXiv 2309.16588) | four register tokens; in timm's weights no prefix token has a position, in the others the class token has |
//! | DINOv2 giant | the same | the MLP is SwiGLU: `silu(a) * b` of a layer twice as wide |
//! | OpenCLIP | Cherti et al. 2023 (arXiv 2212.07143) | the tokens are normed before the first block (`norm_before`), the patch embedding has no bias, `projected` |
//! | CLIP | Radford et al. 2021 (arXiv 2103.00020) | as OpenCLIP, with the activation `x * sigmoid(1.702 x)`; transformers norms the class token only |
//! | BLIP | Li et al. 2022 (arXiv 2201.12086) | nothing; positions for 224 pixels in the release, for 384 and epsilon 1e-5 in transformers' weights |
//!
//! Epsilon of the norms is 1e-6 in most, 1e-5 in CLIP and OpenCLIP and in transformers' BLIP, 1e-12
//! in transformers' ViT.
//!
//! # Names
//!
//! Weights of timm, of transformers (`ViTModel`, `Dinov2Model`, `CLIPVisionModel`,
//! `BlipVisionModel`), of open_clip (below `visual.`) and of the original releases (DINO, DeiT,
//! DINOv2; BLIP below `visual_encoder.`) are told apart by their names, see `vit_names.rs`.
//! Libraries keep query, key and value in one matrix or in three; either is used as it is.

use serde::Deserialize;

use crate::backbones::Axes;
use crate::backbones::families::vit_names::{NAMES, Projection, VitNames};
use crate::backbones::family::Family;
use crate::backbones::layers::attention::{Attention, MlpKind};
use crate::backbones::layers::position::GridResampling;
use crate::backbones::layers::{BackboneOutputs, Network};
use crate::backbones::naming::Naming;
use crate::error::{ModelError, Result};
use crate::graph::Value;

/// Sizes and options of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    /// Height and width the positions were learned at, in pixels.
    pub(crate) image: usize,
    /// Height and width of a patch, in pixels.
    pub(crate) patch: usize,
    /// Length of a token.
    pub(crate) width: usize,
    /// Number of blocks.
    pub(crate) depth: usize,
    /// Heads of every attention.
    pub(crate) heads: usize,
    /// Length of a token inside the MLP; 4 widths unless given.
    pub(crate) hidden: Option<usize>,
    /// The MLP's activation.
    #[serde(default)]
    pub(crate) mlp: MlpKind,
    /// Whether the branches of a block are scaled per channel.
    #[serde(default)]
    pub(crate) layer_scale: bool,
    /// Register tokens behind the class token.
    #[serde(default)]
    pub(crate) registers: usize,
    /// Whether a distillation token, with a position of its own, follows the class token.
    #[serde(default)]
    pub(crate) distilled: bool,
    /// Whether the class token has a position; as the weights' library does it unless given.
    pub(crate) class_position: Option<bool>,
    /// Whether the tokens are normed before the first block.
    #[serde(default)]
    pub(crate) norm_before: bool,
    /// Whether the patch embedding has a bias.
    #[serde(default = "yes")]
    pub(crate) patch_bias: bool,
    /// Epsilon of every norm.
    pub(crate) epsilon: f32,
    /// Length of the projected embedding, where there is one.
    pub(crate) projection: Option<usize>,
    /// How positions are resampled for other sizes; that of the weights' library unless given.
    pub(crate) resampling: Option<GridResampling>,
}

fn yes() -> bool {
    true
}

/// Reads a variant's `architecture`.
pub(crate) fn read(table: toml::Table) -> Result<Box<dyn Family>, toml::de::Error> {
    let configuration: Configuration = table.try_into()?;
    Ok(Box::new(configuration))
}

/// Sizes that depend on the image.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Patches down and across.
    grid: [usize; 2],
    /// Tokens before the patches.
    prefix: usize,
}

impl Layout {
    fn tokens(self) -> usize {
        self.prefix + self.grid[0] * self.grid[1]
    }

    fn axes(self) -> Axes {
        Axes::Tokens { class: true, prefix: self.prefix }
    }
}

impl Family for Configuration {
    fn namings(&self) -> Vec<Naming> {
        NAMES.iter().map(|names| names.naming(self.mlp == MlpKind::Swiglu)).collect()
    }

    fn blocks(&self) -> usize {
        self.depth
    }

    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs> {
        let layout = self.layout(network)?;
        let rows = self.embed_patches(network)?;
        self.over_patches(network, layout, &rows)
    }
}

impl Configuration {
    /// A DeiT of some sizes, for images of 224 x 224 and patches of 16 x 16.
    pub(crate) fn deit(width: usize, depth: usize, heads: usize) -> Self {
        Configuration {
            image: 224,
            patch: 16,
            width,
            depth,
            heads,
            hidden: None,
            mlp: MlpKind::Gelu,
            layer_scale: false,
            registers: 0,
            distilled: false,
            class_position: Some(true),
            norm_before: false,
            patch_bias: true,
            epsilon: 1e-6,
            projection: None,
            resampling: None,
        }
    }

    /// The network behind the patch embedding: `rows` `[N, patches, width]`, row by row of the
    /// grid.
    pub(crate) fn over_patches(
        &self,
        network: &mut Network<'_>,
        layout: Layout,
        rows: &Value,
    ) -> Result<BackboneOutputs> {
        let names = VitNames::of(network.parameters.naming());
        let mut x = self.place(network, names, layout, rows)?;
        if self.norm_before {
            x = network.layer_norm("norm_pre", &x, self.width, self.epsilon)?;
        }
        for index in 0..network.kept_blocks(self.depth) {
            x = self.block(network, names, layout, &format!("blocks.{index}"), x)?;
            let tokens = self.as_tokens(network, &x, layout);
            network.token_block(&tokens, self.width, layout.axes());
        }
        self.finish(network, names, layout, &x)
    }

    /// The layout of a grid of patches.
    pub(crate) fn layout_of(&self, grid: [usize; 2]) -> Layout {
        Layout { grid, prefix: self.leading() + self.registers }
    }

    fn layout(&self, network: &mut Network<'_>) -> Result<Layout> {
        let size = network.fix_size([self.image; 2]);
        if size.iter().any(|length| *length == 0 || length % self.patch != 0) {
            return Err(ModelError::PatchSize { size, patch: self.patch }.into());
        }
        Ok(self.layout_of(size.map(|length| length / self.patch)))
    }

    /// Class token and distillation token.
    fn leading(&self) -> usize {
        1 + usize::from(self.distilled)
    }

    /// Image to patches, `[N, patches, D]`.
    fn embed_patches(&self, network: &mut Network<'_>) -> Result<Value> {
        let image = network.image("input");
        let patches = network.patches("patch_embed.proj", &image, [self.width, self.patch], self.patch_bias)?;
        Ok(network.builder.scope("patch_embed", |b| {
            let flat = b.reshape(&patches, &[0, self.width as i64, -1]);
            b.transpose(&flat, &[0, 2, 1])
        }))
    }

    /// Patches to tokens with positions, class token and registers: `[N * T, D]`.
    fn place(&self, network: &mut Network<'_>, names: &VitNames, layout: Layout, rows: &Value) -> Result<Value> {
        let table = self.prefix_and_positions(network, names, layout)?;
        let [width, prefix] = [self.width as i64, layout.prefix as i64];
        Ok(network.builder.scope("patch_embed", |b| {
            let padded = b.pad(rows, &[0, prefix, 0, 0, 0, 0], 0.0);
            let tokens = b.add(&padded, &table);
            b.reshape(&tokens, &[-1, width])
        }))
    }

    /// What is added to the padded patches: class token, registers and positions, `[T, D]`.
    fn prefix_and_positions(&self, network: &mut Network<'_>, names: &VitNames, layout: Layout) -> Result<Value> {
        let width = self.width;
        let side = self.image / self.patch;
        let library = self.registers == 0 || names.registers_have_class_position;
        let covers_class = self.class_position.unwrap_or(library);
        let class = network.parameter_as("cls_token", &[1, width])?;
        let distillation = match self.distilled {
            true => Some(network.parameter_as("dist_token", &[1, width])?),
            false => None,
        };
        let leading = self.leading();
        let positioned = if covers_class { leading } else { 0 };
        let positions = network.parameter_as("pos_embed", &[positioned + side * side, width])?;
        let registers = match self.registers {
            0 => None,
            count => Some(network.parameter_as("reg_token", &[count, width])?),
        };
        let how = self.resampling.unwrap_or(names.resampling(self.registers));
        Ok(network.builder.scope("positions", |b| {
            let class = match &distillation {
                Some(distillation) => b.concat(&[&class, distillation], 0),
                None => class,
            };
            let (class, grid) = match covers_class {
                true => {
                    let [first, grid] = b.split(&positions, 0, [leading as i64, (side * side) as i64]);
                    (b.add(&class, &first), grid)
                }
                false => (class, positions),
            };
            let grid = how.resample(b, &grid, [[side; 2], layout.grid], width);
            let parts: Vec<&Value> = [Some(&class), registers.as_ref(), Some(&grid)].into_iter().flatten().collect();
            b.concat(&parts, 0)
        }))
    }

    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn block(
        &self,
        network: &mut Network<'_>,
        names: &VitNames,
        layout: Layout,
        name: &str,
        x: Value,
    ) -> Result<Value> {
        let attention = Attention {
            tokens: layout.tokens(),
            width: self.width,
            heads: self.heads,
            separate: names.separate_attention,
        };
        let normed = network.layer_norm(&format!("{name}.norm1"), &x, self.width, self.epsilon)?;
        let branch = network.attention(&format!("{name}.attn"), &normed, attention)?;
        let x = self.join(network, name, "ls1.gamma", &x, branch)?;
        let normed = network.layer_norm(&format!("{name}.norm2"), &x, self.width, self.epsilon)?;
        let branch = network.mlp(&format!("{name}.mlp"), &normed, [self.width, self.hidden()], self.mlp)?;
        self.join(network, name, "ls2.gamma", &x, branch)
    }

    fn hidden(&self) -> usize {
        self.hidden.unwrap_or(4 * self.width)
    }

    /// `x + scale * branch`.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn join(&self, network: &mut Network<'_>, block: &str, scale: &str, x: &Value, branch: Value) -> Result<Value> {
        let branch = match self.layer_scale {
            true => network.layer_scale(&format!("{block}.{scale}"), &branch, self.width)?,
            false => branch,
        };
        Ok(network.builder.scope(block, |b| b.add(x, &branch)))
    }

    fn as_tokens(&self, network: &mut Network<'_>, x: &Value, layout: Layout) -> Value {
        network.builder.reshape(x, &[-1, layout.tokens() as i64, self.width as i64])
    }

    /// Last norm, class token and projection.
    fn finish(
        &self,
        network: &mut Network<'_>,
        names: &VitNames,
        layout: Layout,
        x: &Value,
    ) -> Result<BackboneOutputs> {
        let width = self.width;
        let scale = network.parameter("norm.weight", &[width])?;
        let bias = network.parameter("norm.bias", &[width])?;
        let last = self.as_tokens(network, x, layout);
        let epsilon = self.epsilon;
        let (tokens, embedding) = network.builder.scope("norm", |b| {
            let tokens = match names.norms_tokens {
                true => b.layer_norm(&last, &scale, Some(&bias), epsilon),
                false => last.clone(),
            };
            let first = b.narrow(&last, 1, 0..1);
            let class = b.reshape(&first, &[-1, width as i64]);
            (tokens, b.layer_norm(&class, &scale, Some(&bias), epsilon))
        });
        if let Some(length) = self.projection.filter(|_| !network.is_cut()) {
            let projected = match names.projection {
                Projection::Linear => network.linear("head", &embedding, [width, length])?,
                Projection::WithoutBias => {
                    let weight = network.parameter("head.weight", &[length, width])?;
                    network.builder.scope("head", |b| b.linear(&embedding, &weight, None))
                }
                Projection::FromTheRight => {
                    let weight = network.parameter("head.weight", &[width, length])?;
                    network.builder.scope("head", |b| b.matmul(&embedding, &weight))
                }
            };
            network.tap("projected", &projected, length, Axes::Vector);
        }
        Ok(BackboneOutputs { embedding, width, tokens, token_width: width, token_axes: layout.axes() })
    }
}
