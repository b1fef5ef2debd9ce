//! SAM's image encoder: a vision transformer over a map of patches, with windowed attention and
//! relative positions.
//!
//! Kirillov et al., Segment Anything, ICCV 2023 (arXiv 2304.02643), after ViTDet (Li et al. 2022,
//! arXiv 2203.16527).
//!
//! | value | shape | what it is |
//! |---|---|---|
//! | `input` | [N, 3, H, W] | the normalised image; H and W are multiples of the patch P |
//! | `block_00`... | [N, h, w, D] | the output of each block; h = H/P, w = W/P |
//! | `tokens_preneck` | [N, h, w, D] | the last of them |
//! | `embedding` | [N, D] | its mean, as the study takes it |
//! | `tokens` | [N, C, h, w] | behind the neck, as the references return it |
//! | `embedding_neck` | [N, C] | its mean |
//!
//! # The network
//!
//! ```text
//!  image ── convolution P x P, stride P ──▶ map of patches ── + positions ──▶ blocks ──▶ mean ──▶ embedding
//!                                                                               └──▶ neck: 1x1, norm, 3x3, norm ──▶ tokens
//!  block:  x ─┬─ norm ── cut into windows ── attention ── join ──▶ + ─┬─ norm ── widen ── GELU ── narrow ──▶ + ──▶
//!             └───────────────────────────────────────────────────▶┘  └───────────────────────────────────▶┘
//! ```
//!
//! Most blocks attend within windows of 14 x 14 patches, four of them (`global_blocks`) over the
//! whole map. Both add to the logits what the queries make of learned relative positions: for a
//! query in row y and a key in row v the product with the entry `y - v` of a table, and the same
//! for columns.
//!
//! # What differs from a plain transformer
//!
//! There is no class token and no last norm. The map is padded with zeros to whole windows *behind*
//! the norm, and padded places take part in the attention, as in the references. The tables of
//! relative positions are interpolated linearly for maps of another size than the one trained on
//! (1,024 pixels), the grid of positions bicubically with antialias: the graph stands for one image
//! size. Weights of timm, of transformers (`SamVisionModel`) and of the original release (below
//! `image_encoder.`) are understood.

use serde::Deserialize;

use crate::backbones::Axes;
use crate::backbones::family::Family;
use crate::backbones::layers::attention::{Attention, Heads, MlpKind};
use crate::backbones::layers::position::{GridResampling, linear_matrix};
use crate::backbones::layers::{BackboneOutputs, Convolution, FeatureMap, Network, Padding};
use crate::backbones::naming::{Naming, Pairs, replaced, within_block};
use crate::error::{ModelError, Result};
use crate::graph::{Builder, Value};
use crate::tensor::HostTensor;

/// Epsilon of the neck's norms, the same in every library.
const NECK_EPSILON: f32 = 1e-6;

/// Sizes and options of a variant.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    /// Height and width the positions were learned at, in pixels.
    image: usize,
    /// Height and width of a patch, in pixels.
    patch: usize,
    /// Length of a token.
    width: usize,
    /// Number of blocks.
    depth: usize,
    /// Heads of every attention.
    heads: usize,
    /// Length of a token inside the MLP; 4 widths unless given.
    hidden: Option<usize>,
    /// Patches down and across a window.
    window: usize,
    /// Blocks that attend over the whole map.
    global_blocks: Vec<usize>,
    /// Channels behind the neck.
    neck: usize,
    /// Epsilon of the blocks' norms.
    epsilon: f32,
}

/// Reads a variant's `architecture`.
pub(crate) fn read(table: toml::Table) -> Result<Box<dyn Family>, toml::de::Error> {
    let configuration: Configuration = table.try_into()?;
    Ok(Box::new(configuration))
}

impl Family for Configuration {
    fn namings(&self) -> Vec<Naming> {
        vec![
            naming("timm", "blocks.0.mlp.fc1.weight", &[], &[]),
            naming(
                "segment-anything",
                "blocks.0.mlp.lin1.weight",
                &[],
                &[("mlp.fc1.", "mlp.lin1."), ("mlp.fc2.", "mlp.lin2.")],
            ),
            naming(
                "transformers",
                "layers.0.mlp.lin1.weight",
                &[
                    ("patch_embed.proj.", "patch_embed.projection."),
                    ("neck.0.", "neck.conv1."),
                    ("neck.1.", "neck.layer_norm1."),
                    ("neck.2.", "neck.conv2."),
                    ("neck.3.", "neck.layer_norm2."),
                    ("blocks.", "layers."),
                ],
                &[
                    ("norm1.", "layer_norm1."),
                    ("norm2.", "layer_norm2."),
                    ("mlp.fc1.", "mlp.lin1."),
                    ("mlp.fc2.", "mlp.lin2."),
                ],
            ),
        ]
    }

    fn blocks(&self) -> usize {
        self.depth
    }

