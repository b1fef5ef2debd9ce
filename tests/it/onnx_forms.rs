//! ONNX files as exporters write them: weights in other carriers than initializers, functions,
//! branches and loops, newer operator sets, fixed batches, further inputs, other element types,
//! outputs of unknown width.
//!
//! Sources: PaddlePaddle/Paddle2ONNX#741, onnx/models#48 (weights in constants);
//! pytorch/pytorch#127167 (operator sets); robertknight/rten#655, pytorch/pytorch#111495
//! (functions); triton-inference-server/onnxruntime_backend#88 (fixed batches);
//! huggingface/optimum#1955 (two towers); onnx/onnx#6229 (types of branches).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use defrost::backbones::{self, Backbone, ModelOptions};
use defrost::graph::{
    Attribute, AttributeKind, AttributeValue, Builder, Dim, ElementType, Function, Graph, Model, Node, OperatorSet,
    Tensor, Type, ValueInfo, infer, inline_functions, rewrite, shape_text, validate,
};
use defrost::runtime::{Device, ModelSource, Session, SessionOptions};
use defrost::support::progress::Silent;
use defrost::tensor::{DType, HostTensor, Tolerance, Weights, compare};

use crate::session::runtime;

const PIXELS: &str = "[preprocess]\nresize = { exact = { height = 2, width = 2 } }\nfilter = \"bilinear\"\n\
                      mean = [0.0, 0.0, 0.0]\nstd = [1.0, 1.0, 1.0]\n";

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx").join(name);
    path.to_str().unwrap().to_owned()
}

fn defrost(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_defrost"));
    command.env("DEFROST_CACHE_DIR", folder.join("cache-directory")).current_dir(folder);
    command.arg("--runtime-library").arg(runtime().library()).args(arguments).output().unwrap()
}

/// Runs a command that succeeds; stdout.
fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = defrost(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that is refused as bad input; stderr.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = defrost(folder, arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
    told
}

fn outputs(model: &Model, inputs: &[(&str, &HostTensor)]) -> Vec<HostTensor> {
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let bytes = model.to_bytes().unwrap();
    Session::open(&runtime(), ModelSource::Bytes(&bytes), &options).unwrap().run(inputs, &[]).unwrap()
}

fn noise(shape: &[usize]) -> HostTensor {
    HostTensor::from_fn(shape, |index| (index as f32 * 12.9898).sin())
}

/// Opens a model from a folder of its own.
fn opened(model: &Model, description: &str) -> Result<Backbone, String> {
    let folder = tempfile::tempdir().unwrap();
    model.save(&folder.path().join("model.onnx")).unwrap();
    std::fs::write(folder.path().join("model.toml"), description).unwrap();
    let path = folder.path().join("model.onnx");
    backbones::open(path.to_str().unwrap(), &ModelOptions::default(), &Silent).map_err(|error| error.to_string())
}

#[test]
fn weights_in_constant_nodes_are_trained_like_initializers() {
    let folder = tempfile::tempdir().unwrap();
    let mut trained = Vec::new();
    for name in ["initializers", "constants"] {
        let model = fixture(&format!("{name}.onnx"));
        assert!(succeeds(folder.path(), &["graph", "show", &model]).contains("parameters  112 "));
        let told = succeeds(
            folder.path(),
            &["graph", "differentiate", &model, "--output", "y", "--loss", "cross-entropy", "--out", "train.onnx"],
        );
        assert!(told.contains("grad/w f32[4, 3, 3, 3]") && told.contains("grad/b f32[4]"), "{told}");
        let images = fixture("images");
        let epochs = ["--epochs", "1", "--learning-rate", "0.01", "--out", name];
        succeeds(folder.path(), &[&["finetune", &images, "--model", &model][..], &epochs].concat());
        let weights = Weights::open(&folder.path().join(name).join("checkpoints/last/model.safetensors")).unwrap();
        trained.push(["w", "b", "head.weight"].map(|name| weights.get(name).unwrap().bytes().to_vec()));
    }
    assert_eq!(trained[0], trained[1]);
}

#[test]
fn a_network_without_weights_is_not_fine_tuned_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let mut b = Builder::new("net");
    let x = b.input("images", DType::F32, &[Dim::symbol("batch"), 3i64.into(), 2i64.into(), 2i64.into()]);
    let y = b.flatten(&x, 1);
    b.output("y", &y);
    b.finish().unwrap().save(&folder.path().join("flat.onnx")).unwrap();
    std::fs::write(folder.path().join("flat.toml"), PIXELS).unwrap();
    let images = fixture("images");
    let run = ["finetune", &images, "--model", "flat.onnx", "--epochs", "1", "--learning-rate", "0.01", "--out"];
    let told = refused(folder.path(), &[&run[..], &["all"]].concat());
    assert!(told.contains("nothing but the head would be trained") && told.contains("--freeze all"), "{told}");
    succeeds(folder.path(), &[&run[..], &["head", "--freeze", "all"]].concat());
}

