//! Leaks: in datasets, in tables of features, on the command line.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, RecordBatch, StringArray};
use arrow::datatypes::Float32Type;
use defrost::audit::{of_features, of_images};
use defrost::data;
use defrost::data::{OpenOptions, inspect::inspect};
use defrost::embed::{FeatureColumns, Features};
use defrost::pixels::DecodeLimits;
use defrost::support::progress::Silent;
use parquet::arrow::ArrowWriter;

/// A table of features with splits, groups and labels: rows 0 to 3 train, 4 to 7 test.
fn features(folder: &Path, near: f32) -> std::path::PathBuf {
    let text = |cells: [&str; 8]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
    // Row 4 lies `near` away from row 0; row 5 is the same file as row 1; the others stand at right
    // angles to all.
    let mut x = [[0.0f32; 8]; 8];
    (0..8).for_each(|row| x[row][row] = 2.0);
    x[4] = x[0];
    x[4][4] = near;
    x[5] = x[1];
    let embeddings = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(x.map(|row| Some(row.map(Some))), 8);
    let columns: [(&str, ArrayRef); 7] = [
        ("id", text(["0", "1", "2", "3", "4", "5", "6", "7"])),
        ("path", text(["0.png", "1.png", "2.png", "3.png", "4.png", "5.png", "6.png", "7.png"])),
        ("split", text(["train", "train", "train", "train", "test", "test", "test", "test"])),
        ("group", text(["p0", "p1", "p2", "p3", "p4", "p5", "p3", "p7"])),
        ("label", text(["a", "a", "b", "b", "a", "b", "b", "b"])),
        ("content_hash", text(["h0", "h1", "h2", "h3", "h4", "h1", "h6", "h7"])),
        ("embedding", Arc::new(embeddings)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = folder.join("features.parquet");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn groups_copies_contradictions_and_near_duplicates_of_features_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = features(folder.path(), 0.2);
    let audit = of_features(&Features::open(&path, &FeatureColumns::default()).unwrap(), 0.98).unwrap();
    assert_eq!(audit.divided_groups, ["p3"]);
    assert_eq!((audit.equal.count, audit.contradictions.count), (1, 1));
    assert_eq!((audit.equal.first[0].a.id.as_str(), audit.equal.first[0].b.id.as_str()), ("5", "1"));
    let near = audit.near.as_ref().unwrap();
    assert_eq!(near.pairs.count, 1, "the copy is not counted again: {near:?}");
    let pair = &near.pairs.first[0];
    assert_eq!((pair.a.id.as_str(), pair.b.id.as_str()), ("4", "0"));
    assert!((pair.similarity - 2.0 / f64::from(4.04f32).sqrt()).abs() < 1e-6);
    assert!(!audit.is_sound());
    let far = features(folder.path(), 2.0);
    let audit = of_features(&Features::open(&far, &FeatureColumns::default()).unwrap(), 0.98).unwrap();
    assert_eq!(audit.near.unwrap().pairs.count, 0);
}

/// Three copies of one image, the first neither divided nor labelled: the other two leak and
/// contradict each other all the same.
#[test]
fn copies_are_compared_with_each_other_and_what_is_unknown_accuses_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let text = |cells: [Option<&str>; 4]| Arc::new(StringArray::from(cells.to_vec())) as ArrayRef;
    let rows = (0..4).map(|row| Some([Some(1.0f32), Some(row as f32)]));
    let columns: [(&str, ArrayRef); 5] = [
        ("id", text([Some("0"), Some("1"), Some("2"), Some("3")])),
        ("split", text([None, Some("train"), Some("test"), Some("train")])),
        ("label", text([None, Some("a"), Some("b"), Some("b")])),
        ("content_hash", text([Some("same"), Some("same"), Some("same"), Some("other")])),
        ("embedding", Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    let path = folder.path().join("features.parquet");
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let audit = of_features(&Features::open(&path, &FeatureColumns::default()).unwrap(), 0.999).unwrap();
    assert_eq!((audit.equal.count, audit.contradictions.count), (1, 1));
    assert_eq!((audit.equal.first[0].a.id.as_str(), audit.equal.first[0].b.id.as_str()), ("2", "1"));
}

#[test]
fn images_of_equal_pixels_in_two_splits_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, shade: u8| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::from_fn(9, 7, |x, _| image::Luma([shade + x as u8])).save(path).unwrap();
    };
    for (name, shade) in
        [("train/cat/1.png", 1), ("train/dog/2.png", 40), ("test/cat/3.tiff", 40), ("test/dog/4.png", 90)]
    {
        save(name, shade);
    }
    let dataset = data::open(folder.path(), &OpenOptions::default()).unwrap();
    let audit = of_images(&dataset, Some(&inspect(&dataset, &DecodeLimits::default(), &Silent)));
    assert_eq!((audit.equal.count, audit.contradictions.count), (1, 1));
    assert!(!audit.is_sound());
    assert!(of_images(&dataset, None).is_sound(), "without its pixels there is nothing to see");
}

#[test]
fn the_command_tells_leaks_shows_them_and_probes_refuse_them() {
    let folder = tempfile::tempdir().unwrap();
    let table = features(folder.path(), 0.2).display().to_string();
    let page = folder.path().join("audit.html");
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_defrost")).args(arguments).output().unwrap();
    let output = run(&["data", "audit", &table, "--embedding", "embedding", "--out", page.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    insta::assert_snapshot!(text, @r"
    8 images: 4 train, 4 test
    groups in two splits   1
        p3
    equal images           1 pair
        5 (test, b) ~ 1 (train, a)  1.0000
    contradicting labels   1 pair
        5 (test, b) ~ 1 (train, a)  1.0000
    near-duplicates (0.98) 1 pair
        4 (test, a) ~ 0 (train, a)  0.9950
    LEAKS: figures on this data are too good
    ");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("1 group in more than one split") && html.contains("cosine 0.9950"));
    assert!(!html.contains("http://") && !html.contains("https://"), "the page needs no network");

    let refused = run(&["probe", "linear", &table, "--c-grid", "1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("group `p3` has samples in the"));
    let allowed = run(&["probe", "linear", &table, "--c-grid", "1", "--allow-leak", "--json"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", String::from_utf8_lossy(&allowed.stderr));
    let record: serde_json::Value = serde_json::from_slice(&allowed.stdout).unwrap();
    assert_eq!(record["leaks"].as_array().unwrap().len(), 2);
}
