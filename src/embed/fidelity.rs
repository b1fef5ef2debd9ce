//! How close a network in faster arithmetic comes to the one it stands for, on the user's own
//! images.
//!
//! Two things are measured on the first images of a dataset: the cosine of each embedding to the
//! exact one, and how many of an image's nearest neighbours among them stay the same, which is what
//! a probe on the embeddings feels.

use std::path::Path;

use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use crate::embed::network::Network;
use crate::embed::row_engine::RowEngine;
use crate::embed::schema::Precision;
use crate::error::{CacheError, Result};
use crate::pixels::{DecodeLimits, decode_file};
use crate::preprocess::{Scratch, ValidPreprocess};
use crate::runtime::{Device, EngineOptions, Runtime};
use crate::support::ordered_pool::ordered_map;
use crate::tensor::{DType, HostTensor};

/// Images that fidelity is measured on.
pub const FIDELITY_IMAGES: usize = 32;
/// Nearest neighbours of an image that are compared.
pub const FIDELITY_NEIGHBOURS: usize = 5;
/// The lowest mean cosine that is accepted.
pub const MIN_COSINE: f64 = 0.99;
/// The lowest share of neighbours in common that is accepted.
pub const MIN_AGREEMENT: f64 = 0.8;

/// How close a network comes to the exact one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Images it was measured on.
    pub images: usize,
    /// Each column of embeddings by itself.
    pub columns: Vec<ColumnFidelity>,
}

/// How close the embeddings of one column come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnFidelity {
    /// The column.
    pub name: String,
    /// Mean cosine of an embedding to the exact one.
    pub cosine: f64,
    /// The lowest cosine.
    pub min_cosine: f64,
    /// Mean share of an image's nearest neighbours that stay the same; `None` for too few images.
    pub agreement: Option<f64>,
}

impl Fidelity {
    /// Whether every column reaches [`MIN_COSINE`] and [`MIN_AGREEMENT`].
    pub fn holds(&self) -> bool {
        self.columns.iter().all(ColumnFidelity::holds)
    }
}

impl ColumnFidelity {
    fn holds(&self) -> bool {
        self.cosine >= MIN_COSINE && self.agreement.is_none_or(|agreement| agreement >= MIN_AGREEMENT)
    }

    /// The comparison of embeddings with the exact ones, `[N, D]` each.
    fn new(name: &str, exact: &Array2<f32>, found: &Array2<f32>) -> Self {
        let cosines: Vec<f64> =
            exact.rows().into_iter().zip(found.rows()).map(|(exact, found)| cosine(exact, found)).collect();
        let count = cosines.len().max(1) as f64;
        // With hardly more images than neighbours any answer is right.
        let agreement = (cosines.len() > 2 * FIDELITY_NEIGHBOURS).then(|| {
            let pairs = neighbours(exact).into_iter().zip(neighbours(found));
            let common = pairs.map(|(exact, found)| exact.iter().filter(|image| found.contains(image)).count());
            common.sum::<usize>() as f64 / (count * FIDELITY_NEIGHBOURS as f64)
        });
        ColumnFidelity {
            name: name.to_owned(),
            cosine: cosines.iter().sum::<f64>() / count,
            min_cosine: cosines.iter().copied().fold(1.0, f64::min),
            agreement,
        }
    }
}

impl std::fmt::Display for Fidelity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "on {} images", self.images)?;
        for column in &self.columns {
            write!(f, "; `{}`: cosine {:.4} (least {:.4})", column.name, column.cosine, column.min_cosine)?;
            if let Some(agreement) = column.agreement {
                write!(f, ", {:.0} % of {FIDELITY_NEIGHBOURS} nearest neighbours the same", 100.0 * agreement)?;
            }
        }
        Ok(())
    }
}

/// Measures how close `network` comes to the exact one on the first of `images` that can be read,
/// on the CPU or wherever `device` says; the two differ in their arithmetic only.
///
/// # Errors
/// [`CacheError::NoFixedSize`]; `RuntimeError` where a network does not run.
pub fn fidelity<'p>(
    exact: &Network,
    network: &Network,
    images: impl Iterator<Item = &'p Path>,
    runtime: &Runtime,
    device: Device,
) -> Result<Fidelity> {
    let inputs = inputs(&network.key.preprocess.clone().check()?, images)?;
    let exact = embedded(exact, &inputs, runtime, device)?;
    let found = embedded(network, &inputs, runtime, device)?;
    let mut columns = Vec::new();
    let mut start = 0;
    for column in &network.key.columns {
        let part = ndarray::s![.., start..start + column.dimension];
        columns.push(ColumnFidelity::new(&column.name, &exact.slice(part).to_owned(), &found.slice(part).to_owned()));
        start += column.dimension;
    }
    Ok(Fidelity { images: inputs.len(), columns })
}

