//! Decoding: every kind of file against what Pillow reads, and files that must be refused with
//! their reason.
//!
//! `scripts/reference/pixels.py` wrote the fixtures.

use std::path::{Path, PathBuf};

use defrost::error::{Error, PixelError};
use defrost::pixels::{DecodeLimits, Decoding, decode, decode_file};
use defrost::preprocess::{Channels, CropRounding, Filter, Image, Preprocess, Resize, Samples};
use safetensors::SafeTensors;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join("pixels").join(name)).unwrap()
}

fn decoded(bytes: &[u8]) -> Result<Image, Error> {
    decode(bytes, &DecodeLimits::default())
}

/// The error's message for bytes that must be refused.
fn refused(bytes: &[u8]) -> String {
    decoded(bytes).unwrap_err().to_string()
}

/// Samples as little-endian bytes.
fn bytes_of(samples: &Samples) -> Vec<u8> {
    match samples {
        Samples::U8(samples) => samples.clone(),
        Samples::U16(samples) => samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
    }
}

#[test]
fn every_kind_of_file_equals_pillow_to_the_bit() {
    let stored = fixture("expected.safetensors");
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let mut compared = 0;
    for name in stored.names().into_iter().filter(|name| name.contains('.')) {
        let expected = stored.tensor(name).unwrap();
        let image = decoded(&fixture(name)).unwrap();
        let shape = [image.height as usize, image.width as usize, image.channels];
        assert_eq!(expected.shape(), shape, "`{name}`");
        assert!(bytes_of(&image.samples) == expected.data(), "`{name}` differs");
        compared += 1;
    }
    assert_eq!(compared, 41);
}

#[test]
fn reduced_jpegs_equal_libjpegs_to_the_bit() {
    let stored = fixture("reduced.safetensors");
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let names = stored.names();
    for name in &names {
        let (file, by) = name.rsplit_once('/').unwrap();
        let by: u32 = by.parse().unwrap();
        let bytes = fixture(file);
        let whole = decoded(&bytes).unwrap();
        if whole.width.div_ceil(by) < 2 || whole.height.div_ceil(by) < 2 {
            continue;
        }
        // A resize to half of what the reduction leaves asks for exactly this reduction.
        let [height, width] = [whole.height, whole.width].map(|length| (length.div_ceil(by) / 2).max(1));
        let resize = Some(Resize::Exact { height, width });
        let preprocess = Preprocess { resize, fast_decode: true, ..Preprocess::default() };
        assert_eq!(preprocess.reduction().unwrap().of(whole.width, whole.height), by, "`{name}`");
        let image = Decoding::of(&preprocess, DecodeLimits::default()).decode(&bytes).unwrap();
        let expected = stored.tensor(name).unwrap();
        assert_eq!(expected.shape(), [image.height as usize, image.width as usize, image.channels], "`{name}`");
        assert!(bytes_of(&image.samples) == expected.data(), "`{name}` differs");
    }
    assert!(names.len() > 30, "{}", names.len());
}

#[test]
fn deep_images_are_resampled_as_pillows_mode_f() {
    let stored = fixture("expected.safetensors");
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let grey = decode_file(&fixtures().join("preprocess/gray16.png"), &DecodeLimits::default()).unwrap();
    let colour = decoded(&fixture("rgb_16bit.png")).unwrap();
    let cases = [
        ("resize_down", &grey, 31, 40, Filter::Bicubic),
        ("resize_up", &grey, 120, 150, Filter::Lanczos),
        ("resize_wide", &grey, 31, 120, Filter::Bilinear),
        ("resize_rgb", &colour, 11, 20, Filter::Lanczos),
    ];
    for (name, image, height, width, filter) in cases {
        let tensor = stored.tensor(name).unwrap();
        let expected = tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        let values = resized(image, Resize::Exact { height, width }, filter);
        assert_eq!(values.len() / 3 * image.channels, expected.len(), "`{name}`");
        for (value, expected) in values.iter().zip(expected) {
            assert_eq!(*value, expected.clamp(0.0, 65_535.0) / 65_535.0, "`{name}`");
        }
    }
}

#[test]
fn lanczos_and_grey_equal_pillow_to_the_bit() {
    let stored = fixture("expected.safetensors");
    let stored = SafeTensors::deserialize(&stored).unwrap();
    let colour = decoded(&fixture("rgb.bmp")).unwrap();
    for (name, height, width) in [("lanczos_down", 9, 16), ("lanczos_up", 70, 50)] {
        let values = resized(&colour, Resize::Exact { height, width }, Filter::Lanczos);
        let plane = values.len() / 3;
        let expected = stored.tensor(name).unwrap().data();
        for (at, &sample) in expected.iter().enumerate() {
            assert_eq!(values[at % 3 * plane + at / 3], f32::from(sample) / 255.0, "`{name}`");
        }
    }
    // Colour becomes luma first, as PIL's `convert("L")`.
    let preprocess = Preprocess {
        channels: Channels::Grey,
        resize: Some(Resize::Exact { height: 30, width: 16 }),
        filter: Filter::Bicubic,
        crop: None,
        mean: vec![0.0],
        std: vec![1.0],
        ..Preprocess::default()
    };
    let tensor = preprocess.check().unwrap().apply(&colour).unwrap();
    assert_eq!(tensor.shape(), [1, 30, 16]);
    let expected: Vec<f32> =
        stored.tensor("grey_bicubic").unwrap().data().iter().map(|&sample| f32::from(sample) / 255.0).collect();
    assert_eq!(tensor.values::<f32>().unwrap().as_ref(), expected);
}

