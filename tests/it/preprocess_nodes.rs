//! Preprocessing as nodes of a graph against the interpreter for the CPU: equal to the bit,
//! whatever the size of the image.

use defrost::graph::{Builder, Dim, Model};
use defrost::preprocess::{Border, Channels, Crop, CropRounding, Filter, Image, Preprocess, Resize, Samples};
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::support::seed::Seed;
use defrost::tensor::{DType, HostTensor};
use rand::Rng;

/// The graph of a specification alone.
fn model(preprocess: &Preprocess) -> Model {
    let mut b = Builder::new("preprocess");
    let shape = [Dim::symbol("batch"), Dim::symbol("height"), Dim::symbol("width"), Dim::Fixed(3)];
    let images = b.input("images", DType::U8, &shape);
    let pixels = preprocess.clone().check().unwrap().add_to(&mut b, &images).unwrap();
    b.output("pixels", &pixels);
    b.finish().unwrap()
}

fn session(preprocess: &Preprocess) -> Session {
    let runtime = Runtime::ensure(None, &Silent).unwrap();
    let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
    Session::open(&runtime, ModelSource::Bytes(&model(preprocess).to_bytes().unwrap()), &options).unwrap()
}

/// Noise, smooth ramps and hard edges, so that filters ring and clip.
fn image(height: u32, width: u32, kind: u32) -> Image {
    let mut random = Seed::new(5).named(&format!("{height} {width} {kind}")).random();
    let samples = (0..height * width * 3).map(|at| match kind % 3 {
        0 => random.r#gen(),
        1 => {
            if (at / 3 % width / 5 + at / 3 / width / 3).is_multiple_of(2) {
                255
            } else {
                0
            }
        }
        _ => ((at / 3 % width * 255 / width + at / 3 / width * 3) % 256) as u8,
    });
    Image::new(width, height, 3, Samples::U8(samples.collect())).unwrap()
}

fn tensor(images: &[Image]) -> HostTensor {
    let shape = vec![images.len(), images[0].height as usize, images[0].width as usize, 3];
    let samples = images.iter().flat_map(|image| match &image.samples {
        Samples::U8(samples) => samples.clone(),
        Samples::U16(_) => Vec::new(),
    });
    HostTensor::from_vec(shape, samples.collect()).unwrap()
}

/// Runs images of one size through both interpreters.
fn check(session: &mut Session, preprocess: &Preprocess, images: &[Image]) {
    let valid = preprocess.clone().check().unwrap();
    let found = session.run(&[("images", &tensor(images))], &["pixels"]).unwrap().remove(0);
    let expected: Vec<HostTensor> = images.iter().map(|image| valid.apply(image).unwrap()).collect();
    assert_eq!(found.shape(), [&[images.len()], expected[0].shape()].concat(), "{preprocess}");
    let size = expected[0].len();
    for (expected, found) in expected.iter().zip(found.values::<f32>().unwrap().chunks_exact(size)) {
        let expected = expected.values::<f32>().unwrap();
        let differing = expected.iter().zip(found).filter(|(expected, found)| expected != found).count();
        let (height, width) = (images[0].height, images[0].width);
        assert_eq!(differing, 0, "{differing} of {size} values of {height}x{width} differ: {preprocess}");
    }
}

/// Odd, tiny, large and extreme heights and widths.
const SIZES: [(u32, u32); 22] = [
    (1, 1),
    (1, 2),
    (2, 1),
    (3, 5),
    (17, 31),
    (31, 17),
    (32, 32),
    (33, 64),
    (40, 9),
    (64, 33),
    (91, 90),
    (7, 300),
    (300, 7),
    (1, 200),
    (200, 1),
    (100, 640),
    (640, 100),
    (431, 287),
    (256, 256),
    (1000, 65),
    (65, 1000),
    (601, 799),
];

fn specifications() -> Vec<Preprocess> {
    let crop = |height, width| Some(Crop { height, width });
    let mut all = Vec::new();
    for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
        let usual = Preprocess { filter, ..Preprocess::imagenet(64, 56) };
        all.push(Preprocess { crop: crop(37, 70), ..usual.clone() });
        all.push(Preprocess { resize: Some(Resize::Exact { height: 47, width: 70 }), crop: None, ..usual.clone() });
        all.push(Preprocess {
            resize: Some(Resize::Exact { height: 96, width: 33 }),
            crop: crop(90, 40),
            ..usual.clone()
        });
        all.push(usual);
    }
    all.push(Preprocess { resize: None, crop: crop(48, 50), ..Preprocess::imagenet(8, 8) });
    all.push(Preprocess { resize: None, crop: None, ..Preprocess::imagenet(8, 8) });
    all.push(Preprocess { crop: None, ..Preprocess::clip(24) });
    let crop_rounding = CropRounding::Transformers;
    all.push(Preprocess { crop: crop(37, 70), crop_rounding, ..Preprocess::imagenet(64, 56) });
    all.push(Preprocess { crop_rounding, ..Preprocess::imagenet(32, 27) });
    all.push(Preprocess { resize: None, crop: crop(48, 51), crop_rounding, ..Preprocess::imagenet(8, 8) });
    let grey = Preprocess { channels: Channels::Grey, mean: vec![0.4], std: vec![0.3], ..Preprocess::imagenet(50, 41) };
    all.push(Preprocess { crop: None, ..grey.clone() });
    all.push(grey);
    all
}

#[test]
fn nodes_equal_the_interpreter_for_the_cpu_to_the_bit() {
    let images: Vec<Image> = SIZES.iter().zip(0..).map(|(&(height, width), kind)| image(height, width, kind)).collect();
    for preprocess in specifications() {
        let mut session = session(&preprocess);
        for image in &images {
            check(&mut session, &preprocess, std::slice::from_ref(image));
        }
    }
}

#[test]
fn images_of_a_batch_do_not_mix() {
    for preprocess in [Preprocess::imagenet(64, 56), Preprocess { crop: None, ..Preprocess::imagenet(40, 8) }] {
        let mut session = session(&preprocess);
        for (height, width) in [(90, 120), (200, 60), (30, 30)] {
            check(&mut session, &preprocess, &[0, 1, 2].map(|kind| image(height, width, kind)));
        }
    }
}

#[test]
fn photographs_of_many_megapixels_are_shrunk_to_the_bit() {
    let preprocess = Preprocess::imagenet(256, 224);
    let mut session = session(&preprocess);
    for (height, width) in [(1500, 2003), (2111, 1499), (3001, 800)] {
        check(&mut session, &preprocess, &[image(height, width, 0)]);
    }
}

#[test]
fn only_standard_operators_of_set_17_are_used() {
    let model = model(&Preprocess::imagenet(256, 224));
    assert_eq!((model.opset_imports.len(), model.opset("")), (1, Some(17)));
    let output = &model.graph.outputs[0];
    assert_eq!(output.r#type.as_ref().unwrap().to_string(), "f32[?, 3, 224, 224]");
}

#[test]
fn a_crop_of_dark_borders_is_refused_with_the_reason() {
    let preprocess = Preprocess { border: Some(Border::default()), ..Preprocess::imagenet(64, 56) };
    let mut b = Builder::new("preprocess");
    let shape = [Dim::symbol("batch"), Dim::symbol("height"), Dim::symbol("width"), Dim::Fixed(3)];
    let images = b.input("images", DType::U8, &shape);
    let error = preprocess.check().unwrap().add_to(&mut b, &images).unwrap_err();
    assert_eq!(
        error.to_string(),
        "preprocess `border` cannot be part of a graph: every image of a batch would have another size"
    );
    assert!(error.hint().is_some());
}
