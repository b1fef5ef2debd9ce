//! Fine-tuning from the command line on pictures of stripes: whole runs, killed runs, repeated
//! runs, refused runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defrost::data::Label;
use defrost::finetune::{Line, METRICS, read_journal};
use defrost::graph::{BatchNormParameters, Builder, ConvOptions, Dim, Model, Node};
use defrost::metrics::Metric;
use defrost::records::{Chosen, PredictionTable, Record};
use defrost::runtime::{Device, ModelSource, Session, SessionOptions};
use defrost::support::seed::Seed;
use defrost::tensor::{DType, HostTensor, safetensors};
use image::RgbImage;
use rand::Rng;

use crate::session::runtime;

const SIDE: usize = 24;

fn drawn(name: &str, shape: &[usize], bound: f32) -> HostTensor {
    let mut random = Seed::new(7).named(name).random();
    HostTensor::from_fn(shape, |_| random.gen_range(-bound..bound))
}

/// Two convolutions, the first with a batch norm; `last` ends the network.
fn network(last: impl FnOnce(&mut Builder, &defrost::graph::Value) -> defrost::graph::Value) -> Model {
    let mut b = Builder::new("stripes");
    let side = Dim::from(SIDE);
    let x = b.input("input", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3), side.clone(), side]);
    let first = b.parameter("first.weight", &drawn("first", &[8, 3, 3, 3], 0.3));
    let second = b.parameter("second.weight", &drawn("second", &[12, 8, 3, 3], 0.2));
    let vector = |value: f32| HostTensor::vector(vec![value; 8]);
    let [scale, bias, mean, variance] = [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)]
        .map(|(name, value)| b.parameter(&format!("norm.{name}"), &vector(value)));
    let x = b.conv(&x, &first, None, ConvOptions::default());
    let parameters = BatchNormParameters { scale: &scale, bias: &bias, mean: &mean, variance: &variance };
    let x = b.batch_norm(&x, parameters, 1e-5);
    let x = b.relu(&x);
    let x = b.conv(&x, &second, None, ConvOptions { strides: [2, 2], ..ConvOptions::default() });
    let x = last(&mut b, &x);
    let x = b.global_average_pool(&x);
    let x = b.flatten(&x, 1);
    b.output("embedding", &x);
    b.finish().unwrap()
}

/// Stripes across, down or both ways, each kind in shades of its own.
fn stripes(name: &str, class: usize) -> RgbImage {
    let mut random = Seed::new(5).named(name).random();
    let mut shade = || {
        let mut colour = [0; 3].map(|_: u8| random.gen_range(20..120));
        colour[class] += 90;
        colour
    };
    let colours = [shade(), shade()];
    let period = random.gen_range(3..6);
    RgbImage::from_fn(32, 32, |x, y| {
        let place = [y / period, x / period, x / period + y / period][class];
        image::Rgb(colours[(place % 2) as usize])
    })
}

const CLASSES: [&str; 3] = ["across", "down", "squares"];

/// Images, and a network in an ONNX file.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    /// The library that commands run with.
    pub(crate) library: PathBuf,
}

