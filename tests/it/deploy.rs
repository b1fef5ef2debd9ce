//! Exported classifiers: the same probabilities as the probes they were made from, as files that
//! run by themselves; what is refused before and found out while exporting.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use defrost::graph::{Dim, Model, Node, Type, ValueInfo};
use defrost::records::PredictionTable;
use defrost::tensor::DType;
use serde_json::Value;

use crate::embed::{network, picture, write_images};

const DESCRIPTION: &str = "[preprocess]\nresize = { shorter_side = 36 }\nfilter = \"bicubic\"\n\
                           crop = { height = 32, width = 32 }\nmean = [0.5, 0.4, 0.3]\nstd = [0.3, 0.2, 0.3]\n";

/// Photographs, a small network in an ONNX file, a cache of its embeddings; every command runs in
/// their folder.
pub(crate) struct Scene(tempfile::TempDir);

impl Scene {
    /// A network, and nothing to run it on.
    pub(crate) fn bare() -> Scene {
        let scene = Scene(tempfile::tempdir().unwrap());
        scene.network("small.onnx", "first", 17);
        scene
    }

    /// `data` is the dataset that is embedded; the network is of the operator set `opset`.
    pub(crate) fn new(opset: i64, data: impl FnOnce(&Path) -> &'static str) -> Scene {
        let scene = Scene(tempfile::tempdir().unwrap());
        write_images(&scene.path("photos"), 60, 40);
        for (name, [width, height]) in [("wide", [90, 40]), ("tall", [33, 77]), ("small", [20, 24])] {
            for class in ["cat", "dog"] {
                let image = picture(&format!("{name} {class}"), 100);
                let image = image::imageops::crop_imm(&image, 3, 5, width, height).to_image();
                image.save(scene.path("photos").join(class).join(format!("{name}.png"))).unwrap();
            }
        }
        scene.network("small.onnx", "first", opset);
        let data = data(scene.0.path());
        scene.done(&["embed", data, "--model", "small.onnx", "--out", "cache", "--device", "cpu"]);
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn network(&self, name: &str, seed: &str, opset: i64) {
        let mut model = network(seed);
        model.opset_imports[0].version = opset;
        model.save(&self.path(name)).unwrap();
        std::fs::write(self.path(name).with_extension("toml"), DESCRIPTION).unwrap();
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.current_dir(self.0.path()).args(arguments).output().unwrap()
    }

    /// Standard output of a command that ends well.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and standard error of a command.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn export(&self, probe: &str) -> Value {
        let record = format!("cache/probes/{probe}.json");
        let file = format!("{probe}.onnx");
        let text = self.done(&["export", &record, "--model", "small.onnx", "--out", &file, "--json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Path below the folder to row, as `predict --json` prints them.
    pub(crate) fn predict(&self, classifier: &str, images: &str) -> Vec<Value> {
        serde_json::from_str(&self.done(&["predict", classifier, images, "--json", "--device", "cpu"])).unwrap()
    }
}

fn folder(_: &Path) -> &'static str {
    "photos"
}

/// Compares a classifier's predictions with those that were recorded when the probe was evaluated.
fn check_predictions(scene: &Scene, probe: &str) {
    let recorded = PredictionTable::read(&scene.path(&format!("cache/probes/{probe}-predictions.parquet"))).unwrap();
    let rows = scene.predict(&format!("{probe}.onnx"), "photos");
    assert_eq!(rows.len(), 66);
    for (id, expected) in recorded.ids.iter().zip(recorded.probabilities.rows()) {
        let row = rows.iter().find(|row| row["path"] == format!("photos/{id}")).unwrap();
        let mut largest = (0.0, "");
        for (class, &expected) in recorded.classes.iter().zip(expected) {
            let found = row["probabilities"][class].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-5, "{probe}, `{id}`, {class}: {found} instead of {expected}");
            if found > largest.0 {
                largest = (found, class);
            }
        }
        assert_eq!(row["label"], largest.1, "{probe}, `{id}`");
    }
}

/// A cache that belongs to another user or lies on a read-only disk. Nobody, not even root, makes
/// files in `/sys`.
#[test]
#[cfg(target_os = "linux")]
fn a_probe_of_a_cache_that_cannot_be_written_to_is_printed_and_said_not_to_be_kept() {
    let scene = Scene::new(17, folder);
    std::os::unix::fs::symlink("/sys", scene.path("cache/probes")).unwrap();
    let output = scene.run(&["probe", "knn", "cache", "--k", "3", "--bootstrap", "0", "--json"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("not kept, as `cache` cannot be written to: name a folder with `--out`"), "{told}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["metrics"]["accuracy"]["value"].is_number() && record["predictions"].is_null(), "{record}");
    let (code, told) = scene.fails(&["probe", "knn", "cache", "--k", "3", "--out", "/sys/probes"]);
    assert!(code == 3 && told.contains("/sys/probes"), "{code} {told}");
    scene.done(&["probe", "knn", "cache", "--k", "3", "--out", "kept"]);
    assert!(scene.path("kept/knn.json").is_file());
}

#[test]
fn probes_become_files_that_give_their_probabilities() {
    let scene = Scene::new(17, folder);
    scene.done(&["probe", "linear", "cache", "--c-grid", "0.1,1"]);
    scene.done(&["probe", "knn", "cache", "--k", "3,7"]);
    for probe in ["linear", "knn"] {
        let exported = scene.export(probe);
        let verification = &exported["verification"];
        let compared = verification["images"].as_u64().unwrap() + verification["tied"].as_u64().unwrap_or(0);
        assert!((10..=16).contains(&compared), "{probe}: {verification}");
        for difference in ["largest_difference", "largest_difference_from_record"] {
            assert!(verification[difference].as_f64().unwrap() < 1e-5, "{probe}: {verification}");
        }
        assert_eq!(exported["classes"], serde_json::json!(["cat", "dog"]));
        check_predictions(&scene, probe);

        let model = Model::load(&scene.path(&format!("{probe}.onnx"))).unwrap();
        assert_eq!((model.opset_imports.len(), model.opset("")), (1, Some(17)));
        let types = |values: &[defrost::graph::ValueInfo]| -> Vec<String> {
            values.iter().map(|value| format!("{} {}", value.name, value.r#type.as_ref().unwrap())).collect()
        };
        assert_eq!(types(&model.graph.inputs), ["images u8[batch, height, width, 3]"]);
        assert_eq!(types(&model.graph.outputs), ["probabilities f32[batch, 2]", "label i64[batch]"]);
        let keys: Vec<&str> = model.metadata.iter().map(|property| property.key.as_str()).collect();
        assert_eq!(
            keys,
            ["task", "classes", "preprocess", "method", "metrics", "origin", "verification"]
                .map(|key| format!("defrost.{key}"))
        );
        assert_eq!(model.property("defrost.classes"), Some(r#"["cat","dog"]"#));
    }
}

#[test]
fn networks_of_older_and_newer_operator_sets_are_exported_in_their_own() {
    for opset in [13, 20] {
        let scene = Scene::new(opset, folder);
        scene.done(&["probe", "linear", "cache", "--scale", "l2", "--c-grid", "1"]);
        scene.export("linear");
        assert_eq!(Model::load(&scene.path("linear.onnx")).unwrap().opset(""), Some(opset));
        check_predictions(&scene, "linear");
    }
    // Older ones are lifted, as they are for gradients.
    let scene = Scene::new(12, folder);
    scene.done(&["probe", "linear", "cache", "--c-grid", "1"]);
    scene.export("linear");
    assert_eq!(Model::load(&scene.path("linear.onnx")).unwrap().opset(""), Some(17));
    check_predictions(&scene, "linear");
}

#[test]
fn a_network_that_computes_in_f16_is_exported_so() {
    let scene = Scene::new(17, folder);
    scene.done(&["embed", "photos", "--model", "small.onnx", "--out", "half", "--compute", "f16", "--device", "cpu"]);
    scene.done(&["probe", "linear", "half", "--c-grid", "1"]);
    scene.done(&["export", "half/probes/linear.json", "--model", "small.onnx", "--out", "half.onnx"]);
    let model = Model::load(&scene.path("half.onnx")).unwrap();
    let is_half = |tensor: &&defrost::graph::Tensor| tensor.element.dtype() == Some(defrost::tensor::DType::F16);
    assert!(model.graph.initializers.iter().filter(is_half).count() >= 2);
}

#[test]
fn labels_decided_one_by_one_have_thresholds() {
    let scene = Scene::new(17, |folder| {
        let mut table = "path,labels\n".to_owned();
        for number in 0..60 {
            let class = if number % 3 == 0 { "cat" } else { "dog" };
            let extension = if number % 2 == 0 { "bmp" } else { "png" };
            let labels = [class, ["", ";even"][usize::from(number % 2 == 0)]].concat();
            table.push_str(&format!("photos/{class}/{number:05}.{extension},{labels}\n"));
        }
        std::fs::write(folder.join("table.csv"), table).unwrap();
        "table.csv"
    });
    scene.done(&["probe", "linear", "cache", "--c-grid", "1"]);
    scene.done(&["probe", "knn", "cache", "--k", "5"]);
    for probe in ["linear", "knn"] {
        let record = format!("cache/probes/{probe}.json");
        let export = ["export", &record, "--model", "small.onnx", "--out", "labels.onnx", "--json", "--thresholds"];
        let exported: Value = serde_json::from_str(&scene.done(&[&export[..], &["0.4,0.5,0.7"]].concat())).unwrap();
        let thresholds: Vec<f64> =
            exported["thresholds"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert!(thresholds.iter().zip([0.4, 0.5, 0.7]).all(|(found, wanted)| (found - wanted).abs() < 1e-6));
        let rows = scene.predict("labels.onnx", "table.csv");
        assert_eq!(rows.len(), 60);
        for row in &rows {
            let present = ["cat", "dog", "even"].into_iter().zip([0.4, 0.5, 0.7]);
            let present = present.filter(|(class, least)| row["probabilities"][class].as_f64().unwrap() > *least);
            let expected: Vec<&str> = present.map(|(class, _)| class).collect();
            assert_eq!(row["label"], serde_json::json!(expected), "{row}");
        }
        let (code, told) = scene.fails(&[&export[..], &["0.4,0.5"]].concat());
        assert_eq!(code, 2);
        assert!(told.contains("thresholds are [0.4, 0.5], expected one, or 3: one per label"), "{told}");
    }
}

#[test]
fn what_is_not_the_classifier_of_the_probe_is_refused_and_leaves_no_file() {
    let scene = Scene::new(17, folder);
    scene.done(&["probe", "linear", "cache", "--c-grid", "1"]);
    scene.done(&["probe", "knn", "cache", "--k", "5"]);
    let refused = |arguments: &[&str], code: i32, message: &str| {
        let (found, told) = scene.fails(&[&["export"], arguments, &["--out", "out.onnx"]].concat());
        assert!(found == code && told.contains(message), "{arguments:?}: {found}, {told}");
        let left = std::fs::read_dir(scene.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("out.onnx")), "{arguments:?}");
    };
    let linear = "cache/probes/linear.json";
    refused(&[linear], 2, "were made with the file `small.onnx`, which must be named");
    refused(&["cache"], 2, "is neither the record of a probe nor a fine-tuning run");
    scene.network("other.onnx", "second seed", 17);
    refused(&[linear, "--model", "other.onnx"], 2, "`other.onnx` is not the model that made `cache`: weights: cached");
    let own = [linear, "--model", "small.onnx"];
    refused(&[&own[..], &["--thresholds", "0.3,0.4"]].concat(), 2, "expected one: of the second class");
    refused(&[&own[..], &["--thresholds", "1.5"]].concat(), 2, "expected numbers from 0 to 1");

    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(40, 40, |x, y| image::Luma([(x * y) as u16]));
    deep.save(scene.path("deep.png")).unwrap();
    refused(&[&own[..], &["--verify", "deep.png"]].concat(), 2, "16 bits per sample, the classifier takes 8");
    refused(&[&own[..], &["--verify", "nowhere"]].concat(), 2, "cannot read `nowhere`");

    // Coefficients of another fit under the record of this one.
    scene.done(&["probe", "linear", "cache", "--c-grid", "0.001", "--out", "elsewhere"]);
    std::fs::copy(scene.path("elsewhere/linear.safetensors"), scene.path("cache/probes/linear.safetensors")).unwrap();
    refused(&own, 1, "the record of its evaluation states");

    // A bank of other samples.
    picture("late", 40).save(scene.path("photos/cat/late.png")).unwrap();
    scene.done(&["embed", "photos", "--model", "small.onnx", "--out", "cache", "--device", "cpu"]);
    refused(&["cache/probes/knn.json", "--model", "small.onnx"], 2, "have changed since the probe was made");
}

#[test]
fn predictions_are_printed_and_written_alike_and_bad_files_are_told() {
    let scene = Scene::new(17, folder);
    scene.done(&["probe", "linear", "cache", "--c-grid", "1"]);
    scene.export("linear");
    std::fs::write(scene.path("broken.png"), b"not an image").unwrap();
    let arguments = ["predict", "linear.onnx", "photos", "broken.png", "gone.jpg", "--device", "cpu"];
    let output = scene.run(&[&arguments[..], &["--csv", "--parquet", "rows.parquet"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("68 images") && told.contains("2 failed"), "{told}");
    let mut table = csv::Reader::from_reader(output.stdout.as_slice());
    assert_eq!(table.headers().unwrap(), vec!["path", "label", "error", "probability_cat", "probability_dog"]);
    let cells: Vec<csv::StringRecord> = table.records().map(|row| row.unwrap()).collect();
    let output = scene.run(&[&arguments[..], &["--json"]].concat());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((cells.len(), rows.len()), (68, 68));
    for (cells, row) in cells.iter().zip(&rows) {
        assert_eq!(&cells[0], row["path"].as_str().unwrap());
        assert_eq!(&cells[1], row["label"].as_str().unwrap_or_default());
        assert_eq!(&cells[2], row["error"].as_str().unwrap_or_default());
        let probability =
            row["probabilities"]["dog"].as_f64().map_or(String::new(), |value| (value as f32).to_string());
        assert_eq!(&cells[4], probability);
    }
    assert_eq!(&rows[66]["error"], "cannot decode `broken.png`: not an image: the content starts with `not an image`");
    assert!(rows[67]["error"].as_str().unwrap().starts_with("cannot read `gone.jpg`"));

    let file = std::fs::File::open(scene.path("rows.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<arrow::array::RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 68);
    let names: Vec<&String> = batches[0].schema_ref().fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["path", "label", "probabilities", "error"]);
    let labels = arrow::array::AsArray::as_string::<i32>(batches[0].column(1));
    assert!(labels.iter().zip(&rows).all(|(label, row)| label == row["label"].as_str()));

    // Batches and threads change nothing.
    let batched = scene.run(&[&arguments[..], &["--json", "--batch", "7", "--threads", "3"]].concat());
    for (one, other) in rows.iter().zip(serde_json::from_slice::<Vec<Value>>(&batched.stdout).unwrap()) {
        assert_eq!((&one["path"], &one["label"]), (&other["path"], &other["label"]));
        let difference = |class: &str| {
            let value = |row: &Value| row["probabilities"][class].as_f64().unwrap_or_default();
            (value(one) - value(&other)).abs()
        };
        assert!(difference("cat") < 1e-6 && difference("dog") < 1e-6);
    }

    let (code, told) = scene.fails(&["predict", "small.onnx", "photos"]);
    assert!(code == 2 && told.contains("`small.onnx` is no exported classifier"), "{told}");
    let text = scene.done(&["predict", "linear.onnx", "photos/cat/wide.png", "--device", "cpu", "--quiet"]);
    let probability = rows.iter().find(|row| row["path"] == "photos/cat/wide.png").unwrap();
    let label = probability["label"].as_str().unwrap();
    let value = probability["probabilities"][label].as_f64().unwrap();
    assert_eq!(text, format!("photos/cat/wide.png  {label} {value:.3}\n"));
}

#[test]
fn a_fine_tuned_network_becomes_a_file_that_gives_its_predictions() {
    let scene = Scene::new(17, folder);
    let train = ["finetune", "photos", "--model", "small.onnx", "--out", "run", "--epochs", "1", "--batch", "8"];
    let (code, told) = scene.fails(&["export", "photos", "--out", "run.onnx"]);
    assert!(code == 2 && told.contains("it has no `record.json`"), "{told}");
    scene.done(&[&train[..], &["--learning-rate", "0.01", "--bootstrap", "20", "--device", "cpu"]].concat());
    let exported: Value = serde_json::from_str(&scene.done(&["export", "run", "--out", "run.onnx", "--json"])).unwrap();
    let verification = &exported["verification"];
    assert!(verification["largest_difference"].as_f64().unwrap() < 1e-5, "{verification}");
    assert!(verification["largest_difference_from_record"].as_f64().unwrap() < 1e-4, "{verification}");
    let recorded = PredictionTable::read(&scene.path("run/predictions.parquet")).unwrap();
    let rows = scene.predict("run.onnx", "photos");
    for (id, expected) in recorded.ids.iter().zip(recorded.probabilities.rows()) {
        let row = rows.iter().find(|row| row["path"] == format!("photos/{id}")).unwrap();
        assert!((row["probabilities"]["dog"].as_f64().unwrap() - expected[1]).abs() < 1e-4, "`{id}`");
    }
    let (code, told) = scene.fails(&["export", "run", "--model", "small.onnx", "--out", "other.onnx"]);
    assert!(code == 2 && told.contains("a run holds its own network"), "{told}");
    // Named by its record, a run knows the images that it was tested on as well.
    let named: Value =
        serde_json::from_str(&scene.done(&["export", "run/record.json", "--out", "named.onnx", "--json"])).unwrap();
    assert!(named["verification"]["images"].as_u64().unwrap() > 0, "{named}");
    // The dataset has gone: other images serve.
    std::fs::rename(scene.path("photos"), scene.path("moved")).unwrap();
    let (code, told) = scene.fails(&["export", "run", "--out", "other.onnx"]);
    assert!(code == 2 && told.contains("--verify DATA"), "{told}");
    assert!(told.contains("the images of the run cannot be read"), "{told}");
    scene.done(&["export", "run", "--verify", "moved", "--out", "other.onnx"]);
}

#[test]
fn an_output_of_another_type_is_named_and_not_taken_for_no_classes() {
    let scene = Scene::new(17, folder);
    scene.done(&["probe", "linear", "cache", "--c-grid", "1"]);
    scene.export("linear");
    let mut model = Model::load(&scene.path("linear.onnx")).unwrap();
    let output = model.graph.nodes.iter_mut().flat_map(|node| &mut node.outputs).find(|name| *name == "label").unwrap();
    *output = "number".to_owned();
    model.graph.nodes.push(Node::new("Cast", &["number"], &["label"]).with("to", 6));
    model.graph.outputs[1] = ValueInfo::new("label", Type::tensor(DType::I32, Some(vec![Dim::symbol("batch")])));
    model.save(&scene.path("narrow.onnx")).unwrap();
    let output = scene.run(&["predict", "narrow.onnx", "photos", "--csv", "--device", "cpu"]);
    let rows = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{rows}");
    assert_eq!(rows.matches("gives i32 [1] as `label`, expected i64 [1]").count(), 66, "{rows}");
}
