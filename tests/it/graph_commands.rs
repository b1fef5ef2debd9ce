//! `defrost graph`: exit codes, stdout and stderr; built operators as ONNX Runtime sees them.

use std::path::Path;
use std::process::Command;

use defrost::graph::{
    BatchNormParameters, Builder, ConvOptions, Dim, Interpolation, Model, Node, PoolOptions, ResizeOptions, Slice,
    Value, infer, rewrite,
};
use defrost::runtime::{ModelSource, Session, SessionOptions};
use defrost::tensor::{DType, HostTensor, Tolerance, compare};

use crate::session::runtime;

/// Numbers between -1 and 1 without a pattern, the same each time.
fn noise(shape: &[usize]) -> HostTensor {
    let count = shape.iter().product::<usize>();
    HostTensor::from_vec(shape.to_vec(), (0..count).map(|index| (index as f32 * 12.9898).sin()).collect()).unwrap()
}

fn run(model: &Model, x: &HostTensor) -> Vec<HostTensor> {
    let bytes = model.to_bytes().unwrap();
    let mut session = Session::open(&runtime(), ModelSource::Bytes(&bytes), &SessionOptions::default()).unwrap();
    session.run(&[("x", x)], &[]).unwrap()
}

/// A graph with every operator a builder has a method for, all from `x` [batch, 4, 6, 6].
fn everything(opset: i64) -> Model {
    let mut b = Builder::with_opset("everything", opset);
    let x = b.input("x", DType::F32, &["batch".into(), 4i64.into(), 6i64.into(), 6i64.into()]);
    images(&mut b, &x);
    elements(&mut b, &x);
    let parts = tokens(&mut b, &x);
    let sum = b.reduce_sum(&parts, &[1, 2], false);
    b.output("sum", &sum);
    b.finish().unwrap()
}

fn images(b: &mut Builder, x: &Value) {
    let (dense, depthwise) =
        (b.parameter("dense", &noise(&[8, 4, 3, 3])), b.parameter("depthwise", &noise(&[4, 1, 3, 3])));
    let bias = b.parameter("bias", &noise(&[8]));
    let same = ConvOptions { strides: [2, 2], pads: [0, 0, 1, 1], ..ConvOptions::default() };
    b.conv(x, &dense, Some(&bias), same);
    b.conv(x, &depthwise, None, ConvOptions { groups: 4, dilations: [2, 1], ..ConvOptions::default() });
    let up = b.parameter("up", &noise(&[4, 3, 2, 2]));
    b.conv_transpose(x, &up, None, ConvOptions { strides: [2, 2], ..ConvOptions::default() });
    b.global_average_pool(x);
    b.average_pool(x, PoolOptions { pads: [1, 1, 1, 1], count_border: true, ..PoolOptions::square(3) });
    b.max_pool(x, PoolOptions { kernel: [3, 3], pads: [1, 1, 1, 1], ..PoolOptions::square(2) });
    b.max_pool(x, PoolOptions { ceil: true, ..PoolOptions::square(4) });
    let statistics = ["scale", "shift", "mean"].map(|name| b.parameter(name, &noise(&[4])));
    let variance = b.parameter("variance", &HostTensor::vector(vec![0.5f32; 4]));
    let [scale, bias, mean] = &statistics;
    b.batch_norm(x, BatchNormParameters { scale, bias, mean, variance: &variance }, 1e-3);
    b.pad(x, &[0, 0, 1, 2, 0, 0, 3, 4], 0.5);
    let shape = b.shape(x);
    let front = b.narrow(&shape, 0, 0..2);
    let size = b.integers(&[9, 5]);
    let sizes = b.concat(&[&front, &size], 0);
    for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic { hundredths: -75 }] {
        let antialias = b.opset() >= 18 && interpolation != Interpolation::Nearest;
        b.resize(x, &sizes, ResizeOptions { interpolation, antialias, align_corners: false });
    }
}

