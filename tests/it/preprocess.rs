//! Preprocessing against stored results of Pillow 13 and torchvision:
//! `tests/fixtures/preprocess/cases.json` says what each is.

use std::path::PathBuf;

use defrost::pixels::{DecodeLimits, decode_file};
use defrost::preprocess::{Border, Channels, Crop, Filter, Image, Preprocess, Resize, Samples, Scratch};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::Value;

/// What PyTorch's resize of tensors differs by from one with filter weights in double precision.
const SINGLE_PRECISION_WEIGHTS: f32 = 1e-5;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preprocess")
}

/// The reference: `cases.json` and the bytes of `expected.safetensors`.
struct Reference {
    cases: Value,
    tensors: Vec<u8>,
}

impl Reference {
    fn read() -> Self {
        let cases = std::fs::read_to_string(folder().join("cases.json")).unwrap();
        let tensors = std::fs::read(folder().join("expected.safetensors")).unwrap();
        Reference { cases: serde_json::from_str(&cases).unwrap(), tensors }
    }

    fn bytes(&self, name: &str) -> (Vec<usize>, Vec<u8>) {
        let tensors = SafeTensors::deserialize(&self.tensors).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        (tensor.shape().to_vec(), tensor.data().to_vec())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.bytes(name).1.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    /// A source's pixels as PIL decodes them, so that resampling is compared apart from decoding.
    fn source(&self, name: &str) -> Image {
        let source = &self.cases["sources"][name];
        let stored = source["cases_use"].as_str().unwrap_or("decoded");
        let Some(decoded) = source["decoded"].as_str() else {
            return decode_file(&folder().join(source["file"].as_str().unwrap()), &DecodeLimits::default()).unwrap();
        };
        let (shape, samples) = self.bytes(&decoded.replace("/decoded", &format!("/{stored}")));
        Image::new(shape[1] as u32, shape[0] as u32, 3, Samples::U8(samples)).unwrap()
    }
}

fn length(value: &Value) -> u32 {
    value.as_u64().unwrap() as u32
}

/// The resize and crop of a case, without normalisation.
fn specification(case: &Value) -> Preprocess {
    let mut preprocess = Preprocess {
        channels: Channels::Rgb,
        resize: None,
        filter: Filter::Bilinear,
        crop: None,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..Preprocess::default()
    };
    for step in case["steps"].as_array().unwrap() {
        let size = &step["size"];
        if let Some(filter) = step.get("filter") {
            preprocess.filter = serde_json::from_value(filter.clone()).unwrap();
        }
        match step["op"].as_str().unwrap() {
            "resize_shorter" => preprocess.resize = Some(Resize::ShorterSide(length(size))),
            "resize" | "tensor_resize" => {
                preprocess.resize = Some(Resize::Exact { height: length(&size[0]), width: length(&size[1]) });
            }
            "center_crop" => preprocess.crop = Some(Crop { height: length(size), width: length(size) }),
            other => unreachable!("unknown step `{other}`"),
        }
    }
    preprocess
}

fn apply(preprocess: Preprocess, image: &Image) -> Vec<f32> {
    let tensor = preprocess.check().unwrap().apply(image).unwrap();
    tensor.values::<f32>().unwrap().into_owned()
}

/// `[3, H, W]` values in 0..=1 back to `[H, W, 3]` 8-bit samples.
fn to_bytes(values: &[f32]) -> Vec<u8> {
    let plane = values.len() / 3;
    (0..plane).flat_map(|at| [0, 1, 2].map(|channel| (values[channel * plane + at] * 255.0).round() as u8)).collect()
}

#[test]
fn every_case_equals_pillow_and_torchvision_to_the_bit() {
    let reference = Reference::read();
    let (mut samples, mut floats) = (0, 0);
    for case in reference.cases["cases"].as_array().unwrap().iter().filter(|case| case.get("u8").is_some()) {
        let id = case["id"].as_str().unwrap();
        let image = reference.source(case["source"].as_str().unwrap());
        let (_, expected) = reference.bytes(case["u8"].as_str().unwrap());
        assert!(to_bytes(&apply(specification(case), &image)) == expected, "`{id}` differs");
        samples += 1;
        for (statistics, name) in case["float"].as_object().into_iter().flatten() {
            let values = &reference.cases["mean_std"][statistics];
            let preprocess = Preprocess {
                mean: serde_json::from_value(values["mean"].clone()).unwrap(),
                std: serde_json::from_value(values["std"].clone()).unwrap(),
                ..specification(case)
            };
            assert!(
                apply(preprocess, &image) == reference.floats(name.as_str().unwrap()),
                "`{id}` {statistics} differs"
            );
            floats += 1;
        }
    }
    assert_eq!((samples, floats), (43, 6));
}

#[test]
fn decoders_equal_pillow_to_the_bit() {
    let reference = Reference::read();
    let mut compared = 0;
    for (name, source) in reference.cases["sources"].as_object().unwrap() {
        let Some(decoded) = source["decoded"].as_str() else { continue };
        let (shape, mut expected) = reference.bytes(decoded);
        let mut image =
            decode_file(&folder().join(source["file"].as_str().unwrap()), &DecodeLimits::default()).unwrap();
        match (name.as_str(), &image.samples) {
            // PIL saturates 16 bits at 255; here they keep their depth, and the reference's other
            // tensor is `value / 257`.
            ("gray16", Samples::U16(samples)) => {
                let scaled = reference.bytes("gray16/decoded_scaled").1;
                let samples: Vec<u8> = samples.iter().flat_map(|&sample| [(sample / 257) as u8; 3]).collect();
                assert!(samples == scaled, "`{name}` differs");
                compared += 1;
                continue;
            }
            // PIL leaves the orientation tag to its caller: here the image is turned by 90 degrees
            // clockwise.
            ("exif_jpg", _) => {
                let (height, width) = (shape[0], shape[1]);
                expected = (0..width)
                    .flat_map(|y| (0..height).map(move |x| ((height - 1 - x) * width + y) * 3))
                    .flat_map(|at| expected[at..at + 3].to_vec())
                    .collect();
                (image.width, image.height) = (image.height, image.width);
            }
            _ => {}
        }
        assert_eq!((image.height as usize, image.width as usize, image.channels), (shape[0], shape[1], 3), "`{name}`");
        assert!(image.samples == Samples::U8(expected), "`{name}` differs");
        compared += 1;
    }
    assert_eq!(compared, 7);
}

#[test]
fn deep_images_equal_the_resize_of_float_tensors() {
    let reference = Reference::read();
    let mut compared = 0;
    for case in reference.cases["cases"].as_array().unwrap() {
        let Some(name) = case["float_tensor"].as_str() else { continue };
        let mut image = reference.source(case["source"].as_str().unwrap());
        if let Samples::U8(samples) = &image.samples {
            image.samples = Samples::U16(samples.iter().map(|&sample| u16::from(sample) * 257).collect());
        }
        for (value, expected) in apply(specification(case), &image).iter().zip(reference.floats(name)) {
            let difference = (value - expected.clamp(0.0, 1.0)).abs();
            assert!(difference < SINGLE_PRECISION_WEIGHTS, "`{name}`: {value} instead of {expected}");
        }
        compared += 1;
    }
    assert_eq!(compared, 2);
}

#[test]
fn grey_images_are_repeated_and_padded_with_zeros() {
    let image = Image::new(2, 1, 1, Samples::U8(vec![255, 51])).unwrap();
    let preprocess = Preprocess {
        resize: None,
        crop: Some(Crop { height: 2, width: 3 }),
        mean: vec![0.0, 0.5, 1.0],
        std: vec![1.0, 0.5, 1.0],
        ..Preprocess::imagenet(8, 8)
    };
    let expected =
        [[1.0, 0.2, 0.0, 0.0, 0.0, 0.0], [1.0, -0.6, -1.0, -1.0, -1.0, -1.0], [0.0, -0.8, -1.0, -1.0, -1.0, -1.0]];
    for (value, expected) in apply(preprocess, &image).iter().zip(expected.as_flattened()) {
        assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
    }
}

#[test]
fn outputs_that_do_not_fit_are_refused() {
    let image = Image::new(3, 3, 1, Samples::U8(vec![0; 9])).unwrap();
    let preprocess = Preprocess::imagenet(8, 4).check().unwrap();
    assert_eq!(preprocess.output_shape(), Some([3, 4, 4]));
    let error = preprocess.apply_into(&image, &mut Scratch::default(), &mut [0.0; 47]).unwrap_err();
    assert_eq!(error.to_string(), "preprocessing gives 48 values, expected 47");
    let strip = Image::new(60_000, 1, 1, Samples::U8(vec![0; 60_000])).unwrap();
    let uncropped = Preprocess { crop: None, ..Preprocess::imagenet(256, 4) }.check().unwrap();
    assert_eq!(uncropped.output_shape(), None);
    assert_eq!(uncropped.output_shape_of(&strip).unwrap(), [3, 256, 256 * 60_000]);
    assert!(uncropped.apply(&strip).is_err());
    assert!(preprocess.apply(&strip).is_ok());
}

/// Images of 8 or 16 bits with 1 or 3 channels, 1 to 40 pixels a side.
fn images() -> impl Strategy<Value = Image> {
    (1u32..40, 1u32..40, prop::bool::ANY, prop::bool::ANY).prop_flat_map(|(width, height, is_grey, is_deep)| {
        let channels = if is_grey { 1 } else { 3 };
        prop::collection::vec(any::<u16>(), width as usize * height as usize * channels).prop_map(move |samples| {
            let samples = match is_deep {
                true => Samples::U16(samples),
                false => Samples::U8(samples.iter().map(|&sample| (sample >> 8) as u8).collect()),
            };
            Image { width, height, channels, samples }
        })
    })
}

fn unnormalised(resize: Option<Resize>, filter: Filter, crop: Option<Crop>) -> Preprocess {
    Preprocess {
        channels: Channels::Rgb,
        resize,
        filter,
        crop,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..Preprocess::default()
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    prop::sample::select(vec![Filter::Bilinear, Filter::Bicubic, Filter::Lanczos])
}

proptest! {
    #[test]
    fn a_resize_to_the_same_size_changes_nothing(image in images(), filter in filters()) {
        let same = Resize::Exact { height: image.height, width: image.width };
        let plain = apply(unnormalised(None, filter, None), &image);
        prop_assert_eq!(apply(unnormalised(Some(same), filter, None), &image), plain);
    }

    #[test]
    fn results_stay_in_range(image in images(), filter in filters(), height in 1u32..60, width in 1u32..60) {
        let values = apply(unnormalised(Some(Resize::Exact { height, width }), filter, None), &image);
        prop_assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn constant_images_stay_constant(sample in any::<u8>(), filter in filters(), height in 1u32..60, width in 1u32..60) {
        let image = Image::new(23, 17, 3, Samples::U8(vec![sample; 23 * 17 * 3])).unwrap();
        let values = apply(unnormalised(Some(Resize::Exact { height, width }), filter, None), &image);
        prop_assert!(values.iter().all(|&value| value == f32::from(sample) / 255.0));
    }

    #[test]
    fn a_crop_is_a_part_of_the_whole(image in images(), filter in filters(), side in 1u32..30, crop in 1u32..30) {
        let resize = Some(Resize::Exact { height: side + 7, width: side + 30 });
        let whole = apply(unnormalised(resize, filter, None), &image);
        let part = apply(unnormalised(resize, filter, Some(Crop { height: crop.min(side), width: crop })), &image);
        let (height, width) = (side as usize + 7, side as usize + 30);
        let (part_height, part_width) = (crop.min(side) as usize, crop as usize);
        // Python's rounding of the half.
        let start = |extra: usize| extra / 2 + (extra % 2) * (extra / 2 % 2);
        let (top, left) = (start(height - part_height), start(width - part_width));
        for channel in 0..3 {
            for y in 0..part_height {
                let expected = &whole[(channel * height + top + y) * width + left..][..part_width];
                prop_assert_eq!(&part[(channel * part_height + y) * part_width..][..part_width], expected);
            }
        }
    }
}

#[test]
fn dark_borders_are_cropped_before_everything_else() {
    // A bright picture of 60 x 40 in a dark frame of 100 x 90, with dust in a corner.
    let picture = |x: u32, y: u32, channel: u32| 40 + (x * 3 + y * 5 + channel * 50) % 200;
    let sample = |x: u32, y: u32, channel: u32| match (x.checked_sub(30), y.checked_sub(20)) {
        (Some(x), Some(y)) if x < 60 && y < 40 => picture(x, y, channel),
        _ if (x, y) == (99, 89) => 255,
        _ => (x + y) % 8,
    };
    let image = |width: u32, height: u32, at: &dyn Fn(u32, u32, u32) -> u32| {
        let places = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |channel| (x, y, channel))));
        Image::new(width, height, 3, Samples::U8(places.map(|(x, y, channel)| at(x, y, channel) as u8).collect()))
            .unwrap()
    };
    let (framed, bare) = (image(100, 90, &sample), image(60, 40, &picture));
    let plain = Preprocess::imagenet(32, 24);
    let cropped = Preprocess { border: Some(Border { share: 0.02, ..Border::default() }), ..plain.clone() };
    assert_eq!(apply(cropped.clone(), &framed), apply(plain.clone(), &bare));
    assert_ne!(apply(plain, &framed), apply(cropped.clone(), &framed));
    let whole = Preprocess { resize: None, crop: None, ..cropped };
    assert_eq!(whole.check().unwrap().output_shape_of(&framed).unwrap(), [3, 40, 60]);
    let wrong = Preprocess { border: Some(Border { threshold: 1.0, ..Border::default() }), ..Preprocess::default() };
    let error = wrong.check().unwrap_err().to_string();
    assert_eq!(error, "preprocess `border` is 1 0.01 0, expected threshold, share and margin from 0 to 1");
}
