//! Faster arithmetic: f16 and int8 forms of every family against its f32 form, row by row; what
//! int8 refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use defrost::backbones::{self, Backbone, ComputeDType, ModelOptions, Size, Taps};
use defrost::data::{self, OpenOptions};
use defrost::embed::{
    CacheKey, EmbedOptions, EmbedRun, EmbedSummary, EmbeddingColumn, ModelRecord, Network, Precision, embed,
};
use defrost::error::{CacheError, Error};
use defrost::graph::rewrite::quantize;
use defrost::graph::{Builder, Dim, ElementType, Model};
use defrost::preprocess::Preprocess;
use defrost::runtime::{Device, ModelSource, Optimization, Runtime, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::tensor::{DType, HostTensor, Tolerance, compare};

use crate::embed::{SIDE, write_images};
use crate::parity::{EFFICIENTNET_LITE, FOCALNET, Fixture, RESNET, SAM, TRANSFORMERS, run};

/// The lowest cosine of a row, over all outputs.
fn min_cosine(exact: &Model, found: &Model, input: &HostTensor) -> (f64, String) {
    let (exact, found) = (run(exact, Optimization::Full, input), run(found, Optimization::Full, input));
    assert!(exact.keys().eq(found.keys()));
    let mut least = (1.0, String::new());
    for (name, tensor) in &exact {
        assert_eq!(tensor.shape(), found[name].shape(), "{name}");
        let (one, other) = (tensor.values::<f32>().unwrap(), found[name].values::<f32>().unwrap());
        let size = one.len() / tensor.shape()[0];
        for (one, other) in one.chunks(size).zip(other.chunks(size)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(one, other) / (dot(one, one) * dot(other, other)).sqrt();
            if cosine.is_nan() || cosine < least.0 {
                least = (cosine, name.clone());
            }
        }
    }
    least
}

fn in_arithmetic(backbone: &Backbone, arithmetic: ComputeDType) -> Backbone {
    let mut changed = backbone.clone();
    changed.compute_in(arithmetic).unwrap();
    changed
}

fn built(fixture: &Fixture) -> (Backbone, HostTensor) {
    let input = fixture.outputs()["input"].clone();
    let size = Size::Fixed { height: input.shape()[2], width: input.shape()[3] };
    (fixture.build(&fixture.weights(), size, &Taps::All).unwrap(), input)
}

#[test]
fn f16_comes_close_to_f32_in_every_family() {
    let fixtures = [EFFICIENTNET_LITE, RESNET].into_iter().chain(TRANSFORMERS).chain(SAM).chain(FOCALNET);
    for fixture in fixtures {
        let (backbone, input) = built(&fixture);
        let half = in_arithmetic(&backbone, ComputeDType::F16);
        let large = half
            .graph
            .graph
            .initializers
            .iter()
            .filter(|tensor| tensor.data.size() > 2000 && !tensor.name.contains("pos"));
        let wide: Vec<&str> =
            large.filter(|tensor| tensor.element == ElementType::F32).map(|tensor| tensor.name.as_str()).collect();
        assert!(wide.is_empty(), "{}: {wide:?}", fixture.folder);
        let (cosine, output) = min_cosine(&backbone.graph, &half.graph, &input);
        assert!(cosine >= 0.9999, "{}, {output}: {cosine}", fixture.folder);
        assert_eq!(half.provenance.changes, ["computes in f16"]);
    }
}

#[test]
fn f16_comes_close_to_f32_at_the_sizes_of_the_catalog() {
    for name in ["deit-tiny", "dinov2-small-reg", "resnet18", "efficientnet-lite0"] {
        let options = ModelOptions {
            random_weights: Some(3),
            taps: "block_01,tokens".parse().unwrap(),
            ..ModelOptions::default()
        };
        let backbone = backbones::open(name, &options, &Silent).unwrap();
        let half = in_arithmetic(&backbone, ComputeDType::F16);
        let shape = backbone.graph.graph.inputs[0].tensor_type().unwrap().shape.clone().unwrap();
        let [height, width] = [2, 3].map(|axis: usize| shape[axis].fixed().unwrap() as usize);
        let input = HostTensor::from_fn(&[1, 3, height, width], |at| ((at * 7919) % 2017) as f32 / 1000.0 - 1.0);
        let (cosine, output) = min_cosine(&backbone.graph, &half.graph, &input);
        assert!(cosine >= 0.9999, "{name}, {output}: {cosine}");
    }
}

#[test]
fn int8_comes_close_to_f32_in_every_transformer_and_rows_stay_independent() {
    for fixture in TRANSFORMERS.into_iter().chain(SAM) {
        let (backbone, input) = built(&fixture);
        let rounded = in_arithmetic(&backbone, ComputeDType::Int8);
        let (cosine, output) = min_cosine(&backbone.graph, &rounded.graph, &input);
        // Products over 40 channels average little out; over 768 the cosine is above 0.999.
        assert!(cosine >= 0.995, "{}, {output}: {cosine}", fixture.folder);
        // One image alone, and behind another that is a hundred times brighter.
        let size = input.bytes().len() / input.shape()[0];
        let values = input.values::<f32>().unwrap();
        let image = &values[..size / 4];
        let shape = [&[1], &input.shape()[1..]].concat();
        let alone = HostTensor::from_vec(shape.clone(), image.to_vec()).unwrap();
        let bright = image.iter().rev().map(|value| 100.0 * value).chain(image.iter().copied()).collect();
        let pair = HostTensor::from_vec([&[2], &shape[1..]].concat(), bright).unwrap();
        let (alone, pair) =
            (run(&rounded.graph, Optimization::Full, &alone), run(&rounded.graph, Optimization::Full, &pair));
        for (name, row) in &alone {
            let (row, both) = (row.values::<f32>().unwrap(), pair[name].values::<f32>().unwrap());
            // A scale shared with the bright image would leave one digit; what remains is the order
            // of f32 sums.
            let comparison = compare(&both[both.len() / 2..], &row, Tolerance::Absolute(1e-4)).unwrap();
            assert!(comparison.holds(), "{} {name}: {comparison}", fixture.folder);
        }
    }
}

#[test]
fn int8_has_nothing_to_do_in_a_network_of_convolutions() {
    let (mut backbone, _) = built(&RESNET);
    let error = backbone.compute_in(ComputeDType::Int8).unwrap_err();
    assert_eq!(error.to_string(), "the graph has no matrix product with constant weights");
    assert!(error.hint().unwrap().to_string().contains("transformer"));
}

/// `embedding = [1e5, pixels] W` where the large value has no weight: rounding a row to 127 steps
/// leaves nothing of the rest.
fn unsuitable() -> Model {
    let mut b = Builder::new("net");
    let side = Dim::Fixed(i64::from(SIDE));
    let x = b.input("input", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3), side.clone(), side]);
    let pixels = 3 * (SIDE * SIDE) as usize;
    let flat = b.reshape(&x, &[-1, pixels as i64]);
    let padded = b.pad(&flat, &[0, 1, 0, 0], 1e5);
    let weight =
        HostTensor::from_fn(&[pixels + 1, 16], |at| if at < 16 { 0.0 } else { ((at * 31) % 97) as f32 / 97.0 - 0.5 });
    let weight = b.parameter("weight", &weight);
    let y = b.matmul(&padded, &weight);
    b.output("embedding", &y);
    b.finish().unwrap()
}

