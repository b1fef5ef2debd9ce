//! Results that cannot be written: every verb says so and ends with exit code 3; only a closed pipe
//! is quiet (`sharkdp/fd#737`, `uutils/coreutils#9782`).
#![cfg(target_os = "linux")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use crate::deploy::Scene;

/// Verbs without a result that needs neither network nor minutes.
const ELSEWHERE: [&str; 4] = ["bench train", "models pull", "quickstart", "runtime install"];

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn defrost(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.args(arguments.split_whitespace());
    command
}

/// Every verb that does something, as it is typed: `models list`.
pub(crate) fn verbs() -> Vec<String> {
    fn visit(verb: &str, found: &mut Vec<String>) {
        let output = defrost(verb).arg("--help").output().unwrap();
        assert!(output.status.success(), "`{verb} --help`");
        let help = String::from_utf8(output.stdout).unwrap();
        let Some((_, below)) = help.split_once("\nCommands:\n") else {
            found.push(verb.to_owned());
            return;
        };
        for line in below.lines().take_while(|line| !line.is_empty()) {
            // Lines that go on from the one before are indented further.
            let name = line.strip_prefix("  ").and_then(|line| line.split(' ').next()).unwrap_or_default();
            if !name.is_empty() && name != "help" {
                visit(format!("{verb} {name}").trim(), found);
            }
        }
    }
    let mut found = Vec::new();
    visit("", &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

/// Photographs, a table of them with its manifest, a cache, a probe, a classifier and a study.
fn scene() -> Scene {
    let scene = Scene::new(17, |_| "photos");
    scene.done(&["probe", "linear", "cache", "--c-grid", "1", "--bootstrap", "50"]);
    scene.done(&["export", "cache/probes/linear.json", "--model", "small.onnx", "--out", "classifier.onnx"]);
    scene.done(&["data", "split", "photos", "--out", "photos/table.csv"]);
    std::fs::write(scene.path("mine.toml"), MANIFEST).unwrap();
    crate::study_folder::small(&scene.path("study"));
    scene
}

const MANIFEST: &str = "
name = \"mine\"
title = \"Mine\"
paper = \"none\"
licence = \"none\"
obtain = \"here\"
metric = \"accuracy\"
channels = 3
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
[split]
policy = \"stratified\"
fractions = [0.7, 0.1, 0.2]
[[table]]
files = [\"table.csv\"]
path = \"{path}\"
[[variant]]
name = \"animals\"
about = \"cats and dogs\"
task = \"multiclass\"
classes = [\"cat\", \"dog\"]
[variant.label]
column = \"label\"
";

/// What prints a result, with and without `--json`.
const RESULTS: [&str; 32] = [
    "cache show cache",
    "cache verify cache",
    "compare cache/probes/linear.json cache/probes/linear.json --bootstrap 50",
    "data audit photos",
    "data dicom small.onnx",
    "data import mine.toml --root photos --out imported.csv --force",
    "data inspect photos",
    "data manifests",
    "data split photos --out split.csv --force",
    "doctor",
    "embed photos --model small.onnx --out cache",
    "evaluate cache/probes/linear.json --bootstrap 50",
    "export cache/probes/linear.json --model small.onnx --out again.onnx",
    "finetune photos --model small.onnx --out run --epochs 1 --bootstrap 50 --device cpu",
    "graph copy small.onnx copy.onnx",
    "graph cut small.onnx --to embedding --out cut.onnx",
    "graph differentiate small.onnx --output embedding --loss cross-entropy --out train.onnx",
    "graph show small.onnx",
    "graph show small.onnx --text",
    "graph tap small.onnx --value embedding --out tapped.onnx",
    "models build small.onnx --out built.onnx",
    "models check small.onnx --device cpu",
    "models import small.onnx --name mine --replace",
    "models list",
    "models show resnet50",
    "predict classifier.onnx photos/cat --device cpu",
    "probe knn cache --k 3 --bootstrap 50",
    "probe linear cache --c-grid 1 --bootstrap 50",
    "report cache",
    "runtime show",
    "study compare study --published study/published.csv",
    "study report study",
];

/// What writes files, and the end of a line that keeps it from doing so: the flag that names a
/// device without space, or nothing for what runs under a limit on the size of files.
const FILES: [(&str, &str); 15] = [
    ("data audit photos", "--out full"),
    ("data import mine.toml --root photos --force", "--out full.csv"),
    ("data split photos --force", "--out full.csv"),
    ("data split photos --force", "--out full.parquet"),
    ("export cache/probes/linear.json --model small.onnx", "--out full"),
    ("graph copy small.onnx", "full"),
    ("graph cut small.onnx --to embedding", "--out full"),
    ("graph differentiate small.onnx --output embedding --loss cross-entropy", "--out full"),
    ("graph differentiate small.onnx --output embedding --loss cross-entropy", "--artifacts full-folder"),
    ("graph tap small.onnx --value embedding", "--out full"),
    ("models build small.onnx", "--out full"),
    ("predict classifier.onnx photos/cat --device cpu", "--parquet full"),
    ("probe linear cache --c-grid 1 --bootstrap 50", "--out full-predictions"),
    ("probe linear cache --c-grid 1 --bootstrap 50", "--out full-record"),
    ("report cache", "--out full"),
];

/// What fills folders, and the most that a file may grow to meanwhile, in KiB.
const FOLDERS: [(&str, u32); 4] = [
    ("embed photos --model small.onnx --out new", 2),
    ("finetune photos --model small.onnx --out new-run --epochs 1 --device cpu", 2),
    ("models import small.onnx --name other", 0),
    ("study report study --out new-report", 2),
];

fn assert_told(output: &Output, command: &str, reasons: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "`{command}`: {told}");
    assert!(told.contains("error: cannot "), "`{command}`: {told}");
    assert!(reasons.iter().any(|reason| told.contains(reason)), "`{command}`: {told}");
    assert!(told.contains("hint: "), "`{command}`: {told}");
}

const NO_SPACE: [&str; 1] = ["No space left on device"];

#[test]
fn help_and_version_that_cannot_be_written_are_errors() {
    let mut commands: Vec<String> = verbs().into_iter().map(|verb| format!("{verb} --help")).collect();
    commands.push("--version".to_owned());
    for command in commands {
        assert_told(&defrost(&command).stdout(full()).output().unwrap(), &command, &NO_SPACE);
    }
    let usage = defrost("no-such-verb").stderr(full()).status().unwrap();
    assert_eq!(usage.code(), Some(2), "a usage error that cannot be told");
}

#[test]
fn results_that_cannot_be_written_to_stdout_are_errors() {
    for verb in verbs() {
        let tried = RESULTS.iter().any(|command| command.starts_with(&verb)) || ELSEWHERE.contains(&verb.as_str());
        assert!(tried, "`{verb}` is not tried");
    }
    let scene = scene();
    let library = crate::session::runtime().library().to_owned();
    let run = |command: &str, json: &str| {
        let mut run = defrost(command);
        run.current_dir(scene.path(".")).args(json.split_whitespace()).env("ORT_DYLIB_PATH", &library);
        run.env("DEFROST_CACHE_DIR", scene.path("home")).env("DEFROST_LOG", "debug").stdout(full());
        run
    };
    for command in RESULTS {
        for json in if command.ends_with("--text") { &[""][..] } else { &["", "--json"][..] } {
            assert_told(&run(command, json).output().unwrap(), command, &NO_SPACE);
        }
        // Nowhere to say it: no panic, and the same exit code.
        assert_eq!(run(command, "").stderr(full()).status().unwrap().code(), Some(3), "`{command}`");
    }
    assert_told(&run("predict classifier.onnx photos/cat", "--csv").output().unwrap(), "predict --csv", &NO_SPACE);
    assert_told(&run("probe linear cache", "--tap all").output().unwrap(), "probe --tap all", &NO_SPACE);
}

#[test]
fn a_pipe_that_nobody_reads_is_quiet() {
    for command in ["models list", "models list --json", "data manifests", "--help", "--version"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = defrost(command).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "`{command}`");
    }
    let read_only = Stdio::from(File::open("/dev/null").unwrap());
    let output = defrost("models list").stdout(read_only).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "a stdout that takes nothing: {told}");
    assert!(told.contains("Bad file descriptor"), "{told}");
}

#[test]
fn files_that_cannot_be_written_are_errors() {
    let scene = scene();
    for name in ["full", "full.csv", "full.parquet"] {
        symlink("/dev/full", scene.path(name)).unwrap();
    }
    for (folder, name) in [
        ("full-folder", "training_model.onnx"),
        ("full-predictions", "linear-predictions.parquet"),
        ("full-record", "linear.json"),
    ] {
        std::fs::create_dir(scene.path(folder)).unwrap();
        symlink("/dev/full", scene.path(folder).join(name)).unwrap();
    }
    for (command, out) in FILES {
        let command = format!("{command} {out}");
        let output = defrost(&command).current_dir(scene.path(".")).output().unwrap();
        assert_told(&output, &command, &NO_SPACE);
    }
    for (command, kib) in FOLDERS {
        let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" {command}", 2 * kib);
        let mut run = Command::new("sh");
        run.args(["-c", &limited, env!("CARGO_BIN_EXE_defrost")]).current_dir(scene.path("."));
        let library = crate::session::runtime().library().to_owned();
        let output = run.env("DEFROST_CACHE_DIR", scene.path("home")).env("ORT_DYLIB_PATH", library).output().unwrap();
        assert_told(&output, command, &["File too large"]);
    }
}
