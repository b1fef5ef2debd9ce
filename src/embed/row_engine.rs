//! The network as the pipeline runs it: batches of preprocessed images in, rows of bytes out.
//!
//! The bytes of a row depend on its image alone: every batch has the same shape, the last one
//! filled up with zeros, and a network whose rows depend on each other (dynamic quantisation over
//! the batch does that) is found out before the first batch and given one image at a time.

use rand::Rng;

use crate::embed::network::Network;
use crate::embed::schema::{EmbeddingColumn, Precision};
use crate::error::{CacheError, Result};
use crate::runtime::{Engine, EngineOptions, ModelSource, Runtime, Session};
use crate::support::seed::Seed;
use crate::tensor::{DType, HostTensor};

/// One of the threads' places where batches become rows.
pub(crate) struct RowEngine<'a> {
    engine: Engine,
    network: &'a Network,
    /// Element type of the rows.
    dtype: Precision,
    /// Whether images are run one at a time.
    one_by_one: bool,
}

/// The rows of a batch.
pub(crate) struct BatchRows {
    /// One row after the other, as the cache stores them.
    pub(crate) bytes: Vec<u8>,
    /// Rows that cannot be stored, and why.
    pub(crate) flaws: Vec<(usize, String)>,
}

impl<'a> RowEngine<'a> {
    /// Opens a network, at least one engine; rows are made of `dtype`.
    pub(crate) fn open(
        runtime: &Runtime,
        network: &'a Network,
        dtype: Precision,
        options: EngineOptions,
    ) -> Result<Vec<Self>> {
        let engines = Engine::open(runtime, ModelSource::Detached(&network.model), options)?;
        Ok(engines.into_iter().map(|engine| RowEngine { engine, network, dtype, one_by_one: false }).collect())
    }

    pub(crate) fn session(&self) -> &Session {
        self.engine.session()
    }

    /// Runs images one at a time from here on.
    pub(crate) fn run_one_by_one(&mut self) {
        self.one_by_one = true;
    }

    /// Whether each row of a batch of this shape depends on its own image alone.
    ///
    /// # Errors
    /// [`CacheError::DependentRows`] where they depend on each other and the network takes no batch
    /// of one.
    pub(crate) fn is_independent(&mut self, shape: &[usize]) -> Result<bool> {
        let (count, size) = (shape[0], shape[1..].iter().product::<usize>());
        if count == 1 {
            return Ok(true);
        }
        let mut random = Seed::new(0).named("batch independence").random();
        let image: Vec<f32> = (0..size).map(|_| random.gen_range(-2.0..2.0)).collect();
        // The same image first in a batch of bright neighbours and last in one of dark ones.
        let mut bright: Vec<f32> =
            image.iter().rev().map(|value| 5.0 + 3.0 * value).cycle().take(count * size).collect();
        let mut dark: Vec<f32> = bright.iter().map(|value| -value).collect();
        bright[..size].copy_from_slice(&image);
        dark[(count - 1) * size..].copy_from_slice(&image);
        let first = self.rows(&batch(shape, bright), count)?.bytes;
        let last = self.rows(&batch(shape, dark), count)?.bytes;
        let row = first.len() / count;
        let independent = first[..row] == last[(count - 1) * row..];
        if !independent && self.network.fixed_batch.is_some() {
            return Err(CacheError::DependentRows { batch: count }.into());
        }
        Ok(independent)
    }

    /// Embeds the first `count` images of a batch `[B, C, H, W]`.
    pub(crate) fn run(&mut self, images: &HostTensor, count: usize) -> Result<BatchRows> {
        if !self.one_by_one {
            return self.rows(images, count);
        }
        let mut shape = images.shape().to_vec();
        let size = images.bytes().len() / shape[0];
        shape[0] = 1;
        let mut rows = BatchRows { bytes: Vec::new(), flaws: Vec::new() };
        for at in 0..count {
            let image = images.bytes().slice(at * size..(at + 1) * size);
            #[expect(clippy::expect_used, reason = "a part of a batch has the bytes of one image")]
            let image = HostTensor::new(DType::F32, shape.clone(), image).expect("one image of a batch");
            let row = self.rows(&image, 1)?;
            rows.bytes.extend(row.bytes);
            rows.flaws.extend(row.flaws.into_iter().map(|(_, reason)| (at, reason)));
        }
        Ok(rows)
    }

    fn rows(&mut self, images: &HostTensor, count: usize) -> Result<BatchRows> {
        let names: Vec<&str> = self.network.outputs.iter().map(String::as_str).collect();
        let outputs = self.engine.run(&self.network.input, images, &names)?;
        let batch = images.shape()[0];
        let mut columns = Vec::with_capacity(outputs.len());
        for (output, column) in outputs.iter().zip(&self.network.key.columns) {
            columns.push((values(output, batch, column)?, column));
        }
        let mut rows = BatchRows { bytes: Vec::new(), flaws: Vec::new() };
        for row in 0..count {
            for (values, column) in &columns {
                let values = &values[row * column.dimension..(row + 1) * column.dimension];
                if let Some(flaw) = store(values, self.dtype, &mut rows.bytes) {
                    rows.flaws.push((row, format!("the network gives {flaw} in `{}`", column.name)));
                }
            }
        }
        Ok(rows)
    }
}

/// The values of an output `[batch, D]`.
///
/// # Errors
/// [`CacheError::Output`] for another element type or shape than the column states.
fn values<'t>(output: &'t HostTensor, batch: usize, column: &EmbeddingColumn) -> Result<std::borrow::Cow<'t, [f32]>> {
    let expected = [batch, column.dimension];
    output.to_f32().filter(|_| output.shape() == expected).ok_or_else(|| {
        CacheError::Output {
            name: column.name.clone(),
            expected: expected.to_vec(),
            dtype: output.dtype().to_string(),
            found: output.shape().to_vec(),
        }
        .into()
    })
}

/// Appends values in the stored form; tells of the first that is not finite in it.
fn store(values: &[f32], precision: Precision, bytes: &mut Vec<u8>) -> Option<String> {
    let mut flaw = values.iter().find(|value| !value.is_finite()).map(|value| format!("the value {value}"));
    match precision {
        Precision::F32 => bytes.extend_from_slice(bytemuck::cast_slice(values)),
        Precision::F16 => {
            for &value in values {
                let half = half::f16::from_f32(value);
                if !half.is_finite() && flaw.is_none() {
                    flaw = Some(format!("the value {value}, too large for f16"));
                }
                bytes.extend(half.to_le_bytes());
            }
        }
    }
    flaw
}

fn batch(shape: &[usize], values: Vec<f32>) -> HostTensor {
    #[expect(clippy::expect_used, reason = "the values were made for this shape")]
    HostTensor::from_vec(shape.to_vec(), values).expect("a batch has as many values as its shape")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_and_what_they_cannot_hold_is_told() {
        let mut bytes = Vec::new();
        assert_eq!(store(&[1.0 + 1e-5, -2.5], Precision::F16, &mut bytes), None);
        assert_eq!(bytes, [0x00, 0x3c, 0x00, 0xc1]);
        assert_eq!(store(&[1e6], Precision::F16, &mut bytes).unwrap(), "the value 1000000, too large for f16");
        assert_eq!(store(&[1.0, f32::NAN], Precision::F32, &mut bytes).unwrap(), "the value NaN");
    }
}
