//! Backbones against the references' stored outputs: every output of every fixture, every size,
//! with the runtime's optimisation off and full, after saving and loading.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use defrost::backbones::{self, Backbone, Entry, Origin, Size, Taps};
use defrost::graph::Model;
use defrost::runtime::{Device, ModelSource, Optimization, Runtime, Session, SessionOptions};
use defrost::tensor::{HostTensor, Tolerance, Weights, compare, safetensors};

/// A folder of the fixtures, with the catalog's entry whose family it belongs to and the sizes of
/// its variant.
#[derive(Clone, Copy)]
pub(crate) struct Fixture {
    pub(crate) folder: &'static str,
    pub(crate) entry: &'static str,
    pub(crate) architecture: &'static str,
}

pub(crate) const EFFICIENTNET_LITE: Fixture = Fixture {
    folder: "efficientnet-lite-timm",
    entry: "efficientnet-lite0",
    architecture: "width = 0.13\ndepth = 0.4\nstem = 12\nhead = 64",
};
pub(crate) const RESNET: Fixture = Fixture {
    folder: "resnet-timm",
    entry: "resnet152",
    architecture: "block = \"bottleneck\"\nrepeats = [1, 2, 2, 1]\nchannels = [8, 12, 16, 24]",
};

/// The transformers: folder, entry of the catalog, sizes.
pub(crate) const TRANSFORMERS: [Fixture; 10] = [
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

/// SAM: the fixtures call the vector behind the neck `embedding`, the study takes the one before
/// it.
pub(crate) const SAM: [Fixture; 2] = [
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

/// FocalNet: timm's two, one with the options of the large models, and SEEM's.
pub(crate) const FOCALNET: [Fixture; 4] = [
    Fixture {
        folder: "focalnet-srf-timm",
        entry: "focalnet-tiny-srf",
        architecture: "width = 6\ndepths = [1, 1, 2, 1]",
    },
    Fixture {
        folder: "focalnet-lrf-timm",
        entry: "focalnet-tiny-lrf",
        architecture: "width = 6\ndepths = [1, 2, 1, 1]\nlevels = [3, 3, 3, 3]",
    },
    Fixture {
        folder: "focalnet-post-timm",
        entry: "focalnet-tiny-lrf",
        architecture: "width = 4\ndepths = [1, 1, 2, 1]\nlevels = [2, 3, 2, 2]\nwindows = [5, 3, 3, 3]\noverlap = true\n\
                       post_norm = true\nnorm_in_modulation = true\nscaled_modulator = true\nlayer_scale = true",
    },
    Fixture {
        folder: "focalnet-d2-seem",
        entry: "seem-focal-tiny",
        architecture: "width = 6\ndepths = [1, 1, 2, 1]\nlevels = [3, 3, 3, 3]\nmlp_ratio = 3.0\noverlap = true\n\
                       post_norm = true\nscaled_modulator = true\nlayer_scale = true\ndepthwise = true",
    },
];

impl Fixture {
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones").join(self.folder).join(file)
    }

    pub(crate) fn entry(&self) -> Entry {
        let mut entry = backbones::find(self.entry).unwrap();
        entry.variant.architecture = self.architecture.parse().unwrap();
        entry
    }

    pub(crate) fn weights(&self) -> Weights {
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

    /// Twenty times the reference's own distance from f64, as the fixtures advise, and never below
    /// 1e-5.
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

    pub(crate) fn build(&self, weights: &Weights, size: Size, taps: &Taps) -> defrost::Result<Backbone> {
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

/// Stored outputs that are no part of a backbone, computed from what is: from the embedding and the
/// tokens of the graph and the weights of the layer that the fixture's library puts behind them.
fn behind(fixture: &Fixture, weights: &Weights, found: &mut BTreeMap<String, HostTensor>) {
    let values = |name: &str| weights.get(name).unwrap().values::<f32>().unwrap().into_owned();
    let linear = |x: &HostTensor, name: &str| {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let width = x.shape()[1];
        HostTensor::from_fn(&[x.shape()[0], bias.len()], |flat| {
            let (row, output) = (flat / bias.len(), flat % bias.len());
            let row = &x.values::<f32>().unwrap()[row * width..(row + 1) * width];
            let product: f64 =
                row.iter().zip(&weight[output * width..]).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            product as f32 + bias[output]
        })
    };
    let norm = |x: &HostTensor, name: &str| {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let all = x.values::<f32>().unwrap();
        let rows = all.chunks(bias.len()).flat_map(|row| {
            let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / row.len() as f64;
            let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / row.len() as f64;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            let normed = row.iter().map(move |x| (f64::from(*x) - mean) * scale);
            normed.zip(&weight).zip(&bias).map(|((x, w), b)| x as f32 * w + b).collect::<Vec<f32>>()
        });
        HostTensor::from_vec(x.shape().to_vec(), rows.collect()).unwrap()
    };
    let embedding = &found["embedding"];
    let (name, tensor) = match fixture.folder {
        "efficientnet-lite-timm" => ("logits", linear(embedding, "classifier")),
        "resnet-timm" => ("logits", linear(embedding, "fc")),
        "dino-vit-transformers" => {
            let pooled = linear(embedding, "pooler.dense");
            let values: Vec<f32> = pooled.values::<f32>().unwrap().iter().map(|x| x.tanh()).collect();
            ("pooler_output", HostTensor::from_vec(pooled.shape().to_vec(), values).unwrap())
        }
        "blip-transformers" => ("pooler_output", norm(embedding, "post_layernorm")),
        "clip-transformers" => ("tokens_normed", norm(&found["tokens"], "vision_model.post_layernorm")),
        _ => return,
    };
    found.insert(name.to_owned(), tensor);
}

/// The file's graph, fully optimised.
fn run_file(path: &Path, input: &HostTensor) -> BTreeMap<String, HostTensor> {
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut session = Session::open(&Runtime::load(None).unwrap(), ModelSource::File(path), &options).unwrap();
    let names: Vec<String> = session.outputs().iter().map(|output| output.name.clone()).collect();
    names.into_iter().zip(session.run(&[("input", input)], &[]).unwrap()).collect()
}

/// Every stored output of a fixture, at its base size and at the others, for graphs of open size,
/// where the family has them, and of fixed size.
fn equals_reference(fixture: &Fixture, sizes_are_open: bool) {
    let (weights, expected, tolerance) = (fixture.weights(), fixture.outputs(), fixture.tolerance());
    let directory = tempfile::tempdir().unwrap();
    let suffixes = ["_hi", "_lo"];
    for suffix in ["", "_hi", "_lo"] {
        let Some(input) = expected.get(&format!("input{suffix}")) else { continue };
        let &[_, _, height, width] = input.shape() else { unreachable!() };
        assert!(suffix.is_empty() || height != width, "the other sizes are not square");
        let stored: Vec<&String> = expected
            .keys()
            .filter(|name| !name.starts_with("input"))
            .filter(|name| match suffix {
                "" => suffixes.iter().all(|suffix| !name.ends_with(suffix)),
                _ => name.ends_with(suffix),
            })
            .collect();
        assert!(stored.len() >= 2, "{}: {stored:?}", fixture.folder);
        for size in [Size::Any, Size::Fixed { height, width }] {
            if size == Size::Any && !sizes_are_open && !suffix.is_empty() {
                continue;
            }
            let backbone = fixture.build(&weights, size, &Taps::All).unwrap();
            let path = directory.path().join("model.onnx");
            backbone.graph.save(&path).unwrap();
            assert_eq!(Model::load(&path).unwrap().to_bytes().unwrap(), backbone.graph.to_bytes().unwrap());
            let optimised = run(&backbone.graph, Optimization::Full, input);
            assert_eq!(run_file(&path, input), optimised, "{}: saved and loaded", fixture.folder);
            for (how, mut found) in
                [("plain", run(&backbone.graph, Optimization::Off, input)), ("optimised", optimised)]
            {
                for name in found.keys().filter(|_| suffix.is_empty()) {
                    assert!(expected.contains_key(name), "{}: nothing is stored for `{name}`", fixture.folder);
                }
                behind(fixture, &weights, &mut found);
                for name in &stored {
                    let what = format!("{} {name}, {size:?}, {how}", fixture.folder);
                    let found = found.get(name.strip_suffix(suffix).unwrap()).expect(&what);
                    assert_close(found, &expected[*name], tolerance(name), &what);
                }
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
fn focalnet_equals_timm_and_the_one_in_seem() {
    for fixture in &FOCALNET {
        equals_reference(fixture, true);
    }
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

/// Without the rows that an embedding alone does not need.
#[test]
fn embeddings_with_selected_rows_equal_the_references() {
    for fixture in &all() {
        let (weights, expected, tolerance) = (fixture.weights(), fixture.outputs(), fixture.tolerance());
        let input = &expected["input"];
        let size = Size::Fixed { height: input.shape()[2], width: input.shape()[3] };
        let mut backbone = fixture.build(&weights, size, &Taps::None).unwrap();
        backbone.slice_pushdown().unwrap();
        let selected = backbone.graph.graph.nodes.iter().any(|node| node.name.ends_with(".kept"));
        let reads_class_token = TRANSFORMERS.iter().any(|transformer| transformer.folder == fixture.folder);
        assert_eq!(selected, reads_class_token, "{}", fixture.folder);
        let found = run(&backbone.graph, Optimization::Full, input);
        assert_close(&found["embedding"], &expected["embedding"], tolerance("embedding"), fixture.folder);
    }
}

#[test]
fn every_folder_of_the_fixtures_is_compared() {
    // The real weights have a test in `backbones`, the last two are folders' in `snapshots`.
    let elsewhere = ["efficientnet-lite0-pypi", "deit-transformers", "resnet-transformers"];
    let compared = all().iter().map(|fixture| fixture.folder).chain(elsewhere).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones");
    let folders: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let folders: std::collections::BTreeSet<&str> = folders.iter().map(String::as_str).collect();
    assert_eq!(folders, compared);
}

/// All fixtures with weights.
pub(crate) fn all() -> Vec<Fixture> {
    [EFFICIENTNET_LITE, RESNET].into_iter().chain(FOCALNET).chain(SAM).chain(TRANSFORMERS).collect()
}