fn resized(image: &Image, resize: Resize, filter: Filter) -> Vec<f32> {
    let preprocess = Preprocess {
        channels: Channels::Rgb,
        resize: Some(resize),
        filter,
        crop: None,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..Preprocess::default()
    };
    preprocess.check().unwrap().apply(image).unwrap().values::<f32>().unwrap().into_owned()
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    for name in ["420_sequential.jpg", "420_progressive.jpg", "restart.jpg", "cmyk.jpg", "rgb_16bit.png", "palette.png"]
    {
        let whole = fixture(name);
        // The check sum of a PNG's last chunk carries nothing.
        let needed = if name.ends_with("png") { whole.len() - 12 } else { whole.len() };
        for length in (8..needed).step_by(7).chain([needed - 1]) {
            let message = refused(&whole[..length]);
            assert!(message.starts_with("truncated"), "`{name}` cut to {length} bytes: {message}");
        }
    }
    for name in ["rgb.tif", "rgb_lzw.tif", "rgb.bmp", "lossless.webp", "lossy.webp"] {
        let whole = fixture(name);
        for length in [12, whole.len() / 3, whole.len() / 2] {
            assert!(decoded(&whole[..length]).is_err(), "`{name}` cut to {length} bytes");
        }
    }
}

#[test]
fn files_that_are_no_images_say_what_they_are() {
    assert_eq!(refused(b""), "the file is empty");
    assert_eq!(refused(b"id,label\n1,cat\n"), r"not an image: the content starts with `id,label\n1,cat\n`");
    for (start, name) in [
        (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmsf1\0\0\0\0msf1miafavis", "AVIF"),
        (b"\0\0\0\x18ftypavis\0\0\0\0avismsf1", "AVIF"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "HEIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "Canon raw (CR3)"),
        (b"\0\0\0\x14ftypisom\0\0\0\0mp42", "video (MP4 or QuickTime)"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\x01\0\x01\0", "ICO"),
        (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<svg xmlns=\"\">", "SVG"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"%PDF-1.7", "PDF"),
    ] {
        assert_eq!(refused(start), format!("`{name}` images are not supported"));
    }
    let dicom = [&[0; 128][..], b"DICM"].concat();
    assert_eq!(refused(&dicom), "damaged DICOM: there is no transfer syntax");
}

#[test]
fn errors_of_files_name_the_path_and_keep_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.jpg");
    std::fs::write(&path, "not a photo").unwrap();
    let error = decode_file(&path, &DecodeLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot decode `{}`", path.display()));
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(reason, "not an image: the content starts with `not a photo`");
    assert!(error.hint().unwrap().to_string().contains("JPEG, PNG"));
    let missing = decode_file(Path::new("no/such.png"), &DecodeLimits::default()).unwrap_err();
    assert!(matches!(missing, Error::File(_)));
}

#[test]
fn bombs_are_refused_by_their_header() {
    // Width and height of the PNG's header, with its check sum; of the JPEG's frame header.
    let mut png = fixture("rgb_16bit.png");
    png[16..24].copy_from_slice(&[0, 0, 0x9C, 0x40, 0, 0, 0x9C, 0x40]);
    png[29..33].copy_from_slice(&0x8EFE_4511u32.to_be_bytes());
    let mut jpeg = fixture("grey.jpg");
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFF, 0xFF, 0xFF]);
    for (bytes, message) in [
        (&png, "40000 x 40000 pixels are more than the 178956970 allowed"),
        (&jpeg, "65535 x 65535 pixels are more than the 178956970 allowed"),
    ] {
        assert_eq!(refused(bytes), message);
    }
    let small = DecodeLimits { max_pixels: 35 * 23 - 1, max_bytes: 1 << 20, max_time: None };
    for name in ["rgb.tif", "rgb.bmp", "lossless.webp", "palette.png", "cmyk.jpg"] {
        let error = decode(&fixture(name), &small).unwrap_err();
        assert!(matches!(error, Error::Pixels(PixelError::TooManyPixels { width: 35, height: 23, .. })), "{name}");
    }
    let short = DecodeLimits { max_bytes: 100, ..DecodeLimits::default() };
    let error = decode(&fixture("rgb.bmp"), &short).unwrap_err();
    assert!(matches!(error, Error::Pixels(PixelError::TooManyBytes { most: 100, .. })));
}

#[test]
fn damaged_jpegs_end_in_an_image_or_a_reason() {
    use rand::Rng as _;
    let mut random = defrost::support::seed::Seed::new(0).named("damaged JPEGs").random();
    let (mut images, mut reasons) = (0, 0);
    for name in ["420_sequential.jpg", "420_progressive.jpg", "restart.jpg", "cmyk.jpg", "411.jpg"] {
        let whole = fixture(name);
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..random.gen_range(1..4) {
                let at = random.gen_range(2..bytes.len());
                bytes[at] = random.r#gen();
            }
            let limits = DecodeLimits { max_pixels: 1 << 20, ..DecodeLimits::default() };
            match decode(&bytes, &limits) {
                Ok(image) => {
                    image.check().unwrap();
                    images += 1;
                }
                Err(Error::Pixels(_)) => reasons += 1,
                Err(other) => unreachable!("{other}"),
            }
        }
    }
    assert!(images > 100 && reasons > 100, "{images} images, {reasons} reasons");
}