#[test]
fn a_network_that_does_not_come_close_is_refused_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"), 14, 40);
    let exact = unsuitable();
    let mut rounded = exact.clone();
    quantize(&exact).unwrap().apply(&mut rounded).unwrap();
    let digest = rounded.detach().unwrap().digest;
    let key = CacheKey {
        model: ModelRecord { name: "x".into(), weights: digest.clone(), graph: digest, changes: vec!["int8".into()] },
        preprocess: Preprocess::imagenet(SIDE, SIDE),
        dtype: Precision::F32,
        columns: vec![EmbeddingColumn::new("embedding", 16)],
    };
    let network = |model: &Model, exact| Network {
        model: model.detach().unwrap(),
        input: "input".into(),
        outputs: vec!["embedding".into()],
        fixed_batch: None,
        key: key.clone(),
        exact,
    };
    let exact = Arc::new(network(&exact, None));
    let network = network(&rounded, Some(exact));
    let dataset = data::open(&folder.path().join("images"), &OpenOptions::default()).unwrap();
    let cache = folder.path().join("cache");
    let job = EmbedRun { dataset: &dataset, network: &network, cache: &cache };
    let run = |allow_low_fidelity| -> defrost::Result<EmbedSummary> {
        let options = EmbedOptions { device: Device::Cpu, allow_low_fidelity, ..EmbedOptions::default() };
        embed(&job, &options, &|| Runtime::ensure(None, &Silent), &Silent)
    };
    let error = run(false).unwrap_err();
    assert!(matches!(error, Error::Cache(CacheError::LowFidelity { .. })), "{error}");
    assert!(error.to_string().contains("on 14 images; `embedding`: cosine "), "{error}");
    assert!(error.hint().unwrap().to_string().contains("`allow-low-fidelity`"));
    let summary = run(true).unwrap();
    let fidelity = summary.fidelity.unwrap();
    assert!(summary.rows == 14 && fidelity.images == 14 && !fidelity.holds(), "{fidelity}");
    assert!(run(false).unwrap().fidelity.is_none(), "a cache that is there was accepted before");
}

