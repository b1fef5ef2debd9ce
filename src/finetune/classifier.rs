//! The network that is trained: a backbone with a head, from images to logits, and what is known of
//! its parameters.
//!
//! In: `input` `[N, C, H, W]`, normalised. Out: `embedding` `[N, D]` and `logits` `[N, K]`.
//! Parameters keep the names that the weights' file has for them; the head's are `head.weight`,
//! `head.bias`, or with another beginning where the backbone has such names itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use rand::Rng;

use crate::backbones::{Backbone, StackedHead};
use crate::error::{FinetuneError, Result};
use crate::finetune::Head;
use crate::graph::{Builder, Dim, ElementType, Model, needed_nodes, rewrite};
use crate::support::seed::Seed;
use crate::tensor::safetensors::Tensors;
use crate::tensor::{DType, HostTensor, Weights};

/// Name of the output with one vector per image, behind which the head starts.
pub(super) const EMBEDDING: &str = "embedding";
/// Name of the output with one number per class.
pub(super) const LOGITS: &str = "logits";
/// Beginnings of the head's names, the first free one of which is taken.
const HEADS: [&str; 3] = ["head", "classifier", "defrost_head"];

/// A backbone with a head.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The whole network.
    pub model: Model,
    /// Name of its input.
    pub input: String,
    /// Number of classes (or labels).
    pub classes: usize,
    /// Names of what can be trained, the head's last.
    pub parameters: Vec<String>,
    /// Names of the running means and variances of batch norms.
    pub statistics: Vec<String>,
    /// What the names of the head's parameters start with, before the dot.
    pub head: String,
    /// For each parameter, the number of the first block that needs it; that of the blocks for
    /// those behind all of them.
    depths: BTreeMap<String, usize>,
    blocks: usize,
    /// The number of images that the network takes at once, where it takes no other.
    pub fixed_batch: Option<usize>,
}

/// A head that is put on a backbone.
struct AddedHead<'a> {
    /// From `features` to `logits`.
    model: &'a Model,
    /// The value of the backbone that it reads.
    reads: &'a str,
    /// What the names of its parameters start with, before the dot.
    name: &'a str,
    /// Names of its parameters.
    parameters: &'a [String],
}

impl Classifier {
    /// A linear head on the embedding, drawn as PyTorch initialises `Linear`: uniform within one
    /// over the root of the width.
    ///
    /// # Errors
    /// `GraphError` where the head does not fit the graph.
    pub fn linear(backbone: &Backbone, classes: usize, seed: Seed) -> Result<Self> {
        let width = backbone.embedding.width;
        let bound = 1.0 / (width as f32).sqrt();
        let mut draw = seed.named("head").random();
        let weight = HostTensor::from_fn(&[classes, width], |_| draw.gen_range(-bound..=bound));
        let bias = HostTensor::from_fn(&[classes], |_| draw.gen_range(-bound..=bound));
        Classifier::with_linear(backbone, &weight, &bias)
    }

    /// A given linear head on the embedding: `weight: [K, D]`, `bias: [K]`.
    ///
    /// # Errors
    /// `GraphError` where the head does not fit the graph.
    pub fn with_linear(backbone: &Backbone, weight: &HostTensor, bias: &HostTensor) -> Result<Self> {
        let backbone = &backbone.trainable()?;
        let name = free_head(backbone);
        let classes = bias.len();
        let mut b = Builder::with_opset(&name, backbone.graph.opset("").unwrap_or(0));
        let width = Dim::from(backbone.embedding.width);
        let features = b.input("features", DType::F32, &[Dim::symbol("batch"), width]);
        let weight = b.parameter(&format!("{name}.weight"), weight);
        let bias = b.parameter(&format!("{name}.bias"), bias);
        let logits = b.scope(&name, |b| b.linear(&features, &weight, Some(&bias)));
        b.output(LOGITS, &logits);
        let head = b.finish()?;
        let parameters = ["weight", "bias"].map(|field| format!("{name}.{field}"));
        let added = AddedHead { model: &head, reads: &backbone.embedding.name, name: &name, parameters: &parameters };
        Classifier::with_head(backbone, &added, classes)
    }

    /// The study's stacked classifier on the patch tokens, its weights drawn or taken from those of
    /// a DeiT.
    ///
    /// # Errors
    /// `ModelError` where the backbone has no patch tokens, or the weights do not fit.
    pub fn deit(backbone: &Backbone, head: Head, classes: usize, weights: Option<&Path>, seed: Seed) -> Result<Self> {
        let Head::Deit { width, depth, heads } = head else { return Classifier::linear(backbone, classes, seed) };
        let backbone = &backbone.trainable()?;
        let name = free_head(backbone);
        let weights = weights.map(Weights::open).transpose()?;
        let sizes = StackedHead { width, depth, heads, classes };
        let built = sizes.build(backbone, &name, weights.as_ref(), seed.named("head"))?;
        let added = AddedHead { model: &built.model, reads: &built.reads, name: &name, parameters: &built.parameters };
        Classifier::with_head(backbone, &added, classes)
    }

