//! A user's ONNX file as a backbone: what is found by inspection, what is asked for, what is
//! refused by name.

use std::path::PathBuf;

use defrost::backbones::{self, Backbone, ModelOptions, Pool, Size, Taps};
use defrost::graph::{Builder, Dim, Model};
use defrost::preprocess::{Preprocess, Resize};
use defrost::runtime::{Device, ModelSource, Runtime, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::tensor::{DType, HostTensor};

const PREPROCESS: &str = "[preprocess]\nresize = { exact = { height = 2, width = 2 } }\nfilter = \"bilinear\"\n\
                          mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n";

/// A folder with `model.onnx` and, beside it, `model.toml`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(model: &Model, description: &str) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        model.save(&folder.path("model.onnx")).unwrap();
        folder.write("model.toml", description);
        folder
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    fn open(&self, options: &ModelOptions) -> Result<Backbone, Box<defrost::Error>> {
        backbones::open(self.path("model.onnx").to_str().unwrap(), options, &Silent).map_err(Box::new)
    }

    fn error(&self, options: &ModelOptions) -> String {
        self.open(options).unwrap_err().to_string()
    }
}

/// A graph whose input is returned by `body` under the name `features`, declared as `output`.
fn model(input: &[Dim], output: &[Dim], body: impl FnOnce(&mut Builder, &defrost::graph::Value)) -> Model {
    let mut builder = Builder::new("net");
    let x = builder.input("images", DType::F32, input);
    body(&mut builder, &x);
    let mut model = builder.finish().unwrap();
    for value in &mut model.graph.outputs {
        *value = defrost::graph::ValueInfo::new(
            &value.name,
            defrost::graph::Type::tensor(DType::F32, Some(output.to_vec())),
        );
    }
    model
}

fn dims(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&size| if size < 0 { Dim::symbol("batch") } else { Dim::Fixed(size) }).collect()
}

/// Images as they are: a feature map [N, 3, 2, 2].
fn feature_map() -> Model {
    model(&dims(&[-1, 3, 2, 2]), &dims(&[-1, 3, 2, 2]), |b, x| {
        let y = b.relu(x);
        b.output("features", &y);
    })
}

/// Images [1, 2, 2, 3] as vectors of 12, rows first.
fn channels_last() -> Model {
    model(&dims(&[1, 2, 2, 3]), &dims(&[1, 12]), |b, x| {
        let y = b.reshape(x, &[1, 12]);
        b.output("features", &y);
    })
}