#[test]
fn quantised_weights_and_half_floats_are_trained_in_f32() {
    let stored = |name: &str, element: ElementType, shape: &[usize], bytes: Vec<u8>| {
        let host = HostTensor::new(element.dtype().unwrap(), shape.to_vec(), bytes.into()).unwrap();
        Tensor::new(name, &host)
    };
    let mut b = Builder::new("net");
    let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(3)]);
    b.output("y", &x);
    let mut model = b.finish().unwrap();
    let values = [-128i8, -1, 0, 1, 64, 127];
    model.graph.initializers = vec![
        stored("q", ElementType::I8, &[3, 2], values.map(|value| value as u8).to_vec()),
        stored("scale", ElementType::F32, &[2], [0.5f32, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect()),
        stored("zero", ElementType::I8, &[2], vec![0, 3]),
    ];
    let dequantize = Node::new("DequantizeLinear", &["q", "scale", "zero"], &["w"]).with("axis", 1);
    model.graph.nodes = vec![dequantize, Node::new("MatMul", &["x", "w"], &["y"])];
    // The runtime computes what it dequantises itself in another way, unless the weight is an
    // output.
    model.graph.outputs = vec![ValueInfo::untyped("y"), ValueInfo::untyped("w")];
    let x = noise(&[4, 3]);
    let expected = outputs(&model, &[("x", &x)]);
    let (patch, names) = rewrite::expose_weights(&model);
    patch.apply(&mut model).unwrap();
    assert_eq!((names, model.graph.nodes.len()), (vec!["w".to_owned()], 1));
    assert_eq!(outputs(&model, &[("x", &x)])[1].bytes(), expected[1].bytes());
    model.graph.outputs.truncate(1);

    // The same in f16: what is stored is exact in f32.
    let half: Vec<u8> = [0.5f32, -1.5, 2.0].iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    model.graph.initializers = vec![stored("h", ElementType::F16, &[3, 1], half)];
    let cast = |from: &str, to: &str, element: ElementType| {
        Node::new("Cast", &[from], &[to]).with("to", i64::from(element.code()))
    };
    model.graph.nodes = vec![
        cast("x", "narrow", ElementType::F16),
        Node::new("MatMul", &["narrow", "h"], &["product"]),
        cast("product", "y", ElementType::F32),
    ];
    let (single, found) = rewrite::single_precision(model.clone()).unwrap();
    assert_eq!(found, [ElementType::F16]);
    let [narrow, wide] = [&model, &single].map(|model| outputs(model, &[("x", &x)])[0].to_f32().unwrap().to_vec());
    assert!(compare(&wide, &narrow, Tolerance::Absolute(2e-3)).unwrap().holds());
}

#[test]
fn newer_operator_sets_pass_and_their_embeddings_are_those_of_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    for version in [24, 25] {
        let model = fixture(&format!("opset{version}.onnx"));
        assert!(succeeds(folder.path(), &["graph", "show", &model]).contains(&format!("ai.onnx {version}")));
        let copy = format!("copy{version}.onnx");
        succeeds(folder.path(), &["graph", "copy", &model, &copy]);
        assert_eq!(Model::load(&folder.path().join(copy)).unwrap(), Model::load(Path::new(&model)).unwrap());
        let out = format!("cache{version}");
        succeeds(folder.path(), &["embed", &fixture("opset_images"), "--model", &model, "--out", &out]);
        agrees(&folder.path().join(out), "opset_expected.json");
    }
}

/// Compares a cache with expected embeddings by file name.
fn agrees(cache: &Path, expected: &str) {
    let text = std::fs::read_to_string(fixture(expected)).unwrap();
    let expected: std::collections::BTreeMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
    let features = defrost::embed::Features::open(cache, &defrost::embed::FeatureColumns::default()).unwrap();
    assert_eq!(features.x.nrows(), expected.len());
    for (row, sample) in features.dataset.samples.iter().enumerate() {
        let id = &sample.id;
        let name = Path::new(id).file_name().unwrap().to_str().unwrap();
        let found: Vec<f32> = features.x.row(row).to_vec();
        let outcome = compare(&found, &expected[name], Tolerance::Absolute(2e-5)).unwrap();
        assert!(outcome.holds(), "{id}: {outcome}");
    }
}

