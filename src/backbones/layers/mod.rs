//! Layers shared by the families: convolutions, norms, activations and pools that know their sizes.
//!
//! A layer's name is that of its parameters in the family's naming: `blocks.0.0.conv_dw` takes
//! `blocks.0.0.conv_dw.weight`.

pub(crate) mod attention;
pub(crate) mod position;
mod stem;

use crate::backbones::Axes;
use crate::backbones::changes::Adaptation;
use crate::backbones::parameters::Parameters;
use crate::error::Result;
use crate::graph::{BatchNormParameters, Builder, ConvOptions, Node, PoolOptions, Value};

/// A graph under construction, with the parameters it takes.
pub(crate) struct Network<'w> {
    pub(crate) builder: Builder,
    pub(crate) parameters: Parameters<'w>,
    /// What can be tapped, met so far.
    pub(crate) taps: Vec<Tap>,
    /// Height and width of the input, open where there are none.
    pub(crate) size: Option<[usize; 2]>,
    /// The input.
    pub(crate) input: Option<Value>,
    /// How the first convolution is adapted to other channels than colours.
    pub(crate) adaptation: Option<Adaptation>,
    /// How many blocks are kept, where not all are.
    pub(crate) keep_blocks: Option<usize>,
}

/// A value that can be tapped.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(crate) name: String,
    pub(crate) value: Value,
    /// The number of its features.
    pub(crate) width: usize,
    pub(crate) axes: Axes,
}

/// A feature map: `value: [N, channels, H, W] f32`; `size` is H and W where they are known while
/// building.
#[derive(Clone, Debug)]
pub(crate) struct FeatureMap {
    pub(crate) value: Value,
    pub(crate) channels: usize,
    pub(crate) size: Option<[usize; 2]>,
}

/// What a family's network ends in.
pub(crate) struct BackboneOutputs {
    /// One vector per image, `[N, D]`.
    pub(crate) embedding: Value,
    /// Length of the vector.
    pub(crate) width: usize,
    /// The last tokens or feature map, as the reference returns them.
    pub(crate) tokens: Value,
    /// Channels of the tokens.
    pub(crate) token_width: usize,
    /// How the tokens lie.
    pub(crate) token_axes: Axes,
}

/// How a convolution treats the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// TensorFlow's `SAME`: the output has `ceil(n / stride)` positions; the odd pixel of padding
    /// comes last.
    Same,
    /// This many zeros on every side.
    Zeros(usize),
}

/// A convolution over square kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution {
    pub(crate) channels: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Groups of channels; as many as there are channels for a depthwise convolution.
    pub(crate) groups: usize,
    pub(crate) padding: Padding,
}

/// Element-wise functions behind a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    /// ReLU cut off at 6.
    Relu6,
}

/// A convolution, a batch normalisation, and an activation if there is one.
pub(crate) struct ConvNormAct<'a> {
    /// Name of the convolution.
    pub(crate) conv: &'a str,
    /// Name of the norm.
    pub(crate) norm: &'a str,
    pub(crate) layer: Convolution,
    /// Epsilon of the norm.
    pub(crate) epsilon: f32,
    pub(crate) activation: Option<Activation>,
}

impl<'w> Network<'w> {
    /// A network without layers; `size` is the input's height and width, open when there is none.
    pub(crate) fn new(name: &str, parameters: Parameters<'w>, size: Option<[usize; 2]>) -> Self {
        Network {
            builder: Builder::new(name),
            parameters,
            taps: Vec::new(),
            size,
            input: None,
            adaptation: None,
            keep_blocks: None,
        }
    }

    /// Convolution with `NAME.weight` [O, C / groups, k, k].
    pub(crate) fn convolution(&mut self, name: &str, x: &FeatureMap, layer: Convolution) -> Result<FeatureMap> {
        self.filtered(name, x, layer, false)
    }

    /// Convolution with `NAME.weight` [O, C / groups, k, k] and `NAME.bias` [O].
    pub(crate) fn biased_convolution(&mut self, name: &str, x: &FeatureMap, layer: Convolution) -> Result<FeatureMap> {
        self.filtered(name, x, layer, true)
    }

    fn filtered(&mut self, name: &str, x: &FeatureMap, layer: Convolution, biased: bool) -> Result<FeatureMap> {
        if let Some(map) = self.adapted_convolution(name, x, layer, biased)? {
            return Ok(map);
        }
        let shape = [layer.channels, x.channels / layer.groups, layer.kernel, layer.kernel];
        let weight = self.parameter(&format!("{name}.weight"), &shape)?;
        let bias = if biased { Some(self.parameter(&format!("{name}.bias"), &[layer.channels])?) } else { None };
        Ok(self.convolve(name, x, layer, &weight, bias.as_ref()))
    }

