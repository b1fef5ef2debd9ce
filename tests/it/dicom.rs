//! DICOM files against what pydicom reads: stored values, modality and VOI transforms, and how they
//! are shown.
//!
//! `scripts/reference/dicom.py` wrote the fixtures.

use std::path::{Path, PathBuf};

use defrost::data::{self, Frames, OpenOptions};
use defrost::pixels::{DecodeLimits, Decoding, DicomFile, Stored};
use defrost::preprocess::{Channels, Image, Preprocess, Samples, Window};
use defrost::support::fs::sha256;
use serde_json::Value;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom").join(name)
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

fn digest(values: &[f64]) -> String {
    sha256(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Stored values, modality values and VOI values of all frames.
fn values(name: &str) -> (Vec<Stored>, [Vec<f64>; 3]) {
    let bytes = bytes(name);
    let file = DicomFile::open(&bytes, &DecodeLimits::default()).unwrap();
    let image = file.image().unwrap();
    let mut all: [Vec<f64>; 3] = Default::default();
    let mut frames = Vec::new();
    for frame in 0..image.frames() {
        let stored = image.stored(frame).unwrap();
        all[0].extend(stored.values().into_iter().map(|value| value as f64));
        all[1].extend(image.modality_values(&stored, frame).unwrap());
        all[2].extend(image.voi_values(&stored, frame).unwrap());
        frames.push(stored);
    }
    (frames, all)
}

fn shown(name: &str, window: &str) -> Image {
    let decoding = Decoding { window: window.parse().unwrap(), ..Decoding::default() };
    decoding.decode(&bytes(name)).unwrap()
}

fn deep(image: &Image) -> &[u16] {
    match &image.samples {
        Samples::U16(samples) => samples,
        Samples::U8(_) => unreachable!("8 bits"),
    }
}

#[test]
fn every_file_has_pydicoms_values() {
    let expected: Value = serde_json::from_slice(&bytes("expected.json")).unwrap();
    let mut compared = 0;
    for (name, entry) in expected.as_object().unwrap() {
        let (frames, all) = values(name);
        let shape: Vec<usize> =
            entry["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        let one = &frames[0];
        let mut found = vec![one.height as usize, one.width as usize];
        found.extend((one.channels == 3).then_some(3));
        found.splice(0..0, (frames.len() > 1).then_some(frames.len()));
        assert_eq!(found, shape, "`{name}`");
        for (kind, values) in ["stored", "modality", "voi"].into_iter().zip(&all) {
            if let Some(expected) = entry[kind].as_str() {
                assert_eq!(digest(values), expected, "`{name}`: {kind} values differ");
                compared += 1;
            }
        }
        if let Some(expected) = entry["voi_thousandths"].as_str() {
            let rounded: Vec<f64> = all[2].iter().map(|value| (value * 1000.0).round_ties_even()).collect();
            assert_eq!(digest(&rounded), expected, "`{name}`");
        }
        if let Some(file) = entry["rounded"].as_str() {
            let offset = entry["offset"].as_f64().unwrap();
            let image = defrost::pixels::decode_file(&fixture(file), &DecodeLimits::default()).unwrap();
            let off = all[0].iter().zip(deep(&image)).map(|(ours, &theirs)| (ours + offset - f64::from(theirs)).abs());
            assert!(off.fold(0.0, f64::max) <= 1.0, "`{name}` differs by more than 1");
        }
        if let Some(expected) = entry["colours"].as_str() {
            let colours: Vec<f64> = deep(&shown(name, "file")).iter().map(|&sample| f64::from(sample)).collect();
            assert_eq!(digest(&colours), expected, "`{name}`: colours differ");
        }
    }
    assert!(compared > 130, "{compared} comparisons");
}

#[test]
fn windows_decide_which_values_are_black_and_white() {
    // 12 bits; the file's window is 1500/900.
    let values = values("made/window_linear.dcm").1[1].clone();
    let shades = |window: &str| -> Vec<f64> {
        deep(&shown("made/window_linear.dcm", window)).iter().map(|&shade| f64::from(shade) / 65_535.0).collect()
    };
    let is = |found: &[f64], expected: &dyn Fn(f64) -> f64| {
        let off = found.iter().zip(&values).map(|(found, &value)| (found - expected(value).clamp(0.0, 1.0)).abs());
        assert!(off.fold(0.0, f64::max) <= 0.5 / 65_535.0 + 1e-9);
    };
    is(&shades("file"), &|value| (value - 1499.5) / 899.0 + 0.5);
    is(&shades("2000/100:exact"), &|value| (value - 2000.0) / 100.0 + 0.5);
    is(&shades("2000/100:sigmoid"), &|value| 1.0 / (1.0 + (-4.0 * (value - 2000.0) / 100.0).exp()));
    is(&shades("full"), &|value| value / 4095.0);
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let percentile = |percent: f64| {
        let at = percent / 100.0 * (sorted.len() - 1) as f64;
        sorted[at as usize] + (sorted[at.ceil() as usize] - sorted[at as usize]) * at.fract()
    };
    let (low, high) = (percentile(2.5), percentile(90.0));
    is(&shades("percentiles:2.5,90"), &|value| (value - low) / (high - low));
    // Without a window of its own, a deep file goes from its smallest to its largest value.
    let (low, high) = (percentile(0.0), percentile(100.0));
    let own = shown("made/jpegls_12.dcm", "file");
    is(&deep(&own).iter().map(|&shade| f64::from(shade) / 65_535.0).collect::<Vec<_>>(), &|v| (v - low) / (high - low));
    // A window that cannot be is refused only where it would be used.
    let error = Decoding::default().decode(&bytes("made/window_impossible.dcm")).unwrap_err().to_string();
    assert_eq!(error, "damaged DICOM: the window 1500/0 is impossible");
    assert_eq!(shown("made/window_impossible.dcm", "full").samples, shown("made/window_linear.dcm", "full").samples);
}

#[test]
fn white_is_white_padding_is_black_and_eight_bits_stay() {
    let (first, second) = (shown("made/monochrome1.dcm", "full"), shown("made/window_linear.dcm", "full"));
    let pairs = deep(&first).iter().zip(deep(&second));
    assert!(pairs.clone().all(|(&a, &b)| u32::from(a) + u32::from(b) == 65_535), "MONOCHROME1 is the other way round");
    // The padding value is black, and no part of the percentiles.
    let (_, [stored, values, _]) = values("made/rescaled_signed.dcm");
    let padding = stored[0];
    let image = shown("made/rescaled_signed.dcm", "percentiles:0,100");
    let kept = |at: &usize| stored[*at] != padding;
    let low = (0..values.len()).filter(kept).map(|at| values[at]).fold(f64::INFINITY, f64::min);
    let high = (0..values.len()).filter(kept).map(|at| values[at]).fold(f64::NEG_INFINITY, f64::max);
    for (at, &shade) in deep(&image).iter().enumerate() {
        let expected = if kept(&at) { (values[at] - low) / (high - low) * 65_535.0 } else { 0.0 };
        assert!((f64::from(shade) - expected).abs() <= 0.5001, "{at}");
    }
    // 8 bits that nothing changes stay as they are.
    let flat = shown("shipped/image_dfl.dcm", "file");
    assert!(matches!(flat.samples, Samples::U8(_)));
    assert!(matches!(shown("shipped/SC_rgb_jpeg.dcm", "40/400").samples, Samples::U8(_)));
}

#[test]
fn twelve_bits_reach_the_tensor_from_every_container() {
    let folder = tempfile::tempdir().unwrap();
    let dicom = fixture("made/jpegls_12.dcm");
    let stored = values("made/jpegls_12.dcm").1[0].clone();
    let sixteen: Vec<u16> = stored.iter().map(|&value| value as u16).collect();
    let picture = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(53, 37, sixteen).unwrap();
    let (png, tiff) = (folder.path().join("a.png"), folder.path().join("a.tiff"));
    picture.save(&png).unwrap();
    picture.save(&tiff).unwrap();
    for channels in [Channels::Grey, Channels::Rgb] {
        let count = channels.count();
        let plain = Preprocess { channels, mean: vec![0.0; count], std: vec![1.0; count], ..Preprocess::default() };
        let tensor = |path: &Path, window: &str, largest: f64| {
            let preprocess = Preprocess { window: window.parse().unwrap(), ..plain.clone() };
            let image = Decoding::of(&preprocess, DecodeLimits::default()).decode_file(path).unwrap();
            assert_eq!((image.channels, image.bits()), (1, 16));
            let tensor = preprocess.check().unwrap().apply(&image).unwrap();
            assert_eq!(tensor.shape(), [count, 37, 53]);
            let found = tensor.values::<f32>().unwrap().into_owned();
            for plane in found.chunks_exact(stored.len()) {
                let off = plane.iter().zip(&stored).map(|(found, value)| (f64::from(*found) - value / largest).abs());
                assert!(off.fold(0.0, f64::max) < 1e-5, "{}", path.display());
            }
        };
        tensor(&dicom, "full", 4095.0);
        tensor(&png, "full", 65_535.0);
        tensor(&tiff, "full", 65_535.0);
        tensor(&png, "2047.5/4095:exact", 4095.0);
    }
}

#[test]
fn frames_are_chosen_by_option_or_by_path() {
    let folder = tempfile::tempdir().unwrap();
    for (name, to) in
        [("made/frames_native.dcm", "scan.dcm"), ("made/window_linear.dcm", "single"), ("shipped/test-SR.dcm", "1.2.3")]
    {
        std::fs::copy(fixture(name), folder.path().join(to)).unwrap();
    }
    std::fs::write(folder.path().join("notes"), "no image").unwrap();
    std::fs::write(folder.path().join("DICOMDIR"), bytes("made/window_linear.dcm")).unwrap();
    let ids = |frames: Frames| {
        let dataset = data::open(folder.path(), &OpenOptions { frames, ..OpenOptions::default() }).unwrap();
        dataset.samples.iter().map(|sample| sample.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(Frames::Single), ["1.2.3", "scan.dcm", "single"]);
    assert_eq!(ids(Frames::All), ["1.2.3", "scan.dcm#1", "scan.dcm#2", "scan.dcm#3", "single"]);
    assert_eq!(ids("middle".parse().unwrap()), ["1.2.3", "scan.dcm", "single"]);
    let middle = OpenOptions { frames: Frames::Middle, ..OpenOptions::default() };
    let middle = data::open(folder.path(), &middle).unwrap();
    assert_eq!(middle.samples[1].path, folder.path().join("scan.dcm#2"));

    let full = Decoding { window: Window::Full, ..Decoding::default() };
    let scan = folder.path().join("scan.dcm");
    let frame = |path: &Path| full.decode_file(path).unwrap();
    let second = frame(&middle.samples[1].path);
    assert_eq!(second, Decoding { frame: Some(1), ..full }.decode_file(&scan).unwrap());
    assert_ne!(second, frame(&folder.path().join("scan.dcm#1")));
    let reason = |path: &Path| {
        let error = full.decode_file(path).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    assert_eq!(reason(&scan), "the file has 3 frames and none was chosen");
    assert_eq!(reason(&folder.path().join("scan.dcm#4")), "frame 4 of a file with 3");
    assert_eq!(reason(&folder.path().join("single#2")), "frame 2 of a file with 1");
    let four = OpenOptions { frames: "4".parse().unwrap(), ..OpenOptions::default() };
    assert!(data::open(folder.path(), &four).is_err());
    assert!("zeroth".parse::<Frames>().is_err());

    // Tables name frames, too.
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "path,label\nscan.dcm#3,a\nscan.dcm#1,b\nsingle,a\n").unwrap();
    let dataset = data::open(&table, &OpenOptions::default()).unwrap();
    assert_eq!(
        dataset.samples.iter().map(|sample| sample.id.as_str()).collect::<Vec<_>>(),
        ["scan.dcm#1", "scan.dcm#3", "single"]
    );
    let inspection = data::inspect::inspect(&dataset, &DecodeLimits::default(), &defrost::support::progress::Silent);
    assert!(inspection.broken.is_empty() && inspection.duplicates.is_empty(), "{inspection:?}");
}
