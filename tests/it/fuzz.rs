//! The fuzz targets of `tests/fuzz` over what is known: the fixtures, what fuzzing has found so far
//! (`tests/fuzz/found`), and each of them cut and changed at places drawn with a fixed seed.
//!
//! A target passes when it ends without a panic, whatever it says of the bytes.
#![allow(clippy::expect_used, reason = "a target fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use defrost::support::seed::Seed;
use rand::Rng;
use sha2::{Digest, Sha256};

#[path = "../fuzz/targets.rs"]
mod targets;

use targets::TARGETS;

use crate::interrupt::Scene;

/// Larger files are left to the fuzzer itself.
const MAX_SEED_BYTES: u64 = 16 << 10;
/// Changed copies of each seed.
const CHANGES: usize = 6;
/// Longer than any of these inputs may take, by far: a reader that hangs fails the test.
const MAX_TIME: Duration = Duration::from_secs(20);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Contents of the files below a folder that have one of the extensions, in the order of their
/// paths.
fn files(folder: &str, extensions: &[&str]) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = walkdir::WalkDir::new(repository(folder))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= MAX_SEED_BYTES))
        .map(walkdir::DirEntry::into_path)
        .filter(|path| {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            extensions.is_empty() || extensions.contains(&extension.as_ref())
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The streams that begin with a marker inside the DICOM fixtures.
fn streams(start: &[u8]) -> Vec<Vec<u8>> {
    files("tests/fixtures/dicom", &["dcm"])
        .iter()
        .filter_map(|file| {
            let at = file.windows(start.len()).position(|found| found == start)?;
            Some(file[at..].to_vec())
        })
        .collect()
}

/// A journal of two rows, a failure and a file, as an interrupted run leaves it.
fn journal() -> Vec<u8> {
    let recipe = serde_json::json!({
        "model": {"name": "m", "weights": "1", "graph": "2"},
        "preprocess": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "dtype": "f32",
        "columns": [{"name": "embedding", "dimension": 2}],
    });
    let row = |hash: u8| [vec![hash; 32], 1f32.to_le_bytes().to_vec(), 2f32.to_le_bytes().to_vec()].concat();
    let records = [
        (1u8, recipe.to_string().into_bytes()),
        (3, row(1)),
        (3, row(2)),
        (4, [vec![3; 32], b"truncated".to_vec()].concat()),
    ];
    let mut bytes = Vec::new();
    for (kind, payload) in records {
        let digest = Sha256::new().chain_update([kind]).chain_update(&payload).finalize();
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.push(kind);
        bytes.extend(&payload);
        bytes.extend(&digest[..8]);
    }
    bytes
}

fn small_weights() -> Vec<u8> {
    let header = br#"{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"h":{"dtype":"F16","shape":[1,1],"data_offsets":[8,10]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header, &[0; 10]].concat()
}

/// Tables as they come, behind the byte that chooses their extension.
fn tables() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [
        b"\0path,label,split,group\na.png,cat,train,1\nb.png,\"dog, large\",test,2\n",
        b"\0sep=;\npath;labels\na.png;a|b\nb.png;\n",
        b"\x01path\tlabel\tweight\na.png\t1.0\t2\nscan.dcm#3\tNaN\t\n",
        b"\0\xef\xbb\xbfpath,label\r\n'a.png',TRUE\r\n",
        b"\0path,label\nfile:///a.png,1\n\xff\xfe,2\n",
    ];
    texts.iter().map(|text| text.to_vec()).collect()
}

/// What a target is tried with, unchanged.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "jpeg" => [files("tests/fixtures", &["jpg"]), streams(&[0xff, 0xd8, 0xff, 0xc3])].concat(),
        "jpeg_ls" => streams(&[0xff, 0xd8, 0xff, 0xf7]),
        "jpeg2000" => streams(&[0xff, 0x4f, 0xff, 0x51]),
        "picture" => files("tests/fixtures/pixels", &["png", "tif", "bmp", "webp", "gif", "ppm", "pgm"]),
        "dicom" => files("tests/fixtures/dicom", &["dcm"]),
        "pickle" => files("tests/fixtures/pickle", &["pt"]),
        "safetensors" => vec![small_weights()],
        "onnx" => {
            [files("tests/fixtures", &["onnx"]), vec![crate::embed::network("fuzz").to_bytes().unwrap()]].concat()
        }
        "features" | "cache" => {
            let scene = Scene::new(6);
            let cache = scene.path("cache");
            assert_eq!(scene.run(&cache, &[]).0, 0);
            let extension = if target == "cache" { "json" } else { "parquet" };
            files(&cache.to_string_lossy(), &[extension])
        }
        "table" => tables(),
        "manifest" => files("data-manifests", &["toml"]),
        "journal" => vec![journal()],
        other => unreachable!("`{other}` has no seeds"),
    };
    seeds.extend(files(&format!("tests/fuzz/found/{target}"), &[]));
    seeds
}

/// A copy of `bytes` with some bytes changed, or cut off, or doubled.
fn changed(bytes: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    if copy.is_empty() {
        return copy;
    }
    match random.gen_range(0..4) {
        0 => copy.truncate(random.gen_range(0..copy.len())),
        1 => {
            let start = random.gen_range(0..copy.len());
            let end = (start + random.gen_range(1..64)).min(copy.len());
            let part = copy[start..end].to_vec();
            copy.splice(start..start, part);
        }
        _ => {
            for _ in 0..random.gen_range(1..6) {
                let at = random.gen_range(0..copy.len());
                copy[at] = [0, 0xff, 0x7f, 0x80, random.r#gen()][random.gen_range(0..5)];
            }
        }
    }
    copy
}

#[test]
fn no_reader_panics_or_hangs_on_fixtures_and_on_changed_copies_of_them() {
    for (name, run) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "`{name}` has no seeds");
        let mut random = Seed::new(17).named(name).random();
        for (index, seed) in seeds.iter().enumerate() {
            let copies = (0..CHANGES).map(|_| changed(seed, &mut random));
            for (change, bytes) in std::iter::once(seed.clone()).chain(copies).enumerate() {
                let start = Instant::now();
                run(&bytes);
                let time = start.elapsed();
                assert!(time < MAX_TIME, "`{name}`, seed {index}, change {change} took {time:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs to be asked for: `scripts/fuzz.sh` runs it to write the seeds to target/fuzz/corpus"]
fn write_the_corpus() {
    for (name, _) in TARGETS {
        let folder = repository("target/fuzz/corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        for (index, seed) in seeds(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{index:03}")), seed).unwrap();
        }
    }
}