fn elements(b: &mut Builder, x: &Value) {
    let two = b.scalar(2.0);
    for operator in [Builder::add, Builder::sub, Builder::mul, Builder::div, Builder::max, Builder::min, Builder::pow] {
        operator(b, x, &two);
    }
    for operator in [
        Builder::relu,
        Builder::sigmoid,
        Builder::tanh,
        Builder::erf,
        Builder::exp,
        Builder::neg,
        Builder::abs,
        Builder::reciprocal,
        Builder::gelu,
        Builder::gelu_tanh,
        Builder::quick_gelu,
        Builder::silu,
    ] {
        operator(b, x);
    }
    let positive = b.abs(x);
    b.sqrt(&positive);
    b.log(&positive);
    b.clip(x, 0.0, 6.0);
    b.cast(x, DType::F16);
    b.softmax(x, 1);
    b.log_softmax(x, -1);
    let greater = b.greater(x, &two);
    b.less(x, &two);
    b.equal(x, &two);
    b.select(&greater, x, &two);
    b.reduce_mean(x, &[-1], true);
    b.reduce_mean(x, &[2, 3], false);
    b.reduce_max(x, &[1], true);
    b.reduce_l2(x, &[-1], true);
    b.arg_max(x, 1, false);
}

fn tokens(b: &mut Builder, x: &Value) -> Value {
    let flat = b.reshape(x, &[0, 4, -1]);
    let tokens = b.transpose(&flat, &[0, 2, 1]);
    let (scale, shift) = (b.parameter("norm.scale", &noise(&[4])), b.parameter("norm.shift", &noise(&[4])));
    let normal = b.layer_norm(&tokens, &scale, Some(&shift), 1e-6);
    let weight = b.parameter("weight", &noise(&[4, 6]));
    let wide = b.matmul(&normal, &weight);
    let [left, right] = b.split(&wide, -1, [2, 4]);
    let third = b.constant(&HostTensor::scalar(3i64));
    b.gather(&right, &third, 1);
    let slices = [Slice { axis: 1, start: -1, end: i64::MIN, step: -5 }, Slice { axis: 2, start: 1, end: 9, step: 1 }];
    b.slice(&right, &slices);
    let column = b.unsqueeze(&left, &[1, -1]);
    b.squeeze(&column, &[1]);
    let shape = b.shape(&tokens);
    let one = b.narrow(&tokens, 1, 0..1);
    b.expand(&one, &shape);
    let matrix = b.flatten(x, 1);
    let head = b.parameter("head", &noise(&[3, 144]));
    let logits = b.linear(&matrix, &head, None);
    let square = b.parameter("square", &noise(&[3, 3]));
    b.gemm(&logits, &square, Some(&logits), 0.5);
    b.concat(&[&left, &right], -1)
}

#[test]
fn every_operator_runs_and_gives_the_shapes_that_inference_tells() {
    for opset in [17, 18, 20, 23, 24, 26] {
        let mut model = everything(opset);
        let inner: Vec<String> = model.graph.nodes.iter().flat_map(|node| node.outputs.clone()).collect();
        rewrite::tap(&model, &inner).unwrap().apply(&mut model).unwrap();
        let found = infer(&model).unwrap();
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        let results = run(&model, &noise(&[2, 4, 6, 6]));
        assert_eq!(results.len(), inner.len());
        for (output, result) in model.graph.outputs.iter().zip(&results) {
            let known = found.facts[&output.name].to_type().unwrap();
            let shape: Vec<Option<i64>> = known.as_tensor().unwrap().shape.as_ref().unwrap().iter().map(size).collect();
            let actual: Vec<Option<i64>> = result.shape().iter().map(|&size| Some(size as i64)).collect();
            assert_eq!(shape, actual, "`{}` of operator set {opset}", output.name);
            assert_eq!(known.as_tensor().unwrap().element.dtype(), Some(result.dtype()), "`{}`", output.name);
        }
    }
}

fn size(dim: &Dim) -> Option<i64> {
    match dim {
        Dim::Symbol(name) if name == "batch" => Some(2),
        other => other.fixed(),
    }
}

#[test]
fn decomposed_activations_equal_the_operators() {
    let outputs = |opset| {
        let mut b = Builder::with_opset("net", opset);
        let x = b.input("x", DType::F32, &[Dim::Unknown]);
        let (exact, bent) = (b.gelu(&x), b.gelu_tanh(&x));
        b.output("exact", &exact);
        b.output("tanh", &bent);
        run(&b.finish().unwrap(), &HostTensor::vector((-60..60).map(|x| x as f32 / 10.0).collect()))
    };
    for (decomposed, operator) in outputs(17).iter().zip(outputs(20)) {
        let (a, b) = (decomposed.to_f32().unwrap(), operator.to_f32().unwrap());
        assert!(compare(&a, &b, Tolerance::Rounding).unwrap().holds());
    }
}

