//! DICOM files that must be refused, with their reason, and what must not leave a DICOM file.

use std::path::Path;
use std::process::Command;

use defrost::data::{self, Frames, OpenOptions};
use defrost::embed::{CacheKey, EmbedOptions, EmbedRun, EmbeddingColumn, ModelRecord, Network, Precision, embed};
use defrost::error::Error;
use defrost::pixels::{DecodeLimits, Decoding};
use defrost::preprocess::Preprocess;
use defrost::runtime::{Device, Runtime};
use defrost::support::progress::Silent;
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::dicom::{bytes, fixture};
use crate::embed::{SIDE, network};

/// The reason why bytes are refused.
fn refused(bytes: &[u8]) -> String {
    Decoding::default().decode(bytes).unwrap_err().to_string()
}

/// Where the value of an element starts whose header these bytes end.
fn value(bytes: &[u8], header: &[u8]) -> usize {
    bytes.windows(header.len()).position(|window| window == header).unwrap() + header.len()
}

/// A file with the 16-bit value of an element of group 0028 replaced.
fn with(name: &str, element: u16, number: u16) -> Vec<u8> {
    let mut bytes = bytes(name);
    let [low, high] = element.to_le_bytes();
    let at = value(&bytes, &[0x28, 0, low, high, b'U', b'S', 2, 0]);
    bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
    bytes
}

const PIXEL_DATA: [u8; 8] = [0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0];

#[test]
fn files_without_an_image_say_why() {
    assert_eq!(refused(&bytes("shipped/test-SR.dcm")), "damaged DICOM: there is no pixel data");
    assert_eq!(refused(&bytes("shipped/badVR.dcm")), "damaged DICOM: element (0028,0008) is not a whole number");
    let embedded = refused(&bytes("shipped/JPEG2000-embedded-sequence-delimiter.dcm"));
    assert_eq!(embedded, "JPEG 2000 with high-throughput block coding is not supported");
    let mut part_two = bytes("made/frames_table.dcm");
    let at = part_two.windows(22).position(|window| window == b"1.2.840.10008.1.2.4.50").unwrap();
    part_two[at + 18..at + 22].copy_from_slice(b"4.92");
    assert_eq!(refused(&part_two), "the file has 2 frames and none was chosen");
    let error = Decoding { frame: Some(0), ..Decoding::default() }.decode(&part_two).unwrap_err().to_string();
    assert!(error.starts_with("DICOM with pixels coded as JPEG 2000 Part 2 Multi-component"), "{error}");
}