impl Scene {
    pub(crate) fn new(each: usize) -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap(), library: runtime().library().to_path_buf() };
        for (class, name) in CLASSES.iter().enumerate() {
            std::fs::create_dir_all(scene.path("images").join(name)).unwrap();
            for number in 0..each {
                let file = format!("{name}-{number:03}");
                stripes(&file, class).save(scene.path("images").join(name).join(format!("{file}.png"))).unwrap();
            }
        }
        network(|b, x| b.relu(x)).save(&scene.path("small.onnx")).unwrap();
        scene.preprocess(SIDE);
        scene
    }

    fn preprocess(&self, side: usize) {
        let text = format!(
            "resize.shorter_side = {side}\nfilter = \"bilinear\"\ncrop = {{ height = {side}, width = {side} }}\n\
             mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n"
        );
        std::fs::write(self.path("preprocess.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["--runtime-library".as_ref(), self.library.as_os_str()]).args(["--json", "finetune"]);
        command.args(flags).args(["--device", "cpu", "--threads", "1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The command for a run on the images, with a short recipe.
    fn training(&self, run: &str, flags: &[&str]) -> Command {
        let [images, model, preprocess, out] =
            ["images", "small.onnx", "preprocess.toml", run].map(|name| self.path(name).display().to_string());
        let mut all = vec![&*images, "--model", &model, "--preprocess", &preprocess, "--out", &out];
        all.extend(["--batch", "8", "--augment", "light", "--bootstrap", "50"]);
        all.extend(flags);
        self.command(&all)
    }

    pub(crate) fn start(&self, run: &str, flags: &[&str]) -> Child {
        self.training(run, flags).spawn().unwrap()
    }

    /// Runs to the end and returns exit code, result and what was said.
    pub(crate) fn run(&self, run: &str, flags: &[&str]) -> (i32, String, String) {
        finish(&mut self.training(run, flags))
    }

    pub(crate) fn steps(&self, run: &str) -> Vec<Line> {
        let lines = read_journal(&self.path(run)).unwrap();
        lines.into_iter().filter(|line| matches!(line, Line::Step { .. })).collect()
    }
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn accuracy(run: &Path) -> f64 {
    Record::read(&run.join("record.json")).unwrap().metrics[&Metric::Accuracy].value.unwrap()
}

#[test]
fn a_run_learns_and_leaves_everything_behind() {
    let scene = Scene::new(40);
    let flags = ["--epochs", "12", "--learning-rate", "0.003,0.03", "--batch-norm", "updated", "--patience", "9"];
    let (code, stdout, stderr) = scene.run("run", &flags);
    assert_eq!(code, 0, "{stderr}");
    let run = scene.path("run");
    let record: Record = serde_json::from_str(&stdout).unwrap();
    assert_eq!(record, Record::read(&run.join("record.json")).unwrap());
    assert!(accuracy(&run) >= 0.8, "{}\n{stderr}", accuracy(&run));
    let Chosen::Finetune { learning_rate, epoch } = record.chosen else { unreachable!() };
    assert!(record.selection.candidates.iter().all(|candidate| candidate.score.is_some()));
    assert!([0.003, 0.03].contains(&learning_rate) && (1..=12).contains(&epoch));
    assert_eq!(record.source.model.as_deref(), Some("small.onnx"));

    // The network alone gives the predictions on the test split.
    let table = PredictionTable::read(&run.join("predictions.parquet")).unwrap();
    let model = run.join("model.onnx");
    let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
    let mut session = Session::open(&runtime(), ModelSource::File(&model), &options).unwrap();
    let about = session.metadata().unwrap();
    assert_eq!(about["defrost.classes"], r#"["across","down","squares"]"#);
    assert_eq!(about["defrost.task"], "multiclass");
    let preprocess: defrost::preprocess::Preprocess = serde_json::from_str(&about["defrost.preprocess"]).unwrap();
    let preprocess = preprocess.check().unwrap();
    for (row, id) in table.ids.iter().enumerate().step_by(5) {
        let picture = defrost::pixels::decode_file(&scene.path("images").join(id), &Default::default()).unwrap();
        let input = preprocess.apply(&picture).unwrap().reshaped(vec![1, 3, SIDE, SIDE]).unwrap();
        let logits = session.run(&[("input", &input)], &["logits"]).unwrap().remove(0);
        let logits = logits.values::<f32>().unwrap();
        let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
        for (class, power) in powers.iter().enumerate() {
            let probability = power / powers.iter().sum::<f64>();
            assert!((probability - table.probabilities[[row, class]]).abs() < 1e-5, "{id}");
        }
    }
    // The best weights lie under the names that they came with; batch norms moved.
    let (weights, about) = safetensors::read(&run.join("checkpoints/best/model.safetensors")).unwrap();
    let names = ["first.weight", "head.bias", "head.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    assert!(names.iter().all(|name| weights.contains_key(*name)), "{:?}", weights.keys());
    assert_eq!(about["defrost.head"], "head");
    assert_ne!(weights["norm.running_mean"].values::<f32>().unwrap().as_ref(), [0.0; 8]);
    let epochs = read_journal(&run).unwrap().into_iter().filter(|line| matches!(line, Line::Epoch { .. })).count();
    assert!((epoch..=12).contains(&epochs));

    // Its configuration makes the same run again.
    let config = run.join("config.toml").display().to_string();
    let again = scene.path("again").display().to_string();
    let (code, _, stderr) = finish(&mut scene.command(&["--config", &config, "--out", &again]));
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(scene.steps("again"), scene.steps("run"));
    assert_eq!(PredictionTable::read(&scene.path("again/predictions.parquet")).unwrap(), table);
    // A complete run is not trained again, and other settings do not touch it.
    let (code, _, stderr) = scene.run("run", &flags);
    assert!(code == 0 && stderr.contains("complete already"), "{stderr}");
    let (code, _, stderr) = scene.run("run", &[&["--epochs", "13"], &flags[2..]].concat());
    assert!(code == 2 && stderr.contains("holds a run with other settings: `recipe.epochs` is `12` there"), "{stderr}");
}

#[test]
fn killed_at_random_moments_and_run_again_gives_the_same_steps() {
    let scene = Scene::new(20);
    let flags = ["--epochs", "3", "--learning-rate", "0.01", "--checkpoint-every", "2", "--batch-norm", "updated"];
    assert_eq!(scene.run("whole", &flags).0, 0);
    let mut random = Seed::new(3).named("kill").random();
    let mut resumed = 0;
    for _ in 0..12 {
        let mut child = scene.start("killed", &flags);
        let journal = scene.path("killed").join(METRICS);
        let before = std::fs::metadata(&journal).map_or(0, |metadata| metadata.len());
        for _ in 0..2000 {
            let now = std::fs::metadata(&journal).map_or(0, |metadata| metadata.len());
            if now > before || child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_micros(random.gen_range(0..60_000)));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        resumed += usize::from(scene.path("killed/checkpoints/last/state.json").exists());
    }
    let (code, _, stderr) = scene.run("killed", &flags);
    assert_eq!(code, 0, "{stderr}");
    assert!(resumed >= 2, "{resumed} runs were killed behind a checkpoint");
    assert_eq!(scene.steps("killed"), scene.steps("whole"));
    let table = |run: &str| PredictionTable::read(&scene.path(run).join("predictions.parquet")).unwrap();
    assert_eq!(table("killed"), table("whole"));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_at_its_step() {
    let scene = Scene::new(8);
    let (code, _, stderr) =
        scene.run("run", &["--epochs", "4", "--learning-rate", "1e30", "--clip", "0", "--warmup", "0"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("at step 2 (epoch 1)") || stderr.contains("at step 1 (epoch 1)"), "{stderr}");
    assert!(stderr.contains("lower the learning rate"), "{stderr}");
    // After an epoch that went well, the checkpoint stays.
    let good = scene.run("good", &["--epochs", "2", "--learning-rate", "0.01"]);
    assert_eq!(good.0, 0, "{}", good.2);
    let before = std::fs::read(scene.path("good/checkpoints/last/model.safetensors")).unwrap();
    let config = std::fs::read_to_string(scene.path("good/config.toml")).unwrap();
    let config =
        config.replace("epochs = 2", "epochs = 3").replace("learning_rates = [0.01]", "learning_rates = [1e30]");
    std::fs::write(scene.path("good/config.toml"), &config).unwrap();
    std::fs::remove_file(scene.path("good/record.json")).unwrap();
    let state = scene.path("good/checkpoints/last/state.json");
    let text = std::fs::read_to_string(&state).unwrap().replace("\"learning_rate\": 0.01", "\"learning_rate\": 1e30");
    std::fs::write(&state, text).unwrap();
    let (config, out) = (scene.path("good/config.toml"), scene.path("good"));
    let flags = ["--config", config.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (code, _, stderr) = finish(&mut scene.command(&flags));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("(epoch 3)") && stderr.contains("the last good weights lie in"), "{stderr}");
    assert_eq!(std::fs::read(scene.path("good/checkpoints/last/model.safetensors")).unwrap(), before);
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let scene = Scene::new(8);
    let refused = |run: &str, flags: &[&str], expected: &[&str]| {
        let (code, _, stderr) = scene.run(run, flags);
        assert_eq!(code, 2, "{stderr}");
        for text in expected {
            assert!(stderr.contains(text), "{text}: {stderr}");
        }
    };
    refused("a", &["--classes", "across,down"], &["`squares`"]);
    refused("b", &["--loss", "bce"], &["the loss `bce` does not suit a multiclass task"]);
    refused("c", &["--freeze", "blocks:3"], &["3 blocks are to be frozen, the backbone has 0", "--freeze all"]);
    refused("d", &["--micro-batch", "3"], &["`micro-batch` is 3, expected a divisor of the batch"]);
    refused("e", &["--head", "deit:16x1x2"], &["tokens"]);
    // A refused run leaves no settings behind: the next try in the same folder is not another
    // run's.
    refused("c", &["--head", "deit:16x1x2"], &["tokens"]);
    for run in ["b", "c", "d", "e"] {
        assert!(!scene.path(run).exists(), "{run}");
    }

    // One class only.
    let images = scene.path("one");
    std::fs::create_dir_all(images.join("across")).unwrap();
    for entry in std::fs::read_dir(scene.path("images/across")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, images.join("across").join(path.file_name().unwrap())).unwrap();
    }
    let (model, preprocess, out) = (scene.path("small.onnx"), scene.path("preprocess.toml"), scene.path("f"));
    let text = |path: &Path| path.display().to_string();
    let flags = [&text(&images), "--model", &text(&model), "--preprocess", &text(&preprocess), "--out", &text(&out)];
    let (code, _, stderr) = finish(&mut scene.command(&flags));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("are of one class, `across`"), "{stderr}");

    // A batch that no memory holds.
    scene.preprocess(8192);
    let mut open = network(|b, x| b.relu(x));
    let shape = ["batch".into(), Dim::Fixed(3), "height".into(), "width".into()];
    open.graph.inputs[0] = defrost::graph::ValueInfo::new(
        "input",
        defrost::graph::Type::tensor(DType::F32, Some([&shape[..2], &[Dim::Fixed(8192), Dim::Fixed(8192)]].concat())),
    );
    open.save(&scene.path("small.onnx")).unwrap();
    let (code, _, stderr) = scene.run("g", &[]);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("a step on 8 images needs about") && stderr.contains("--micro-batch 4"), "{stderr}");
}

#[test]
fn an_operator_without_gradient_is_named_with_the_way_to_the_loss() {
    let scene = Scene::new(8);
    let odd = network(|b, x| {
        let shape: Vec<i64> = b.dims(x).unwrap().iter().map(|dim| dim.fixed().unwrap_or(-1)).collect();
        let shrunk = b.node(Node::new("Shrink", &[x.name()], &[]));
        let sum = b.add(x, &shrunk);
        b.reshape(&sum, &shape)
    });
    odd.save(&scene.path("small.onnx")).unwrap();
    let (code, _, stderr) = scene.run("run", &[]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("(Shrink) has no gradient rule and lies on the way to the loss"), "{stderr}");
}

#[test]
fn several_labels_of_which_some_are_unknown_are_learned() {
    let scene = Scene::new(24);
    let mut table = "path,striped across,striped down\n".to_owned();
    for (class, name) in CLASSES.iter().enumerate() {
        for number in 0..24 {
            let [across, down] = [["1", "0"], ["0", "1"], ["1", "1"]][class];
            let across = if number % 6 == 0 { "-1" } else { across };
            table.push_str(&format!("{name}/{name}-{number:03}.png,{across},{down}\n"));
        }
    }
    std::fs::write(scene.path("images/table.csv"), table).unwrap();
    let [data, model, preprocess, out] =
        ["images/table.csv", "small.onnx", "preprocess.toml", "run"].map(|name| scene.path(name).display().to_string());
    let flags = [
        &data,
        "--class-columns",
        "striped across,striped down",
        "--model",
        &model,
        "--preprocess",
        &preprocess,
        "--out",
        &out,
        "--epochs",
        "12",
        "--batch",
        "12",
        "--micro-batch",
        "4",
        "--learning-rate",
        "0.03",
        "--augment",
        "none",
        "--sampling",
        "balanced",
        "--class-weights",
        "--label-smoothing",
        "0.05",
    ];
    let (code, _, stderr) = finish(&mut scene.command(&flags));
    assert_eq!(code, 0, "{stderr}");
    let record = Record::read(&scene.path("run/record.json")).unwrap();
    assert_eq!(record.selection.metric, Metric::RocAucMacro);
    let table = PredictionTable::read(&scene.path("run/predictions.parquet")).unwrap();
    assert!(table.truth.iter().any(|label| matches!(label, Label::Classes(known) if known.contains(&None))));
    let auc = record.metrics[&Metric::RocAucMacro].value.unwrap();
    assert!(auc > 0.8, "{auc}\n{stderr}");
}

#[test]
fn repeats_have_splits_of_their_own_and_a_broken_image_is_told() {
    let scene = Scene::new(12);
    std::fs::write(scene.path("images/down/down-003.png"), b"\x89PNG\r\n\x1a\nbroken").unwrap();
    let (code, stdout, stderr) =
        scene.run("run", &["--epochs", "1", "--learning-rate", "0.01", "--repeats", "2", "--seed", "4"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("`down/down-003.png` is left out"), "{stderr}");
    let record: Record = serde_json::from_str(&stdout).unwrap();
    let seeds: Vec<u64> = record.repeats.iter().map(|repeat| repeat.seed).collect();
    assert_eq!((seeds, record.summary[&Metric::Accuracy].repeats), (vec![4, 5], 2));
    let tables: BTreeMap<&str, PredictionTable> = [("run", "first"), ("run/repeats/5", "second")]
        .map(|(run, name)| (name, PredictionTable::read(&scene.path(run).join("predictions.parquet")).unwrap()))
        .into();
    assert_ne!(tables["first"].ids, tables["second"].ids);
}
