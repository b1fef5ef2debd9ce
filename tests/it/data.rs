//! Datasets from folders and tables.

use std::path::Path;

use defrost::data;
use defrost::data::{Dataset, Label, Layout, OpenOptions, SkipReason, Split, Task};

/// Empty files: opening a dataset does not read its images.
pub(crate) fn touch(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    }
}

fn open(path: &Path) -> defrost::Result<Dataset> {
    data::open(path, &OpenOptions::default())
}

/// `id class split` of every sample.
pub(crate) fn rows(dataset: &Dataset) -> Vec<String> {
    let row = |sample: &data::Sample| {
        let label = match &sample.label {
            Label::Unknown => "?".to_owned(),
            Label::Class(class) => dataset.classes[*class].clone(),
            Label::Classes(classes) => classes.iter().map(|c| c.map_or('?', |c| if c { '1' } else { '0' })).collect(),
        };
        format!("{} {label} {}", sample.id, sample.split.map_or("-", Split::name))
    };
    dataset.samples.iter().map(row).collect()
}

#[test]
fn class_folders_with_everything_that_lies_beside_images() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(root, &["b/2.PNG", "b/deep/er/1.jpg", "a/1.tiff", "a/Thumbs.db", "a/.hidden.jpg", "__MACOSX/a/1.jpg"]);
    touch(root, &["montage.jpg", "README.md", "notes/a.txt"]);
    let dataset = open(root).unwrap();
    assert_eq!(rows(&dataset), ["a/1.tiff a -", "b/2.PNG b -", "b/deep/er/1.jpg b -"]);
    assert_eq!(dataset.task, Task::Multiclass);
    assert_eq!(dataset.samples[0].path, root.join("a/1.tiff"));
    let skipped: Vec<_> = dataset
        .skipped
        .iter()
        .map(|skipped| (skipped.path.strip_prefix(root).unwrap().to_str().unwrap(), skipped.reason))
        .collect();
    assert_eq!(
        skipped,
        [
            ("README.md", SkipReason::NotAnImage),
            ("__MACOSX", SkipReason::Hidden),
            ("a/.hidden.jpg", SkipReason::Hidden),
            ("a/Thumbs.db", SkipReason::Hidden),
            ("montage.jpg", SkipReason::OutsideClasses),
            ("notes/a.txt", SkipReason::NotAnImage),
        ]
    );
    assert_eq!(dataset.notes, ["class `a` has one image: it cannot be both fitted and evaluated"]);
}

#[test]
fn split_folders_and_a_mixture_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(root, &["train/a/1.jpg", "train/b/1.jpg", "Val/a/2.jpg", "test/b/2.jpg"]);
    let expected =
        ["Val/a/2.jpg a validation", "test/b/2.jpg b test", "train/a/1.jpg a train", "train/b/1.jpg b train"];
    assert_eq!(rows(&open(root).unwrap()), expected);

    touch(root, &["extra/1.jpg"]);
    let error = open(root).unwrap_err();
    assert!(error.to_string().contains("`Val`, `test`, `train` beside `extra`"), "{error}");
    let classes = OpenOptions { layout: Layout::Classes, ..OpenOptions::default() };
    assert_eq!(data::open(root, &classes).unwrap().classes, ["Val", "extra", "test", "train"]);
}

#[test]
fn images_without_folders_are_unlabelled_and_no_images_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    touch(folder.path(), &["2.jpg", "10.jpg"]);
    let dataset = open(folder.path()).unwrap();
    assert_eq!(rows(&dataset), ["10.jpg ? -", "2.jpg ? -"]);
    assert_eq!((dataset.task, dataset.classes.len()), (Task::Unlabelled, 0));

    let empty = tempfile::tempdir().unwrap();
    touch(empty.path(), &["a/readme.txt"]);
    assert!(open(empty.path()).unwrap_err().to_string().contains("holds no image; 1 other files"), "no image");
    assert!(open(&empty.path().join("nowhere")).is_err());
}

/// `python/cpython#88041`: a walk that follows links met one that leads back, and gave up.
/// `jjjake/internetarchive#284`: one name in another encoding, and nothing was read at all.
#[cfg(unix)]
#[test]
fn one_bad_entry_is_left_out_and_the_others_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    touch(root, &["a/1.png", "b/2.png"]);
    symlink("..", root.join("a/up")).unwrap();
    symlink("self.png", root.join("a/self.png")).unwrap();
    symlink("second", root.join("b/first")).unwrap();
    symlink("first", root.join("b/second")).unwrap();
    std::fs::write(root.join("b").join(OsStr::from_bytes(b"M\xfcller.png")), b"").unwrap();
    std::fs::write(root.join("b").join(OsStr::from_bytes(b"n\xf6tes.txt")), b"").unwrap();
    let directory = root.join(OsStr::from_bytes(b"\xe4"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("3.png"), b"").unwrap();
    let status = std::process::Command::new("mkfifo").arg(root.join("a/pipe.png")).status().unwrap();
    assert!(status.success());

    let dataset = open(root).unwrap();
    assert_eq!(rows(&dataset), ["a/1.png a -", "b/2.png b -"]);
    let mut reasons: Vec<SkipReason> = dataset.skipped.iter().map(|skipped| skipped.reason).collect();
    reasons.sort_unstable();
    let (link, loops, name) = (SkipReason::BrokenLink, SkipReason::LinkLoop, SkipReason::NameNotUtf8);
    assert_eq!(reasons, [SkipReason::NotAnImage, SkipReason::NotAnImage, link, link, link, loops, name, name]);
    assert_eq!(dataset.unread(), 2);
}

/// As above, for a folder without rights. Nothing is without rights for the administrator, who
/// therefore asks as somebody else: with a copy of the program that everybody can reach.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_listed_is_left_out() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    for class in ["a", "b"] {
        std::fs::create_dir_all(images.join(class)).unwrap();
        image::GrayImage::new(8, 8).save(images.join(class).join("1.png")).unwrap();
    }
    let locked = images.join("b");
    let rights = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    rights(folder.path(), 0o755);
    rights(&locked, 0o000);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_defrost"));
    if std::fs::read_dir(&locked).is_ok() {
        let program = folder.path().join("defrost");
        std::fs::copy(env!("CARGO_BIN_EXE_defrost"), &program).unwrap();
        command = std::process::Command::new(program);
        command.uid(NOBODY).gid(NOBODY).current_dir(folder.path());
    }
    let output = command.args(["data", "inspect"]).arg(&images).output().unwrap();
    rights(&locked, 0o755);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 image, 1 class"), "{text}");
    assert!(text.contains("left out: 1 entry that cannot be read (`b`)"), "{text}");
}
