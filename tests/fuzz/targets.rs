//! What is fuzzed: every reader of bytes from outside, one function each.
//!
//! A target must end, in bounded time and memory, without a panic; what it makes of the bytes does
//! not matter, an error least of all. `tests/it/fuzz.rs` runs the same functions over the fixtures
//! and over what fuzzing has found, so that nothing comes back.

use std::path::{Path, PathBuf};

use defrost::data::manifest::manifest;
use defrost::data::{Frames, OpenOptions};
use defrost::embed::{FeatureColumns, Features};
use defrost::graph::{Model, infer, text, validate};
use defrost::pixels::{DecodeLimits, Decoding};
use defrost::tensor::Weights;

/// A target's name, and what it does with the bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const TARGETS: [Target; 13] = [
    ("jpeg", jpeg),
    ("jpeg_ls", jpeg_ls),
    ("jpeg2000", jpeg2000),
    ("picture", picture),
    ("dicom", dicom),
    ("pickle", pickle),
    ("safetensors", safetensors),
    ("onnx", onnx),
    ("features", features),
    ("cache", cache),
    ("table", table),
    ("manifest", manifest_file),
    ("journal", journal),
];

/// Pixels that a fuzzed header may announce: enough for every path, little enough to be quick.
const MAX_PIXELS: u64 = 1 << 20;

fn decoding() -> Decoding {
    Decoding {
        limits: DecodeLimits { max_pixels: MAX_PIXELS, max_bytes: 1 << 24, max_time: None },
        ..Decoding::default()
    }
}

/// JPEG streams: sequential, progressive, lossless, of 8 to 16 bits.
pub(crate) fn jpeg(bytes: &[u8]) {
    if bytes.starts_with(&[0xff, 0xd8]) {
        picture(bytes);
    }
}

/// Pictures of any format that is recognised by content, reduced while they are decoded and not.
pub(crate) fn picture(bytes: &[u8]) {
    let _ = decoding().decode(bytes);
}

/// DICOM files; the first frame of those that have several.
pub(crate) fn dicom(bytes: &[u8]) {
    let _ = decoding().decode(bytes);
    let _ = Decoding { frame: Some(0), ..decoding() }.decode(bytes);
}

/// A JPEG-LS stream as the one frame of a DICOM file that says of itself what the stream says.
pub(crate) fn jpeg_ls(bytes: &[u8]) {
    let size = segment(bytes, 0xf7).map(|frame| frame.get(..6).map(<[u8]>::to_vec));
    let Some(Some(frame)) = size else { return };
    let (rows, columns) = (u16::from_be_bytes([frame[1], frame[2]]), u16::from_be_bytes([frame[3], frame[4]]));
    let form = Form { syntax: "1.2.840.10008.1.2.4.80", rows, columns, samples: frame[5], bits: frame[0] };
    dicom(&form.file(bytes));
}

/// A JPEG 2000 codestream as the one frame of a DICOM file that says of itself what the stream
/// says.
pub(crate) fn jpeg2000(bytes: &[u8]) {
    let Some(size) = segment(bytes, 0x51).filter(|size| size.len() >= 37) else { return };
    let number = |at: usize| u32::from_be_bytes([size[at], size[at + 1], size[at + 2], size[at + 3]]);
    let side = |end: usize, start: usize| u16::try_from(number(end).saturating_sub(number(start))).unwrap_or(u16::MAX);
    let form = Form {
        syntax: "1.2.840.10008.1.2.4.90",
        rows: side(6, 14),
        columns: side(2, 10),
        samples: size[35],
        bits: (size[36] & 0x7f).saturating_add(1),
    };
    dicom(&form.file(bytes));
}

/// The payload of the first segment of a marker, behind its length.
fn segment(bytes: &[u8], marker: u8) -> Option<&[u8]> {
    let at = bytes.windows(2).position(|pair| pair == [0xff, marker])?;
    let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
    bytes.get(at + 4..(at + 2 + length).min(bytes.len()))
}

/// What a DICOM file says of its one compressed frame.
struct Form {
    syntax: &'static str,
    rows: u16,
    columns: u16,
    samples: u8,
    bits: u8,
}

