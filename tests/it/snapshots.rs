//! Folders as models: configurations as timm, transformers and open_clip write them, beside the
//! fixtures' weights.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use defrost::backbones::{self, Backbone, ModelOptions, Size, Taps};
use defrost::runtime::Optimization;
use defrost::support::progress::Silent;
use defrost::tensor::safetensors;

use crate::parity::{Fixture, assert_close, run};

/// A folder with a configuration of `tests/fixtures/snapshots` and the weights of the fixture.
struct Snapshot {
    folder: tempfile::TempDir,
    fixture: Fixture,
}

impl Snapshot {
    /// `prefix` is put before the names of the weights, as whole models have it.
    fn new(name: &'static str, prefix: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let configurations = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshots").join(name);
        for file in std::fs::read_dir(configurations).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let entry = if name.starts_with("sam-") { "sam-base" } else { "" };
        let fixture = Fixture { folder: name, entry, architecture: "" };
        let (tensors, metadata) = safetensors::read(&fixture.path("model.safetensors")).unwrap();
        let tensors = tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
        safetensors::write(&folder.path().join("model.safetensors"), &tensors, &metadata).unwrap();
        Snapshot { folder, fixture }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Replaces text of a file of the folder.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(self.path(file), text.replace(from, to)).unwrap();
    }

    fn open(&self, options: &ModelOptions) -> defrost::Result<Backbone> {
        backbones::open(self.folder.path().to_str().unwrap(), options, &Silent)
    }

    /// Everything the fixture stored, at every size it stored it for.
    fn equals_reference(&self) {
        let (expected, tolerance) = (self.fixture.outputs(), self.fixture.tolerance());
        for suffix in ["", "_hi", "_lo"] {
            let Some(input) = expected.get(&format!("input{suffix}")) else { continue };
            let &[_, _, height, width] = input.shape() else { unreachable!() };
            let size = (!suffix.is_empty()).then_some(Size::Fixed { height, width });
            let backbone = self.open(&ModelOptions { size, taps: Taps::All, ..ModelOptions::default() }).unwrap();
            let found = run(&backbone.graph, Optimization::Full, input);
            let mut compared = 0;
            for (name, tensor) in &found {
                let name = format!("{name}{suffix}");
                let Some(reference) = expected.get(&name) else { continue };
                assert_close(tensor, reference, tolerance(&name), &format!("{} {name}", self.fixture.folder));
                compared += 1;
            }
            assert!(compared >= 2 && found.contains_key("embedding"), "{}: {:?}", self.fixture.folder, found.keys());
        }
    }
}

/// `defrost models build FOLDER`, with some arguments.
fn build(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.args(["models", "build"]).arg(folder).arg("--out").arg(folder.join("out.onnx")).args(arguments);
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn snapshots_of_timm_equal_timm() {
    for name in [
        "clip-timm",
        "dino-vit-timm",
        "dinov2-reg4-timm",
        "dinov2-swiglu-timm",
        "dinov2-timm",
        "focalnet-lrf-timm",
        "focalnet-post-timm",
        "focalnet-srf-timm",
        "resnet-timm",
        "sam-timm",
    ] {
        let snapshot = Snapshot::new(name, "");
        if name == "sam-timm" {
            // Its images are whole patches, the other sizes of the fixture too, but no square is
            // asked for.
            assert_eq!(snapshot.open(&ModelOptions::default()).unwrap().provenance.family, "sam");
        }
        snapshot.equals_reference();
    }
}

#[test]
fn snapshots_of_transformers_equal_transformers() {
    for (name, prefix) in [
        ("blip-transformers", ""),
        ("clip-transformers", ""),
        ("deit-transformers", ""),
        ("deit-transformers", "deit."),
        ("dino-vit-transformers", "vit."),
        ("dinov2-transformers", ""),
        ("resnet-transformers", ""),
        ("resnet-transformers", "resnet."),
    ] {
        Snapshot::new(name, prefix).equals_reference();
    }
}

#[test]
fn explicit_folders_equal_their_outputs() {
    for name in [
        "blip-transformers",
        "clip-timm",
        "clip-transformers",
        "dinov2-reg4-timm",
        "dinov2-swiglu-timm",
        "focalnet-d2-seem",
        "focalnet-lrf-timm",
        "focalnet-srf-timm",
        "openclip-visual",
        "resnet-timm",
        "sam-transformers",
        "efficientnet-lite-timm",
    ] {
        let entry = if name.starts_with("sam-") { "sam-base" } else { "" };
        let fixture = Fixture { folder: name, entry, architecture: "" };
        let folder = tempfile::tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(fixture.path(file), folder.path().join(file)).unwrap();
        }
        Snapshot { folder, fixture }.equals_reference();
    }
}