/// The first images that can be read, as the network takes them, `[1, C, H, W]` each.
fn inputs<'p>(preprocess: &ValidPreprocess, images: impl Iterator<Item = &'p Path>) -> Result<Vec<HostTensor>> {
    let [channels, height, width] = preprocess.output_shape().ok_or(CacheError::NoFixedSize)?;
    let (limits, mut scratch) = (DecodeLimits::default(), Scratch::default());
    let mut inputs = Vec::new();
    for path in images {
        let Ok(image) = decode_file(path, &limits) else { continue };
        let mut values = vec![0f32; channels * height * width];
        if preprocess.apply_into(&image, &mut scratch, &mut values).is_ok() {
            inputs.extend(HostTensor::from_vec(vec![1, channels, height, width], values));
        }
        if inputs.len() == FIDELITY_IMAGES {
            break;
        }
    }
    Ok(inputs)
}

/// The rows of all images: `[N, values of a row]`, exact whatever a cache rounds them to.
fn embedded(network: &Network, inputs: &[HostTensor], runtime: &Runtime, device: Device) -> Result<Array2<f32>> {
    let batch = network.fixed_batch.unwrap_or(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let at = EngineOptions { device, threads, max_engines: threads };
    let engines = RowEngine::open(runtime, network, Precision::F32, at)?;
    let ahead = 2 * engines.len();
    let rows: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let run = |engine: &mut RowEngine<'_>, input: &HostTensor| engine.run(&repeated(input, batch), 1);
        ordered_map(scope, inputs.iter(), engines, ahead, run).map(|rows| Ok(rows?.bytes)).collect::<Result<_>>()
    })?;
    let width = network.key.columns.iter().map(|column| column.dimension).sum();
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(&rows.concat());
    #[expect(clippy::expect_used, reason = "every engine's rows have the width that the key states")]
    Ok(Array2::from_shape_vec((inputs.len(), width), values).expect("a row per image"))
}

/// One image as often as a batch is long.
fn repeated(image: &HostTensor, batch: usize) -> HostTensor {
    if batch == 1 {
        return image.clone();
    }
    let shape = [&[batch], &image.shape()[1..]].concat();
    #[expect(clippy::expect_used, reason = "the bytes of an image as often as the batch has images")]
    HostTensor::new(DType::F32, shape, image.bytes().repeat(batch).into()).expect("a batch of one image")
}

fn cosine(one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>) -> f64 {
    let products = one.iter().zip(other).fold([0f64; 3], |[product, first, second], (&a, &b)| {
        let (a, b) = (f64::from(a), f64::from(b));
        [product + a * b, first + a * a, second + b * b]
    });
    // Two vectors of zeros are the same.
    if products == [0.0; 3] { 1.0 } else { products[0] / (products[1] * products[2]).sqrt().max(f64::MIN_POSITIVE) }
}

/// The nearest neighbours of each row among the others, by cosine; equal ones in the order of the
/// rows.
fn neighbours(x: &Array2<f32>) -> Vec<Vec<usize>> {
    let of_row = |row: usize| {
        let mut others: Vec<(f64, usize)> = (0..x.nrows())
            .filter(|&other| other != row)
            .map(|other| (cosine(x.row(row), x.row(other)), other))
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        others.into_iter().take(FIDELITY_NEIGHBOURS).map(|(_, other)| other).collect()
    };
    (0..x.nrows()).map(of_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_embeddings_agree_and_shuffled_ones_do_not() {
        let exact = Array2::from_shape_fn((20, 3), |(row, column)| ((row * 7 + column * 3) % 11) as f32 - 5.0);
        let same = ColumnFidelity::new("embedding", &exact, &exact);
        assert!((same.cosine - 1.0).abs() < 1e-12 && same.agreement == Some(1.0) && same.holds(), "{same:?}");
        let mut turned = exact.clone();
        turned.invert_axis(ndarray::Axis(0));
        let other = ColumnFidelity::new("embedding", &exact, &turned.as_standard_layout().to_owned());
        assert!(!other.holds() && other.min_cosine < 0.9, "{other:?}");
        let few = ColumnFidelity::new(
            "embedding",
            &exact.slice(ndarray::s![..6, ..]).to_owned(),
            &exact.slice(ndarray::s![..6, ..]).to_owned(),
        );
        assert_eq!(few.agreement, None);
    }
}