/// Slopes and intercepts as fo-dicom/fo-dicom#1296 has windows: a comma is a point, and what cannot be
/// read is told by a window in rescaled values alone.
#[test]
fn rescaling_that_cannot_be_read_is_told_where_it_is_needed() {
    let whole = bytes("made/rescaled_signed.dcm");
    let header = [0x28, 0, 0x53, 0x10, b'D', b'S', 4, 0];
    let slope = |text: &[u8; 4]| {
        let mut bytes = whole.clone();
        let at = value(&bytes, &header);
        bytes[at..at + 4].copy_from_slice(text);
        bytes
    };
    let shown =
        |bytes: &[u8], window: &str| Decoding { window: window.parse().unwrap(), ..Decoding::default() }.decode(bytes);
    for window in ["file", "full", "percentiles:1,99", "40/400"] {
        let expected = shown(&whole, window).unwrap();
        for same in [b"1,5 ", b" 1.5", b"1. 5"] {
            assert_eq!(shown(&slope(same), window).unwrap(), expected, "{window}");
        }
        let unreadable = shown(&slope(b"x1.5"), window);
        match window {
            "full" | "percentiles:1,99" => assert_eq!(unreadable.unwrap(), expected, "{window}"),
            _ => {
                let told = unreadable.unwrap_err().to_string();
                assert_eq!(told, "damaged DICOM: element (0028,1053) is not a decimal number", "{window}");
            }
        }
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    let whole = bytes("made/window_linear.dcm");
    // Pixel data of 4 GiB: what is there is enough, so it is read; half of it is not.
    let at = value(&whole, &PIXEL_DATA);
    let mut long = whole.clone();
    long[at..at + 4].copy_from_slice(&0xFFFF_FFF0u32.to_le_bytes());
    assert_eq!(Decoding::default().decode(&long).unwrap(), Decoding::default().decode(&whole).unwrap());
    let cut = &long[..long.len() - 1000];
    assert_eq!(refused(cut), "truncated DICOM: the file ends before the image is complete");
    assert_eq!(refused(&bytes("shipped/MR_truncated.dcm")), refused(cut));
    // Too short a length, and one of another element.
    let mut short = whole.clone();
    short[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
    assert_eq!(refused(&short), refused(cut));
    let mut text = whole.clone();
    let name = value(&text, &[0x10, 0, 0x10, 0, b'P', b'N']);
    text[name..name + 2].copy_from_slice(&0xFFFEu16.to_le_bytes());
    assert!(refused(&text).starts_with("damaged DICOM: element (0010,0010) announces 65534 bytes where "));
}

#[test]
fn headers_that_cannot_be_are_refused_before_anything_is_decoded() {
    let name = "made/window_linear.dcm";
    let mut huge = with(name, 0x10, 40_000);
    let columns = value(&huge, &[0x28, 0, 0x11, 0, b'U', b'S', 2, 0]);
    huge[columns..columns + 2].copy_from_slice(&40_000u16.to_le_bytes());
    assert_eq!(refused(&huge), "40000 x 40000 pixels are more than the 178956970 allowed");
    assert_eq!(refused(&with(name, 0x11, 0)), "damaged DICOM: the image has 0 x 37 pixels");
    assert_eq!(refused(&with(name, 0x0100, 12)), "DICOM with 12 bits allocated per sample is not supported");
    assert_eq!(refused(&with(name, 0x0101, 17)), "damaged DICOM: 17 bits up to bit 11 are no part of 16 bits");
    assert_eq!(
        refused(&with(name, 0x02, 3)),
        "damaged DICOM: photometric interpretation MONOCHROME2 with 3 samples per pixel"
    );
    let mut other = bytes("made/planar.dcm");
    let at = value(&other, &[0x28, 0, 4, 0, b'C', b'S', 4, 0]);
    other[at..at + 4].copy_from_slice(b"HSV ");
    assert_eq!(refused(&other), "DICOM with photometric interpretation \"HSV\" is not supported");
    // Stored values that are the codestream's, not the header's.
    let taller = refused(&with("made/jpegls_12.dcm", 0x10, 38));
    assert_eq!(taller, "damaged DICOM: the codestream has 53 x 37 pixels, the image 53 x 38");
    let mut native = bytes("made/jpegls_12.dcm");
    let at = native.windows(22).position(|window| window == b"1.2.840.10008.1.2.4.80").unwrap();
    native[at..at + 22].copy_from_slice(b"1.2.840.10008.1.2.1\0\0\0");
    assert_eq!(refused(&native), "damaged DICOM: pixel data in fragments under a transfer syntax without them");
}

#[test]
fn fragments_are_put_together_or_refused() {
    let frame = |bytes: &[u8], frame| Decoding { frame: Some(frame), ..Decoding::default() }.decode(bytes);
    let expected = [0, 1].map(|number| frame(&bytes("made/frames_table.dcm"), number).unwrap());
    assert_ne!(expected[0], expected[1]);
    for name in ["made/frames_no_table.dcm", "made/frames_extended.dcm"] {
        assert_eq!([0, 1].map(|number| frame(&bytes(name), number).unwrap()), expected, "{name}");
    }
    // A table that points between fragments is not believed; the codestreams' starts are.
    let mut wrong = bytes("made/frames_table.dcm");
    let table = value(
        &wrong,
        &[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0, 0xE0, 8, 0, 0, 0],
    );
    wrong[table + 4] ^= 2;
    assert_eq!([0, 1].map(|number| frame(&wrong, number).unwrap()), expected);
    // Neither table nor starts.
    let mut lost = bytes("made/frames_no_table.dcm");
    let starts: Vec<usize> = (0..lost.len() - 3).filter(|&at| lost[at..at + 3] == [0xFF, 0xD8, 0xFF]).collect();
    lost[starts[1]] = 0;
    let error = frame(&lost, 1).unwrap_err().to_string();
    assert_eq!(error, "damaged DICOM: 4 fragments without a usable offset table cannot be divided into 2 frames");
    // The last fragment is cut off: the first frame is still there.
    let whole = bytes("made/frames_table.dcm");
    let cut = &whole[..whole.len() - 100];
    assert_eq!(frame(cut, 0).unwrap(), expected[0]);
    assert_eq!(frame(cut, 1).unwrap_err().to_string(), "truncated DICOM: the file ends before the image is complete");
}

#[test]
fn damaged_files_end_in_an_image_or_a_reason() {
    use rand::Rng as _;
    let mut random = defrost::support::seed::Seed::new(0).named("damaged DICOM").random();
    let (mut images, mut reasons) = (0, 0);
    let limits = DecodeLimits { max_pixels: 1 << 18, ..DecodeLimits::default() };
    for name in [
        "made/window_linear.dcm",
        "made/functional_groups.dcm",
        "made/palette_segmented.dcm",
        "made/voi_lut.dcm",
        "made/rle_signed.dcm",
        "made/jpegls_12.dcm",
        "made/jpegls_colour.dcm",
        "made/jpegls_near.dcm",
        "made/j2k_signed.dcm",
        "made/lossless_4.dcm",
        "made/frames_table.dcm",
        "shipped/SC_rgb_jpeg_gdcm.dcm",
        "shipped/image_dfl.dcm",
    ] {
        let whole = bytes(name);
        for round in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..random.gen_range(1..4) {
                let at = random.gen_range(132..bytes.len());
                bytes[at] = random.r#gen();
            }
            if round % 5 == 0 {
                bytes.truncate(random.gen_range(132..bytes.len()));
            }
            match (Decoding { limits, frame: Some(0), ..Decoding::default() }).decode(&bytes) {
                Ok(image) => {
                    image.check().unwrap();
                    images += 1;
                }
                Err(Error::Pixels(_)) => reasons += 1,
                Err(other) => unreachable!("{name}: {other}"),
            }
        }
    }
    assert!(images > 300 && reasons > 300, "{images} images, {reasons} reasons");
}

/// What identifies the patient of the fixtures.
const SECRETS: [&str; 4] = ["Doe^Josephine", "Josephine", "SECRET-4711", "19610203"];

/// All bytes of a folder's files, and of the columns of its Parquet files.
fn everything(folder: &Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything(&path, into);
            continue;
        }
        into.extend(std::fs::read(&path).unwrap());
        if path.extension().is_some_and(|extension| extension == "parquet") {
            let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
            reader.get_row_iter(None).unwrap().for_each(|row| into.extend(row.unwrap().to_string().into_bytes()));
        }
    }
}