/// The samples that a case's `expected.json` holds for every file, [3, height, width] in 0..=1.
fn expected_of(case: &str) -> serde_json::Map<String, serde_json::Value> {
    let text = fixture(&format!("cases/{case}/expected.json"));
    serde_json::from_slice(&text).unwrap()
}

/// The largest difference of a file to what is expected, after a preprocessing.
fn difference(
    case: &str,
    name: &str,
    expected: &serde_json::Value,
    decoding: &Decoding,
    preprocess: Preprocess,
) -> f64 {
    let image = decoding.decode(&fixture(&format!("cases/{case}/{name}"))).unwrap();
    let values = preprocess.check().unwrap().apply(&image).unwrap().values::<f32>().unwrap().into_owned();
    let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert_eq!(values.len(), expected.len(), "`{name}`");
    values.iter().zip(expected).map(|(&value, expected)| (f64::from(value) - expected).abs()).fold(0.0, f64::max)
}

/// Each against `ImageOps.exif_transpose(Image.open(file)).convert("RGB")` of Pillow.
#[test]
fn orientation_palettes_luma_chroma_and_packed_pixels_are_those_of_pillow() {
    // c05 (python-pillow/Pillow#4529, #4560), c19 (image-rs/image#1927), c20 (image-rs/image#2817),
    // c35 (image-rs/image#2075).
    for (case, files) in [("c05", 4), ("c19", 2), ("c20", 2), ("c35", 4)] {
        let expected = expected_of(case);
        assert_eq!(expected.len(), files);
        for (name, expected) in &expected {
            let worst = difference(case, name, expected, &Decoding::default(), Preprocess::default());
            assert!(worst < 2e-5, "`{name}`: {worst}");
        }
    }
}

#[test]
fn windows_with_decimal_commas_are_read_and_not_needed_for_ones_own() {
    // c07 (fo-dicom/fo-dicom#1296).
    for (name, expected) in &expected_of("c07") {
        let decoding = Decoding { window: "percentiles:0,100".parse().unwrap(), ..Decoding::default() };
        let worst = difference("c07", name, expected, &decoding, Preprocess::default());
        assert!(worst < 2e-5, "`{name}`: {worst}");
        let bytes = fixture(&format!("cases/c07/{name}"));
        let fixed = Decoding { window: "2000.5/1500".parse().unwrap(), ..Decoding::default() };
        assert_eq!(decoded(&bytes).unwrap(), fixed.decode(&bytes).unwrap());
    }
}

#[test]
fn windows_that_are_none_are_told_only_where_they_would_be_used() {
    let whole = fixture("cases/c07/comma.dcm");
    let at = whole.windows(6).position(|window| window == b"2000,5").unwrap();
    for (text, reason) in [
        (b"NaN   ", "element (0028,1050) is not a decimal number"),
        (b"1.2.3 ", "element (0028,1050) is not a decimal number"),
        (b"wide  ", "element (0028,1050) is not a decimal number"),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 6].copy_from_slice(text);
        assert_eq!(refused(&bytes), format!("damaged DICOM: {reason}"));
        for window in ["full", "percentiles:1,99", "2000/1500", "2000/1500:exact"] {
            let decoding = Decoding { window: window.parse().unwrap(), ..Decoding::default() };
            assert_eq!(decoding.decode(&bytes).unwrap(), decoding.decode(&whole).unwrap(), "{window}");
        }
    }
    let through =
        |window: &str| Decoding { window: window.parse().unwrap(), ..Decoding::default() }.decode(&whole).unwrap();
    // Blank: no window at all. Of several the first.
    for (text, window) in [(b"      ", "percentiles:0,100"), (b"2000\\1", "2000/1500")] {
        let mut bytes = whole.clone();
        bytes[at..at + 6].copy_from_slice(text);
        assert_eq!(decoded(&bytes).unwrap(), through(window));
    }
}

#[test]
fn crops_of_transformers_start_where_they_start_there() {
    // c03 (huggingface/transformers#40856).
    for (name, expected) in &expected_of("c03") {
        let preprocess = Preprocess {
            crop_rounding: CropRounding::Transformers,
            mean: vec![0.48, 0.45, 0.4],
            std: vec![0.26, 0.26, 0.27],
            ..Preprocess::imagenet(18, 16)
        };
        let worst = difference("c03", name, expected, &Decoding::default(), preprocess);
        assert!(worst < 2e-5, "`{name}`: {worst}");
    }
}
