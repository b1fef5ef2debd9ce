//! Pooling: an output with several vectors per image becomes one vector per image, by nodes of the
//! graph.
//!
//! In: tokens `[N, T, D]`, a map `[N, C, H, W]` or `[N, H, W, C]`. Out: `[N, D]`, the class token
//! or the mean over the positions of the image (class token and registers are left out of it); `[N,
//! 2 D]`, one behind the other; or `[N, T * D]`, everything in its own order.
//!
//! Refused: the class token of what has none; to flatten what has no fixed size.

use crate::backbones::options::Pool;
use crate::backbones::{Axes, Backbone, Output};
use crate::error::{FileError, ModelError, Result};
use crate::graph::rewrite::UniqueNames;
use crate::graph::{Dim, Model, Node, Patch, Tensor, Type, ValueInfo, infer, shape_text};
use crate::tensor::{DType, HostTensor};

/// Key of the model property that lists what can be tapped, as JSON; only graphs with taps have it.
pub(crate) const TAPS_PROPERTY: &str = "defrost.taps";

/// An output to pool.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) axes: Axes,
    pub(crate) shape: &'a [Dim],
}

impl Source<'_> {
    fn size(&self, axis: usize) -> Result<usize, ModelError> {
        let size = self.shape.get(axis).and_then(Dim::fixed).and_then(|size| usize::try_from(size).ok());
        size.filter(|size| *size > 0).ok_or_else(|| {
            let (tap, shape) = (self.name.to_owned(), shape_text(self.shape));
            ModelError::OpenSize { tap, shape }
        })
    }
}

/// Collects the nodes that pool outputs of one model.
pub(crate) struct Pooling {
    names: UniqueNames,
    opset: i64,
    pub(crate) patch: Patch,
}

impl Pooling {
    pub(crate) fn new(model: &Model) -> Self {
        Pooling { names: UniqueNames::of(&model.graph), opset: model.opset("").unwrap_or(0), patch: Patch::new("pool") }
    }

    /// Pools an output; gives the name of the result, `result` where that is free, and the length
    /// of its vectors.
    pub(crate) fn add(
        &mut self,
        source: &Source<'_>,
        how: Pool,
        result: Option<&str>,
    ) -> Result<(String, usize), ModelError> {
        let name = source.name;
        let has_class = matches!(source.axes, Axes::Tokens { class: true, .. } | Axes::Sequence);
        Ok(match (source.axes, how) {
            (Axes::Vector, _) => (name.to_owned(), source.size(1)?),
            (_, Pool::None) => {
                let width = (1..source.shape.len()).try_fold(1, |width, axis| Ok(width * source.size(axis)?))?;
                (self.flatten(name, name, result), width)
            }
            (_, Pool::Cls | Pool::ClsMean) if !has_class => {
                let (tap, shape) = (name.to_owned(), shape_text(source.shape));
                return Err(ModelError::NoClassToken { tap, shape });
            }
            (Axes::Tokens { .. } | Axes::Sequence, Pool::Cls) => (self.first(name, result), source.size(2)?),
            (Axes::Tokens { .. } | Axes::Sequence, Pool::Mean) => (self.token_mean(source, result), source.size(2)?),
            (_, Pool::ClsMean) => {
                let (first, mean) = (self.first(name, None), self.token_mean(source, None));
                let both = Node::new("Concat", &[&first, &mean], &[]).with("axis", 1);
                (self.node(both, name, result), 2 * source.size(2)?)
            }
            (Axes::ChannelsLast, _) => (self.reduce(name, &[1, 2], name, result), source.size(3)?),
            (Axes::ChannelsFirst, _) => {
                let pooled = self.node(Node::new("GlobalAveragePool", &[name], &[]), name, None);
                (self.flatten(&pooled, name, result), source.size(1)?)
            }
        })
    }

    /// A value as f32.
    pub(crate) fn cast_to_f32(&mut self, value: &str) -> String {
        let code = i64::from(DType::F32.onnx_code());
        self.node(Node::new("Cast", &[value], &[]).with("to", code), value, Some(&format!("{value}_f32")))
    }

