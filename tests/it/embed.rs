//! Embedding real image files with a small real network: what a cache holds, what it reuses, what
//! it refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use defrost::data::{self, Label, OpenOptions};
use defrost::embed::{
    CacheKey, EmbedOptions, EmbedRun, EmbedSummary, EmbeddingColumn, FeatureColumns, Features, ModelRecord, Network,
    Precision, embed,
};
use defrost::graph::{Builder, ConvOptions, Dim, Model};
use defrost::preprocess::Preprocess;
use defrost::runtime::{Device, Runtime};
use defrost::support::fs::sha256;
use defrost::support::progress::{Progress, Silent};
use defrost::support::seed::Seed;
use defrost::tensor::{DType, HostTensor};
use defrost::{Error, Result};
use image::{ImageFormat, RgbImage};
use rand::Rng;

/// Values of an embedding.
const DIMENSION: usize = 16;
/// Side of the network's input.
pub(crate) const SIDE: u32 = 32;

fn random_tensor(name: &str, shape: &[usize]) -> HostTensor {
    let mut random = Seed::new(7).named(name).random();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.gen_range(-0.3..0.3)).collect();
    HostTensor::from_vec(shape.to_vec(), values).unwrap()
}

/// A network of two convolutions from `input` [N, 3, 32, 32] to `embedding` [N, 16].
pub(crate) fn network(seed: &str) -> Model {
    let mut builder = Builder::new("small");
    let side = Dim::Fixed(i64::from(SIDE));
    let shape = [Dim::symbol("batch"), Dim::Fixed(3), side.clone(), side];
    let x = builder.input("input", DType::F32, &shape);
    let first = builder.parameter("first", &random_tensor(seed, &[8, 3, 3, 3]));
    let second = builder.parameter("second", &random_tensor("second", &[DIMENSION, 8, 3, 3]));
    let x = builder.conv(&x, &first, None, ConvOptions::default());
    let x = builder.apply("Relu", &[&x]);
    let x = builder.conv(&x, &second, None, ConvOptions::default());
    let x = builder.global_average_pool(&x);
    let x = builder.flatten(&x, 1);
    builder.output("embedding", &x);
    builder.finish().unwrap()
}

/// A picture that differs from every other: blocks of colours drawn from its name.
pub(crate) fn picture(name: &str, side: u32) -> RgbImage {
    let mut random = Seed::new(3).named(name).random();
    let blocks: Vec<[u8; 3]> = (0..64).map(|_| random.r#gen()).collect();
    RgbImage::from_fn(side, side, |x, y| image::Rgb(blocks[(x * 8 / side + y * 8 / side * 8) as usize]))
}

/// A folder of two classes with BMP and PNG files, named `00000`, `00001`, ...
pub(crate) fn write_images(folder: &Path, count: usize, side: u32) {
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(folder.join(class)).unwrap();
    }
    for number in 0..count {
        let name = format!("{number:05}");
        let class = if number % 3 == 0 { "cat" } else { "dog" };
        let (extension, format) = if number % 2 == 0 { ("bmp", ImageFormat::Bmp) } else { ("png", ImageFormat::Png) };
        let path = folder.join(class).join(format!("{name}.{extension}"));
        picture(&name, side).save_with_format(path, format).unwrap();
    }
}

/// A real image file.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess").join(name)
}

/// Size and digest of every visible file of a folder, by name.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, (usize, String)> {
    let visible = |path: &PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(visible);
    files
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), (bytes.len(), sha256(&bytes)))
        })
        .collect()
}

/// Images, a network and a cache in a folder of their own.
struct Scene {
    folder: tempfile::TempDir,
    network: Network,
    options: EmbedOptions,
}

impl Scene {
    fn new(count: usize) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        write_images(&folder.path().join("images"), count, 40);
        let model = network("first").detach().unwrap();
        let digest = model.digest.clone();
        let key = CacheKey {
            model: ModelRecord { name: "small".into(), weights: digest.clone(), graph: digest, changes: Vec::new() },
            preprocess: Preprocess::imagenet(SIDE, SIDE),
            dtype: Precision::F32,
            columns: vec![EmbeddingColumn::new("embedding", DIMENSION)],
        };
        let network = Network {
            model,
            input: "input".into(),
            outputs: vec!["embedding".into()],
            fixed_batch: None,
            key,
            exact: None,
        };
        let options = EmbedOptions { device: Device::Cpu, ..EmbedOptions::default() };
        Scene { folder, network, options }
    }

    fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn embed_into(&self, cache: &Path) -> Result<EmbedSummary> {
        let dataset = data::open(&self.images(), &OpenOptions::default())?;
        let run = EmbedRun { dataset: &dataset, network: &self.network, cache };
        embed(&run, &self.options, &|| Runtime::ensure(None, &Silent), &Silent)
    }

    fn embed(&self) -> EmbedSummary {
        self.embed_into(&self.cache()).unwrap()
    }

    fn features(&self) -> Features {
        Features::open(&self.cache(), &FeatureColumns::default()).unwrap()
    }
}

