//! Taps in use: pooled by nodes of the graph, cached in one pass, probed layer by layer, drawn in
//! the report.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use defrost::backbones::{self, Axes, Backbone, Entry, ModelOptions, Origin, Pool, Size, Taps};
use defrost::embed::{EmbeddingColumn, Manifest};
use defrost::preprocess::Preprocess;
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::tensor::{HostTensor, Tolerance, Weights, compare, safetensors};

use crate::embed::write_images;

fn fixture(folder: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones").join(folder).join(file)
}

fn backbone(folder: &str, entry: &str, architecture: &str, taps: &Taps) -> Backbone {
    let mut entry: Entry = backbones::find(entry).unwrap();
    entry.variant.architecture = architecture.parse().unwrap();
    entry.variant.preprocess = Preprocess::imagenet(56, 56);
    let weights = Weights::open(&fixture(folder, "model.safetensors")).unwrap();
    let size = Size::Fixed { height: 56, width: 56 };
    backbones::build(&entry, Origin::Weights(&weights, None), size, taps).unwrap()
}

/// DINOv2 with four registers, two blocks of 40 channels, 4 x 4 patches.
fn registers(taps: &Taps) -> Backbone {
    let architecture = "image = 56\npatch = 14\nwidth = 40\ndepth = 2\nheads = 5\nhidden = 120\nlayer_scale = true\n\
                        registers = 4\nepsilon = 1e-6";
    backbone("dinov2-reg4-timm", "dinov2-small-reg", architecture, taps)
}

fn sam() -> Backbone {
    let architecture = "image = 56\npatch = 8\nwidth = 40\ndepth = 2\nheads = 4\nwindow = 4\nglobal_blocks = [1]\nneck = 24\n\
                        epsilon = 1e-5";
    backbone("sam-timm", "sam-base", architecture, &Taps::All)
}

fn resnet() -> Backbone {
    let architecture = "block = \"bottleneck\"\nrepeats = [1, 2, 2, 1]\nchannels = [8, 12, 16, 24]";
    backbone("resnet-timm", "resnet152", architecture, &Taps::All)
}