    /// A backbone with this head.
    fn with_head(backbone: &Backbone, head: &AddedHead<'_>, classes: usize) -> Result<Self> {
        let AddedHead { reads, name, .. } = *head;
        let mut front = backbone.graph.clone();
        // Values that have the names of our outputs make way for them.
        let taken = [EMBEDDING, LOGITS]
            .into_iter()
            .filter(|name| *name != backbone.embedding.name && front.graph.value_names().contains(name));
        let others = taken.map(|name| (name.to_owned(), format!("backbone.{name}"))).collect();
        rewrite::rename(&mut front, &others)?;
        let reads = others.get(reads).map_or(reads, String::as_str);
        if backbone.embedding.name != EMBEDDING {
            let mut b = Builder::extend(front)?;
            let embedding = b.value(&backbone.embedding.name)?;
            b.output(EMBEDDING, &embedding);
            front = b.finish()?;
        }
        rewrite::keep_outputs(&front, &[EMBEDDING]).apply(&mut front)?;
        let model = rewrite::chain(&front, reads, head.model, "features")?;
        let statistics = statistics(&model);
        let is_trainable = |name: &&String| {
            let is_float = model.graph.initializer(name).is_some_and(|tensor| tensor.element == ElementType::F32);
            is_float && !statistics.contains(*name)
        };
        let parameters: Vec<String> =
            backbone.parameters.iter().filter(is_trainable).chain(head.parameters).cloned().collect();
        let (depths, blocks) = depths(&model, &parameters);
        Ok(Classifier {
            input: backbone.input.clone(),
            classes,
            parameters,
            statistics: statistics.into_iter().collect(),
            head: name.to_owned(),
            depths,
            blocks,
            fixed_batch: backbone.fixed_batch,
            model,
        })
    }

    /// Whether a parameter is the head's.
    pub fn is_head(&self, parameter: &str) -> bool {
        parameter.strip_prefix(&self.head).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Number of blocks that the backbone names.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// The place of a parameter in the network: the number of the first block that needs it, from
    /// 0; [`Classifier::blocks`] for what lies behind all blocks.
    pub fn depth(&self, parameter: &str) -> usize {
        self.depths.get(parameter).copied().unwrap_or(self.blocks)
    }

    /// The values of parameters and statistics, as the graph has them.
    ///
    /// # Errors
    /// [`FinetuneError::NotStored`] for a parameter whose elements are not in memory.
    pub fn weights(&self) -> Result<Tensors> {
        let names = self.parameters.iter().chain(&self.statistics);
        let stored = names.map(|name| {
            let tensor = self.model.graph.initializer(name).and_then(|tensor| tensor.to_host());
            let tensor = tensor.ok_or_else(|| FinetuneError::NotStored { name: name.clone() })?;
            Ok((name.clone(), tensor))
        });
        stored.collect()
    }

    /// The network with other weights; what `weights` does not name stays as it is.
    pub fn with_weights(&self, weights: &Tensors) -> Model {
        let mut model = self.model.clone();
        for tensor in &mut model.graph.initializers {
            if let Some(new) = weights.get(&tensor.name) {
                *tensor = crate::graph::Tensor::new(&tensor.name, new);
            }
        }
        model
    }
}

/// The first beginning of names that the backbone does not use.
fn free_head(backbone: &Backbone) -> String {
    let taken = |head: &str| {
        let names = backbone.graph.graph.value_names();
        names.iter().any(|name| name.strip_prefix(head).is_some_and(|rest| rest.starts_with('.')))
    };
    let free = HEADS.into_iter().find(|head| !taken(head));
    free.unwrap_or(HEADS[HEADS.len() - 1]).to_owned()
}

/// The running means and variances of all batch norms.
fn statistics(model: &Model) -> BTreeSet<String> {
    let norms = model.graph.nodes.iter().filter(|node| node.operator == "BatchNormalization" && node.is_standard());
    norms.flat_map(|node| node.inputs.iter().skip(3)).cloned().collect()
}

/// The first block that needs each parameter, and the number of blocks.
fn depths(model: &Model, parameters: &[String]) -> (BTreeMap<String, usize>, usize) {
    let graph = &model.graph;
    let is_number = |digits: &str| digits.len() >= 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let names = graph.value_names().into_iter();
    let mut blocks: Vec<&str> = names.filter(|name| name.strip_prefix("block_").is_some_and(is_number)).collect();
    blocks.sort_unstable();
    let mut depths = BTreeMap::new();
    for (depth, block) in blocks.iter().enumerate() {
        let needed = needed_nodes(graph, [*block], &HashSet::new());
        let read: HashSet<&String> =
            graph.nodes.iter().zip(&needed).filter(|(_, is)| **is).flat_map(|(n, _)| &n.inputs).collect();
        for parameter in parameters.iter().filter(|parameter| read.contains(parameter)) {
            depths.entry(parameter.clone()).or_insert(depth);
        }
    }
    (depths, blocks.len())
}