/// `(rows, computed, reused, failed)`.
fn counts(summary: &EmbedSummary) -> (usize, usize, usize, usize) {
    (summary.rows, summary.computed, summary.reused, summary.failed)
}

#[test]
fn a_cache_holds_every_image_in_order_and_a_rerun_computes_nothing() {
    let scene = Scene::new(50);
    assert_eq!(counts(&scene.embed()), (50, 50, 0, 0));
    let before = contents(&scene.cache());
    let features = scene.features();
    assert_eq!(
        (features.x.dim(), features.dataset.classes.as_slice()),
        ((50, DIMENSION), ["cat", "dog"].map(String::from).as_slice())
    );
    let samples = &features.dataset.samples;
    assert!(samples.is_sorted_by_key(|sample| &sample.id) && samples[0].id == "cat/00000.bmp");
    assert_eq!((&samples[0].label, &samples[49].label), (&Label::Class(0), &Label::Class(1)));
    assert_eq!(features.image(0).unwrap(), scene.images().join("cat/00000.bmp"));
    let again = scene.embed();
    assert_eq!((counts(&again), &again.device), ((50, 0, 50, 0), &None));
    assert_eq!(contents(&scene.cache()), before);
}

#[test]
fn rows_are_those_of_the_network_run_on_one_image() {
    let scene = Scene::new(9);
    for name in ["photo_a_q90.jpg", "photo_b_q90.jpg", "progressive.jpg", "cmyk.jpg", "exif_orientation.jpg"] {
        std::fs::copy(fixture(name), scene.images().join("dog").join(name)).unwrap();
    }
    assert_eq!(counts(&scene.embed()), (14, 14, 0, 0));
    let features = scene.features();
    let runtime = Runtime::ensure(None, &Silent).unwrap();
    let source = defrost::runtime::ModelSource::Detached(&scene.network.model);
    let mut session = defrost::runtime::Session::open(&runtime, source, &Default::default()).unwrap();
    let preprocess = scene.network.key.preprocess.clone().check().unwrap();
    for row in 0..features.len() {
        let image = defrost::pixels::decode_file(&features.image(row).unwrap(), &Default::default()).unwrap();
        let input = preprocess.apply(&image).unwrap();
        let input = input.reshaped([&[1], input.shape()].concat()).unwrap();
        let expected = session.run(&[("input", &input)], &["embedding"]).unwrap();
        assert_eq!(expected[0].to_f32().unwrap(), features.x.row(row).as_slice().unwrap());
    }
}

#[test]
fn batch_and_threads_do_not_change_a_byte() {
    let mut scene = Scene::new(23);
    scene.embed();
    let expected = contents(&scene.cache());
    for (batch, threads) in [(1, 1), (3, 2), (16, 1), (64, 3)] {
        let cache = scene.folder.path().join(format!("cache-{batch}-{threads}"));
        scene.options = EmbedOptions { batch, threads, ..scene.options };
        scene.embed_into(&cache).unwrap();
        assert_eq!(contents(&cache), expected, "batch {batch}, {threads} threads");
    }
}

#[test]
fn renamed_added_repeated_and_removed_images_cost_only_what_is_new() {
    let scene = Scene::new(30);
    scene.embed();
    let images = scene.images();
    std::fs::rename(images.join("cat/00000.bmp"), images.join("dog/renamed.bmp")).unwrap();
    assert_eq!(counts(&scene.embed()), (30, 0, 30, 0));
    picture("new", 40).save(images.join("cat/new.png")).unwrap();
    std::fs::copy(images.join("cat/new.png"), images.join("dog/copy.png")).unwrap();
    std::fs::copy(images.join("dog/renamed.bmp"), images.join("cat/old-copy.bmp")).unwrap();
    assert_eq!(counts(&scene.embed()), (33, 1, 32, 0));
    std::fs::remove_file(images.join("dog/renamed.bmp")).unwrap();
    assert_eq!(counts(&scene.embed()), (32, 0, 32, 0));
    let fresh = scene.folder.path().join("fresh");
    assert_eq!(scene.embed_into(&fresh).unwrap().computed, 31);
    assert_eq!(contents(&scene.cache()), contents(&fresh), "a grown cache equals one made at once");
}

#[test]
fn a_changed_image_is_embedded_again() {
    let scene = Scene::new(6);
    scene.embed();
    let before = scene.features();
    picture("other", 40).save(scene.images().join("cat/00003.png")).unwrap();
    assert_eq!(counts(&scene.embed()), (6, 1, 5, 0));
    let after = scene.features();
    let changed: Vec<&String> =
        (0..6).filter(|&row| before.x.row(row) != after.x.row(row)).map(|row| &after.dataset.samples[row].id).collect();
    assert_eq!(changed, ["cat/00003.png"]);
}

