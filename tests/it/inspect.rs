//! `defrost data inspect` and `defrost data split` on small image trees.

use std::path::Path;
use std::process::{Command, Output};

use defrost::data;
use defrost::data::inspect::{Inspection, inspect};
use defrost::data::{OpenOptions, Split};
use defrost::pixels::DecodeLimits;
use defrost::support::progress::Silent;
use image::{DynamicImage, GrayImage, ImageBuffer, Luma, RgbImage};
use tempfile::TempDir;

fn colour(shade: u8, width: u32) -> DynamicImage {
    RgbImage::from_fn(width, 6, |x, y| image::Rgb([shade, x as u8, y as u8])).into()
}

fn save(root: &Path, name: &str, image: &DynamicImage) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// Split folders with one of everything that can be wrong.
fn unsound() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    save(root, "train/cat/1.png", &colour(1, 8));
    save(root, "train/cat/2.tiff", &colour(2, 8));
    save(root, "train/dog/3.png", &GrayImage::from_pixel(9, 5, Luma([7])).into());
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(7, 7, |x, y| Luma([(x * 9000 + y) as u16]));
    save(root, "train/dog/4.png", &deep.into());
    // The same pixels in another format and split, and once more under another label.
    save(root, "test/cat/5.bmp", &colour(1, 8));
    save(root, "test/dog/6.png", &colour(6, 8));
    save(root, "test/cat/7.png", &colour(6, 8));
    std::fs::write(root.join("test/dog/8.jpg"), b"").unwrap();
    let whole = std::fs::read(root.join("train/cat/1.png")).unwrap();
    std::fs::write(root.join("test/dog/9.png"), &whole[..whole.len() / 2]).unwrap();
    folder
}

fn look(root: &Path) -> Inspection {
    inspect(&data::open(root, &OpenOptions::default()).unwrap(), &DecodeLimits::default(), &Silent)
}

fn defrost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_defrost")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn everything_wrong_with_a_dataset_is_found() {
    let folder = unsound();
    let found = look(folder.path());
    assert!(!found.is_sound());
    let broken: Vec<&str> = found.broken.iter().map(|broken| broken.id.as_str()).collect();
    assert_eq!(broken, ["test/dog/8.jpg", "test/dog/9.png"]);
    assert_eq!(found.broken[0].reason, "the file is empty");

    let ids = |set: &data::inspect::Duplicate| set.members.iter().map(|m| m.id.clone()).collect::<Vec<_>>();
    assert_eq!(found.duplicates.len(), 2);
    assert_eq!(found.leaks().map(ids).collect::<Vec<_>>(), [["test/cat/5.bmp", "train/cat/1.png"]]);
    assert_eq!(found.contradictions().map(ids).collect::<Vec<_>>(), [["test/cat/7.png", "test/dog/6.png"]]);
    assert_eq!(found.duplicates[0].members[1].split, Some(Split::Train));

    let shown =
        |all: &[data::inspect::Frequency]| all.iter().map(|f| format!("{} {}", f.value, f.count)).collect::<Vec<_>>();
    assert_eq!(shown(&found.formats), ["PNG 5", "BMP 1", "TIFF 1"]);
    assert_eq!(shown(&found.pixels), ["RGB, 8 bits 5", "grey, 16 bits 1", "grey, 8 bits 1"]);
    let sizes = found.sizes.unwrap();
    assert_eq!((sizes.width.min, sizes.width.median, sizes.width.max), (7, 8, 9));
    assert_eq!((sizes.height.min, sizes.height.median, sizes.height.max), (5, 6, 7));
    assert_eq!(shown(&sizes.most_frequent), ["8 x 6 5", "7 x 7 1", "9 x 5 1"]);

    let cat = &found.census.classes[0];
    assert_eq!((cat.class.as_str(), cat.present.all, cat.present.train, cat.present.test), ("cat", 4, 2, 2));
    assert_eq!((found.census.total.all, found.census.total.validation), (9, 0));
}

#[test]
fn a_group_in_two_splits_is_a_leak() {
    let folder = tempfile::tempdir().unwrap();
    for shade in 0..4u8 {
        save(folder.path(), &format!("{shade}.png"), &colour(shade, 8));
    }
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "path,group,split\n0.png,a,train\n1.png,a,test\n2.png,b,train\n3.png,,test\n").unwrap();
    let found = look(&table);
    let groups = found.groups.as_ref().unwrap();
    assert_eq!((groups.count, groups.largest, &groups.divided[..]), (2, 2, &["a".to_owned()][..]));
    assert!(found.broken.is_empty() && found.duplicates.is_empty() && !found.is_sound());
}

#[test]
fn inspect_prints_findings_and_exits_with_1() {
    let folder = unsound();
    let output = defrost(&["data", "inspect", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "9 images, 2 classes\n");
    let stdout = text(&output.stdout);
    for line in [
        "class   all  train  test",
        "cat       4      2     2",
        "formats     PNG (5), BMP (1), TIFF (1)",
        "broken      2 files",
        "    test/dog/8.jpg: the file is empty",
        "    test/cat/5.bmp (test, cat) = train/cat/1.png (train, cat)",
        "    test/cat/7.png (test, cat) = test/dog/6.png (test, dog)",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is not in\n{stdout}");
    }
    let output = defrost(&["data", "inspect", "--json", "--quiet", folder.path().to_str().unwrap()]);
    assert!(output.stderr.is_empty());
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["classes"][1]["class"], "dog");
    assert_eq!(record["broken"].as_array().unwrap().len(), 2);
}