    /// A linear layer at every place of a map, with `NAME.weight` [O, C, 1, 1], or [O, C] in some
    /// weights, and `NAME.bias` [O].
    pub(crate) fn pointwise(&mut self, name: &str, x: &FeatureMap, channels: usize) -> Result<FeatureMap> {
        let weight = self.parameter_as(&format!("{name}.weight"), &[channels, x.channels, 1, 1])?;
        let bias = self.parameter(&format!("{name}.bias"), &[channels])?;
        let layer = Convolution { channels, kernel: 1, stride: 1, groups: 1, padding: Padding::Zeros(0) };
        Ok(self.convolve(name, x, layer, &weight, Some(&bias)))
    }

    /// Convolution with these weights and this bias.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    pub(crate) fn convolve(
        &mut self,
        name: &str,
        x: &FeatureMap,
        layer: Convolution,
        weight: &Value,
        bias: Option<&Value>,
    ) -> FeatureMap {
        let Convolution { channels, kernel, stride, groups, padding } = layer;
        let (pads, size) = match padding {
            Padding::Zeros(pad) => {
                let size = x.size.map(|size| size.map(|length| (length + 2 * pad).saturating_sub(kernel) / stride + 1));
                (Some([pad as i64; 4]), size)
            }
            Padding::Same => {
                (same_pads(x.size, kernel, stride), x.size.map(|size| size.map(|length| length.div_ceil(stride))))
            }
        };
        let strides = [stride as i64; 2];
        let value = self.builder.scope(name, |b| match pads {
            Some(pads) => {
                let options = ConvOptions { strides, pads, groups: groups as i64, ..ConvOptions::default() };
                b.conv(&x.value, weight, bias, options)
            }
            // The padding depends on the size of the map: ONNX computes it as TensorFlow does.
            None => {
                let inputs: Vec<&str> = [&x.value, weight].into_iter().chain(bias).map(Value::name).collect();
                b.node(
                    Node::new("Conv", &inputs, &[])
                        .with("auto_pad", "SAME_UPPER")
                        .with("strides", strides.to_vec())
                        .with("group", groups as i64),
                )
            }
        });
        FeatureMap { value, channels, size }
    }

    /// Batch normalisation with stored statistics: `NAME.weight`, `.bias`, `.running_mean`,
    /// `.running_var`, each [C].
    pub(crate) fn batch_norm(&mut self, name: &str, x: &FeatureMap, epsilon: f32) -> Result<FeatureMap> {
        let mut parameter = |field: &str| self.parameter(&format!("{name}.{field}"), &[x.channels]);
        let (scale, bias) = (parameter("weight")?, parameter("bias")?);
        let (mean, variance) = (parameter("running_mean")?, parameter("running_var")?);
        let parameters = BatchNormParameters { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
        let value = self.builder.scope(name, |b| b.batch_norm(&x.value, parameters, epsilon));
        Ok(FeatureMap { value, ..x.clone() })
    }

    /// Layer norm over the channels of every place of a map, with `NAME.weight` and `NAME.bias`,
    /// each [C].
    pub(crate) fn channel_norm(&mut self, name: &str, x: &FeatureMap, epsilon: f32) -> Result<FeatureMap> {
        let last = self.builder.scope(name, |b| b.transpose(&x.value, &[0, 2, 3, 1]));
        let normed = self.layer_norm(name, &last, x.channels, epsilon)?;
        let value = self.builder.scope(name, |b| b.transpose(&normed, &[0, 3, 1, 2]));
        Ok(FeatureMap { value, ..x.clone() })
    }

    /// A map times a learned factor per channel, `NAME` [C].
    pub(crate) fn channel_scale(&mut self, name: &str, x: &FeatureMap) -> Result<FeatureMap> {
        let factor = self.parameter(name, &[x.channels])?;
        let value = self.builder.scope(name, |b| {
            let factor = b.reshape(&factor, &[-1, 1, 1]);
            b.mul(&x.value, &factor)
        });
        Ok(FeatureMap { value, ..x.clone() })
    }

    /// GELU with the exact error function, applied behind the layer of that name.
    pub(crate) fn gelu(&mut self, name: &str, x: &FeatureMap) -> FeatureMap {
        let value = self.builder.scope(name, |b| b.gelu(&x.value));
        FeatureMap { value, ..x.clone() }
    }

    /// An element-wise function, applied behind the layer of that name.
    pub(crate) fn activation(&mut self, name: &str, x: &FeatureMap, activation: Activation) -> FeatureMap {
        let value = self.builder.scope(name, |b| match activation {
            Activation::Relu => b.relu(&x.value),
            Activation::Relu6 => b.clip(&x.value, 0.0, 6.0),
        });
        FeatureMap { value, ..x.clone() }
    }

    /// Convolution, batch normalisation, activation.
    pub(crate) fn unit(&mut self, x: &FeatureMap, unit: ConvNormAct<'_>) -> Result<FeatureMap> {
        let filtered = self.convolution(unit.conv, x, unit.layer)?;
        let normed = self.batch_norm(unit.norm, &filtered, unit.epsilon)?;
        Ok(match unit.activation {
            Some(activation) => self.activation(unit.norm, &normed, activation),
            None => normed,
        })
    }

    /// `a + b` of two maps of one shape.
    pub(crate) fn sum(&mut self, name: &str, a: &FeatureMap, b: &FeatureMap) -> FeatureMap {
        let value = self.builder.scope(name, |builder| builder.add(&a.value, &b.value));
        FeatureMap { value, ..a.clone() }
    }

    /// Largest elements of 3x3 windows, two steps apart, one pixel of border that never wins.
    pub(crate) fn max_pool_3x3(&mut self, name: &str, x: &FeatureMap) -> FeatureMap {
        let options = PoolOptions { strides: [2; 2], pads: [1; 4], ..PoolOptions::square(3) };
        let value = self.builder.scope(name, |b| b.max_pool(&x.value, options));
        FeatureMap {
            value,
            channels: x.channels,
            size: x.size.map(|size| size.map(|length| (length + 2).saturating_sub(3) / 2 + 1)),
        }
    }

    /// Mean over all positions: [N, C].
    pub(crate) fn spatial_mean(&mut self, name: &str, x: &FeatureMap) -> Value {
        self.builder.scope(name, |b| {
            let pooled = b.global_average_pool(&x.value);
            b.flatten(&pooled, 1)
        })
    }

    /// Notes the output of a block, so that it can be tapped: `block_00`, `block_01`, ...
    pub(crate) fn block(&mut self, x: &FeatureMap) {
        self.token_block(&x.value, x.channels, Axes::ChannelsFirst);
    }

    /// Notes the output of a block whose features lie as `axes` say, see [`Network::block`].
    pub(crate) fn token_block(&mut self, tokens: &Value, width: usize, axes: Axes) {
        let count = self.taps.iter().filter(|tap| tap.name.starts_with("block_")).count();
        self.tap(&format!("block_{count:02}"), tokens, width, axes);
    }

    /// Notes a value that can be tapped under `name`; `width` is the number of its features.
    pub(crate) fn tap(&mut self, name: &str, value: &Value, width: usize, axes: Axes) {
        self.taps.push(Tap { name: name.to_owned(), value: value.clone(), width, axes });
    }

    /// How many of a network's blocks are built.
    pub(crate) fn kept_blocks(&self, all: usize) -> usize {
        self.keep_blocks.unwrap_or(all)
    }

    /// Whether blocks, and all that lies behind them, are left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.keep_blocks.is_some()
    }

    /// Fixes the size of an input that was open, for families whose graph stands for one size.
    pub(crate) fn fix_size(&mut self, size: [usize; 2]) -> [usize; 2] {
        *self.size.get_or_insert(size)
    }

    /// A parameter that may be stored with further axes of size 1, as `shape`.
    pub(crate) fn parameter_as(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        let stored = self.parameters.shape(name).filter(|stored| without_ones(stored) == without_ones(shape));
        let Some(stored) = stored.filter(|stored| stored != shape) else { return self.parameter(name, shape) };
        let value = self.parameter(name, &stored)?;
        let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
        Ok(self.builder.scope(name, |b| b.reshape(&value, &shape)))
    }

    /// A parameter of exactly this shape.
    pub(crate) fn parameter(&mut self, name: &str, shape: &[usize]) -> Result<Value> {
        let parameter = self.parameters.take(name, shape)?;
        Ok(self.builder.parameter(&parameter.name, &parameter.tensor))
    }
}

