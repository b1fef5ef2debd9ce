//! The engine `ort` against the engine `graph`: the same losses on the same data, runs of one gone
//! on with by the other, refusals.
//!
//! A process loads one library. Both engines are compared in one process with the training library:
//! the tests of [`inside`] are run by those of this file in a process of their own. They are left
//! out, with a printed reason, where no such library is published.

mod inside;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use defrost::error::{Error, FetchError};
use defrost::finetune::Line;
use defrost::graph::Model;
use defrost::graph::artifacts::Checkpoint;
use defrost::records::PredictionTable;
use defrost::runtime::install::Flavour;
use defrost::support::progress::Silent;

use crate::finetune::Scene;

/// The folder of the training library, installed where it is not there; `None` where there is none
/// for this platform.
#[expect(clippy::print_stdout, clippy::panic, reason = "a test that is left out says why")]
pub(crate) fn training_library() -> Option<PathBuf> {
    match Flavour::Training.install(&Silent) {
        Ok(folder) => Some(folder),
        Err(Error::Fetch(FetchError::NoWheel { what, platform })) => {
            println!("left out: there is no {what} for {platform}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Runs a test of this binary that is ignored otherwise, with the training library.
fn run_inside(name: &str) {
    let Some(library) = training_library() else { return };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("engines::inside::{name}"), "--ignored", "--nocapture"]);
    let output = command.env("ORT_DYLIB_PATH", library).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn losses_of_both_engines_agree_over_fifty_steps() {
    run_inside("losses_agree");
}

#[test]
fn losses_of_efficientnet_lite0_with_its_weights_agree() {
    run_inside("losses_of_lite0_agree");
}

#[test]
fn one_engine_goes_on_where_the_other_stopped() {
    run_inside("engines_take_over_from_each_other");
}

#[test]
fn artifacts_are_written_from_the_command_line() {
    let scene = Scene::new(1);
    let differentiate = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["--json", "graph", "differentiate"]).arg(scene.path("small.onnx"));
        command.args(["--output", "embedding", "--loss", "cross-entropy", "--classes", "3"]).args(flags);
        let output = command.output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), stdout, stderr)
    };
    let folder = scene.path("artifacts");
    let (code, stdout, stderr) = differentiate(&["--artifacts", folder.to_str().unwrap(), "--clip", "1"]);
    assert_eq!(code, Some(0), "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(summary["file"].as_str().unwrap().ends_with("training_model.onnx"), "{stdout}");
    assert_eq!(summary["opsets"]["com.microsoft"], 1);
    let checkpoint = bytes::Bytes::from(std::fs::read(folder.join("checkpoint")).unwrap());
    let names: Vec<String> = Checkpoint::from_bytes(&checkpoint).unwrap().trained.into_keys().collect();
    assert_eq!(names, ["first.weight", "head.bias", "head.weight", "norm.bias", "norm.weight", "second.weight"]);
    for name in ["eval_model.onnx", "optimizer_model.onnx"] {
        assert!(!Model::load(&folder.join(name)).unwrap().graph.nodes.is_empty());
    }
    for flags in [&[][..], &["--clip", "1", "--out", "x.onnx"]] {
        assert_eq!(differentiate(flags).0, Some(2));
    }
}

#[test]
fn artifacts_of_an_onnx_file_train_as_its_gradients_say() {
    run_inside("artifacts_train_as_gradients_say");
}

#[test]
fn a_killed_run_of_the_engine_ort_goes_on_to_the_same_numbers() {
    let Some(library) = training_library() else { return };
    let mut scene = Scene::new(16);
    scene.library = library;
    let flags =
        ["--epochs", "3", "--learning-rate", "0.003,0.01", "--checkpoint-every", "2", "--batch-norm", "updated"];
    let ort = [&flags[..], &["--engine", "ort"]].concat();
    let (code, _, stderr) = scene.run("whole", &ort);
    assert_eq!(code, 0, "{stderr}");
    // Killed behind its first checkpoint, gone on with by the same engine and by the other one.
    let kill = |run: &str| {
        let mut child = scene.start(run, &ort);
        let state = scene.path(run).join("checkpoints/last/state.json");
        while !state.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it was over before it was killed");
    };
    ["same", "other"].into_iter().for_each(kill);
    assert_eq!(scene.run("same", &ort).0, 0);
    assert_eq!(scene.steps("same"), scene.steps("whole"));
    assert_eq!(scene.run("other", &flags).0, 0);
    assert_eq!(scene.run("graph", &flags).0, 0);
    let losses = |run: &str| -> Vec<f32> {
        let steps = scene.steps(run).into_iter();
        steps.filter_map(|line| if let Line::Step { loss, .. } = line { Some(loss) } else { None }).collect()
    };
    let whole = losses("whole");
    assert_eq!(whole.len(), 12);
    for run in ["other", "graph"] {
        for (step, (found, expected)) in losses(run).into_iter().zip(&whole).enumerate() {
            assert!(((found - expected) / expected).abs() <= 1e-5, "{run}, step {step}: {found} for {expected}");
        }
        let table = |run: &str| PredictionTable::read(&scene.path(run).join("predictions.parquet")).unwrap();
        assert_eq!(table(run).ids, table("whole").ids);
        let all = table(run).probabilities - table("whole").probabilities;
        assert!(all.iter().all(|difference| difference.abs() < 1e-4), "{run}");
    }
}

#[test]
fn what_the_engine_ort_does_not_do_is_refused_before_work_and_both_ways_out_are_named() {
    let scene = Scene::new(4);
    let refused = |run: &str, flags: &[&str], code: i32, texts: &[&str]| {
        let (found, _, stderr) = scene.run(run, &[&["--engine", "ort"], flags].concat());
        assert_eq!(found, code, "{stderr}");
        texts.iter().for_each(|text| assert!(stderr.contains(text), "{text}: {stderr}"));
        assert!(!scene.path(run).exists());
    };
    refused(
        "a",
        &["--mixed-precision"],
        2,
        &["the engine `ort` does not train in mixed precision", "`--engine graph`"],
    );
    let ways = ["has no training API", "`defrost runtime install --training`", "`--engine graph`"];
    refused("b", &[], 3, &ways);
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.args(["bench", "train", "--model", "deit-tiny", "--random-weights", "0", "--engine", "ort"]);
    let output = command.args(["--device", "cuda"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("the engine `ort` does not train on the device `cuda:0`"), "{stderr}");
}

#[test]
fn the_example_artifacts_give_their_losses() {
    run_inside("example_artifacts_give_their_losses");
}