    fn first(&mut self, tokens: &str, result: Option<&str>) -> String {
        let index = self.constant(&HostTensor::scalar(0i64));
        self.node(Node::new("Gather", &[tokens, &index], &[]).with("axis", 1), tokens, result)
    }

    /// The mean over all tokens behind the prefix.
    fn token_mean(&mut self, source: &Source<'_>, result: Option<&str>) -> String {
        let prefix = match source.axes {
            Axes::Tokens { prefix, .. } => prefix as i64,
            _ => 0,
        };
        let name = source.name;
        if prefix == 0 {
            return self.reduce(name, &[1], name, result);
        }
        // The bounds are inputs since operator set 10.
        let slice = if self.opset >= 10 {
            let bounds = [prefix, i64::MAX, 1].map(|bound| self.constant(&HostTensor::vector(vec![bound])));
            let [start, end, axis] = bounds.each_ref().map(String::as_str);
            Node::new("Slice", &[name, start, end, axis], &[])
        } else {
            let node = Node::new("Slice", &[name], &[]).with("axes", vec![1i64]);
            node.with("starts", vec![prefix]).with("ends", vec![i64::MAX])
        };
        let patches = self.node(slice, name, None);
        self.reduce(&patches, &[1], name, result)
    }

    fn reduce(&mut self, value: &str, axes: &[i64], pooled: &str, result: Option<&str>) -> String {
        // The axes are an input since operator set 18.
        let node = if self.opset >= 18 {
            let axes = self.constant(&HostTensor::vector(axes.to_vec()));
            Node::new("ReduceMean", &[value, &axes], &[])
        } else {
            Node::new("ReduceMean", &[value], &[]).with("axes", axes.to_vec())
        };
        self.node(node.with("keepdims", 0), pooled, result)
    }

    fn flatten(&mut self, value: &str, pooled: &str, result: Option<&str>) -> String {
        self.node(Node::new("Flatten", &[value], &[]).with("axis", 1), pooled, result)
    }

    /// Adds a node; its output is called as asked, or after the pooled output and the operator.
    fn node(&mut self, mut node: Node, pooled: &str, result: Option<&str>) -> String {
        let wanted = result.map_or_else(|| format!("{pooled}_{}", node.operator.to_lowercase()), str::to_owned);
        let name = self.names.take(&wanted);
        node.outputs.push(name.clone());
        self.patch.add_nodes.push(node);
        name
    }

    fn constant(&mut self, tensor: &HostTensor) -> String {
        let name = self.names.take("pool_constant");
        self.patch.add_constants.push(Tensor::new(&name, tensor));
        name
    }
}

impl Backbone {
    /// Pools every tap that has several vectors per image; the results are called `TAP_cls`,
    /// `TAP_mean` and so on. With `None` each tap gives its class token where it has one, else its
    /// mean.
    ///
    /// # Errors
    /// [`ModelError::NoClassToken`], [`ModelError::OpenSize`], [`ModelError::Unpooled`] where
    /// `None` does not say how.
    pub fn pool_taps(&mut self, how: Option<Pool>) -> Result<()> {
        if self.taps.iter().all(|tap| tap.axes == Axes::Vector) {
            return Ok(());
        }
        let facts = infer(&self.graph)?.facts;
        let mut pooling = Pooling::new(&self.graph);
        let mut taps = self.taps.clone();
        let mut outputs = self.graph.graph.outputs.clone();
        for tap in taps.iter_mut().filter(|tap| tap.axes != Axes::Vector) {
            let shape = facts.get(&tap.name).and_then(|fact| fact.shape.clone()).unwrap_or_default();
            let how = how.or(tap.axes.own_pool()).ok_or_else(|| {
                let (tap, shape) = (tap.tap.clone(), shape_text(&shape));
                ModelError::Unpooled { tap, shape }
            })?;
            let source = Source { name: &tap.name, axes: tap.axes, shape: &shape };
            let result = format!("{}_{}", tap.tap, how.name().replace('+', "_"));
            let (name, width) = pooling.add(&source, how, Some(&result))?;
            for output in outputs.iter_mut().filter(|output| output.name == tap.name) {
                *output = vector_info(&name, shape.first().filter(|batch| **batch != Dim::Unknown), width);
            }
            *tap = Output { name, width, axes: Axes::Vector, pool: Some(how), ..tap.clone() };
        }
        pooling.patch.outputs = Some(outputs);
        pooling.patch.apply(&mut self.graph)?;
        note_taps(&mut self.graph, &taps)?;
        self.taps = taps;
        Ok(())
    }
}