fn defrost(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_defrost"))
        .arg("graph")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn files_are_shown_tapped_cut_and_copied() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut b = Builder::new("net");
    let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(4)]);
    let weight = b.parameter("weight", &noise(&[4, 3]));
    let product = b.matmul(&x, &weight);
    let y = b.relu(&product);
    b.output("y", &y);
    b.finish().unwrap().save(&here.join("net.onnx")).unwrap();

    let (code, shown, told) = defrost(here, &["show", "net.onnx"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    insta::assert_snapshot!(shown.replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r"
    file        net.onnx (0.00 MB)
    format      8, operator sets ai.onnx 17
    producer    defrost VERSION
    inputs      x f32[batch, 4]
    outputs     y f32[batch, 3]
    parameters  12 (0.00 MB)
    operators   2
         1  MatMul
         1  Relu
    ");
    let (_, shown, _) = defrost(here, &["show", "net.onnx", "--text"]);
    insta::assert_snapshot!(shown, @r"
    format 8, ai.onnx 17
    graph net
      input x: f32[batch, 4]
      constant weight: f32[4, 3]
      matmul = MatMul(x, weight)
      y = Relu(matmul)
      output y: f32[batch, 3]
    ");
    let (code, json, _) = defrost(here, &["tap", "net.onnx", "--value", "matmul", "--out", "tapped.onnx", "--json"]);
    assert_eq!(code, Some(0));
    let record: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(record["outputs"][1], serde_json::json!({"name": "matmul", "type": "f32[batch, 3]"}));
    let (code, _, _) = defrost(here, &["cut", "tapped.onnx", "--from", "matmul", "--to", "y", "--out", "end.onnx"]);
    assert_eq!(code, Some(0));
    assert_eq!(Model::load(&here.join("end.onnx")).unwrap().graph.nodes.len(), 1);
    let (code, _, _) = defrost(here, &["copy", "net.onnx", "net.onnx"]);
    assert_eq!(code, Some(0));

    let (code, shown, told) = defrost(here, &["cut", "net.onnx", "--to", "matmull", "--out", "none.onnx"]);
    assert_eq!((code, shown.as_str()), (Some(2), ""));
    insta::assert_snapshot!(told, @r"
    error: the graph has no value `matmull`
      hint: did you mean `matmul`?
    ");
    assert!(!here.join("none.onnx").exists());
    let (code, _, told) = defrost(here, &["show", "missing.onnx"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("missing.onnx"), "{told}");
}

#[test]
fn a_left_matrix_that_is_transposed_first_gives_the_same_product() {
    let mut b = Builder::new("product");
    let x = b.input("x", DType::F32, &[128i64.into(), 512i64.into()]);
    let right = b.parameter("right", &noise(&[128, 256]));
    let product = b.node(Node::new("Gemm", &[x.name(), right.name()], &[]).with("transA", 1).with("alpha", 0.5f32));
    b.output("product", &product);
    let mut model = b.finish().unwrap();
    let x = noise(&[128, 512]);
    let expected = run(&model, &x);
    rewrite::transpose_lhs(&model).unwrap().apply(&mut model).unwrap();
    assert_eq!(model.graph.nodes.len(), 4);
    let found = run(&model, &x);
    assert_eq!(found[0].shape(), [512, 256]);
    let [found, expected] = [&found[0], &expected[0]].map(|tensor| tensor.values::<f32>().unwrap().into_owned());
    let outcome = compare(&found, &expected, Tolerance::Absolute(1e-5)).unwrap();
    assert!(outcome.holds() && expected.iter().any(|value| value.abs() > 1e-2), "{outcome}");
}

#[test]
fn rows_summed_by_a_product_give_the_same_sum() {
    let mut b = Builder::new("sum");
    let x = b.input("x", DType::F32, &[128i64.into(), 512i64.into()]);
    let sum = b.reduce_sum(&x, &[0], false);
    b.output("sum", &sum);
    let mut model = b.finish().unwrap();
    let x = noise(&[128, 512]);
    let expected = run(&model, &x);
    rewrite::sum_rows_by_products(&model).unwrap().apply(&mut model).unwrap();
    assert!(model.graph.nodes.iter().any(|node| node.operator == "MatMul"));
    let found = run(&model, &x);
    assert_eq!(found[0].shape(), [512]);
    let [found, expected] = [&found[0], &expected[0]].map(|tensor| tensor.values::<f32>().unwrap().into_owned());
    let outcome = compare(&found, &expected, Tolerance::Absolute(1e-5)).unwrap();
    assert!(outcome.holds() && expected.iter().any(|value| value.abs() > 1e-2), "{outcome}");
}