#[test]
fn the_preprocessing_licence_and_name_are_those_of_the_folder() {
    let snapshot = Snapshot::new("dinov2-transformers", "");
    let hub = tempfile::tempdir().unwrap();
    let folder = hub.path().join("models--facebook--dinov2-tiny/snapshots/0123abcd");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        std::fs::copy(snapshot.path(file), folder.join(file)).unwrap();
    }
    std::fs::write(folder.join("README.md"), "---\nlicense: apache-2.0\ntags:\n- dino\n---\n# Model\n").unwrap();
    let backbone = backbones::open(folder.to_str().unwrap(), &ModelOptions::default(), &Silent).unwrap();
    assert_eq!(backbone.name, "facebook/dinov2-tiny");
    assert_eq!(backbone.provenance.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(backbone.provenance.weights, "model.safetensors");
    let text = "rgb, resize shorter side to 64 bicubic, crop 56x56 rounded as transformers, mean 0.485 0.456 0.406, std 0.229 0.224 0.225";
    assert_eq!(backbone.preprocess.to_string(), text);
    let size = Some(Size::Fixed { height: 112, width: 112 });
    let larger = backbones::open(folder.to_str().unwrap(), &ModelOptions { size, ..ModelOptions::default() }, &Silent);
    assert_eq!(larger.unwrap().preprocess.to_string(), text.replace("64", "128").replace("56x56", "112x112"));
    // Newer repositories have the image processor in the whole processor's file.
    let inner = std::fs::read_to_string(folder.join("preprocessor_config.json")).unwrap();
    std::fs::remove_file(folder.join("preprocessor_config.json")).unwrap();
    std::fs::write(folder.join("processor_config.json"), format!("{{\"image_processor\": {inner}}}")).unwrap();
    let again = backbones::open(folder.to_str().unwrap(), &ModelOptions::default(), &Silent).unwrap();
    assert_eq!(again.preprocess, backbone.preprocess);
}

#[test]
fn open_clip_is_read_from_its_own_file_and_its_own_weights() {
    let fixture = Fixture { folder: "openclip-visual", entry: "", architecture: "" };
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"model_cfg": {"embed_dim": 32, "vision_cfg": {"image_size": 64, "layers": 2, "width": 40, "patch_size": 16,
        "head_width": 8, "mlp_ratio": 3.0}, "text_cfg": {}}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}"#;
    std::fs::write(folder.path().join("open_clip_config.json"), config).unwrap();
    std::fs::copy(fixture.path("model.safetensors"), folder.path().join("open_clip_model.safetensors")).unwrap();
    // The same network for another library, whose weights are not here, and weights that belong to
    // nothing.
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "clip"}"#).unwrap();
    std::fs::write(folder.path().join("other.bin"), "").unwrap();
    let snapshot = Snapshot { folder, fixture };
    let backbone = snapshot.open(&ModelOptions::default()).unwrap();
    assert_eq!(
        backbone.preprocess.to_string(),
        "rgb, resize shorter side to 64 bicubic, crop 64x64, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"
    );
    snapshot.equals_reference();
}

#[test]
fn a_whole_clip_model_gives_its_image_tower() {
    let snapshot = Snapshot::new("clip-transformers", "");
    let backbone = snapshot.open(&ModelOptions { taps: Taps::All, ..ModelOptions::default() }).unwrap();
    assert!(backbone.taps.iter().any(|tap| tap.name == "projected" && tap.width == 32));
    let (mut tensors, metadata) = safetensors::read(&snapshot.path("model.safetensors")).unwrap();
    tensors.remove("visual_projection.weight").unwrap();
    safetensors::write(&snapshot.path("model.safetensors"), &tensors, &metadata).unwrap();
    let backbone = snapshot.open(&ModelOptions { taps: Taps::All, ..ModelOptions::default() }).unwrap();
    assert!(backbone.taps.iter().all(|tap| tap.name != "projected"), "a tower without projection");
}