#[test]
fn nothing_about_a_patient_leaves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    for name in ["window_linear", "frames_native", "rescaled_signed", "palette_16", "jpegls_12", "window_impossible"] {
        let content = bytes(&format!("made/{name}.dcm"));
        assert!(SECRETS.iter().all(|secret| content.windows(secret.len()).any(|window| window == secret.as_bytes())));
        std::fs::write(images.join(format!("{name}.dcm")), content).unwrap();
    }
    let model = network("first").detach().unwrap();
    let digest = model.digest.clone();
    let key = CacheKey {
        model: ModelRecord { name: "small".into(), weights: digest.clone(), graph: digest, changes: Vec::new() },
        preprocess: Preprocess::imagenet(SIDE, SIDE),
        dtype: Precision::F32,
        columns: vec![EmbeddingColumn::new("embedding", 16)],
    };
    let network = Network {
        model,
        input: "input".into(),
        outputs: vec!["embedding".into()],
        fixed_batch: None,
        key,
        exact: None,
    };
    let dataset = data::open(&images, &OpenOptions { frames: Frames::All, ..OpenOptions::default() }).unwrap();
    let cache = folder.path().join("cache");
    let run = EmbedRun { dataset: &dataset, network: &network, cache: &cache };
    let options = EmbedOptions { device: Device::Cpu, ..EmbedOptions::default() };
    let summary = embed(&run, &options, &|| Runtime::ensure(None, &Silent), &Silent).unwrap();
    // Three frames of one file; the impossible window is in the quarantine.
    assert_eq!((summary.rows, summary.computed, summary.failed), (7, 7, 1));
    let again = embed(&run, &options, &|| Runtime::ensure(None, &Silent), &Silent).unwrap();
    assert_eq!((again.rows, again.computed), (7, 0));

    let mut written = Vec::new();
    everything(&cache, &mut written);
    let defrost = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_defrost")).args(arguments).output().unwrap();
        [output.stdout, output.stderr].concat()
    };
    let folder_name = images.to_str().unwrap();
    let report = folder.path().join("report.html");
    written.extend(defrost(&["report", cache.to_str().unwrap(), "--out", report.to_str().unwrap()]));
    written.extend(std::fs::read(&report).unwrap());
    written.extend(defrost(&["data", "inspect", folder_name, "--frames", "all", "--all"]));
    written.extend(defrost(&["data", "inspect", folder_name, "--json"]));
    for file in std::fs::read_dir(&images).unwrap() {
        written.extend(defrost(&["data", "dicom", file.unwrap().path().to_str().unwrap(), "--json"]));
    }
    assert!(written.windows(4).any(|window| window == b"MONO"), "the summaries were written");
    for secret in SECRETS {
        assert!(!written.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} left its file");
    }
}

#[test]
fn the_window_is_part_of_a_caches_key() {
    let plain = Preprocess::imagenet(SIDE, SIDE);
    let windowed = Preprocess { window: "40/400".parse().unwrap(), ..plain.clone() };
    assert_ne!(plain.digest(), windowed.digest());
    let wrong = Preprocess { window: defrost::preprocess::Window::Percentiles { low: 9.0, high: 3.0 }, ..plain };
    assert!(wrong.check().unwrap_err().to_string().starts_with("preprocess `window` is"));
}

#[test]
fn summaries_tell_what_decides_the_pixels() {
    let show = |name: &str, json: bool| {
        let path = fixture(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
        command.args(["data", "dicom", path.to_str().unwrap()]).args(json.then_some("--json"));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = show("made/rescaled_signed.dcm", false);
    assert_eq!(code, 0);
    for expected in [
        "coding      Explicit VR Little Endian",
        "size        53 x 37",
        "samples     MONOCHROME2, 13 bits, signed",
        "window      40/400",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let (code, text) = show("shipped/test-SR.dcm", true);
    assert_eq!(code, 1);
    let records: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(records[0]["problem"], "damaged DICOM: there is no pixel data");
}
