//! Killed runs: whenever the process dies, running the same command again gives the cache of a run
//! that was never killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use defrost::embed::{FeatureColumns, Features, verify};
use defrost::runtime::Runtime;
use defrost::support::progress::Silent;
use defrost::support::seed::Seed;
use rand::Rng;

use crate::embed::{SIDE, contents, network, picture, write_images};

/// Images, and a network in an ONNX file, in a folder of their own.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Scene {
    pub(crate) fn new(count: usize) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        write_images(&folder.path().join("images"), count, 96);
        network("first").save(&folder.path().join("small.onnx")).unwrap();
        let preprocess = format!(
            "resize.shorter_side = {SIDE}\nfilter = \"bicubic\"\ncrop = {{ height = {SIDE}, width = {SIDE} }}\n\
             mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
        );
        std::fs::write(folder.path().join("preprocess.toml"), preprocess).unwrap();
        let library = Runtime::ensure(None, &Silent).unwrap().library().to_path_buf();
        Scene { folder, library }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, cache: &Path, flags: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["--runtime-library".as_ref(), self.library.as_os_str()]);
        command.args(["--json", "embed"]).arg(self.path("images")).arg("--model").arg(self.path("small.onnx"));
        command.arg("--preprocess").arg(self.path("preprocess.toml")).arg("--out").arg(cache);
        command.args(["--device", "cpu"]).args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs to the end and returns exit code and result.
    pub(crate) fn run(&self, cache: &Path, flags: &[&str]) -> (i32, serde_json::Value) {
        let output = self.start(cache, flags).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let problem = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code().unwrap();
        (code, serde_json::from_str(&text).unwrap_or_else(|_| serde_json::Value::from(problem)))
    }
}

fn journal_bytes(cache: &Path) -> u64 {
    std::fs::metadata(cache.join(".work/journal")).map_or(0, |metadata| metadata.len())
}

#[test]
fn killed_at_random_moments_and_run_again_gives_the_same_bytes() {
    let scene = Scene::new(400);
    let (code, whole) = scene.run(&scene.path("whole"), &["--threads", "1"]);
    assert_eq!((code, &whole["rows"], &whole["computed"]), (0, &400.into(), &400.into()), "{whole}");
    let expected = contents(&scene.path("whole"));
    let cache = scene.path("killed");
    let mut random = Seed::new(1).named("kill").random();
    let (mut kills, mut partial) = (0, 0);
    while kills < 8 {
        let before = journal_bytes(&cache);
        let mut child = scene.start(&cache, &["--threads", "1"]);
        // Let it get somewhere: rows appear, then a random while.
        let start = Instant::now();
        while journal_bytes(&cache) <= before && start.elapsed() < Duration::from_secs(20) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.gen_range(0..30_000)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        kills += 1;
        partial += usize::from(!cache.join("cache.json").exists() && journal_bytes(&cache) > 0);
    }
    assert!(kills >= 3 && partial >= 2, "{kills} kills, {partial} of them in the middle");
    let (code, last) = scene.run(&cache, &["--threads", "1"]);
    assert_eq!((code, &last["rows"]), (0, &400.into()), "{last}");
    assert!(last["computed"].as_u64().unwrap() < 400, "{last}");
    assert_eq!(contents(&cache), expected);
    assert_eq!(verify(&cache).unwrap(), Vec::<String>::new());
}

#[test]
fn killed_while_it_grows_the_old_cache_stays_readable() {
    let scene = Scene::new(300);
    let cache = scene.path("cache");
    let hidden = scene.path("later");
    std::fs::rename(scene.path("images/dog"), &hidden).unwrap();
    assert_eq!(scene.run(&cache, &[]).0, 0);
    std::fs::rename(&hidden, scene.path("images/dog")).unwrap();
    let mut random = Seed::new(2).named("kill").random();
    for _ in 0..6 {
        let mut child = scene.start(&cache, &["--threads", "1"]);
        std::thread::sleep(Duration::from_millis(random.gen_range(10..600)));
        child.kill().unwrap();
        child.wait().unwrap();
        let rows = Features::open(&cache, &FeatureColumns::default()).unwrap().len();
        assert!(rows == 100 || rows == 300, "{rows} rows");
    }
    let (code, last) = scene.run(&cache, &[]);
    assert_eq!((code, &last["rows"]), (0, &300.into()), "{last}");
    let fresh = scene.path("fresh");
    assert_eq!(scene.run(&fresh, &[]).0, 0);
    assert_eq!(contents(&cache), contents(&fresh));
    assert_eq!(verify(&cache).unwrap(), Vec::<String>::new());
}

#[test]
fn killed_while_files_are_published_one_of_both_states_is_there() {
    let scene = Scene::new(40);
    let cache = scene.path("cache");
    assert_eq!(scene.run(&cache, &[]).0, 0);
    let mut random = Seed::new(3).named("kill").random();
    let mut rows = 40;
    for round in 0..10 {
        let name = format!("new-{round}");
        picture(&name, 40).save(scene.path("images/cat").join(format!("{name}.png"))).unwrap();
        let mut child = scene.start(&cache, &[]);
        while !cache.join(".work/next").exists() && child.try_wait().unwrap().is_none() {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(random.gen_range(0..40_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = Features::open(&cache, &FeatureColumns::default()).unwrap().len();
        assert!((rows..=41 + round).contains(&found), "{found} rows after round {round}");
        rows = found;
    }
    assert_eq!(scene.run(&cache, &[]).0, 0);
    let fresh = scene.path("fresh");
    assert_eq!(scene.run(&fresh, &[]).0, 0);
    assert_eq!(contents(&cache), contents(&fresh));
    assert_eq!(verify(&cache).unwrap(), Vec::<String>::new());
}

#[test]
fn two_processes_at_once_leave_one_whole_cache() {
    let scene = Scene::new(120);
    let cache = scene.path("cache");
    let children: Vec<Child> = (0..2).map(|_| scene.start(&cache, &[])).collect();
    let mut computed = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(result["rows"], 120);
        computed += result["computed"].as_u64().unwrap();
    }
    assert_eq!(computed, 120);
    assert_eq!(verify(&cache).unwrap(), Vec::<String>::new());
}

#[test]
fn a_bad_file_makes_exit_code_1_and_a_mixed_model_2() {
    let scene = Scene::new(10);
    std::fs::write(scene.path("images/cat/bad.jpg"), b"\xff\xd8\xff").unwrap();
    let cache = scene.path("cache");
    let (code, result) = scene.run(&cache, &[]);
    assert_eq!((code, &result["rows"], &result["failed"]), (1, &10.into(), &1.into()), "{result}");
    for field in ["rows", "computed", "reused", "failed", "seconds", "images_per_second", "peak_rss_mib"] {
        assert!(result.get(field).is_some(), "`{field}` is missing");
    }
    network("another").save(&scene.path("small.onnx")).unwrap();
    let (code, message) = scene.run(&cache, &[]);
    assert_eq!(code, 2, "{message}");
    assert!(message.as_str().unwrap().contains("was made differently: weights: cached"), "{message}");
}
