//! `defrost models import`, `check`, `list`, `show`: exit codes and what they say.

use std::path::PathBuf;
use std::process::{Command, Output};

use defrost::backbones::{self, ModelOptions, Taps};
use defrost::graph::{Model, SaveOptions, TensorData};
use defrost::support::progress::Silent;

use crate::session::runtime;

/// A cache directory of its own, and a small model with random weights in a folder.
struct Home {
    directory: tempfile::TempDir,
    library: PathBuf,
}

impl Home {
    fn new() -> Self {
        Home { directory: tempfile::tempdir().unwrap(), library: runtime().library().to_path_buf() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// A small DINOv2 whose folder is a snapshot of transformers.
    fn snapshot(&self) -> PathBuf {
        let folder = self.path("dinov2-tiny");
        std::fs::create_dir_all(&folder).unwrap();
        let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for file in ["config.json", "preprocessor_config.json"] {
            std::fs::copy(fixtures.join("snapshots/dinov2-transformers").join(file), folder.join(file)).unwrap();
        }
        let weights = fixtures.join("backbones/dinov2-transformers/model.safetensors");
        std::fs::copy(weights, folder.join("model.safetensors")).unwrap();
        folder
    }

    /// The same as an ONNX file that knows its preprocessing and has no fingerprint.
    fn file(&self, name: &str) -> PathBuf {
        let options = ModelOptions { taps: Taps::None, ..ModelOptions::default() };
        let backbone = backbones::open(self.snapshot().to_str().unwrap(), &options, &Silent).unwrap();
        let path = self.path(name);
        backbone.graph.save(&path).unwrap();
        path
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.env("DEFROST_CACHE_DIR", self.path("cache")).current_dir(self.directory.path());
        command.arg("--runtime-library").arg(&self.library).args(arguments).output().unwrap()
    }

    /// Runs a command that ends with this code; what it prints, as JSON.
    fn json(&self, arguments: &[&str], code: i32) -> serde_json::Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        stderr(&output)
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Multiplies one weight's values in a file, leaving everything else as it is.
fn spoil(path: &std::path::Path, weight: &str) {
    let mut model = Model::load(path).unwrap();
    let tensor = model.graph.initializers.iter_mut().find(|tensor| tensor.name.contains(weight)).unwrap();
    let values: Vec<u8> = match &tensor.data {
        TensorData::Bytes(bytes) => bytemuck::pod_collect_to_vec::<u8, f32>(bytes)
            .into_iter()
            .flat_map(|value| (value * 1.5).to_le_bytes())
            .collect(),
        other => unreachable!("{other:?}"),
    };
    tensor.data = TensorData::Bytes(values.into());
    model.save(path).unwrap();
}

#[test]
fn a_built_model_carries_a_fingerprint_that_tells_when_it_computes_something_else() {
    let home = Home::new();
    home.snapshot();
    let built = home.json(&["models", "build", "dinov2-tiny", "--taps", "all", "--out", "net.onnx"], 0);
    assert_eq!(built["fingerprint"].as_bool(), Some(true));
    let checked = home.json(&["models", "check", "net.onnx", "--device", "cpu"], 0);
    let outputs = checked[0]["outputs"].as_array().unwrap();
    let names: Vec<&str> = outputs.iter().map(|output| output["output"].as_str().unwrap()).collect();
    assert_eq!(names, ["embedding", "block_00", "block_01", "tokens"]);
    assert!(outputs.iter().all(|output| output["max_abs"].as_f64().unwrap() <= output["allowed"].as_f64().unwrap()));
    assert!(checked[0]["against"].as_str().unwrap().ends_with(" on cpu"), "{checked}");

    spoil(&home.path("net.onnx"), "encoder.layer.1.mlp.fc2.weight");
    let output = home.run(&["models", "check", "net.onnx"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let results: Vec<bool> = text.lines().skip(1).map(|line| line.contains("DIFFERS")).collect();
    assert_eq!(results, [true, false, true, true], "the first block is as it was:\n{text}");

    for (dtype, part) in [("f16", 1e-2), ("int8", 5e-2)] {
        home.json(&["models", "build", "dinov2-tiny", "--dtype", dtype, "--out", "low.onnx"], 0);
        let checked = home.json(&["models", "check", "low.onnx", "--device", "cpu"], 0);
        let output = &checked[0]["outputs"][0];
        let largest = output["allowed"].as_f64().unwrap() / part;
        assert!((0.1..100.0).contains(&largest), "{dtype} allows a part of {part}: {checked}");
    }

    let plain = home.json(&["models", "build", "dinov2-tiny", "--no-fingerprint", "--out", "plain.onnx"], 0);
    assert_eq!(plain["fingerprint"].as_bool(), Some(false));
    let checked = home.json(&["models", "check", "plain.onnx"], 0);
    assert!(checked[0]["against"].as_str().unwrap().starts_with("itself without optimisation"), "{checked}");
    assert_eq!(home.json(&["models", "check", "dinov2-tiny"], 0)[0]["holds"].as_bool(), Some(true));
}

/// The real weights, fetched on first need into the user's cache directory.
#[test]
fn the_published_efficientnet_lite0_gives_what_timm_gives() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    let output = command.args(["models", "check", "efficientnet-lite0", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(checked[0]["against"].as_str(), Some("timm 1.0.31, PyTorch 2.15.0"));
    assert!(checked[0]["outputs"][0]["max_abs"].as_f64().unwrap() < 1e-3, "{checked}");
}

#[test]
fn an_imported_model_is_listed_checked_and_used_by_its_name() {
    let home = Home::new();
    home.file("tower.onnx");
    let imported = home.json(&["models", "import", "tower.onnx", "--name", "chest-vit", "--licence", "MIT"], 0);
    assert_eq!((imported["name"].as_str(), imported["fingerprint"].as_bool()), (Some("chest-vit"), Some(true)));
    // The copy is what counts from here on.
    std::fs::remove_file(home.path("tower.onnx")).unwrap();
    let listed = home.json(&["models", "list"], 0);
    let own = listed.as_array().unwrap().iter().find(|model| model["name"] == "chest-vit").unwrap();
    assert_eq!((own["embedding"].as_u64(), own["licence"].as_str()), (Some(48), Some("MIT")));
    let table = String::from_utf8(home.run(&["models", "list"]).stdout).unwrap();
    let line = table.lines().find(|line| line.starts_with("chest-vit")).unwrap();
    assert!(line.contains("48") && line.contains("56x56") && line.contains("here: import of "), "{line}");
    assert!(
        String::from_utf8(home.run(&["models", "show", "chest-vit"]).stdout).unwrap().contains("model.onnx, sha256")
    );
    let checked = home.json(&["models", "check"], 0);
    assert_eq!(checked.as_array().unwrap().len(), 1, "all that is here");
    assert_eq!(checked[0]["model"].as_str(), Some("chest-vit"));
    let built = home.json(&["models", "build", "chest-vit", "--out", "again.onnx"], 0);
    assert_eq!(built["provenance"]["licence"].as_str(), Some("MIT"));
    assert_eq!(built["provenance"]["weights"].as_str(), Some("tower.onnx"));
    assert_eq!(built["provenance"]["weights_sha256"], imported["provenance"]["weights_sha256"]);

    let copy = home.path("cache/models/imported/chest-vit/model.onnx");
    spoil(&copy, "encoder.layer.1.mlp.fc2.weight");
    let said = home.failure(&["models", "build", "chest-vit", "--out", "again.onnx"], 3);
    assert!(said.contains("model.onnx` has sha256"), "{said}");
}

#[test]
fn names_of_imports_are_checked_and_replaced_on_demand() {
    let home = Home::new();
    home.file("net.onnx");
    let said = home.failure(&["models", "import", "net.onnx", "--name", "resnet18"], 2);
    assert!(said.contains("the catalog has a model of that name") && said.contains("--name NAME"), "{said}");
    for name in ["../escape", "a b", ".hidden", "model.onnx", ""] {
        home.failure(&["models", "import", "net.onnx", "--name", name], 2);
    }
    home.json(&["models", "import", "net.onnx"], 0);
    let said = home.failure(&["models", "import", "net.onnx"], 2);
    assert!(said.contains("`replace` replaces"), "{said}");
    home.json(&["models", "import", "net.onnx", "--replace"], 0);
    let said = home.failure(&["models", "import", "net.onnx", "--name", "other", "--output", "no such"], 2);
    assert!(said.contains("has no output `no such`"), "{said}");
    assert!(!home.path("cache/models/imported/other").exists());
    let said = home.failure(&["models", "build", "nett", "--out", "x.onnx"], 2);
    assert!(said.contains("there is no model `nett`"), "{said}");
}

#[test]
fn external_data_is_imported_with_the_file() {
    let home = Home::new();
    let path = home.file("big.onnx");
    let model = Model::load(&path).unwrap();
    model.save_with(&path, SaveOptions { largest_file: 4096 }).unwrap();
    assert!(home.path("big.onnx.data").exists());
    home.json(&["models", "import", "big.onnx"], 0);
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(home.path("big.onnx.data")).unwrap();
    assert_eq!(home.json(&["models", "check", "big"], 0)[0]["holds"].as_bool(), Some(true));
}
