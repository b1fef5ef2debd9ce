//! A model for ONNX Runtime whose large weights are not part of its message: they stay in the files
//! they were mapped from, or in memory.

use sha2::Digest as _;

use crate::error::Result;
use crate::graph::io::encoded;
use crate::graph::{Model, chunks, encode, proto};
use crate::support::mapped::Place;
use crate::support::{fs, mapped};
use crate::tensor::{DType, HostTensor};

/// Weights of fewer bytes stay in the message.
const SMALLEST_DETACHED: usize = 16 << 10;

/// A model without its large weights, and these.
#[derive(Clone, Debug)]
pub struct Detached {
    /// The serialised model; its detached initializers refer to files below the root directory, or
    /// to `memory`.
    pub message: Vec<u8>,
    /// The weights that are not in the message.
    pub weights: Vec<DetachedWeight>,
    /// The sha256 of the model as one message with its weights.
    pub digest: String,
}

/// An initializer outside of the message.
#[derive(Clone, Debug)]
pub struct DetachedWeight {
    /// Its name in the graph.
    pub name: String,
    /// Its value.
    pub tensor: HostTensor,
    /// Where it lies in a file, in ONNX's form; `None` where it is in memory only.
    pub place: Option<Place>,
}

impl Model {
    /// The model without its large weights, for sessions that are given these where they lie.
    ///
    /// # Errors
    /// [`GraphError::TooLarge`](crate::error::GraphError::TooLarge) when the rest is larger than
    /// protobuf allows.
    pub fn detach(&self) -> Result<Detached> {
        let mut message = encode::model(self);
        let mut weights = Vec::new();
        let tensors = message.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
        for (stored, tensor) in tensors.zip(&self.graph.initializers) {
            let host = tensor.to_host().filter(|host| host.bytes().len() >= SMALLEST_DETACHED);
            let Some(host) = host.filter(|host| host.dtype() != DType::Bool) else { continue };
            let place = mapped::place_of(host.bytes()).filter(|place| is_usable(place, host.dtype()));
            let below_root = |place: &Place| place.path.to_string_lossy().trim_start_matches('/').to_owned();
            let entry = |key: &str, value: String| proto::Entry { key: key.to_owned(), value };
            stored.raw_data = None;
            stored.data_location = 1;
            stored.external_data = vec![
                entry("location", place.as_ref().map_or_else(|| "memory".to_owned(), below_root)),
                entry("offset", place.as_ref().map_or(0, |place| place.offset).to_string()),
                entry("length", host.bytes().len().to_string()),
            ];
            weights.push(DetachedWeight { name: tensor.name.clone(), tensor: host, place });
        }
        Ok(Detached { message: encoded(&message)?, weights, digest: self.digest() })
    }

    /// The sha256 of the model as one protobuf message, weights included, however large it is;
    /// lower-case hexadecimal.
    pub fn digest(&self) -> String {
        let mut hasher = sha2::Sha256::new();
        for piece in chunks::pieces(encode::model(self)) {
            mapped::update(&mut hasher, &piece);
        }
        fs::hexadecimal(&hasher.finalize())
    }
}

/// Whether ONNX Runtime can map elements of this type from there: aligned, and below a root
/// directory that is `/`.
fn is_usable(place: &Place, dtype: DType) -> bool {
    let is_below_root = place.path.to_str().is_some_and(|path| path.starts_with('/'));
    is_below_root && place.offset.is_multiple_of(dtype.size() as u64)
}

impl Detached {
    /// A model that is serialised already, complete in itself.
    pub fn complete(message: Vec<u8>) -> Self {
        let digest = fs::sha256(&message);
        Detached { message, weights: Vec::new(), digest }
    }

    /// Bytes of message and weights together.
    pub fn size(&self) -> usize {
        self.message.len() + self.weights.iter().map(|weight| weight.tensor.bytes().len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Dim};

    #[test]
    fn large_weights_leave_the_message_and_the_digest_is_that_of_the_whole() {
        let mut b = Builder::new("net");
        let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(128)]);
        let w = b.parameter("w", &HostTensor::from_fn(&[64, 128], |at| at as f32));
        let bias = b.parameter("b", &HostTensor::vector(vec![1f32; 64]));
        let y = b.linear(&x, &w, Some(&bias));
        b.output("y", &y);
        let model = b.finish().unwrap();
        let detached = model.detach().unwrap();
        let names: Vec<&str> = detached.weights.iter().map(|weight| weight.name.as_str()).collect();
        assert_eq!((names, detached.weights[0].place.as_ref()), (vec!["w"], None));
        assert!(detached.message.len() < 2048 && detached.size() > 32768);
        assert_eq!(detached.digest, fs::sha256(&model.to_bytes().unwrap()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        model.save_with(&path, crate::graph::SaveOptions { largest_file: 4096 }).unwrap();
        // Small files are read, not mapped: their weights are in memory.
        let loaded = Model::load(&path).unwrap();
        assert_eq!(loaded.digest(), model.digest());
    }
}