/// An output `[batch, width] f32`; the batch is open and has that name unless given.
pub(crate) fn vector_info(name: &str, batch: Option<&Dim>, width: usize) -> ValueInfo {
    let batch = batch.cloned().unwrap_or_else(|| Dim::symbol("batch"));
    ValueInfo::new(name, Type::tensor(DType::F32, Some(vec![batch, Dim::from(width)])))
}

/// Writes into the model how its taps lie.
pub(crate) fn note_taps(model: &mut Model, taps: &[Output]) -> Result<()> {
    let text = serde_json::to_string(taps).map_err(|source| FileError::Parse {
        path: "taps".into(),
        format: "JSON",
        source: Box::new(source),
    })?;
    model.set_property(TAPS_PROPERTY, text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, text};

    fn tokens(opset: i64) -> Model {
        let mut b = Builder::with_opset("net", opset);
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(5), Dim::Fixed(4)]);
        let y = b.relu(&x);
        b.output("tokens", &y);
        b.finish().unwrap()
    }

    fn pooled(mut model: Model, axes: Axes, how: Pool) -> Result<(Model, usize), ModelError> {
        let shape = [Dim::symbol("batch"), Dim::Fixed(5), Dim::Fixed(4)];
        let mut pooling = Pooling::new(&model);
        let source = Source { name: "tokens", axes, shape: &shape };
        let (name, width) = pooling.add(&source, how, Some("pooled"))?;
        pooling.patch.outputs = Some(vec![vector_info(&name, shape.first(), width)]);
        pooling.patch.apply(&mut model).unwrap();
        Ok((model, width))
    }

    #[test]
    fn class_token_and_mean_stand_one_behind_the_other() {
        let axes = Axes::Tokens { class: true, prefix: 2 };
        let (model, width) = pooled(tokens(17), axes, Pool::ClsMean).unwrap();
        assert_eq!(width, 8);
        insta::assert_snapshot!(text(&model), @r"
        format 8, ai.onnx 17
        graph net
          input x: f32[batch, 5, 4]
          constant pool_constant: i64[] = 0
          constant pool_constant_1: i64[1] = [2]
          constant pool_constant_2: i64[1] = [9223372036854775807]
          constant pool_constant_3: i64[1] = [1]
          tokens = Relu(x)
          tokens_gather = Gather(tokens, pool_constant) {axis: 1}
          tokens_slice = Slice(tokens, pool_constant_1, pool_constant_2, pool_constant_3)
          tokens_reducemean = ReduceMean(tokens_slice) {axes: [1], keepdims: 0}
          pooled = Concat(tokens_gather, tokens_reducemean) {axis: 1}
          output pooled: f32[batch, 8]
        ");
    }

    #[test]
    fn reductions_follow_the_operator_set_and_flattening_counts_every_value() {
        let (model, width) = pooled(tokens(18), Axes::Sequence, Pool::Mean).unwrap();
        assert_eq!((model.graph.nodes[1].inputs.len(), width), (2, 4));
        let (model, width) = pooled(tokens(17), Axes::ChannelsFirst, Pool::None).unwrap();
        assert_eq!((model.graph.nodes[1].operator.as_str(), width), ("Flatten", 20));
    }

    #[test]
    fn a_class_token_that_is_not_there_is_refused() {
        let without = Axes::Tokens { class: false, prefix: 0 };
        for (axes, how) in [(without, Pool::Cls), (Axes::ChannelsLast, Pool::ClsMean), (Axes::ChannelsFirst, Pool::Cls)]
        {
            let error = pooled(tokens(17), axes, how).unwrap_err();
            assert_eq!(error.to_string(), "`tokens` has no class token: it is [batch, 5, 4]");
        }
    }
}
