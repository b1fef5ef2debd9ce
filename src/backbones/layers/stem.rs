//! The input of a network and its first convolution, the only layer that knows about colours; see
//! [`changes`](super::changes) for how its weights are adapted to other channels.

use crate::backbones::changes::COLOURS;
use crate::backbones::layers::{Convolution, FeatureMap, Network, Padding};
use crate::error::Result;
use crate::graph::{Dim, Node, Tensor, Value};
use crate::tensor::{DType, HostTensor};

impl Network<'_> {
    /// The input: `[batch, channels, H, W] f32`, normalised; three channels, or as many as the
    /// network is adapted to.
    pub(crate) fn image(&mut self, name: &str) -> FeatureMap {
        let channels = self.adaptation.as_ref().map_or(COLOURS, |adaptation| adaptation.channels());
        let [height, width] = match self.size {
            Some(size) => size.map(|length| Dim::Fixed(length as i64)),
            None => [Dim::symbol("height"), Dim::symbol("width")],
        };
        let shape = [Dim::symbol("batch"), Dim::Fixed(channels as i64), height, width];
        let value = self.builder.input(name, DType::F32, &shape);
        self.input = Some(value.clone());
        FeatureMap { value, channels, size: self.size }
    }

    /// The convolution of that name over the input, its weights adapted; `None` where `x` is not
    /// the input of an adapted network.
    pub(crate) fn adapted_convolution(
        &mut self,
        name: &str,
        x: &FeatureMap,
        layer: Convolution,
        biased: bool,
    ) -> Result<Option<FeatureMap>> {
        let Some(adaptation) = self.adaptation.clone().filter(|_| self.input.as_ref() == Some(&x.value)) else {
            return Ok(None);
        };
        let Convolution { channels, kernel, .. } = layer;
        let stored = self.parameters.take(&format!("{name}.weight"), &[channels, COLOURS, kernel, kernel])?;
        let weight = self.builder.parameter(&stored.name, &adaptation.weights(&stored.tensor));
        let bias = match biased {
            true => Some(self.parameters.take(&format!("{name}.bias"), &[channels])?),
            false => None,
        };
        let offsets = adaptation.offset_weights(&stored.tensor);
        if let Some(offsets) = offsets.as_ref().filter(|_| layer.padding == Padding::Zeros(0)) {
            // Every window lies within the image: what the offsets contribute is the same
            // everywhere.
            let shift = sums(offsets);
            let bias = match bias {
                Some(bias) => self.builder.parameter(&bias.name, &added(&bias.tensor, &shift)),
                None => self.builder.constant(&HostTensor::vector(shift.iter().map(|sum| *sum as f32).collect())),
            };
            return Ok(Some(self.convolve(name, x, layer, &weight, Some(&bias))));
        }
        let bias = bias.map(|bias| self.builder.parameter(&bias.name, &bias.tensor));
        let map = self.convolve(name, x, layer, &weight, bias.as_ref());
        Ok(Some(match offsets {
            Some(offsets) => self.with_offsets(name, x, map, layer, &offsets),
            None => map,
        }))
    }

    /// `map`, the convolution of `x`, plus what a map of ones of the size of `x` gives with the
    /// weights of the offsets.
    #[expect(clippy::too_many_arguments, reason = "five beside the receiver")]
    fn with_offsets(
        &mut self,
        name: &str,
        x: &FeatureMap,
        map: FeatureMap,
        layer: Convolution,
        offsets: &HostTensor,
    ) -> FeatureMap {
        let scope = format!("{name}.offsets");
        let (ones, weight) = self.builder.scope(&scope, |b| {
            let shape = match x.size {
                Some([height, width]) => b.integers(&[1, 1, height as i64, width as i64]),
                None => {
                    let shape = b.shape(&x.value);
                    let size = b.narrow(&shape, 0, 2..4);
                    let front = b.integers(&[1, 1]);
                    b.concat(&[&front, &size], 0)
                }
            };
            let one = Tensor::new("value", &HostTensor::vector(vec![1f32]));
            let ones = b.node(Node::new("ConstantOfShape", &[shape.name()], &[]).with("value", one));
            (ones, b.constant(offsets))
        });
        let ones = FeatureMap { value: ones, channels: 1, size: x.size };
        let response = self.convolve(&scope, &ones, layer, &weight, None);
        let value = self.builder.scope(&scope, |b| b.add(&map.value, &response.value));
        FeatureMap { value, ..map }
    }

    /// Convolution of non-overlapping patches, `NAME.weight` [width, C, patch, patch] and, if
    /// wanted, `NAME.bias` [width].
    pub(crate) fn patches(
        &mut self,
        name: &str,
        x: &FeatureMap,
        [width, patch]: [usize; 2],
        bias: bool,
    ) -> Result<Value> {
        let padding = Padding::Zeros(0);
        let layer = Convolution { channels: width, kernel: patch, stride: patch, groups: 1, padding };
        let map = match bias {
            true => self.biased_convolution(name, x, layer)?,
            false => self.convolution(name, x, layer)?,
        };
        Ok(map.value)
    }
}

/// The sum of each filter of `[O, ...]`.
fn sums(filters: &HostTensor) -> Vec<f64> {
    let values = filters.values::<f32>().unwrap_or_default();
    let length = values.len() / filters.shape()[0].max(1);
    values.chunks(length.max(1)).map(|filter| filter.iter().map(|value| f64::from(*value)).sum()).collect()
}

/// A vector plus another one.
fn added(vector: &HostTensor, shift: &[f64]) -> HostTensor {
    let values = vector.values::<f32>().unwrap_or_default();
    HostTensor::vector(values.iter().zip(shift).map(|(value, shift)| (f64::from(*value) + shift) as f32).collect())
}