/// Written in place with its size and modification time: the time of the last change tells.
#[cfg(unix)]
#[test]
fn an_image_changed_in_place_with_its_old_size_and_time_is_embedded_again() {
    let scene = Scene::new(6);
    let path = scene.images().join("cat/00000.bmp");
    scene.embed();
    let modified = path.metadata().unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last - 300..=last].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, &bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(counts(&scene.embed()), (6, 1, 5, 0));
}

#[test]
fn bad_files_are_quarantined_with_reasons_and_not_tried_again() {
    let mut scene = Scene::new(12);
    let images = scene.images();
    let whole = std::fs::read(fixture("photo_a_q90.jpg")).unwrap();
    std::fs::write(images.join("cat/empty.jpg"), b"").unwrap();
    std::fs::write(images.join("cat/text.png"), b"not an image").unwrap();
    std::fs::write(images.join("dog/cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    let huge = std::fs::File::create(images.join("dog/huge.png")).unwrap();
    huge.set_len(scene.options.limits.max_bytes + 1).unwrap();
    let mut bomb = std::fs::read(images.join("dog/00001.png")).unwrap();
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let crc = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&crc);
    std::fs::write(images.join("dog/bomb.png"), bomb).unwrap();
    assert_eq!(counts(&scene.embed()), (12, 12, 0, 5));
    let table = quarantine(&scene.cache());
    let reason = |id: &str| table.get(id).cloned().unwrap_or_default();
    for (id, expected) in [
        ("cat/empty.jpg", "empty"),
        ("cat/text.png", "not an image"),
        ("dog/cut.jpg", "truncated"),
        ("dog/huge.png", "bytes are more than"),
        ("dog/bomb.png", "65536 x 65536 pixels"),
    ] {
        assert!(reason(id).contains(expected), "{id}: {}", reason(id));
    }
    let before = contents(&scene.cache());
    assert_eq!(counts(&scene.embed()), (12, 0, 12, 5));
    scene.options.retry = true;
    assert_eq!(counts(&scene.embed()), (12, 0, 12, 5));
    assert_eq!(contents(&scene.cache()), before);
    std::fs::write(images.join("dog/cut.jpg"), &whole).unwrap();
    scene.options.retry = false;
    assert_eq!(counts(&scene.embed()), (13, 1, 12, 4));
}

#[test]
fn embeddings_that_are_not_finite_are_quarantined() {
    let mut scene = Scene::new(5);
    let mut builder = Builder::new("overflow");
    let x = builder.input("input", DType::F32, &[Dim::symbol("n"), Dim::Fixed(3), Dim::Fixed(32), Dim::Fixed(32)]);
    let x = builder.global_average_pool(&x);
    let x = builder.flatten(&x, 1);
    let large = builder.scalar(1e38);
    let x = builder.apply("Mul", &[&x, &large]);
    let x = builder.apply("Exp", &[&x]);
    builder.output("embedding", &x);
    scene.network.model = builder.finish().unwrap().detach().unwrap();
    scene.network.key.columns[0].dimension = 3;
    let summary = scene.embed();
    assert!(summary.failed > 0 && summary.rows + summary.failed == 5, "{summary:?}");
    assert!(quarantine(&scene.cache()).values().all(|reason| reason.contains("the value inf in `embedding`")));
}

#[test]
fn another_model_preprocessing_or_precision_is_refused() {
    let mut scene = Scene::new(4);
    scene.embed();
    let before = contents(&scene.cache());
    let key = scene.network.key.clone();
    let mut refused = |change: &dyn Fn(&mut CacheKey), expected: &str| {
        scene.network.key = key.clone();
        change(&mut scene.network.key);
        let error = scene.embed_into(&scene.cache()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().to_string().contains("`out`"));
    };
    refused(&|key| key.model.weights = "0".repeat(64), "weights: cached");
    refused(&|key| key.preprocess = Preprocess::imagenet(36, SIDE), "preprocess `resize`");
    refused(&|key| key.dtype = Precision::F16, "dtype: cached f32, now f16");
    assert_eq!(contents(&scene.cache()), before);
}

#[test]
fn halves_are_the_rounded_floats() {
    let mut scene = Scene::new(11);
    scene.embed();
    let full = scene.features();
    scene.network.key.dtype = Precision::F16;
    scene.embed_into(&scene.folder.path().join("half")).unwrap();
    let half = Features::open(&scene.folder.path().join("half"), &FeatureColumns::default()).unwrap();
    assert_eq!(full.x.mapv(|value| half::f16::from_f32(value).to_f32()), half.x);
    assert_ne!(full.x, half.x);
}

#[test]
fn damaged_parts_are_told_and_repaired() {
    let scene = Scene::new(20);
    scene.embed();
    let before = contents(&scene.cache());
    let part = before.keys().find(|name| name.starts_with("part-")).unwrap();
    let path = scene.cache().join(part);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let error = Features::open(&scene.cache(), &FeatureColumns::default()).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(counts(&scene.embed()), (20, 20, 0, 0));
    assert_eq!(contents(&scene.cache()), before);
    // A flipped bit, found once rows of the part are needed again.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&path, flipped).unwrap();
    std::fs::remove_file(scene.images().join("cat/00000.bmp")).unwrap();
    picture("new", 40).save(scene.images().join("cat/new.png")).unwrap();
    assert_eq!(counts(&scene.embed()), (20, 20, 0, 0));
}

#[test]
fn two_runs_at_once_share_the_work() {
    let scene = Scene::new(60);
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| scene.embed());
        let other = scope.spawn(|| scene.embed());
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!((one.computed + other.computed, one.rows, other.rows), (60, 60, 60));
}

