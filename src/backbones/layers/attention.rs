//! Layers of transformers: linear maps, layer norms, attention, MLPs over tokens as one matrix
//! `[N * T, D]`.
//!
//! Linear weights stay as PyTorch stores them, `[outputs, inputs]`. Attention scales the queries
//! before the product, as the references do it; its logits may get a bias, which is how SAM's
//! relative positions come in.

use serde::Deserialize;

use crate::backbones::layers::Network;
use crate::error::Result;
use crate::graph::Value;

/// The function between the two linear maps of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MlpKind {
    /// GELU with the exact error function.
    #[default]
    Gelu,
    /// `x * sigmoid(1.702 x)`, of OpenAI's CLIP.
    QuickGelu,
    /// `silu(a) * b` where the first map gives `a` and `b` at once; of DINOv2's giant.
    Swiglu,
}

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Tokens that attend to each other.
    pub(crate) tokens: usize,
    /// Length of a token.
    pub(crate) width: usize,
    /// Heads; divides the width.
    pub(crate) heads: usize,
    /// Whether query, key and value have a weight each (`q`, `k`, `v`) instead of one for all
    /// (`qkv`).
    pub(crate) separate: bool,
}

/// Queries, keys and values of all heads, `[N, heads, T, D / heads]`; the queries are not scaled
/// yet.
pub(crate) struct Heads {
    pub(crate) query: Value,
    pub(crate) key: Value,
    pub(crate) value: Value,
}

impl Network<'_> {
    /// `x [M, inputs]` to `[M, outputs]` with `NAME.weight` [outputs, inputs] and `NAME.bias`
    /// [outputs].
    pub(crate) fn linear(&mut self, name: &str, x: &Value, [inputs, outputs]: [usize; 2]) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.parameter(&format!("{name}.bias"), &[outputs])?;
        Ok(self.builder.scope(name, |b| b.linear(x, &weight, Some(&bias))))
    }

    /// Layer norm over the last axis of `x [.., width]` with `NAME.weight` and `NAME.bias`, each
    /// [width].
    pub(crate) fn layer_norm(&mut self, name: &str, x: &Value, width: usize, epsilon: f32) -> Result<Value> {
        let weight = self.parameter(&format!("{name}.weight"), &[width])?;
        let bias = self.parameter(&format!("{name}.bias"), &[width])?;
        Ok(self.builder.scope(name, |b| b.layer_norm(x, &weight, Some(&bias), epsilon)))
    }

    /// `x [M, width]` times a learned factor per channel, `NAME` [width].
    pub(crate) fn layer_scale(&mut self, name: &str, x: &Value, width: usize) -> Result<Value> {
        let factor = self.parameter(name, &[width])?;
        Ok(self.builder.scope(name, |b| b.mul(x, &factor)))
    }

    /// The MLP of a block: `NAME.fc1`, activation, `NAME.fc2`; `x [M, width]` to the same shape.
    pub(crate) fn mlp(&mut self, name: &str, x: &Value, [width, hidden]: [usize; 2], kind: MlpKind) -> Result<Value> {
        let gates = if kind == MlpKind::Swiglu { 2 } else { 1 };
        let inner = self.linear(&format!("{name}.fc1"), x, [width, gates * hidden])?;
        let active = self.builder.scope(name, |b| match kind {
            MlpKind::Gelu => b.gelu(&inner),
            MlpKind::QuickGelu => b.quick_gelu(&inner),
            MlpKind::Swiglu => {
                let [gate, value] = b.split(&inner, 1, [hidden as i64; 2]);
                let gate = b.silu(&gate);
                b.mul(&gate, &value)
            }
        });
        self.linear(&format!("{name}.fc2"), &active, [hidden, width])
    }

    /// Self-attention: `NAME.qkv` (or `NAME.q`, `NAME.k`, `NAME.v`) and `NAME.proj`; `x [N * T, D]`
    /// to the same shape.
    pub(crate) fn attention(&mut self, name: &str, x: &Value, layer: Attention) -> Result<Value> {
        self.biased_attention(name, x, layer, |_, _| Ok(None))
    }

    /// As [`Network::attention`], with a bias on the logits `[N, heads, T, T]` that may depend on
    /// the unscaled queries.
    pub(crate) fn biased_attention(
        &mut self,
        name: &str,
        x: &Value,
        layer: Attention,
        bias: impl FnOnce(&mut Self, &Heads) -> Result<Option<Value>>,
    ) -> Result<Value> {
        let heads = self.heads(name, x, layer)?;
        let bias = bias(self, &heads)?;
        let mixed = self.builder.scope(name, |b| {
            let scale = b.scalar((1.0 / ((layer.width / layer.heads) as f64).sqrt()) as f32);
            let query = b.mul(&heads.query, &scale);
            let key = b.transpose(&heads.key, &[0, 1, 3, 2]);
            let mut logits = b.matmul(&query, &key);
            if let Some(bias) = bias {
                logits = b.add(&logits, &bias);
            }
            let weights = b.softmax(&logits, -1);
            let mixed = b.matmul(&weights, &heads.value);
            let merged = b.transpose(&mixed, &[0, 2, 1, 3]);
            b.reshape(&merged, &[-1, layer.width as i64])
        });
        self.linear(&format!("{name}.proj"), &mixed, [layer.width; 2])
    }

    fn heads(&mut self, name: &str, x: &Value, layer: Attention) -> Result<Heads> {
        let [tokens, width, heads] = [layer.tokens, layer.width, layer.heads].map(|size| size as i64);
        if layer.separate {
            let part = |network: &mut Self, letter: &str| -> Result<Value> {
                let flat = network.linear(&format!("{name}.{letter}"), x, [layer.width; 2])?;
                Ok(network.builder.scope(name, |b| {
                    let split = b.reshape(&flat, &[-1, tokens, heads, width / heads]);
                    b.transpose(&split, &[0, 2, 1, 3])
                }))
            };
            return Ok(Heads { query: part(self, "q")?, key: part(self, "k")?, value: part(self, "v")? });
        }
        let flat = self.linear(&format!("{name}.qkv"), x, [layer.width, 3 * layer.width])?;
        let [query, key, value] = self.builder.scope(name, |b| {
            let split = b.reshape(&flat, &[-1, tokens, 3, heads, width / heads]);
            let parts = b.transpose(&split, &[2, 0, 3, 1, 4]);
            b.split(&parts, 0, [1; 3]).map(|part| b.squeeze(&part, &[0]))
        });
        Ok(Heads { query, key, value })
    }
}