impl Form {
    /// The file around a frame.
    fn file(&self, frame: &[u8]) -> Vec<u8> {
        let deep = if self.bits > 8 { 16u16 } else { 8 };
        let photometric = if self.samples == 3 { "RGB " } else { "MONOCHROME2 " };
        let mut file = vec![0; 128];
        file.extend(b"DICM");
        let mut syntax = self.syntax.as_bytes().to_vec();
        if syntax.len() % 2 == 1 {
            syntax.push(0);
        }
        let mut meta = Vec::new();
        element(&mut meta, (0x0002, 0x0010), *b"UI", &syntax);
        element(&mut file, (0x0002, 0x0000), *b"UL", &(meta.len() as u32).to_le_bytes());
        file.extend(meta);
        element(&mut file, (0x0028, 0x0002), *b"US", &u16::from(self.samples).to_le_bytes());
        element(&mut file, (0x0028, 0x0004), *b"CS", photometric.as_bytes());
        if self.samples > 1 {
            element(&mut file, (0x0028, 0x0006), *b"US", &0u16.to_le_bytes());
        }
        for (tag, value) in [
            (0x0010, self.rows),
            (0x0011, self.columns),
            (0x0100, deep),
            (0x0101, u16::from(self.bits)),
            (0x0102, u16::from(self.bits).saturating_sub(1)),
            (0x0103, 0),
        ] {
            element(&mut file, (0x0028, tag), *b"US", &value.to_le_bytes());
        }
        file.extend([0xe0, 0x7f, 0x10, 0x00, b'O', b'B', 0, 0, 0xff, 0xff, 0xff, 0xff]);
        file.extend([0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0]);
        let length = frame.len() + frame.len() % 2;
        file.extend([0xfe, 0xff, 0x00, 0xe0]);
        file.extend((length as u32).to_le_bytes());
        file.extend(frame);
        file.resize(file.len() + frame.len() % 2, 0);
        file.extend([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
        file
    }
}

/// A short element, explicit, little-endian.
fn element(file: &mut Vec<u8>, tag: (u16, u16), representation: [u8; 2], value: &[u8]) {
    file.extend(tag.0.to_le_bytes());
    file.extend(tag.1.to_le_bytes());
    file.extend(representation);
    file.extend((value.len() as u16).to_le_bytes());
    file.extend(value);
}

/// PyTorch checkpoints: zip archives and older streams.
pub(crate) fn pickle(bytes: &[u8]) {
    weights(bytes, "weights.pth");
}

/// Safetensors files.
pub(crate) fn safetensors(bytes: &[u8]) {
    weights(bytes, "weights.safetensors");
}

fn weights(bytes: &[u8], name: &str) {
    in_file(bytes, name, |path| {
        let Ok(weights) = Weights::open(path) else { return };
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        for name in names {
            let _ = weights.get(&name);
        }
    });
}

/// ONNX files: decoded, validated, typed, printed, written again.
pub(crate) fn onnx(bytes: &[u8]) {
    let Ok(model) = Model::from_bytes(bytes.to_vec().into()) else { return };
    let _ = validate(&model);
    let _ = infer(&model);
    let _ = text(&model);
    let again = model.to_bytes().expect("a decoded model can be written");
    Model::from_bytes(again.into()).expect("a written model can be decoded");
}

/// Parquet files of features.
pub(crate) fn features(bytes: &[u8]) {
    in_file(bytes, "features.parquet", |path| {
        let _ = Features::open(path, &FeatureColumns::default());
    });
}

/// The file that says what a cache holds.
pub(crate) fn cache(bytes: &[u8]) {
    in_file(bytes, "cache.json", |path| {
        let folder = path.parent().unwrap_or(path);
        let _ = defrost::embed::verify(folder);
        let _ = Features::open(folder, &FeatureColumns::default());
    });
}

/// Tables of images: the first byte says whether they end in `.csv`, `.tsv` or `.parquet`.
pub(crate) fn table(bytes: &[u8]) {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let name = ["table.csv", "table.tsv", "table.parquet"][usize::from(kind) % 3];
    in_file(rest, name, |path| {
        for frames in [Frames::default(), Frames::All] {
            let options = OpenOptions { keep_missing: true, frames, ..OpenOptions::default() };
            let _ = defrost::data::open(path, &options);
        }
    });
}

/// Descriptions of published datasets.
pub(crate) fn manifest_file(bytes: &[u8]) {
    in_file(bytes, "manifest.toml", |path| {
        let Ok(manifest) = manifest(&path.to_string_lossy()) else { return };
        let _ = manifest.variant(None);
        let _ = manifest.import(path.parent().unwrap_or(path), &Default::default());
    });
}

/// What a killed run left.
pub(crate) fn journal(bytes: &[u8]) {
    let folder = folder();
    let work = folder.path().join(".work");
    if std::fs::create_dir(&work).and_then(|()| std::fs::write(work.join("journal"), bytes)).is_ok() {
        let _ = defrost::embed::unfinished(folder.path());
    }
}

fn in_file(bytes: &[u8], name: &str, read: impl FnOnce(&Path)) {
    let folder = folder();
    let path = folder.path().join(name);
    if std::fs::write(&path, bytes).is_ok() {
        read(&path);
    }
}

/// A folder in memory, where the system has one.
fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary folder can be made")
}