#[test]
fn a_backbone_with_functions_is_exported_and_differentiated() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (fixture("functions.onnx"), fixture("images"));
    succeeds(folder.path(), &["embed", &images, "--model", &model, "--out", "cache"]);
    succeeds(folder.path(), &["probe", "linear", "cache"]);
    succeeds(folder.path(), &["export", "cache/probes/linear.json", "--model", &model, "--out", "classifier.onnx"]);
    let told = succeeds(
        folder.path(),
        &["graph", "differentiate", &model, "--output", "y", "--loss", "cross-entropy", "--out", "train.onnx"],
    );
    assert!(told.contains("grad/w f32[4, 3, 3, 3]"), "{told}");
}

/// `x` through `Outer`, which calls `Inner` twice: once with an attribute of its caller's, once
/// with the default, in a branch; the second input of `Inner` is optional.
fn nested_functions() -> Model {
    let float = |name: &str, value: f32| Attribute::new(name, value);
    let reference = |name: &str, refers: &str| {
        Attribute::new(name, AttributeValue::Reference { name: refers.to_owned(), kind: AttributeKind::Float })
    };
    let imports =
        vec![OperatorSet { domain: String::new(), version: 17 }, OperatorSet { domain: "own".into(), version: 1 }];
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let call = |name: &str, inputs: &[&str], outputs: &[&str]| Node {
        domain: "own".into(),
        ..Node::new(name, inputs, outputs)
    };
    let mut leaky = Node::new("LeakyRelu", &["a"], &["hidden"]);
    leaky.attributes.push(reference("alpha", "slope"));
    let inner = Function {
        name: "Inner".into(),
        domain: "own".into(),
        inputs: strings(&["a", "low"]),
        outputs: strings(&["b", "a_again"]),
        defaults: vec![float("slope", 0.25)],
        nodes: vec![leaky, Node::new("Clip", &["hidden", "low"], &["b"]), Node::new("Identity", &["a"], &["a_again"])],
        opset_imports: imports.clone(),
        ..Function::default()
    };
    let mut first = call("Inner", &["p", ""], &["hidden", ""]);
    first.attributes.push(reference("slope", "steep"));
    let branch = |name: &str| {
        let node = call("Inner", &["hidden", "low"], &["local", ""]);
        Graph {
            name: name.to_owned(),
            nodes: vec![node],
            outputs: vec![ValueInfo::untyped("local")],
            ..Graph::default()
        }
    };
    let choose =
        Node::new("If", &["c"], &["q"]).with("then_branch", branch("then")).with("else_branch", branch("else"));
    let outer = Function {
        name: "Outer".into(),
        domain: "own".into(),
        inputs: strings(&["p", "c"]),
        outputs: strings(&["q"]),
        attributes: strings(&["steep"]),
        nodes: vec![first, Node::new("Constant", &[], &["low"]).with("value_float", -0.125f32), choose],
        opset_imports: imports.clone(),
        ..Function::default()
    };
    let mut outer_call = call("Outer", &["x", "condition"], &["y"]);
    outer_call.attributes.push(float("steep", 0.5));
    Model {
        ir_version: 8,
        opset_imports: imports,
        functions: vec![inner, outer],
        graph: Graph {
            name: "main".into(),
            nodes: vec![outer_call, Node::new("Neg", &["y"], &["hidden"])],
            inputs: vec![
                ValueInfo::new("x", Type::tensor(DType::F32, Some(vec![Dim::symbol("batch"), Dim::Fixed(3)]))),
                ValueInfo::new("condition", Type::tensor(DType::Bool, Some(Vec::new()))),
            ],
            outputs: vec![ValueInfo::untyped("hidden"), ValueInfo::untyped("y")],
            ..Graph::default()
        },
        ..Model::default()
    }
}