    fn build(&self, network: &mut Network<'_>) -> Result<BackboneOutputs> {
        let grid = self.grid(network)?;
        let mut x = self.embed_patches(network, grid)?;
        for index in 0..network.kept_blocks(self.depth) {
            x = self.block(network, index, x, grid)?;
            let map = self.as_map(network, &x, grid);
            network.token_block(&map, self.width, Axes::ChannelsLast);
        }
        let map = self.as_map(network, &x, grid);
        network.tap("tokens_preneck", &map, self.width, Axes::ChannelsLast);
        let (embedding, channels_first) = network.builder.scope("pool", |b| {
            let mean = b.reduce_mean(&map, &[1, 2], false);
            (mean, b.transpose(&map, &[0, 3, 1, 2]))
        });
        if network.is_cut() {
            let (width, token_axes) = (self.width, Axes::ChannelsFirst);
            return Ok(BackboneOutputs { embedding, width, tokens: channels_first, token_width: width, token_axes });
        }
        let tokens =
            self.neck(network, FeatureMap { value: channels_first, channels: self.width, size: Some(grid) })?;
        let pooled = network.spatial_mean("neck", &tokens);
        network.tap("embedding_neck", &pooled, self.neck, Axes::Vector);
        Ok(BackboneOutputs {
            embedding,
            width: self.width,
            tokens: tokens.value,
            token_width: self.neck,
            token_axes: Axes::ChannelsFirst,
        })
    }
}

impl Configuration {
    /// Patches down and across.
    fn grid(&self, network: &mut Network<'_>) -> Result<[usize; 2]> {
        let size = network.fix_size([self.image; 2]);
        if size.iter().any(|length| *length == 0 || length % self.patch != 0) {
            return Err(ModelError::PatchSize { size, patch: self.patch }.into());
        }
        Ok(size.map(|length| length / self.patch))
    }

    /// Image to patches with positions: `[N * h * w, D]`.
    fn embed_patches(&self, network: &mut Network<'_>, grid: [usize; 2]) -> Result<Value> {
        let image = network.image("input");
        let patches = network.patches("patch_embed.proj", &image, [self.width, self.patch], true)?;
        let side = self.image / self.patch;
        let positions = network.parameter("pos_embed", &[1, side, side, self.width])?;
        let width = self.width as i64;
        Ok(network.builder.scope("patch_embed", |b| {
            let flat = b.reshape(&patches, &[0, width, -1]);
            let rows = b.transpose(&flat, &[0, 2, 1]);
            let positions = b.reshape(&positions, &[-1, width]);
            let positions = GridResampling::Antialiased.resample(b, &positions, [[side; 2], grid], self.width);
            let tokens = b.add(&rows, &positions);
            b.reshape(&tokens, &[-1, width])
        }))
    }

    fn block(&self, network: &mut Network<'_>, index: usize, x: Value, grid: [usize; 2]) -> Result<Value> {
        let name = format!("blocks.{index}");
        let normed = network.layer_norm(&format!("{name}.norm1"), &x, self.width, self.epsilon)?;
        let branch = if self.global_blocks.contains(&index) {
            let side = self.image / self.patch;
            self.attend(network, &format!("{name}.attn"), &normed, grid, side)?
        } else {
            let window = [self.window; 2];
            let whole = grid.map(|length| length.next_multiple_of(self.window));
            let windows = network.builder.scope(&name, |b| self.cut_windows(b, &normed, [grid, whole]));
            let mixed = self.attend(network, &format!("{name}.attn"), &windows, window, self.window)?;
            network.builder.scope(&name, |b| self.join_windows(b, &mixed, [grid, whole]))
        };
        let x = network.builder.scope(&name, |b| b.add(&x, &branch));
        let normed = network.layer_norm(&format!("{name}.norm2"), &x, self.width, self.epsilon)?;
        let hidden = self.hidden.unwrap_or(4 * self.width);
        let branch = network.mlp(&format!("{name}.mlp"), &normed, [self.width, hidden], MlpKind::Gelu)?;
        Ok(network.builder.scope(&name, |b| b.add(&x, &branch)))
    }

    /// A map padded to whole windows, `[N * h * w, D]` to `[N * windows * window * window, D]`.
    fn cut_windows(&self, b: &mut Builder, x: &Value, [grid, whole]: [[usize; 2]; 2]) -> Value {
        let [width, window] = [self.width, self.window].map(|size| size as i64);
        let [height, length] = whole.map(|size| size as i64);
        let map = b.reshape(x, &[-1, grid[0] as i64, grid[1] as i64, width]);
        let map = match grid == whole {
            true => map,
            false => {
                let missing = [whole[0] - grid[0], whole[1] - grid[1]].map(|size| size as i64);
                b.pad(&map, &[0, 0, 0, 0, 0, missing[0], missing[1], 0], 0.0)
            }
        };
        let cut = b.reshape(&map, &[-1, height / window, window, length / window, window, width]);
        let windows = b.transpose(&cut, &[0, 1, 3, 2, 4, 5]);
        b.reshape(&windows, &[-1, width])
    }

