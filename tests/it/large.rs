//! A model larger than protobuf allows: built, saved with its weights beside it, opened from there
//! and from memory.

use std::path::Path;

use defrost::backbones::{self, ModelOptions};
use defrost::data::{self, OpenOptions};
use defrost::embed::{EmbedOptions, EmbedRun, FeatureColumns, Features, Network, Precision, embed};
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use defrost::support::memory::peak_resident_mib;
use defrost::support::progress::Silent;
use defrost::tensor::HostTensor;

use crate::embed::write_images;

/// Random weights of DINOv2's giant at 56x56 pixels.
fn options(folder: &Path) -> ModelOptions {
    let preprocess = folder.join("small.toml");
    let text = "resize = { exact = { height = 56, width = 56 } }\nfilter = \"bicubic\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n";
    std::fs::write(&preprocess, text).unwrap();
    ModelOptions { random_weights: Some(1), preprocess: Some(preprocess), ..ModelOptions::default() }
}

#[test]
#[ignore = "needs 12 GiB of memory and 5 GiB of disk: cargo test --test it -- --ignored more_than_two_gibibytes"]
fn more_than_two_gibibytes_of_weights_are_built_saved_and_embedded_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("giant.onnx");
    let input = HostTensor::from_fn(&[1, 3, 56, 56], |at| ((at * 7919) % 1013) as f32 / 500.0 - 1.0);
    let run = |network: &Network| {
        let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
        let runtime = Runtime::ensure(None, &Silent).unwrap();
        let mut session = Session::open(&runtime, ModelSource::Detached(&network.model), &options).unwrap();
        session.run(&[("input", &input)], &["embedding"]).unwrap()
    };
    let (digest, from_memory) = {
        let built = backbones::open("dinov2-giant", &options(folder.path()), &Silent).unwrap();
        assert!(built.graph.to_bytes().is_err(), "it is larger than one message");
        built.graph.save(&path).unwrap();
        let network = Network::new(&built, Precision::F32).unwrap();
        (network.key.model.graph.clone(), run(&network))
    };
    assert!(path.metadata().unwrap().len() < 8 << 20);
    assert!(folder.path().join("giant.onnx.data").metadata().unwrap().len() > 4 << 30);

    let peak = peak_resident_mib().unwrap();
    let opened = backbones::open(path.to_str().unwrap(), &ModelOptions::default(), &Silent).unwrap();
    let network = Network::new(&opened, Precision::F32).unwrap();
    assert!(network.model.weights.iter().all(|weight| weight.place.is_some()), "they stay in their file");
    assert_eq!(network.key.model.graph, digest, "the key of a cache does not depend on where weights lie");
    assert_eq!(run(&network), from_memory);

    write_images(&folder.path().join("images"), 4, 64);
    let dataset = data::open(&folder.path().join("images"), &OpenOptions::default()).unwrap();
    let cache = folder.path().join("cache");
    let job = EmbedRun { dataset: &dataset, network: &network, cache: &cache };
    let embedding = EmbedOptions { device: Device::Cpu, ..EmbedOptions::default() };
    let summary = embed(&job, &embedding, &|| Runtime::ensure(None, &Silent), &Silent).unwrap();
    assert_eq!((summary.rows, summary.failed), (4, 0));
    let features = Features::open(&cache, &FeatureColumns::default()).unwrap();
    assert_eq!(features.x.dim(), (4, 1536));
    assert_eq!(peak_resident_mib(), Some(peak), "opening it from its file takes less than building it did");
}