#[test]
fn nested_functions_are_inlined_as_the_runtime_inlines_them() {
    let model = nested_functions();
    validate(&model).unwrap();
    let inlined = inline_functions(model.clone()).unwrap();
    assert!(inlined.functions.is_empty() && inlined.opset("own").is_none());
    let found = infer(&model).unwrap();
    assert_eq!(found.facts["y"].shape.as_deref().map(shape_text).unwrap(), "[batch, 3]");
    // The runtime takes an output's type from the model.
    let typed = |mut model: Model| {
        for output in &mut model.graph.outputs {
            output.r#type = Some(Type::tensor(DType::F32, None));
        }
        model
    };
    let condition = HostTensor::new(DType::Bool, Vec::new(), vec![1u8].into()).unwrap();
    let x = noise(&[4, 3]);
    let [expected, given] =
        [typed(model.clone()), typed(inlined)].map(|model| outputs(&model, &[("x", &x), ("condition", &condition)]));
    for (given, expected) in given.iter().zip(&expected) {
        assert_eq!(given.bytes(), expected.bytes());
    }
    let mut endless = model;
    let again = Node { domain: "own".into(), ..Node::new("Outer", &["p", "c"], &["once more"]) };
    endless.functions[1].nodes.push(again);
    let told = inline_functions(endless).unwrap_err().to_string();
    assert_eq!(told, "the function `own:Outer` cannot be inlined: it calls itself");
}

#[test]
fn fixed_batches_are_trained_as_parts_of_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let images = fixture("images");
    for count in [1, 4] {
        let (model, out) = (fixture(&format!("batch{count}.onnx")), format!("run{count}"));
        let run = ["finetune", &images, "--model", &model, "--epochs", "1", "--learning-rate", "0.01", "--out", &out];
        succeeds(folder.path(), &run);
        let told =
            refused(folder.path(), &[&run[..8], &["--out", &format!("other{count}"), "--micro-batch", "2"]].concat());
        assert!(told.contains(&format!("takes {count} images at once and no other number")), "{told}");
    }
    // A classifier takes one image; a network that takes four is given it four times. `export` holds
    // its probabilities against those of the run.
    for run in ["run1", "run4"] {
        succeeds(folder.path(), &["export", run, "--out", &format!("{run}.onnx")]);
    }
    let said = succeeds(folder.path(), &["predict", "run4.onnx", &images, "--json"]);
    assert_eq!(
        said.matches("probabilities").count(),
        std::fs::read_dir(&images)
            .unwrap()
            .map(|class| { std::fs::read_dir(class.unwrap().path()).unwrap().count() })
            .sum::<usize>()
    );
}

#[test]
fn inputs_that_the_output_does_not_need_are_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (fixture("twotower.onnx"), fixture("opset_images"));
    let embed = ["embed", &images, "--model", &model, "--output", "image_embeds", "--out"];
    succeeds(folder.path(), &[&embed[..], &["named", "--input", "pixel_values"]].concat());
    succeeds(folder.path(), &[&embed[..], &["cache"]].concat());
    agrees(&folder.path().join("cache"), "twotower_expected.json");
    let told = refused(
        folder.path(),
        &["embed", &images, "--model", &model, "--output", "logits_per_image", "--out", "x", "--input", "pixel_values"],
    );
    assert!(told.contains("the model needs `input_ids` too"), "{told}");
}

#[test]
fn what_branches_and_loops_give_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("ifnet.onnx");
    let cut = succeeds(folder.path(), &["graph", "cut", &model, "--from", "z", "--to", "y", "--out", "head.onnx"]);
    assert!(cut.contains("inputs      z f32[N, 4]"), "{cut}");
    let tapped = succeeds(folder.path(), &["graph", "tap", &model, "--value", "z", "--out", "tapped.onnx"]);
    assert!(tapped.contains("z f32[N, 4]"), "{tapped}");
    let told = refused(
        folder.path(),
        &["graph", "differentiate", &model, "--output", "y", "--loss", "cross-entropy", "--out", "train.onnx"],
    );
    assert!(told.contains("(If) has no gradient rule"), "{told}");

    // A loop that carries a value on and stacks one; a scan over the second axis.
    let body = Graph {
        name: "body".into(),
        nodes: vec![
            Node::new("Add", &["carried", "outside"], &["next"]),
            Node::new("ReduceSum", &["next"], &["each"]).with("keepdims", 0),
            Node::new("Identity", &["condition"], &["go_on"]),
        ],
        inputs: ["turn", "condition", "carried"].map(ValueInfo::untyped).to_vec(),
        outputs: ["go_on", "next", "each"].map(ValueInfo::untyped).to_vec(),
        ..Graph::default()
    };
    let scanned = Graph {
        name: "scan".into(),
        nodes: vec![
            Node::new("Mul", &["state", "slice"], &["product"]),
            Node::new("Identity", &["product"], &["stacked"]),
        ],
        inputs: ["state", "slice"].map(ValueInfo::untyped).to_vec(),
        outputs: ["product", "stacked"].map(ValueInfo::untyped).to_vec(),
        ..Graph::default()
    };
    let mut b = Builder::new("net");
    let x = b.input("x", DType::F32, &[2i64.into(), 5i64.into()]);
    b.output("x_again", &x);
    let mut model = b.finish().unwrap();
    model.graph.initializers = vec![
        Tensor::new("outside", &noise(&[5])),
        Tensor::new("count", &HostTensor::scalar(3i64)),
        Tensor::new("start", &noise(&[2])),
    ];
    model.graph.nodes.extend([
        Node::new("Loop", &["count", "", "x"], &["last", "sums"]).with("body", body),
        Node::new("Scan", &["start", "x"], &["final", "rows"])
            .with("body", scanned)
            .with("num_scan_inputs", 1)
            .with("scan_input_axes", vec![1i64]),
    ]);
    let facts = infer(&model).unwrap().facts;
    let shape = |name: &str| facts[name].to_type().unwrap().to_string();
    assert_eq!(["last", "sums", "final", "rows"].map(shape), ["f32[2, 5]", "f32[?]", "f32[2]", "f32[5, 2]"]);
}