/// Every tap of a backbone for two images.
fn run(backbone: &Backbone) -> Vec<HostTensor> {
    let bytes = backbone.graph.to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut session =
        Session::open(&Runtime::ensure(None, &Silent).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap();
    let input = HostTensor::from_fn(&[2, 3, 56, 56], |at| ((at * 7919) % 1013) as f32 / 500.0 - 1.0);
    let names: Vec<&str> = backbone.taps.iter().map(|tap| tap.name.as_str()).collect();
    session.run(&[(&backbone.input, &input)], &names).unwrap()
}

/// The pooling of one tap as its definition says it, in f64.
fn expected(raw: &HostTensor, axes: Axes, how: Pool) -> Vec<f32> {
    let values = raw.values::<f32>().unwrap();
    let (shape, batch) = (raw.shape(), raw.shape()[0]);
    let size = values.len() / batch;
    let mut out = Vec::new();
    for image in values.chunks(size) {
        let mean = |positions: std::ops::Range<usize>, channels: usize, at: &dyn Fn(usize, usize) -> usize| {
            let count = positions.len() as f64;
            let sum = |channel| positions.clone().map(|position| f64::from(image[at(position, channel)])).sum::<f64>();
            (0..channels).map(|channel| (sum(channel) / count) as f32).collect::<Vec<f32>>()
        };
        match (axes, how) {
            (Axes::Vector, _) | (_, Pool::None) => out.extend(image),
            (Axes::Tokens { prefix, .. }, how) => {
                let width = shape[2];
                if how != Pool::Mean {
                    out.extend(&image[..width]);
                }
                if how != Pool::Cls {
                    out.extend(mean(prefix..shape[1], width, &|token, channel| token * width + channel));
                }
            }
            (Axes::ChannelsFirst, _) => {
                let area = shape[2] * shape[3];
                out.extend(mean(0..area, shape[1], &|position, channel| channel * area + position));
            }
            (_, _) => {
                out.extend(mean(0..shape[1] * shape[2], shape[3], &|position, channel| position * shape[3] + channel))
            }
        }
    }
    out
}

#[test]
fn pooled_taps_are_what_their_definition_says() {
    let registers = registers(&Taps::All);
    assert_eq!(registers.taps[0].axes, Axes::Tokens { class: true, prefix: 5 });
    let cases = [
        (registers, vec![Some(Pool::Cls), Some(Pool::Mean), Some(Pool::ClsMean), Some(Pool::None), None]),
        (sam(), vec![Some(Pool::Mean), Some(Pool::None), None]),
        (resnet(), vec![Some(Pool::Mean), Some(Pool::None), None]),
    ];
    for (raw, hows) in cases {
        let values = run(&raw);
        for how in hows {
            let mut pooled = raw.clone();
            pooled.pool_taps(how).unwrap();
            for (at, found) in run(&pooled).iter().enumerate() {
                let (before, after) = (&raw.taps[at], &pooled.taps[at]);
                let class = matches!(before.axes, Axes::Tokens { .. });
                let own = how.unwrap_or(if class { Pool::Cls } else { Pool::Mean });
                let what = format!("{} {} as {own:?}", raw.name, before.tap);
                assert_eq!((found.shape(), after.tap.as_str()), (&[2, after.width][..], before.tap.as_str()), "{what}");
                let expected = expected(&values[at], before.axes, own);
                let comparison =
                    compare(&found.values::<f32>().unwrap(), &expected, Tolerance::Absolute(1e-5)).unwrap();
                assert!(comparison.holds(), "{what}: {comparison}");
            }
        }
    }
}

#[test]
fn a_class_token_is_refused_where_there_is_none() {
    for mut without in [sam(), resnet()] {
        let before = without.clone();
        let error = without.pool_taps(Some(Pool::Cls)).unwrap_err();
        assert!(error.to_string().starts_with("`block_00` has no class token: it is ["), "{error}");
        assert_eq!((without.graph, without.taps), (before.graph, before.taps));
    }
    let options = ModelOptions { random_weights: Some(0), pool: Some(Pool::Mean), ..ModelOptions::default() };
    let error = backbones::open("deit-tiny", &options, &Silent).unwrap_err();
    assert!(error.to_string().starts_with("`pool` does not apply"), "{error}");
}

#[test]
fn a_built_file_tells_how_its_taps_lie() {
    let folder = tempfile::tempdir().unwrap();
    let built = registers(&Taps::Names(vec!["block_00".into(), "tokens".into()]));
    let path = folder.path().join("model.onnx");
    built.graph.save(&path).unwrap();
    let open = |taps: &str, pool| {
        let options = ModelOptions { taps: taps.parse().unwrap(), pool, ..ModelOptions::default() };
        backbones::open(path.to_str().unwrap(), &options, &Silent)
    };
    let mut direct = built.clone();
    direct.pool_taps(Some(Pool::Mean)).unwrap();
    let opened = open("all", Some(Pool::Mean)).unwrap();
    assert_eq!((&opened.taps, opened.embedding.name.as_str()), (&direct.taps, "embedding"));
    assert_eq!(run(&opened), run(&direct));
    // Another block is there as an inner value, but nothing says which of its tokens are registers.
    let error = open("block_01", Some(Pool::Mean)).unwrap_err().to_string();
    assert!(error.contains("`block_01`") && error.contains("build it again with `taps`"), "{error}");
    let error = open("block_7", None).unwrap_err().to_string();
    assert!(error.contains("has no tap `block_7`"), "{error}");
}

/// `defrost` with these arguments.
fn defrost(folder: &Path, arguments: &[&str]) -> Output {
    let library = Runtime::ensure(None, &Silent).unwrap().library().to_path_buf();
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.current_dir(folder).args(["--runtime-library".as_ref(), library.as_os_str()]).args(arguments);
    command.output().unwrap()
}

#[track_caller]
fn json(output: &Output) -> serde_json::Value {
    let problem = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{problem}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn layers_are_cached_in_one_pass_probed_together_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"), 60, 40);
    registers(&Taps::All).graph.save(&folder.path().join("model.onnx")).unwrap();
    let embed = |cache: &str, flags: &[&str]| {
        let arguments = ["--json", "embed", "images", "--model", "model.onnx", "--device", "cpu", "--out", cache];
        defrost(folder.path(), &[&arguments, flags].concat())
    };
    assert_eq!(json(&embed("cache", &["--taps", "block_00,block_01,tokens", "--pool", "cls+mean"]))["rows"], 60);
    let manifest = Manifest::read(&folder.path().join("cache")).unwrap().unwrap();
    let column = |name: &str| EmbeddingColumn { pool: Some(Pool::ClsMean), ..EmbeddingColumn::new(name, 80) };
    let columns = [EmbeddingColumn::new("embedding", 40), column("block_00"), column("block_01"), column("tokens")];
    assert_eq!(manifest.columns, columns);
    // Another pooling is another cache.
    let mixed = embed("cache", &["--taps", "block_00,block_01,tokens"]);
    let problem = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert!(problem.contains("`block_00 cls+mean [80]`") && problem.contains("`block_00 cls [40]`"), "{problem}");
    let flat = json(&embed("flat", &["--taps", "block_01", "--pool", "none"]));
    assert_eq!(flat["rows"], 60);
    let manifest = Manifest::read(&folder.path().join("flat")).unwrap().unwrap();
    assert_eq!(manifest.columns[1].to_string(), "block_01 none [840]");

    let probe = |arguments: &[&str]| defrost(folder.path(), &[&["probe"], arguments].concat());
    let records =
        json(&probe(&["linear", "cache", "--tap", "all", "--c-grid", "0.1,1", "--bootstrap", "50", "--json"]));
    let names: Vec<&str> =
        records.as_array().unwrap().iter().map(|record| record["source"]["column"].as_str().unwrap()).collect();
    assert_eq!(names, ["block_00", "block_01", "tokens", "embedding"]);
    let table = probe(&["knn", "cache", "--tap", "all", "--k", "1,3", "--bootstrap", "50"]);
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(text.starts_with("knn probe of 4 columns of `cache`") && text.contains("on validation data"), "{text}");
    let mut files: Vec<String> = std::fs::read_dir(folder.path().join("cache/probes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    files.sort();
    let columns = ["-block_00", "-block_01", "-tokens", ""];
    let mut expected: Vec<String> =
        ["knn", "linear"].iter().flat_map(|probe| columns.map(|column| format!("{probe}{column}.json"))).collect();
    expected.sort();
    assert_eq!(files, expected);

    json(&defrost(folder.path(), &["report", "cache", "--json"]));
    let page = std::fs::read_to_string(folder.path().join("cache/report.html")).unwrap();
    assert!(page.contains("id=\"layers\"") && page.contains("Accuracy along the layers"));
    for command in
        ["--taps block_00,block_01,tokens --pool cls+mean", "probe linear cache --tap all", "probe knn cache --tap all"]
    {
        assert!(page.contains(command), "{command}");
    }
}

#[test]
fn flattened_taps_keep_every_value_in_its_order() {
    let mut flat = registers(&Taps::Names(vec!["block_01".into()]));
    flat.pool_taps(Some(Pool::None)).unwrap();
    assert_eq!((flat.taps[0].width, flat.taps[0].name.as_str()), (21 * 40, "block_01_none"));
    let (stored, _) = safetensors::read(&fixture("dinov2-reg4-timm", "io.safetensors")).unwrap();
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let bytes = flat.graph.to_bytes().unwrap();
    let mut session =
        Session::open(&Runtime::ensure(None, &Silent).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap();
    let found = session.run(&[("input", &stored["input"])], &["block_01_none"]).unwrap();
    let reference = stored["block_01"].values::<f32>().unwrap();
    let comparison = compare(&found[0].values::<f32>().unwrap(), &reference, Tolerance::Absolute(1e-4)).unwrap();
    assert!(comparison.holds(), "{comparison}");
}