#[test]
fn a_written_division_reads_back_as_the_same_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("images");
    for number in 0..40u8 {
        save(&root, &format!("class {}/{number}.png", number % 2), &colour(number, 8));
    }
    let (root, table) = (root.to_str().unwrap(), folder.path().join("division.csv"));
    let table = table.to_str().unwrap();
    let arguments = ["data", "split", root, "--out", table, "--seed", "3", "--fractions", "0.5,0.2,0.3", "--json"];
    let written = defrost(&arguments);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let written: serde_json::Value = serde_json::from_slice(&written.stdout).unwrap();
    assert_eq!(written["policy"], "stratified");
    let total = &written["total"];
    assert_eq!((&total["train"], &total["validation"], &total["test"]), (&20.into(), &8.into(), &12.into()));

    let read = defrost(&["data", "inspect", table, "--root", root, "--json"]);
    assert_eq!(read.status.code(), Some(0), "{}", text(&read.stderr));
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(read["fingerprint"], written["fingerprint"]);

    let again = defrost(&arguments);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("exists already\n  hint: choose another name"), "{}", text(&again.stderr));
}

#[test]
fn several_labels_ids_groups_and_weights_survive_writing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut table = "id,path,A,B,patient,weight\n".to_owned();
    for number in 0..30u8 {
        save(root, &format!("{number}.png"), &colour(number, 8));
        let (a, b) = (number % 2, ["1", "0", "-1", ""][usize::from(number) % 4]);
        table.push_str(&format!(
            "{:02},{number}.png,{a},{b},p{},{}\n",
            number,
            number / 2,
            1.0 + f32::from(number) / 8.0
        ));
    }
    let source = root.join("source.csv");
    std::fs::write(&source, table).unwrap();
    let out = root.join("out.tsv");
    let arguments = [source.to_str().unwrap(), "--class-columns", "A,B", "--group", "patient"];
    let written = defrost(&[&["data", "split", "--json", "--out", out.to_str().unwrap()], &arguments[..]].concat());
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    assert!(text(&written.stderr).contains("--class-columns A,B"), "{}", text(&written.stderr));
    let written: serde_json::Value = serde_json::from_slice(&written.stdout).unwrap();
    assert_eq!((&written["policy"], written["divided_groups"].as_array().unwrap().len()), (&"grouped".into(), 0));
    let read = defrost(&["data", "inspect", out.to_str().unwrap(), "--class-columns", "A,B", "--json"]);
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(read["fingerprint"], written["fingerprint"]);
    assert_eq!(read["classes"][1]["unknown"], 14);
}

#[test]
fn a_file_whose_decoding_takes_too_long_counts_as_broken() {
    // Nothing of 2,000 x 2,000 pixels is decoded in a microsecond; given time, both are.
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    image::RgbImage::from_fn(2000, 2000, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]))
        .save(images.join("slow.png"))
        .unwrap();
    image::RgbImage::new(8, 8).save(images.join("quick.png")).unwrap();
    let inspect = |seconds: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_defrost"));
        let output = command.args(["data", "inspect", "--max-seconds", seconds]).arg(&images).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = inspect("0.000001");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("slow.png") && text.contains("decoding takes longer than 0.000001 seconds"), "{text}");
    assert_eq!(inspect("600").0, Some(0));
    assert_eq!(inspect("0").0, Some(2));
}

#[test]
fn files_of_several_frames_are_counted_once_per_run() {
    use image::codecs::gif::GifEncoder;
    let folder = tempfile::tempdir().unwrap();
    for (class, frames) in [("a", 1), ("a", 2), ("b", 3)] {
        let path = folder.path().join(class).join(format!("{frames}.gif"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = GifEncoder::new(std::fs::File::create(path).unwrap());
        let frame = |shade| image::Frame::new(colour(shade, 8).to_rgba8());
        encoder.encode_frames((0..frames).map(|at| frame(40 * at + frames))).unwrap();
    }
    let root = folder.path().to_str().unwrap();
    let note = "2 files hold several pages or frames: the first of each is its image";
    assert_eq!(look(folder.path()).notes.last().map(String::as_str), Some(note));
    assert!(text(&defrost(&["data", "inspect", root]).stderr).contains(note));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx/initializers.onnx");
    let cache = folder.path().join("cache");
    let library = crate::session::runtime().library().to_owned();
    let embed =
        ["embed", root, "--model", model.to_str().unwrap(), "--out", cache.to_str().unwrap(), "--device", "cpu"];
    let library = ["--runtime-library", library.to_str().unwrap()];
    let told = defrost(&[&library[..], &embed[..]].concat()).stderr;
    assert_eq!(text(&told).matches(note).count(), 1, "{}", text(&told));
}