/// Images of an element type; rows first; the width of the output is not told.
fn typed_input(dtype: DType) -> Model {
    let mut b = Builder::new("net");
    let x = b.input("images", dtype, &[Dim::symbol("batch"), 3i64.into(), 2i64.into(), 2i64.into()]);
    let y = b.flatten(&x, 1);
    let y = if dtype == DType::U8 { b.cast(&y, DType::F32) } else { y };
    b.output("features", &y);
    b.finish().unwrap()
}

#[test]
fn inputs_of_other_element_types_get_a_cast() {
    let images = HostTensor::from_fn(&[2, 3, 2, 2], |index| index as f32 / 255.0);
    let run = |model: &Backbone, images: &HostTensor| {
        let found = outputs(&model.graph, &[(&model.input, images)]);
        assert_eq!(found[0].dtype(), DType::F32);
        found[0].to_f32().unwrap().to_vec()
    };
    for dtype in [DType::F16, DType::F64] {
        let backbone = opened(&typed_input(dtype), PIXELS).unwrap();
        let outcome = compare(&run(&backbone, &images), &images.to_f32().unwrap(), Tolerance::Absolute(1e-4)).unwrap();
        assert!(outcome.holds(), "{dtype}: {outcome}");
    }
    // Pixels from 0 to 255, not a step lower where the division left a little less.
    let backbone = opened(&typed_input(DType::U8), PIXELS).unwrap();
    assert_eq!(run(&backbone, &images), (0..24).map(|x| x as f32).collect::<Vec<_>>());
    let told = opened(&typed_input(DType::U8), &PIXELS.replace("mean = [0.0", "mean = [0.5")).unwrap_err();
    assert!(told.contains("it takes u8, pixels from 0 to 255 as they are"), "{told}");
}

#[test]
fn an_open_number_of_features_is_learnt_from_one_run() {
    // A reshape by a computed size, and an operator of no rule: nothing tells the width.
    let mut b = Builder::new("net");
    let x = b.input("images", DType::F32, &[Dim::symbol("batch"), 3i64.into(), 2i64.into(), 2i64.into()]);
    let y = b.flatten(&x, 1);
    b.output("features", &y);
    let mut model = b.finish().unwrap();
    let node = model.graph.nodes.last_mut().unwrap();
    node.outputs = vec!["flat".to_owned()];
    model.graph.nodes.push(Node::new("Celu", &["flat"], &["features"]));
    for declared in [Some(Type::tensor(DType::F32, Some(vec![Dim::symbol("batch"), Dim::symbol("width")]))), None] {
        model.graph.outputs[0].r#type = declared.or_else(|| Some(Type::tensor(DType::F32, None)));
        let backbone = opened(&model, PIXELS).unwrap();
        assert_eq!(backbone.embedding.width, 12);
        assert_eq!(outputs(&backbone.graph, &[(&backbone.input, &noise(&[2, 3, 2, 2]))])[0].shape(), [2, 12]);
    }
}

