//! Gradients of whole backbones against those that PyTorch computed for the same weights and
//! images: by every parameter and by the input, of a linear head's cross-entropy.
//!
//! The references are `tests/fixtures/gradients/<fixture>.safetensors`. Fixtures that differ from
//! others in names only have none: `DEFROST_GRADIENTS` names a folder with
//! `<fixture>/train.safetensors` to compare all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use defrost::backbones::{Size, Taps};
use defrost::graph::autodiff::loss::LossOptions;
use defrost::graph::autodiff::{gradients, loss};
use defrost::graph::{Builder, Model, Value};
use defrost::runtime::{Device, ModelSource, Optimization, Runtime, Session, SessionOptions};
use defrost::tensor::{DType, HostTensor, Tolerance, compare, safetensors};

use crate::parity::{EFFICIENTNET_LITE, FOCALNET, Fixture, RESNET, SAM, TRANSFORMERS};

/// Largest error allowed, relative to each tensor's largest entry.
const ALLOWED: f64 = 1e-4;
/// Where a gradient is zero by its nature (of a bias that the next normalisation takes away, of the
/// keys' bias in front of a softmax), both sides are rounding: largest error allowed, relative to
/// the norm of all gradients.
const ROUNDING: f64 = 1e-7;

fn reference(fixture: &Fixture) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gradients");
    let own = own.join(format!("{}.safetensors", fixture.folder));
    let other = std::env::var("DEFROST_GRADIENTS").ok();
    let other = other.map(|folder| Path::new(&folder).join(fixture.folder).join("train.safetensors"));
    other.into_iter().chain([own]).find(|path| path.exists())
}

/// Lets every batch normalisation use the statistics of the batch.
fn with_batch_statistics(mut model: Model) -> Model {
    for node in model.graph.nodes.iter_mut().filter(|node| node.operator == "BatchNormalization") {
        let name = node.outputs[0].clone();
        *node = std::mem::take(node).with("training_mode", 1);
        node.outputs.extend(["mean", "variance"].map(|statistic| format!("{name}.{statistic}")));
    }
    model
}

/// The loss and the gradients by the parameters `names` and by the input.
fn computed(fixture: &Fixture, stored: &safetensors::Tensors, names: &[&str], training: bool) -> Model {
    let &[_, _, height, width] = fixture.outputs()["input"].shape() else { unreachable!() };
    let backbone = fixture.build(&fixture.weights(), Size::Fixed { height, width }, &Taps::None).unwrap();
    let graph = if training { with_batch_statistics(backbone.graph) } else { backbone.graph };
    let mut b = Builder::extend(graph).unwrap();
    let embedding = if fixture.entry == "sam-base" { "embedding_neck" } else { "embedding" };
    let embedding = b.value(embedding).unwrap();
    let (weight, bias) =
        (b.parameter("probe.weight", &stored["head.weight"]), b.parameter("probe.bias", &stored["head.bias"]));
    let logits = b.linear(&embedding, &weight, Some(&bias));
    let labels = b.input("labels", DType::I64, &["batch".into()]);
    let loss = loss::cross_entropy(&mut b, &logits, &labels, &LossOptions::default());
    // The references call the head on the embedding `head`, as some networks call a layer of their
    // own.
    let own = |name: &str| name.strip_prefix("head.").map_or(name.to_owned(), |rest| format!("probe.{rest}"));
    let wanted: Vec<Value> = names.iter().chain(&["input"]).map(|name| b.value(&own(name)).unwrap()).collect();
    let found = gradients(&mut b, &loss, &wanted).unwrap();
    b.output("loss", &loss);
    let titles = names.iter().map(|name| format!("grad/{name}")).chain(["grad_input".to_owned()]);
    for (title, gradient) in titles.zip(&found) {
        b.output(&title, gradient.as_ref().unwrap_or_else(|| unreachable!("{title} is zero")));
    }
    b.finish().unwrap()
}

fn run(model: &Model, inputs: &[(&str, &HostTensor)], optimization: Optimization) -> BTreeMap<String, HostTensor> {
    let bytes = model.to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, optimization, ..SessionOptions::default() };
    let mut session = Session::open(&Runtime::load(None).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap();
    let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
    names.into_iter().zip(session.run(inputs, &[]).unwrap()).collect()
}

/// Whether the fixture has a reference that was compared.
fn equals_pytorch(fixture: &Fixture, training: bool) -> bool {
    let Some(path) = reference(fixture) else { return false };
    let (stored, _) = safetensors::read(&path).unwrap();
    let prefix = if training { "bn/" } else { "" };
    let names: Vec<&str> = stored.keys().filter_map(|name| name.strip_prefix(prefix)?.strip_prefix("grad/")).collect();
    assert!(names.len() > 30, "{}: {} gradients", fixture.folder, names.len());
    let model = computed(fixture, &stored, &names, training);
    let input = &fixture.outputs()["input"];
    let squares = |tensor: &HostTensor| -> f64 {
        tensor.values::<f32>().unwrap().iter().map(|&x| f64::from(x) * f64::from(x)).sum()
    };
    let norm = names.iter().map(|name| squares(&stored[&format!("{prefix}grad/{name}")])).sum::<f64>().sqrt();
    for optimization in [Optimization::Off, Optimization::Full] {
        let found = run(&model, &[("input", input), ("labels", &stored["labels"])], optimization);
        let titles =
            names.iter().map(|name| format!("grad/{name}")).chain(["loss".to_owned(), "grad_input".to_owned()]);
        for title in titles {
            let Some(expected) = stored.get(&format!("{prefix}{title}")) else { continue };
            let (values, expected) = (found[&title].values::<f32>().unwrap(), expected.values::<f32>().unwrap());
            let comparison = compare(&values, &expected, Tolerance::Relative(ALLOWED)).unwrap();
            let holds = comparison.holds() || comparison.largest <= ROUNDING * norm;
            assert!(holds, "{} {prefix}{title}, {optimization:?}: {comparison}, norm {norm:.3e}", fixture.folder);
        }
        let own = names.iter().map(|name| squares(&found[&format!("grad/{name}")])).sum::<f64>().sqrt();
        assert!((own - norm).abs() <= ALLOWED * norm, "{}: {own} for {norm}", fixture.folder);
    }
    true
}

/// Compares those of the fixtures that have a reference; how many there are.
fn compared(fixtures: &[Fixture], training: bool) -> usize {
    fixtures.iter().filter(|fixture| equals_pytorch(fixture, training)).count()
}

#[test]
fn transformers_have_the_gradients_of_pytorch() {
    assert!(compared(&TRANSFORMERS, false) >= 6);
}

#[test]
fn sam_has_the_gradients_of_pytorch() {
    assert!(compared(&SAM, false) >= 1);
}

#[test]
fn focalnets_have_the_gradients_of_pytorch() {
    assert!(compared(&FOCALNET, false) >= 2);
}

#[test]
fn convolutional_networks_have_the_gradients_of_pytorch() {
    assert_eq!(compared(&[RESNET, EFFICIENTNET_LITE], false), 2);
}

#[test]
fn batch_statistics_are_differentiated_as_pytorch_does() {
    assert_eq!(compared(&[RESNET, EFFICIENTNET_LITE], true), 2);
}
