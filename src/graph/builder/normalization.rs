//! Normalisations and softmax.

use crate::graph::{Builder, Node, Value};

/// What a batch normalisation in inference applies, each `[C]`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormParameters<'a> {
    /// Factor.
    pub scale: &'a Value,
    /// Summand.
    pub bias: &'a Value,
    /// Running mean.
    pub mean: &'a Value,
    /// Running variance.
    pub variance: &'a Value,
}

impl Builder {
    /// Normalises the last axis of `x` to mean 0 and variance 1, then applies `scale` and `bias`.
    pub fn layer_norm(&mut self, x: &Value, scale: &Value, bias: Option<&Value>, epsilon: f32) -> Value {
        let mut inputs = vec![x.name(), scale.name()];
        inputs.extend(bias.map(Value::name));
        self.node(Node::new("LayerNormalization", &inputs, &[]).with("axis", -1).with("epsilon", epsilon))
    }

    /// Normalises each channel of `x` [N, C, ...] with stored statistics.
    pub fn batch_norm(&mut self, x: &Value, parameters: BatchNormParameters<'_>, epsilon: f32) -> Value {
        let BatchNormParameters { scale, bias, mean, variance } = parameters;
        let inputs = [x, scale, bias, mean, variance].map(Value::name);
        self.node(Node::new("BatchNormalization", &inputs, &[]).with("epsilon", epsilon))
    }

    /// `exp(x)` divided by its sum over `axis`.
    pub fn softmax(&mut self, x: &Value, axis: i64) -> Value {
        self.node(Node::new("Softmax", &[x.name()], &[]).with("axis", axis))
    }

    /// The logarithm of [`Builder::softmax`].
    pub fn log_softmax(&mut self, x: &Value, axis: i64) -> Value {
        self.node(Node::new("LogSoftmax", &[x.name()], &[]).with("axis", axis))
    }
}
