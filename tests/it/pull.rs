//! `defrost models pull`: downloads that break and go on, what is recorded and checked ever after,
//! folders and caches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use defrost::backbones::{self, Origin, Size, Taps};
use defrost::support::fs;
use defrost::tensor::{HostTensor, safetensors};

use crate::hub_server::{Delivery, HubServer};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache directory of its own, and where the hub is.
struct Home {
    directory: tempfile::TempDir,
    endpoint: String,
}

impl Home {
    fn new(endpoint: String) -> Self {
        Home { directory: tempfile::tempdir().unwrap(), endpoint }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"] {
            command.env_remove(name);
        }
        command
            .env("DEFROST_CACHE_DIR", self.cache())
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", self.path("hf"));
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must end well; its result as JSON.
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail so; what it says.
    fn failure(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        stderr(&output)
    }

    /// Everything in the cache directory, relative to it.
    fn files(&self) -> Vec<String> {
        fn visit(directory: &Path, found: &mut Vec<PathBuf>) {
            for path in fs::list(directory).unwrap() {
                if path.is_dir() { visit(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        visit(&self.cache(), &mut found);
        found.iter().map(|path| path.strip_prefix(self.cache()).unwrap().to_string_lossy().into_owned()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes of a safetensors file of about that many kilobytes.
fn weights(kilobytes: usize) -> Vec<u8> {
    let tensor = HostTensor::from_fn(&[kilobytes, 256], |at| (at % 251) as f32);
    safetensors::to_bytes(&BTreeMap::from([("weight".to_owned(), tensor)]), &BTreeMap::new())
}

/// The hub with the repository of `deit-tiny` and weights of some megabytes.
fn deit_tiny() -> (HubServer, Home, Vec<u8>) {
    let hub = HubServer::new("timm/deit_tiny_patch16_224.fb_in1k", COMMIT);
    let content = weights(4096);
    hub.put("model.safetensors", content.clone(), true);
    let home = Home::new(hub.endpoint());
    (hub, home, content)
}

const PULL: [&str; 3] = ["models", "pull", "deit-tiny"];
const WEIGHTS: &str =
    "models/hub/timm--deit_tiny_patch16_224.fb_in1k/0123456789abcdef0123456789abcdef01234567/model.safetensors";

#[test]
fn a_connection_cut_in_the_middle_is_taken_up_again_where_it_broke() {
    let (hub, home, content) = deit_tiny();
    hub.deliver(Delivery::Cut { after: 1_500_000, times: 2 });
    let pulled = home.json(&PULL);
    assert_eq!(pulled["sha256"].as_str(), Some(fs::sha256(&content).as_str()));
    assert_eq!((pulled["revision"].as_str(), pulled["recorded_now"].as_bool()), (Some(COMMIT), Some(true)));
    assert_eq!(pulled["fetched_bytes"].as_u64(), Some(content.len() as u64));
    assert_eq!(fs::read(&home.cache().join(WEIGHTS)).unwrap(), content);
    let ranges: Vec<_> =
        hub.requests().into_iter().filter(|request| request.host == "store").map(|r| r.range).collect();
    assert_eq!(ranges, [None, Some("bytes=1500000-".to_owned()), Some("bytes=3000000-".to_owned())]);
    let left: Vec<String> = home.files();
    assert!(left.iter().all(|file| !file.contains("partial")), "{left:?}");
}

#[test]
fn a_download_that_gave_up_goes_on_in_the_next_run() {
    let (hub, home, content) = deit_tiny();
    hub.deliver(Delivery::Cut { after: 1_000_000, times: 1 });
    hub.requests();
    let child = {
        // The first connection breaks; from then on the store is away.
        let home = &home;
        let hub = &hub;
        std::thread::scope(|scope| {
            let run = scope.spawn(move || home.run(&PULL));
            while hub.requests().iter().all(|request| request.host != "store") {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            hub.deliver(Delivery::Unavailable);
            run.join().unwrap()
        })
    };
    assert_eq!(child.status.code(), Some(3), "{}", stderr(&child));
    assert!(stderr(&child).contains("stopped after 1000000 bytes of "), "{}", stderr(&child));
    assert!(stderr(&child).contains("hint: run the same command again: it continues where it stopped"));
    assert!(!home.cache().join(WEIGHTS).exists());
    hub.deliver(Delivery::Whole);
    hub.requests();
    home.json(&PULL);
    let ranges: Vec<_> = hub.requests().into_iter().filter_map(|request| request.range).collect();
    assert!(ranges.contains(&"bytes=1000000-".to_owned()), "{ranges:?}");
    assert_eq!(fs::read(&home.cache().join(WEIGHTS)).unwrap(), content);
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let (hub, home, content) = deit_tiny();
    let folder = home.cache().join(WEIGHTS).parent().unwrap().to_path_buf();
    std::fs::create_dir_all(&folder).unwrap();
    // What an interrupted run left: the beginning, then a later version's whole file with rubbish
    // behind it.
    let tag = &fs::sha256(fs::sha256(&content).as_bytes())[..16];
    let partial = folder.join(format!(".model.safetensors.{tag}.partial"));
    std::fs::write(&partial, &content[..700_000]).unwrap();
    hub.deliver(Delivery::WithoutRanges);
    home.json(&PULL);
    assert_eq!(fs::read(&home.cache().join(WEIGHTS)).unwrap(), content);
    std::fs::remove_file(home.cache().join(WEIGHTS)).unwrap();
    std::fs::write(&partial, [content.as_slice(), b"rubbish"].concat()).unwrap();
    hub.deliver(Delivery::Whole);
    home.json(&PULL);
    assert_eq!(fs::read(&home.cache().join(WEIGHTS)).unwrap(), content);
}

#[test]
fn what_arrives_damaged_is_not_kept() {
    let (hub, home, content) = deit_tiny();
    hub.announce(Some(&fs::sha256(b"something else")));
    let said = home.failure(&PULL, 3);
    assert!(said.contains(&format!("arrived with sha256 {}", fs::sha256(&content))), "{said}");
    let left = home.files();
    assert_eq!(left, ["models/hub/timm--deit_tiny_patch16_224.fb_in1k/.lock"], "nothing but the lock");
}

#[test]
fn a_second_pull_needs_no_network_and_a_changed_file_is_noticed() {
    let (hub, home, content) = deit_tiny();
    home.json(&PULL);
    let recorded = fs::read_text(&home.cache().join("models.lock")).unwrap();
    assert!(
        recorded.contains(&format!("revision = \"{COMMIT}\"")) && recorded.contains(&fs::sha256(&content)),
        "{recorded}"
    );
    hub.requests();
    let again = home.json(&PULL);
    assert_eq!((again["fetched_files"].as_u64(), again["recorded_now"].as_bool()), (Some(0), Some(false)));
    assert!(hub.requests().is_empty(), "no request");

    // The branch moves on: the recorded commit is what is meant.
    hub.move_to("fedcba9876543210fedcba9876543210fedcba98");
    std::fs::remove_file(home.cache().join(WEIGHTS)).unwrap();
    let said = home.failure(&PULL, 2);
    assert!(said.contains("status 404"), "{said}");
    // The same commit with other content: refused before a byte is fetched.
    hub.move_to(COMMIT);
    hub.put("model.safetensors", weights(64), true);
    let said = home.failure(&PULL, 3);
    assert!(said.contains("`model.safetensors` of `deit-tiny` has sha256") && said.contains("--update"), "{said}");
    assert!(!home.cache().join(WEIGHTS).exists());
    let updated = home.json(&["models", "pull", "deit-tiny", "--update"]);
    assert_eq!(updated["recorded_now"].as_bool(), Some(true));
    assert_ne!(fs::read_text(&home.cache().join("models.lock")).unwrap(), recorded);

    // A file that was changed on disk, in the same length.
    let mut bytes = fs::read(&home.cache().join(WEIGHTS)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(home.cache().join(WEIGHTS), &bytes).unwrap();
    for arguments in [&PULL[..], &["models", "build", "deit-tiny", "--out", "out.onnx"]] {
        let said = home.failure(arguments, 3);
        assert!(said.contains("model.safetensors` has sha256") && said.contains("expected"), "{said}");
    }
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let (hub, home, _) = deit_tiny();
    hub.need_token("hf_secret");
    let said = home.failure(&PULL, 3);
    assert!(said.contains("status 401") && said.contains("`HF_TOKEN`"), "{said}");
    hub.requests();
    let output = home.command(&PULL).env("HF_TOKEN", "hf_secret").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for request in hub.requests() {
        assert_eq!(request.authorization.is_some(), request.host == "hub", "{request:?}");
    }
    // The hub's own tools store the token in a file.
    let other = Home::new(hub.endpoint());
    std::fs::create_dir_all(other.path("hf")).unwrap();
    std::fs::write(other.path("hf/token"), "hf_secret\n").unwrap();
    other.json(&PULL);
}

#[test]
fn without_network_the_next_step_is_told_with_exit_3() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = Home::new(format!("http://{closed}"));
    let said = home.failure(&PULL, 3);
    assert!(said.contains(&format!("`{closed}` cannot be reached")) && said.contains("--from FOLDER"), "{said}");
    let output = home.command(&PULL).env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("`HF_HUB_OFFLINE` is set"), "{}", stderr(&output));
    let said = home.failure(&["models", "build", "deit-tiny", "--out", "out.onnx"], 2);
    assert!(said.contains("`defrost models pull deit-tiny` fetches"), "{said}");
    let said = home.failure(&["models", "pull", "deit-tinny"], 2);
    assert!(said.contains("nearest: `deit-tiny`"), "{said}");
}

#[test]
fn names_that_the_hub_does_not_have_are_told_with_exit_2() {
    let (_hub, home, _) = deit_tiny();
    let said = home.failure(&["models", "pull", "timm/other"], 2);
    assert!(said.contains("status 404"), "{said}");
    let said = home.failure(&["models", "pull", "deit-tiny", "--revision", "v9"], 2);
    assert!(said.contains("status 404"), "{said}");
    let said = home.failure(&["models", "pull", "../etc/passwd"], 2);
    assert!(said.contains("is not the name of a repository"), "{said}");
    let empty = HubServer::new("org/empty", COMMIT);
    let home = Home::new(empty.endpoint());
    let said = home.failure(&["models", "pull", "org/empty"], 2);
    assert!(said.contains("`org/empty` has none of the files `model.safetensors`, "), "{said}");
}

/// The weights of `deit-tiny` as a checkpoint of timm has them, random.
fn checkpoint() -> Vec<u8> {
    let entry = backbones::find("deit-tiny").unwrap();
    let size = Size::Fixed { height: 224, width: 224 };
    let backbone = backbones::build(&entry, Origin::Random(0), size, &Taps::None).unwrap();
    let named = backbone.graph.graph.initializers.iter().filter(|tensor| !tensor.name.contains("constant"));
    let tensors = named.filter_map(|tensor| Some((tensor.name.clone(), tensor.to_host()?)));
    safetensors::to_bytes(&tensors.collect(), &BTreeMap::new())
}

#[test]
fn a_pulled_model_is_found_by_its_name_and_from_folders() {
    let content = checkpoint();
    let plain = tempfile::tempdir().unwrap();
    std::fs::write(plain.path().join("model.safetensors"), &content).unwrap();
    let hub = tempfile::tempdir().unwrap();
    let repository = hub.path().join("models--timm--deit_tiny_patch16_224.fb_in1k");
    std::fs::create_dir_all(repository.join("snapshots").join(COMMIT)).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    std::fs::write(repository.join("snapshots").join(COMMIT).join("model.safetensors"), &content).unwrap();
    for (folder, revision) in [(plain.path(), None), (hub.path(), Some(COMMIT))] {
        let home = Home::new("http://127.0.0.1:9".to_owned());
        let pulled = home.json(&["models", "pull", "deit-tiny", "--from", folder.to_str().unwrap()]);
        assert_eq!(pulled["revision"].as_str(), revision);
        let out = home.path("deit.onnx");
        let built = home.json(&["models", "build", "deit-tiny", "--out", out.to_str().unwrap()]);
        assert_eq!(built["provenance"]["weights_sha256"].as_str(), Some(fs::sha256(&content).as_str()));
        assert_eq!(built["provenance"]["random"].as_bool(), Some(false));
        // A folder with other content is not taken for it; what is here needs no folder.
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("model.safetensors"), weights(8)).unwrap();
        let from_other = ["models", "pull", "deit-tiny", "--from", other.path().to_str().unwrap()];
        assert_eq!(home.json(&from_other)["fetched_files"].as_u64(), Some(0));
        std::fs::remove_dir_all(home.cache().join("models")).unwrap();
        let said = home.failure(&from_other, 3);
        assert!(said.contains("is recorded in"), "{said}");
        home.json(&["models", "pull", "deit-tiny", "--from", folder.to_str().unwrap()]);
        home.json(&["models", "build", "deit-tiny", "--out", out.to_str().unwrap()]);
    }
}

#[test]
fn weights_that_were_pulled_come_before_those_of_a_wheel() {
    let content = weights(8);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.safetensors"), &content).unwrap();
    let home = Home::new("http://127.0.0.1:9".to_owned());
    home.json(&["models", "pull", "efficientnet-lite0", "--from", folder.path().to_str().unwrap()]);
    // They are not those of the network: which is how it shows that they were taken, and nothing
    // was fetched.
    let said = home.failure(&["models", "build", "efficientnet-lite0", "--out", "out.onnx"], 2);
    assert!(said.contains("model.safetensors` does not hold weights of the family of `efficientnet-lite0`"), "{said}");
}

#[test]
fn any_repository_of_a_known_family_can_be_pulled_shards_included() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let configurations = fixtures.join("snapshots/dinov2-transformers");
    let hub = HubServer::new("facebook/dinov2-tiny", COMMIT);
    for file in ["config.json", "preprocessor_config.json"] {
        hub.put(file, std::fs::read(configurations.join(file)).unwrap(), false);
    }
    hub.put("README.md", "---\nlicense: apache-2.0\n---\n", false);
    let (tensors, _) = safetensors::read(&fixtures.join("backbones/dinov2-transformers/model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    for (number, part) in [1, 2].iter().zip(tensors.iter().collect::<Vec<_>>().chunks(tensors.len().div_ceil(2))) {
        let name = format!("model-0000{number}-of-00002.safetensors");
        map.extend(part.iter().map(|(tensor, _)| ((*tensor).clone(), name.clone().into())));
        let part = part.iter().map(|(name, tensor)| ((*name).clone(), (*tensor).clone())).collect();
        hub.put(&name, safetensors::to_bytes(&part, &BTreeMap::new()), true);
    }
    hub.put("model.safetensors.index.json", serde_json::json!({ "weight_map": map }).to_string(), false);
    let home = Home::new(hub.endpoint());
    let pulled = home.json(&["models", "pull", "facebook/dinov2-tiny"]);
    assert_eq!(pulled["files"].as_array().unwrap().len(), 6);
    let out = home.path("dinov2.onnx");
    let built = home.json(&["models", "build", "facebook/dinov2-tiny", "--out", out.to_str().unwrap()]);
    assert_eq!(built["provenance"]["licence"].as_str(), Some("apache-2.0"));
    assert_eq!(built["provenance"]["weights_sha256"], pulled["sha256"]);
    hub.requests();
    assert_eq!(home.json(&["models", "pull", "facebook/dinov2-tiny"])["fetched_files"].as_u64(), Some(0));
    assert!(hub.requests().is_empty());
}