fn run(backbone: &Backbone, input: &HostTensor) -> Vec<f32> {
    let bytes = backbone.graph.to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut session = Session::open(&Runtime::load(None).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap();
    let outputs = session.run(&[(backbone.input.as_str(), input)], &[&backbone.embedding.name]).unwrap();
    assert_eq!(outputs[0].shape(), [input.shape()[0], backbone.embedding.width]);
    outputs[0].values::<f32>().unwrap().to_vec()
}

#[test]
fn a_feature_map_is_pooled_only_when_told_how() {
    let folder = Folder::new(&feature_map(), PREPROCESS);
    let error = folder.error(&ModelOptions::default());
    assert!(error.contains("`features`") && error.contains("[batch, 3, 2, 2]") && error.contains("`mean`"), "{error}");
    let backbone = folder.open(&ModelOptions { pool: Some(Pool::Mean), ..ModelOptions::default() }).unwrap();
    let input = HostTensor::from_vec(vec![1, 3, 2, 2], (0..12).map(|x| x as f32).collect()).unwrap();
    assert_eq!(run(&backbone, &input), [1.5, 5.5, 9.5]);
    folder.write("model.toml", &format!("pool = \"mean\"\nlicence = \"MIT\"\n{PREPROCESS}"));
    let described = folder.open(&ModelOptions::default()).unwrap();
    assert_eq!(described.graph, backbone.graph);
    assert_eq!(described.provenance.licence.as_deref(), Some("MIT"));
    let file = std::fs::read(folder.path("model.onnx")).unwrap();
    assert_eq!(described.provenance.weights_sha256, defrost::support::fs::sha256(&file));
}

#[test]
fn tokens_give_their_first_or_their_mean() {
    for opset in [17, 18] {
        let mut builder = Builder::with_opset("net", opset);
        let x = builder.input("images", DType::F32, &dims(&[-1, 3, 2, 2]));
        let y = builder.reshape(&x, &[0, 3, 4]);
        builder.output("tokens", &y);
        let mut model = builder.finish().unwrap();
        let r#type = defrost::graph::Type::tensor(DType::F32, Some(dims(&[-1, 3, 4])));
        model.graph.outputs = vec![defrost::graph::ValueInfo::new("tokens", r#type)];
        let folder = Folder::new(&model, PREPROCESS);
        assert!(folder.error(&ModelOptions::default()).contains("`pool`: `cls`"));
        let input = HostTensor::from_vec(vec![1, 3, 2, 2], (0..12).map(|x| x as f32).collect()).unwrap();
        let pooled = |pool| folder.open(&ModelOptions { pool: Some(pool), ..ModelOptions::default() }).unwrap();
        assert_eq!(run(&pooled(Pool::Cls), &input), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(run(&pooled(Pool::Mean), &input), [4.0, 5.0, 6.0, 7.0]);
    }
}

#[test]
fn channels_last_and_a_fixed_batch_are_handled() {
    let folder = Folder::new(&channels_last(), PREPROCESS);
    let backbone = folder.open(&ModelOptions::default()).unwrap();
    assert_eq!(backbone.fixed_batch, Some(1));
    assert_eq!((backbone.input.as_str(), backbone.embedding.width), ("images_nchw", 12));
    let input = HostTensor::from_vec(vec![1, 3, 2, 2], (0..12).map(|x| x as f32).collect()).unwrap();
    assert_eq!(run(&backbone, &input), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
}

#[test]
fn several_outputs_are_asked_for_and_never_guessed() {
    let two = model(&dims(&[-1, 3, 2, 2]), &dims(&[-1, 12]), |b, x| {
        let y = b.reshape(x, &[0, 12]);
        b.output("pooled", &y);
        let z = b.relu(&y);
        b.output("logits", &z);
    });
    let folder = Folder::new(&two, PREPROCESS);
    let error = folder.open(&ModelOptions::default()).unwrap_err();
    assert!(error.to_string().contains("has 2 outputs: `pooled ") && error.to_string().contains("`logits "), "{error}");
    assert!(error.hint().unwrap().to_string().contains("`output = NAME`"));
    let wrong = folder.error(&ModelOptions { output: Some("pooler".into()), ..ModelOptions::default() });
    assert!(wrong.contains("has no output `pooler`; nearest: `pooled`"), "{wrong}");
    let chosen = folder.open(&ModelOptions { output: Some("pooled".into()), ..ModelOptions::default() }).unwrap();
    assert_eq!(chosen.graph.graph.outputs.len(), 1);
    folder.write("model.toml", &format!("output = \"logits\"\n{PREPROCESS}"));
    assert_eq!(folder.open(&ModelOptions::default()).unwrap().embedding.name, "logits");
}

#[test]
fn taps_of_a_foreign_file_are_its_values_and_pooling_them_is_never_guessed() {
    let two = model(&dims(&[-1, 3, 2, 2]), &dims(&[-1, 12]), |b, x| {
        let tokens = b.reshape(x, &[0, 3, 4]);
        b.name(&tokens, "tokens");
        let y = b.relu(&tokens);
        let y = b.flatten(&y, 1);
        b.output("pooled", &y);
    });
    let folder = Folder::new(&two, PREPROCESS);
    let options = |pool| ModelOptions { taps: "tokens".parse().unwrap(), pool, ..ModelOptions::default() };
    let mut raw = folder.open(&options(None)).unwrap();
    let error = raw.pool_taps(None).unwrap_err();
    assert!(error.to_string().contains("`tokens` is [batch, 3, 4], several vectors per image"), "{error}");
    let widths = |pool| folder.open(&options(Some(pool))).unwrap().taps.iter().map(|tap| tap.width).collect::<Vec<_>>();
    assert_eq!([Pool::Cls, Pool::Mean, Pool::ClsMean, Pool::None].map(widths), [[4], [4], [8], [12]]);
    folder.write("model.toml", &format!("prefix = 0\n{PREPROCESS}"));
    let error = folder.error(&options(Some(Pool::Cls)));
    assert!(error.contains("`tokens` has no class token"), "{error}");
}

#[test]
fn inputs_that_are_no_images_are_refused_by_name() {
    let flat = model(&dims(&[-1, 12]), &dims(&[-1, 12]), |b, x| {
        let y = b.relu(x);
        b.output("features", &y);
    });
    let error = Folder::new(&flat, PREPROCESS).error(&ModelOptions::default());
    assert!(error.contains("`images`") && error.contains("[batch, 12]"), "{error}");
    let larger = model(&dims(&[-1, 3, 4, 2]), &dims(&[-1, 3, 1, 1]), |b, x| {
        let y = b.global_average_pool(x);
        b.output("features", &y);
    });
    let error = Folder::new(&larger, PREPROCESS).error(&ModelOptions::default());
    assert!(error.contains("it takes 4 rows, the preprocessing gives 2 rows"), "{error}");
    let open = model(&[Dim::Unknown, Dim::Unknown, Dim::Unknown, Dim::Unknown], &dims(&[-1, 3, 1, 1]), |b, x| {
        let y = b.global_average_pool(x);
        b.output("features", &y);
    });
    let folder = Folder::new(&open, PREPROCESS);
    assert!(folder.error(&ModelOptions::default()).contains("layout = \"nchw\""));
    folder.write("model.toml", &format!("layout = \"nchw\"\n{PREPROCESS}"));
    assert_eq!(folder.open(&ModelOptions::default()).unwrap().embedding.width, 3);
    let size = folder.error(&ModelOptions { size: Some(Size::Any), ..ModelOptions::default() });
    assert!(size.contains("`size` does not apply"), "{size}");
    let taps = ModelOptions { taps: Taps::All, ..ModelOptions::default() };
    assert!(folder.open(&taps).unwrap().taps.is_empty(), "its only output is the embedding");
}

#[test]
fn preprocessing_comes_from_a_file_beside_it_or_an_error_shows_how_to_write_one() {
    let folder = Folder::new(&feature_map(), "pool = \"mean\"");
    let error = folder.open(&ModelOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("nothing says how images become the input"), "{error}");
    let hint = error.hint().unwrap().to_string();
    let template = hint.split_once("\n\n").unwrap().1;
    folder.write("other.toml", template);
    let options = ModelOptions { preprocess: Some(folder.path("other.toml")), ..ModelOptions::default() };
    assert!(folder.error(&options).contains("it takes 2 rows, the preprocessing gives 224 rows"));
    folder.write(
        "preprocessor_config.json",
        r#"{"image_processor_type": "ViTImageProcessor", "resample": 2, "size": {"height": 2, "width": 2},
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}"#,
    );
    let backbone = folder.open(&ModelOptions::default()).unwrap();
    assert_eq!(backbone.preprocess.resize, Some(Resize::Exact { height: 2, width: 2 }));
    assert_eq!(backbone.preprocess.std, [0.25; 3]);
}

/// Since transformers 5 a processor of texts and images is one file; repositories of the hub have
/// their exports in a folder `onnx`.
#[test]
fn preprocessing_comes_from_processors_as_the_hub_has_them() {
    let folder = Folder::new(&feature_map(), "pool = \"mean\"");
    folder.write("processor_config.json", r#"{"processor_class": "OtherProcessor"}"#);
    assert!(folder.error(&ModelOptions::default()).starts_with("nothing says how images become the input"));
    let images = r#"{"image_processor_type": "ViTImageProcessor", "resample": 2, "size": {"height": 2, "width": 2},
                     "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}"#;
    let both = format!(r#"{{"processor_class": "CLIPProcessor", "image_processor": {images}}}"#);
    folder.write("processor_config.json", &both);
    assert_eq!(folder.open(&ModelOptions::default()).unwrap().preprocess.std, [0.25; 3]);
    std::fs::create_dir(folder.path("onnx")).unwrap();
    for file in ["model.onnx", "model.toml"] {
        std::fs::rename(folder.path(file), folder.path("onnx").join(file)).unwrap();
    }
    let path = folder.path("onnx/model.onnx");
    let opened = backbones::open(path.to_str().unwrap(), &ModelOptions::default(), &Silent).unwrap();
    assert_eq!(opened.preprocess.std, [0.25; 3]);
}

#[test]
fn a_built_backbone_is_opened_again_by_what_it_says_of_itself() {
    let options = ModelOptions { random_weights: Some(7), ..ModelOptions::default() };
    let built = backbones::open("efficientnet-lite0", &options, &Silent).unwrap();
    let folder = Folder(tempfile::tempdir().unwrap());
    built.graph.save(&folder.path("model.onnx")).unwrap();
    let opened = folder.open(&ModelOptions::default()).unwrap();
    assert_eq!(opened.preprocess, built.preprocess);
    assert_eq!(opened.preprocess, backbones::find("efficientnet-lite0").unwrap().variant.preprocess);
    assert_ne!(opened.preprocess, Preprocess::imagenet(256, 224));
    assert_eq!((opened.embedding.name.as_str(), opened.embedding.width), ("embedding", 1280));
    assert!(opened.provenance.random);
    let again = backbones::open("efficientnet-lite0", &options, &Silent).unwrap();
    assert_eq!(again.graph, built.graph);
}