/// `y = RotaryEmbedding(x, cos, sin)`, times `w` where it has one, with tables of stored numbers.
fn rotated(has_weight: bool) -> Model {
    let mut b = Builder::with_opset("net", 23);
    let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(2), Dim::Fixed(3), Dim::Fixed(4)]);
    let cos = b.parameter("cos", &noise(&[8, 2]));
    let sin = b.parameter("sin", &noise(&[8, 2]));
    let positions = b.filled_like(&x, 0.0);
    let positions = b.narrow(&positions, 1, 0..1);
    let positions = b.narrow(&positions, 3, 0..1);
    let positions = b.squeeze(&positions, &[1, 3]);
    let positions = b.cast(&positions, DType::I64);
    let mut y = b.apply("RotaryEmbedding", &[&x, &cos, &sin, &positions]);
    if has_weight {
        let w = b.parameter("w", &noise(&[4]));
        let scaled = b.mul(&x, &w);
        y = b.apply("RotaryEmbedding", &[&scaled, &cos, &sin, &positions]);
    }
    b.output("y", &y);
    b.finish().unwrap()
}

#[test]
fn differentiation_names_the_weights_that_have_no_gradient() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["graph", "differentiate", "m.onnx", "--output", "y", "--loss", "mse", "--out", "train.onnx"];
    rotated(true).save(&folder.path().join("m.onnx")).unwrap();
    let output = defrost(folder.path(), &arguments);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("without a gradient: `cos` (a table of positions)"), "{told}");
    let trained = Model::load(&folder.path().join("train.onnx")).unwrap();
    let names: Vec<&str> = trained.graph.outputs.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["loss", "grad/w"]);

    // None is left.
    std::fs::remove_file(folder.path().join("train.onnx")).unwrap();
    rotated(false).save(&folder.path().join("m.onnx")).unwrap();
    let told = refused(folder.path(), &arguments);
    assert!(told.contains("no weight has a gradient of a loss on `y`: `cos` (a table of positions)"), "{told}");
    assert!(!folder.path().join("train.onnx").exists());
}

/// `int(count ** 0.5)`, as exports of DINOv2 make the grid of their positions.
#[test]
fn sizes_are_followed_through_floating_point_numbers() {
    let mut b = Builder::new("net");
    let [count, half] = [16f32, 0.5].map(|number| b.constant(&HostTensor::scalar(number)));
    let root = b.apply("Pow", &[&count, &half]);
    let scaled = b.mul(&root, &half);
    let sides = [root, scaled].map(|side| {
        let side = b.cast(&side, DType::I64);
        b.unsqueeze(&side, &[0])
    });
    let rest = b.integers(&[-1]);
    let shape = b.concat(&[&sides[0], &sides[1], &rest], 0);
    let table = b.parameter("table", &noise(&[16]));
    let grid = b.reshape_to(&table, &shape);
    assert_eq!(shape_text(b.dims(&grid).unwrap()), "[4, 2, 2]");
}

#[test]
fn images_of_open_size_are_trained_in_that_of_the_preprocessing() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::load(Path::new(&fixture("initializers.onnx"))).unwrap();
    let open = vec![Dim::symbol("batch"), Dim::Fixed(3), Dim::symbol("height"), Dim::symbol("width")];
    model.graph.inputs[0].r#type = Some(Type::tensor(DType::F32, Some(open)));
    model.save(&folder.path().join("open.onnx")).unwrap();
    std::fs::copy(fixture("initializers.toml"), folder.path().join("open.toml")).unwrap();
    let images = fixture("images");
    succeeds(folder.path(), &["finetune", &images, "--model", "open.onnx", "--epochs", "1", "--out", "run"]);
    succeeds(folder.path(), &["export", "run", "--out", "classifier.onnx"]);
}

#[test]
fn a_loss_on_something_else_than_vectors_is_refused_by_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let mut b = Builder::new("net");
    let x = b.input("images", DType::F32, &[Dim::symbol("batch"), 3i64.into(), 2i64.into(), 2i64.into()]);
    let factor = b.parameter("factor", &noise(&[3, 1, 1]));
    let map = b.mul(&x, &factor);
    b.output("map", &map);
    b.finish().unwrap().save(&folder.path().join("map.onnx")).unwrap();
    let run = ["graph", "differentiate", "map.onnx", "--output", "map", "--out", "train.onnx", "--loss"];
    let told = refused(folder.path(), &[&run[..], &["cross-entropy"]].concat());
    assert!(told.contains("`map` (loss): expected an output of vectors, [N, C], found [batch, 3, 2, 2]"), "{told}");
    succeeds(folder.path(), &[&run[..], &["mse"]].concat());
}
