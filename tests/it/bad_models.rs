//! What a user may hand over by mistake or malice: nothing of it is executed, built or
//! half-written, and the reason is told.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a small DINOv2 of timm's.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        std::fs::copy(fixtures.join("snapshots/dinov2-timm/config.json"), folder.path("config.json")).unwrap();
        let weights = fixtures.join("backbones/dinov2-timm/model.safetensors");
        std::fs::copy(weights, folder.path("model.safetensors")).unwrap();
        folder
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn build(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["models", "build"]).arg(self.0.path()).arg("--no-fingerprint").args(arguments);
        command.current_dir(self.0.path()).output().unwrap()
    }

    /// A build that must fail so, without a file.
    fn refused(&self, arguments: &[&str], code: i32, expected: &str) {
        let output = self.build(&[&["--out", "out.onnx"], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(expected), "expected `{expected}`: {said}");
        let files: Vec<String> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(files.iter().all(|file| !file.contains("out.onnx")), "{files:?}");
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn truncated_safetensors_are_refused_wherever_they_end() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.path("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for length in [0, 4, 8, 8 + header / 2, 8 + header, whole.len() / 2, whole.len() - 1] {
        std::fs::write(folder.path("model.safetensors"), &whole[..length]).unwrap();
        folder.refused(&[], 2, "model.safetensors` is not a readable ");
    }
    std::fs::write(folder.path("model.safetensors"), [whole.as_slice(), b"more"].concat()).unwrap();
    folder.refused(&[], 2, "model.safetensors` is not a readable ");
}

/// A pickle that, read as Python reads it, runs a shell command.
fn pickle_with_code(marker: &Path) -> Vec<u8> {
    let command = format!("touch {}", marker.display());
    let mut bytes = b"\x80\x02cposix\nsystem\nX".to_vec();
    bytes.extend((command.len() as u32).to_le_bytes());
    bytes.extend(command.as_bytes());
    bytes.extend(b"\x85R.");
    bytes
}

#[test]
fn a_pickle_with_code_is_refused_and_not_run() {
    let folder = Folder::new();
    std::fs::remove_file(folder.path("model.safetensors")).unwrap();
    let marker = folder.path("was-run");
    let pickle = pickle_with_code(&marker);
    std::fs::write(folder.path("pytorch_model.bin"), &pickle).unwrap();
    folder.refused(
        &[],
        2,
        "refers to `posix.system`, which is neither a tensor nor plain data; nothing of it was executed",
    );
    let mut archive = zip::ZipWriter::new(std::fs::File::create(folder.path("pytorch_model.bin")).unwrap());
    archive.start_file("archive/data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&pickle).unwrap();
    archive.finish().unwrap();
    folder.refused(&[], 2, "refers to `posix.system`");
    assert!(!marker.exists());
}

#[test]
fn weights_of_another_family_and_sizes_that_are_no_patches_are_refused() {
    let folder = Folder::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/backbones");
    let resnet = fixtures.join("resnet-timm/model.safetensors");
    let resnet = resnet.to_str().unwrap();
    folder.refused(&["--weights", resnet], 2, "does not hold weights of the family of");
    folder.refused(&["--size", "57x56"], 2, "57x56 pixels are not whole patches of 14x14 pixels");
    folder.refused(&["--size", "0x56"], 2, "expected `any` or HEIGHTxWIDTH");
    folder.refused(&["--size", "any"], 2, "stands for one image size");
    let config = std::fs::read_to_string(folder.path("config.json")).unwrap();
    let changed = |from: &str, to: &str| {
        let text = config.replacen(from, to, 1);
        assert_ne!(text, config);
        std::fs::write(folder.path("config.json"), text).unwrap();
    };
    changed("\"depth\": 2", "\"depth\": 2, \"act_layer\": \"swish_oai\"");
    folder.refused(
        &[],
        2,
        "`model_args.act_layer`: the activation `swish_oai` is unknown; known are `gelu` and `quick_gelu`",
    );
    changed("\"embed_dim\": 48", "\"embed_dim\": 50");
    folder.refused(&[], 2, "`model_args.num_heads`: 4 heads do not divide `embed_dim` = 50");
    changed("\"embed_dim\": 48", "\"embed_dim\": 52");
    folder.refused(&[], 2, "`blocks.0.attn.qkv.bias`: needed [156], found [144]");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_written_model() {
    use std::os::unix::fs::FileTypeExt as _;

    let folder = Folder::new();
    let output = folder.build(&["--out", "/dev/full"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("No space left on device") && said.contains("hint: free disk space"), "{said}");
    assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device(), "the device is still one");

    // A limit of 16 blocks on the size of files stands for a disk that fills up in the middle of
    // the file.
    std::fs::write(folder.path("out.onnx"), "the old model").unwrap();
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" models build . --no-fingerprint --out out.onnx";
    let limited = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_defrost")])
        .current_dir(folder.0.path())
        .output()
        .unwrap();
    assert_eq!(limited.status.code(), Some(3), "{}", stderr(&limited));
    assert!(stderr(&limited).contains("cannot write `"), "{}", stderr(&limited));
    assert_eq!(std::fs::read(folder.path("out.onnx")).unwrap(), b"the old model");
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 3, "nothing is left beside it");
}
