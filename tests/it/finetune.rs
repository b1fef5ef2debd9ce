//! Fine-tuning from the command line on pictures of stripes: killed runs, repeated runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defrost::finetune::{Line, METRICS, read_journal};
use defrost::graph::{BatchNormParameters, Builder, ConvOptions, Dim, Model};
use defrost::metrics::Metric;
use defrost::records::{PredictionTable, Record};
use defrost::support::seed::Seed;
use defrost::tensor::{DType, HostTensor};
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

/// Stripes across, down or both ways, in colours of their own.
fn stripes(name: &str, class: usize) -> RgbImage {
    let mut random = Seed::new(5).named(name).random();
    let colours: [[u8; 3]; 2] = [random.r#gen(), random.r#gen()];
    let period = random.gen_range(3..6);
    RgbImage::from_fn(32, 32, |x, y| {
        let place = [y / period, x / period, x / period + y / period][class];
        image::Rgb(colours[(place % 2) as usize])
    })
}

const CLASSES: [&str; 3] = ["across", "down", "squares"];

/// Images, and a network in an ONNX file.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(each: usize) -> Scene {
        let scene = Scene { folder: tempfile::tempdir().unwrap() };
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["--runtime-library".as_ref(), runtime().library().as_os_str()]).args(["--json", "finetune"]);
        command.args(flags).args(["--device", "cpu", "--threads", "1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The command for a run on the images, with a short recipe.
    fn training(&self, run: &str, flags: &[&str]) -> Command {
        let [images, model, preprocess, out] =
            ["images", "small.onnx", "preprocess.toml", run].map(|name| self.path(name).display().to_string());
        let mut all = vec![&*images, "--model", &model, "--preprocess", &preprocess, "--out", &out];
        all.extend(["--batch", "8", "--augment", "study", "--warmup", "0.5", "--bootstrap", "50"]);
        all.extend(flags);
        self.command(&all)
    }

    fn start(&self, run: &str, flags: &[&str]) -> Child {
        self.training(run, flags).spawn().unwrap()
    }

    /// Runs to the end and returns exit code, result and what was said.
    fn run(&self, run: &str, flags: &[&str]) -> (i32, String, String) {
        finish(&mut self.training(run, flags))
    }

    fn steps(&self, run: &str) -> Vec<Line> {
        let lines = read_journal(&self.path(run)).unwrap();
        lines.into_iter().filter(|line| matches!(line, Line::Step { .. })).collect()
    }
}

fn finish(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
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