/// A shape's axes that are longer than one.
fn without_ones(shape: &[usize]) -> Vec<usize> {
    shape.iter().copied().filter(|&size| size != 1).collect()
}

/// Zeros before and after each axis (top, left, bottom, right) for TensorFlow's `SAME`; `None` when
/// they depend on a size that is not known.
///
/// Per axis of length n: `total = max((ceil(n / s) - 1) s + k - n, 0)`, of which half, rounded
/// down, comes first.
fn same_pads(size: Option<[usize; 2]>, kernel: usize, stride: usize) -> Option<[i64; 4]> {
    let size = match size {
        Some(size) => size,
        None if stride == 1 => [kernel; 2],
        None => return None,
    };
    let total = size.map(|length| ((length.div_ceil(stride) - 1) * stride + kernel).saturating_sub(length));
    let [top, left] = total.map(|total| total / 2);
    Some([top, left, total[0] - top, total[1] - left].map(|pad| pad as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_that_of_tensorflow() {
        assert_eq!(same_pads(Some([224, 224]), 3, 2), Some([0, 0, 1, 1]));
        assert_eq!(same_pads(Some([225, 112]), 5, 2), Some([2, 1, 2, 2]));
        assert_eq!(same_pads(None, 5, 1), Some([2, 2, 2, 2]));
        assert_eq!(same_pads(None, 3, 2), None);
        assert_eq!(same_pads(Some([1, 1]), 1, 2), Some([0, 0, 0, 0]));
    }
}