    /// The reverse of [`Configuration::cut_windows`]; padded places are dropped.
    fn join_windows(&self, b: &mut Builder, x: &Value, [grid, whole]: [[usize; 2]; 2]) -> Value {
        let [width, window] = [self.width, self.window].map(|size| size as i64);
        let [height, length] = whole.map(|size| size as i64);
        let cut = b.reshape(x, &[-1, height / window, length / window, window, window, width]);
        let rows = b.transpose(&cut, &[0, 1, 3, 2, 4, 5]);
        let mut map = b.reshape(&rows, &[-1, height, length, width]);
        if grid != whole {
            for (axis, size) in [(1, grid[0]), (2, grid[1])] {
                map = b.narrow(&map, axis, 0..size as i64);
            }
        }
        b.reshape(&map, &[-1, width])
    }

    /// Attention over maps of `size`; the tables of relative positions were learned for maps of
    /// `side` by `side`.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn attend(&self, network: &mut Network<'_>, name: &str, x: &Value, size: [usize; 2], side: usize) -> Result<Value> {
        let layer = Attention { tokens: size[0] * size[1], width: self.width, heads: self.heads, separate: false };
        network.biased_attention(name, x, layer, |network, heads| {
            let bias = self.relative_positions(network, name, heads, size, side)?;
            Ok(Some(bias))
        })
    }

    /// The bias of relative positions `[N, heads, T, T]`: for query (y, x) and key (v, u), `q .
    /// Rh[y - v] + q . Rw[x - u]`.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn relative_positions(
        &self,
        network: &mut Network<'_>,
        name: &str,
        heads: &Heads,
        size: [usize; 2],
        side: usize,
    ) -> Result<Value> {
        let depth = self.width / self.heads;
        let tables =
            ["rel_pos_h", "rel_pos_w"].map(|axis| network.parameter(&format!("{name}.{axis}"), &[2 * side - 1, depth]));
        let [down, across] = tables;
        let (down, across) = (down?, across?);
        let [height, width] = size.map(|length| length as i64);
        Ok(network.builder.scope(name, |b| {
            let queries = b.reshape(&heads.query, &[-1, height, width, depth as i64]);
            let rows = relative_table(b, &down, side, size[0]);
            let by_row = b.matmul(&queries, &rows);
            let turned = b.transpose(&queries, &[0, 2, 1, 3]);
            let columns = relative_table(b, &across, side, size[1]);
            let by_column = b.matmul(&turned, &columns);
            let by_column = b.transpose(&by_column, &[0, 2, 1, 3]);
            let by_row = b.unsqueeze(&by_row, &[4]);
            let by_column = b.unsqueeze(&by_column, &[3]);
            let bias = b.add(&by_row, &by_column);
            b.reshape(&bias, &[-1, self.heads as i64, height * width, height * width])
        }))
    }

    /// Two convolutions without bias, each with a norm over channels.
    fn neck(&self, network: &mut Network<'_>, x: FeatureMap) -> Result<FeatureMap> {
        let layer = |kernel: usize| Convolution {
            channels: self.neck,
            kernel,
            stride: 1,
            groups: 1,
            padding: Padding::Zeros(kernel / 2),
        };
        let x = network.convolution("neck.0", &x, layer(1))?;
        let x = network.channel_norm("neck.1", &x, NECK_EPSILON)?;
        let x = network.convolution("neck.2", &x, layer(3))?;
        network.channel_norm("neck.3", &x, NECK_EPSILON)
    }

    fn as_map(&self, network: &mut Network<'_>, x: &Value, grid: [usize; 2]) -> Value {
        network.builder.reshape(x, &[-1, grid[0] as i64, grid[1] as i64, self.width as i64])
    }
}

/// A table `[2 side - 1, D]` as `[length, D, length]`: the entry of query i and key j is the row
/// i - j.
fn relative_table(b: &mut Builder, table: &Value, side: usize, length: usize) -> Value {
    let rows = match length == side {
        true => table.clone(),
        false => {
            let matrix = b.constant(&linear_matrix(2 * side - 1, 2 * length - 1));
            b.matmul(&matrix, table)
        }
    };
    let indices = HostTensor::from_fn(&[length, length], |flat| (flat / length + length - 1 - flat % length) as i64);
    let indices = b.constant(&indices);
    let pairs = b.gather(&rows, &indices, 0);
    b.transpose(&pairs, &[0, 2, 1])
}

/// Names outside of the blocks and within a block (behind `blocks.I.`).
fn naming(label: &'static str, anchor: &'static str, outside: Pairs, inside: Pairs) -> Naming {
    let stored = move |name: &str| match within_block(name) {
        Some((index, rest)) => replaced(&format!("blocks.{index}.{}", replaced(rest, inside)), outside),
        None => replaced(name, outside),
    };
    Naming { label, anchor, stored: Box::new(stored), left_out: Box::new(|_| false) }
}