#[test]
fn a_locked_cache_is_told_of() {
    struct Notes(std::sync::Mutex<Vec<String>>);
    impl Progress for Notes {
        fn begin(&self, _: &str, _: u64, _: u64) {}
        fn advance(&self, _: u64) {}
        fn note(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
        fn end(&self) {}
    }
    let mut scene = Scene::new(3);
    scene.embed();
    let lock = std::fs::File::open(scene.cache().join(".work/lock")).unwrap();
    lock.lock().unwrap();
    scene.options.wait = false;
    let error = scene.embed_into(&scene.cache()).unwrap_err();
    assert!(matches!(error, Error::Cache(defrost::error::CacheError::Locked { .. })), "{error}");
    scene.options.wait = true;
    let notes = Notes(Default::default());
    let dataset = data::open(&scene.images(), &OpenOptions::default()).unwrap();
    let run = EmbedRun { dataset: &dataset, network: &scene.network, cache: &scene.cache() };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| embed(&run, &scene.options, &|| Runtime::ensure(None, &Silent), &notes).unwrap());
        while notes.0.lock().unwrap().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!waiting.is_finished());
        lock.unlock().unwrap();
        assert_eq!(waiting.join().unwrap().reused, 3);
    });
    assert!(notes.0.lock().unwrap()[0].contains("is being written by another process; waiting"));
}

#[test]
fn a_directory_of_other_things_is_left_alone() {
    let scene = Scene::new(2);
    let error = scene.embed_into(&scene.images()).unwrap_err();
    assert!(error.to_string().contains("no embedding cache and not empty"), "{error}");
    assert_eq!(std::fs::read_dir(scene.images()).unwrap().count(), 2);
    let file = scene.folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = scene.embed_into(&file.join("cache")).unwrap_err();
    assert!(error.to_string().contains("cannot create directory"), "{error}");
}

#[test]
fn a_network_whose_rows_depend_on_each_other_gets_one_image_at_a_time() {
    let mut scene = Scene::new(10);
    let mut builder = Builder::new("centred");
    let x = builder.input("input", DType::F32, &[Dim::symbol("n"), Dim::Fixed(3), Dim::Fixed(32), Dim::Fixed(32)]);
    let x = builder.global_average_pool(&x);
    let x = builder.flatten(&x, 1);
    let scale = builder.apply("ReduceMax", &[&x]);
    let x = builder.apply("Div", &[&x, &scale]);
    builder.output("embedding", &x);
    scene.network.model = builder.finish().unwrap().detach().unwrap();
    scene.network.key.columns[0].dimension = 3;
    scene.options.batch = 4;
    scene.embed();
    let batched = contents(&scene.cache());
    scene.options.batch = 1;
    scene.embed_into(&scene.folder.path().join("single")).unwrap();
    assert_eq!(contents(&scene.folder.path().join("single")), batched);
    scene.network.fixed_batch = Some(4);
    let error = scene.embed_into(&scene.folder.path().join("fixed")).unwrap_err();
    assert!(error.to_string().contains("depend on the other images"), "{error}");
}

/// Reasons of the quarantine table by id.
fn quarantine(cache: &Path) -> BTreeMap<String, String> {
    use arrow::array::cast::AsArray;
    let file = std::fs::File::open(cache.join("quarantine.parquet")).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).unwrap();
    let mut rows = BTreeMap::new();
    for batch in reader.map(|batch| batch.unwrap()) {
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (ids, reasons) = (text("id"), text("reason"));
        rows.extend((0..batch.num_rows()).map(|row| (ids.value(row).to_owned(), reasons.value(row).to_owned())));
    }
    rows
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}