#[test]
fn sam_takes_the_preprocessing_of_the_study_and_says_so() {
    let snapshot = Snapshot::new("sam-transformers", "vision_encoder.");
    let output = build(snapshot.folder.path(), &["--size", "56x56"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("images are preprocessed as for `sam-base` instead"), "{}", stderr(&output));
}

#[test]
fn weights_and_preprocessing_may_come_from_elsewhere() {
    let snapshot = Snapshot::new("dino-vit-timm", "");
    let weights = tempfile::tempdir().unwrap();
    std::fs::rename(snapshot.path("model.safetensors"), weights.path().join("model.safetensors")).unwrap();
    let random = ModelOptions { random_weights: Some(0), ..ModelOptions::default() };
    assert!(snapshot.open(&random).unwrap().provenance.random);
    let missing = snapshot.open(&ModelOptions::default()).unwrap_err();
    assert!(missing.to_string().contains("holds 0 weights files"), "{missing}");
    let options = ModelOptions { weights: Some(weights.path().to_path_buf()), ..ModelOptions::default() };
    assert!(!snapshot.open(&options).unwrap().provenance.random);
    let toml = snapshot.path("mine.toml");
    std::fs::write(
        &toml,
        "filter = \"bilinear\"\ncrop = { height = 32, width = 32 }\nmean = [0.5, 0.5, 0.5]\nstd = [1, 1, 1]\n",
    )
    .unwrap();
    let backbone = snapshot.open(&ModelOptions { preprocess: Some(toml), ..options }).unwrap();
    assert_eq!(backbone.preprocess.crop.map(|crop| crop.height), Some(32));
}

#[test]
fn what_is_wrong_with_a_folder_is_told_by_file_and_key_with_exit_2() {
    let refused = |name: &'static str, edit: &dyn Fn(&Snapshot), expected: &str| {
        let snapshot = Snapshot::new(name, "");
        edit(&snapshot);
        let output = build(snapshot.folder.path(), &[]);
        assert_eq!(output.status.code(), Some(2), "{expected}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
        assert!(!snapshot.path("out.onnx").exists());
    };
    let config = "config.json";
    refused(
        "dinov2-transformers",
        &|snapshot| snapshot.edit(config, "\"gelu\"", "\"gelu_fast\""),
        "config.json` describes no network that can be built: `hidden_act`: the activation `gelu_fast` is unknown",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| snapshot.edit(config, "\"image_size\": 56", "\"image_size\": 57"),
        "`image_size`: 57 pixels are not whole patches of `patch_size` = 14",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| snapshot.edit("preprocessor_config.json", "\"height\": 56", "\"height\": 60"),
        "preprocessor_config.json` cannot be followed in `crop_size`: 60x56 pixels are not whole patches of 14x14 pixels",
    );
    refused(
        "dinov2-timm",
        &|snapshot| snapshot.edit(config, "vit_small_patch14_dinov2", "resnet18"),
        "`model_args.img_size`: this option is not supported",
    );
    refused(
        "resnet-timm",
        &|snapshot| {
            let other = Fixture { folder: "dinov2-timm", entry: "", architecture: "" };
            std::fs::copy(other.path("model.safetensors"), snapshot.path("model.safetensors")).unwrap();
        },
        "does not hold weights of the family of",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| snapshot.edit(config, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
        "left over",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| std::fs::write(snapshot.path(config), "{").unwrap(),
        "config.json` is not valid model configuration (JSON)",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| std::fs::remove_file(snapshot.path("preprocessor_config.json")).unwrap(),
        "nothing says how images become the input",
    );
    refused(
        "dinov2-transformers",
        &|snapshot| std::fs::remove_file(snapshot.path(config)).unwrap(),
        "has none of the files that describe a model: `config.json`, `open_clip_config.json`",
    );
}