fn defrost(folder: &Path, arguments: &[&str]) -> Output {
    let library: PathBuf = Runtime::ensure(None, &Silent).unwrap().library().to_path_buf();
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.current_dir(folder).args(["--runtime-library".as_ref(), library.as_os_str()]).args(arguments);
    command.output().unwrap()
}

#[test]
fn embed_and_build_say_how_close_they_come() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"), 12, 40);
    std::fs::write(
        folder.path().join("small.toml"),
        "resize = { exact = { height = 64, width = 64 } }\nfilter = \"bicubic\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n",
    )
    .unwrap();
    let model = ["deit-tiny", "--random-weights", "1", "--preprocess", "small.toml", "--taps", "block_05"];
    let embedding = ["--json", "embed", "images", "--out", "cache", "--compute", "int8", "--device", "cpu", "--model"];
    let output = defrost(folder.path(), &[&embedding[..], &model].concat());
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{problem}");
    assert!(problem.contains("fidelity to f32 on 12 images; `embedding`: cosine 0.9"), "{problem}");
    let summary: EmbedSummary = serde_json::from_slice(&output.stdout).unwrap();
    let fidelity = summary.fidelity.unwrap();
    let names: Vec<&str> = fidelity.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["embedding", "block_05"]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("cache/cache.json")).unwrap()).unwrap();
    assert_eq!(manifest["model"]["changes"][0], "matrix products in int8");

    let build = ["models", "build", "--out", "int8.onnx", "--dtype", "int8", "--images", "images", "--json"];
    let output = defrost(folder.path(), &[&build[..], &model].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let built: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(built["fidelity"]["columns"][0]["cosine"].as_f64().unwrap() > 0.99, "{built}");
    let opened = backbones::open(folder.path().join("int8.onnx").to_str().unwrap(), &ModelOptions::default(), &Silent);
    let opened = opened.unwrap();
    assert_eq!(opened.provenance.changes, ["matrix products in int8"]);
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let model = opened.graph.detach().unwrap();
    let mut session =
        Session::open(&Runtime::ensure(None, &Silent).unwrap(), ModelSource::Detached(&model), &options).unwrap();
    let input = HostTensor::from_fn(&[2, 3, 64, 64], |at| (at % 7) as f32 - 3.0);
    assert_eq!(session.run(&[("input", &input)], &["embedding"]).unwrap()[0].shape(), [2, 192]);
}
