//! A transformer as a head: on the patch tokens of a backbone, with a class token and positions of
//! its own.
//!
//! The study's appended classifier: the tokens of the backbone are mapped to the transformer's
//! width by a linear map and a layer norm, then a DeiT without its patch embedding follows, its
//! positions resampled bicubically from 14 x 14 to the backbone's grid, and a linear map of its
//! class token. In: `features`, the tokens or the map of the backbone. Out: `logits` `[N, K]`.
//!
//! Refused: a backbone whose patch tokens, or whose grid, are not known.

use crate::backbones::families::vit;
use crate::backbones::family::Family as _;
use crate::backbones::layers::Network;
use crate::backbones::parameters::Parameters;
use crate::backbones::{Axes, Backbone, Output};
use crate::error::{ModelError, Result};
use crate::graph::{Builder, Dim, Model, Value, infer, rewrite};
use crate::support::seed::Seed;
use crate::tensor::{DType, Weights};

/// Sizes of the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackedHead {
    /// Length of its tokens.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Heads of every attention.
    pub heads: usize,
    /// Number of classes.
    pub classes: usize,
}

/// A head as a model from `features` to `logits`.
#[derive(Clone, Debug)]
pub struct BuiltHead {
    /// The model.
    pub model: Model,
    /// The value of the backbone that it reads.
    pub reads: String,
    /// Names of its parameters.
    pub parameters: Vec<String>,
}

/// What is drawn also where a DeiT gives the rest.
const DRAWN: &[&str] = &["proj.", "proj_norm.", "fc."];

impl StackedHead {
    /// Builds the head for the tap `tokens` of a backbone; all names get `name` and a dot before
    /// them. The weights of a DeiT give its blocks, tokens and positions, the rest is drawn.
    ///
    /// # Errors
    /// [`ModelError::NoPatches`] where the backbone has no patch tokens or no known grid; as for
    /// building a model where the weights do not fit.
    pub fn build(self, backbone: &Backbone, name: &str, weights: Option<&Weights>, seed: Seed) -> Result<BuiltHead> {
        let tokens = backbone.taps.iter().find(|tap| tap.tap == "tokens");
        let tokens = tokens.ok_or_else(|| no_patches(backbone, "it has no tap `tokens`"))?;
        let architecture = vit::Configuration::deit(self.width, self.depth, self.heads);
        let parameters = match weights {
            Some(weights) => Parameters::partly("the head", architecture.namings(), weights, seed, DRAWN)?,
            None => Parameters::random("the head", seed),
        };
        let mut network = Network::new(name, parameters, None);
        let (rows, channels, grid) = rows(backbone, tokens, &mut network.builder)?;
        let [width, channels] = [self.width, channels];
        let flat = network.builder.reshape(&rows, &[-1, channels as i64]);
        let mapped = network.linear("proj", &flat, [channels, width])?;
        let normed = network.layer_norm("proj_norm", &mapped, width, 1e-6)?;
        let patches = (grid[0] * grid[1]) as i64;
        let placed = network.builder.reshape(&normed, &[-1, patches, width as i64]);
        let outline = architecture.over_patches(&mut network, architecture.layout_of(grid), &placed)?;
        let logits = network.linear("fc", &outline.embedding, [width, self.classes])?;
        let Network { mut builder, parameters, .. } = network;
        let names = parameters.names();
        parameters.finish()?;
        builder.output("logits", &logits);
        let mut model = builder.finish()?;
        rewrite::prefix(&mut model, &format!("{name}."), &["features", "logits"])?;
        let parameters = names.into_iter().map(|parameter| format!("{name}.{parameter}")).collect();
        Ok(BuiltHead { model, reads: tokens.name.clone(), parameters })
    }
}

/// The input `features` and the patch tokens in it as `[N, patches, channels]`; with them, channels
/// and grid.
fn rows(backbone: &Backbone, tokens: &Output, b: &mut Builder) -> Result<(Value, usize, [usize; 2])> {
    let facts = infer(&backbone.graph)?.facts;
    let shape = facts.get(&tokens.name).and_then(|fact| fact.shape.clone()).unwrap_or_default();
    let size = |axis: usize| {
        let size = shape.get(axis).and_then(Dim::fixed).and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| no_patches(backbone, "the size of its grid is open"))
    };
    let input = |b: &mut Builder| {
        let mut dims = shape.clone();
        if let Some(batch) = dims.first_mut() {
            *batch = Dim::symbol("batch");
        }
        b.input("features", DType::F32, &dims)
    };
    match tokens.axes {
        Axes::Tokens { prefix, .. } => {
            let (count, channels) = (size(1)?, size(2)?);
            let grid = grid(backbone, count.saturating_sub(prefix))?;
            let features = input(b);
            let rows = b.narrow(&features, 1, prefix as i64..count as i64);
            Ok((rows, channels, grid))
        }
        Axes::ChannelsFirst => {
            let (channels, grid) = (size(1)?, [size(2)?, size(3)?]);
            let features = input(b);
            let flat = b.reshape(&features, &[0, channels as i64, -1]);
            Ok((b.transpose(&flat, &[0, 2, 1]), channels, grid))
        }
        Axes::ChannelsLast => {
            let (channels, grid) = (size(3)?, [size(1)?, size(2)?]);
            let features = input(b);
            Ok((b.reshape(&features, &[0, -1, channels as i64]), channels, grid))
        }
        Axes::Vector | Axes::Sequence => Err(no_patches(backbone, "its tokens are no patches").into()),
    }
}

/// The grid of a number of patches: in the proportions of the network's input.
fn grid(backbone: &Backbone, patches: usize) -> Result<[usize; 2]> {
    let input = backbone.graph.graph.inputs.iter().find(|input| input.name == backbone.input);
    let shape = input.and_then(|input| input.tensor_type()?.shape.clone()).unwrap_or_default();
    let size = |axis: usize| shape.get(axis).and_then(Dim::fixed).map(|size| size as f64);
    let ratio = size(2).zip(size(3)).map_or(1.0, |(height, width)| height / width);
    let rows = (patches as f64 * ratio).sqrt().round() as usize;
    match rows > 0 && patches.is_multiple_of(rows) {
        true => Ok([rows, patches / rows]),
        false => Err(no_patches(backbone, "its patches make no grid of the proportions of its input").into()),
    }
}

fn no_patches(backbone: &Backbone, reason: &'static str) -> ModelError {
    ModelError::NoPatches { model: backbone.name.clone(), reason }
}
