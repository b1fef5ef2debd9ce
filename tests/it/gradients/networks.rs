//! Whole networks against PyTorch: loss and gradient of every parameter and of the input, from stored references.
//!
//! `tests/fixtures/training/gradients.safetensors` holds, per network, a linear head of three classes on the embedding, labels,
//! and what PyTorch computed of the mean cross-entropy of the stored input, batch normalisation by its running statistics.

use std::collections::BTreeMap;
use std::path::Path;

use defrost::backbones::{Size, Taps};
use defrost::graph::{Builder, Model, autodiff, autodiff::loss::LossOptions};
use defrost::runtime::{Device, ModelSource, Optimization, Session, SessionOptions};
use defrost::tensor::safetensors;
use defrost::tensor::{HostTensor, Tolerance, compare};

use crate::parity::{EFFICIENTNET_LITE, FOCALNET, Fixture, RESNET, SAM, TRANSFORMERS};
use crate::session::runtime;

/// Largest difference of a gradient's entries from PyTorch's, relative to the gradient's largest entry.
const GRADIENT: Tolerance = Tolerance::Relative(1e-4);
/// Parameters whose gradients are zero but for rounding have no direction to compare: below this share of the largest.
const NOTHING: f64 = 1e-6;

/// The head has a name of its own in the graph: timm's image tower of CLIP calls its projection `head`.
fn ours(name: &str) -> String {
    name.strip_prefix("head.").map_or_else(|| name.to_owned(), |rest| format!("classifier.{rest}"))
}

/// The graph of loss and gradients of a network with the stored head.
fn training_graph(fixture: &Fixture, stored: &BTreeMap<String, HostTensor>, images: &HostTensor) -> Model {
    let &[_, _, height, width] = images.shape() else { unreachable!() };
    let backbone = fixture.build(&fixture.weights(), Size::Fixed { height, width }, &Taps::All).unwrap();
    // SAM's head stands on the vector behind the neck.
    let embedding = if fixture.entry == "sam-base" { "embedding_neck" } else { "embedding" };
    let mut b = Builder::extend(backbone.graph).unwrap();
    let output = b.value(embedding).unwrap();
    let weight = b.parameter(&ours("head.weight"), &stored["head.weight"]);
    let bias = b.parameter(&ours("head.bias"), &stored["head.bias"]);
    let logits = b.linear(&output, &weight, Some(&bias));
    let labels = b.constant(&stored["labels"]);
    let loss = autodiff::loss::cross_entropy(&mut b, &logits, &labels, &LossOptions::default());
    let names: Vec<&str> = stored.keys().filter_map(|name| name.strip_prefix("grad/")).chain(["input"]).collect();
    let wanted: Vec<_> = names.iter().map(|name| b.value(&ours(name)).unwrap()).collect();
    let gradients = autodiff::gradients(&mut b, &loss, &wanted).unwrap();
    b.drop_outputs();
    b.output("loss", &loss);
    for (name, gradient) in names.iter().zip(&gradients) {
        let gradient = gradient.as_ref().unwrap_or_else(|| unreachable!("`{name}` has no gradient"));
        b.output(&format!("grad/{name}"), gradient);
    }
    b.finish().unwrap()
}

fn follows_pytorch(fixture: &Fixture) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training/gradients.safetensors");
    let prefix = format!("{}/", fixture.folder);
    let (all, _) = safetensors::read(&file).unwrap();
    let stored: BTreeMap<String, HostTensor> =
        all.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor))).collect();
    assert!(stored.len() > 20, "the references of `{}` are missing", fixture.folder);
    let images = fixture.outputs()["input"].clone();
    let bytes = training_graph(fixture, &stored, &images).to_bytes().unwrap();
    for optimization in [Optimization::Off, Optimization::Full] {
        let options = SessionOptions { device: Device::Cpu, optimization, ..SessionOptions::default() };
        let mut session = Session::open(&runtime(), ModelSource::Bytes(&bytes), &options).unwrap();
        let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
        let found: BTreeMap<String, HostTensor> =
            names.into_iter().zip(session.run(&[("input", &images)], &[]).unwrap()).collect();
        let mut largest = 0.0f64;
        for (name, gradient) in stored.iter().filter(|(name, _)| name.starts_with("grad/")) {
            largest = gradient.values::<f32>().unwrap().iter().fold(largest, |most, x| most.max(f64::from(x.abs())));
            assert_eq!(found[name].shape(), gradient.shape(), "{name}");
        }
        let mut compared = 0;
        for (name, expected) in stored.iter().filter(|(name, _)| name.starts_with("grad") && *name != "grad_norm") {
            let found = if name == "grad_input" { &found["grad/input"] } else { &found[name] };
            let expected = expected.values::<f32>().unwrap();
            let most = expected.iter().fold(0.0f64, |most, x| most.max(f64::from(x.abs())));
            let tolerance = if most < NOTHING * largest { Tolerance::Absolute(NOTHING * largest) } else { GRADIENT };
            let comparison = compare(&found.values::<f32>().unwrap(), &expected, tolerance).unwrap();
            assert!(comparison.holds(), "{} {name} ({optimization:?}): {comparison}", fixture.folder);
            compared += 1;
        }
        let loss = |tensors: &BTreeMap<String, HostTensor>| tensors["loss"].values::<f32>().unwrap()[0];
        assert!((loss(&found) - loss(&stored)).abs() <= 1e-5 * loss(&stored), "{}", fixture.folder);
        assert!(compared > 20, "{compared}");
    }
}

fn by_folder(folder: &str) -> Fixture {
    let all = TRANSFORMERS.iter().chain(&SAM).chain(&FOCALNET).chain([&RESNET, &EFFICIENTNET_LITE]);
    *all.into_iter().find(|fixture| fixture.folder == folder).unwrap()
}

macro_rules! networks {
    ($($test:ident: $folder:literal),+ $(,)?) => {
        $(#[test]
        fn $test() {
            follows_pytorch(&by_folder($folder));
        })+
    };
}

networks! {
    a_plain_transformer: "dino-vit-timm",
    a_transformer_with_swiglu_and_layer_scale: "dinov2-swiglu-timm",
    a_transformer_with_registers: "dinov2-reg4-timm",
    the_image_tower_of_clip: "clip-timm",
    windows_and_relative_positions: "sam-timm",
    focal_modulation: "focalnet-srf-timm",
    focal_modulation_as_in_seem: "focalnet-d2-seem",
    bottlenecks: "resnet-timm",
    depthwise_convolutions: "efficientnet-lite-timm",
}
