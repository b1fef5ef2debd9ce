//! Sessions: a model of a few bytes is opened and run; mistakes are told before ONNX Runtime sees
//! them.

use defrost::error::{Error, Kind, RuntimeError};
use defrost::graph::{Builder, Dim};
use defrost::runtime::{
    Binding, Device, DeviceTensor, ModelSource, Optimization, Runtime, Session, SessionOptions, WorkingMemory,
};
use defrost::support::progress::Silent;
use defrost::tensor::{DType, HostTensor, safetensors};

/// `y = x w + b` with `x: [batch, 3]`, and `positive = y > 0`; metadata `labels`.
const AFFINE: &[u8] = include_bytes!("../fixtures/runtime/affine.onnx");

/// The runtime of all tests: found, or installed by the first test that needs it.
pub(crate) fn runtime() -> Runtime {
    Runtime::ensure(None, &Silent).unwrap()
}

fn open(options: &SessionOptions) -> Session {
    Session::open(&runtime(), ModelSource::Bytes(AFFINE), options).unwrap()
}

fn x() -> HostTensor {
    HostTensor::from_vec(vec![2, 3], vec![1f32, 0., 0., -100., 1., 1.]).unwrap()
}

#[test]
fn inputs_outputs_and_metadata_are_those_of_the_file() {
    let session = open(&SessionOptions { device: Device::Cpu, ..SessionOptions::default() });
    let [x] = session.inputs() else { unreachable!() };
    assert_eq!((x.name.as_str(), x.dtype, x.shape.as_slice()), ("x", Some(DType::F32), &[None, Some(3)][..]));
    assert_eq!(x.shape_text(), "[batch, 3]");
    let names: Vec<&str> = session.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["y", "positive"]);
    assert_eq!(session.outputs()[1].dtype, Some(DType::Bool));
    assert_eq!(session.metadata().unwrap().into_iter().collect::<Vec<_>>(), [("labels".into(), "cat,dog".into())]);
    assert_eq!(session.device(), Device::Cpu);
}

#[test]
fn a_model_runs_the_same_under_every_option() {
    for memory in [WorkingMemory::Keep, WorkingMemory::Shrink, WorkingMemory::Release] {
        for optimization in [Optimization::Off, Optimization::Full] {
            for threads in [0, 1, 2] {
                let options = SessionOptions { memory, optimization, threads, ..SessionOptions::default() };
                let outputs = open(&options).run(&[("x", &x())], &[]).unwrap();
                assert_eq!(outputs[0].shape(), [2, 2]);
                assert_eq!(outputs[0].values::<f32>().unwrap().as_ref(), [11., 22., -82., -170.]);
                assert_eq!(outputs[1].bytes().as_ref(), [1, 1, 0, 0]);
            }
        }
    }
}

#[test]
fn outputs_come_in_the_order_asked_for_and_outlive_the_session() {
    let mut session = open(&SessionOptions::default());
    let outputs = session.run(&[("x", &x())], &["positive", "y", "positive"]).unwrap();
    session.run(&[("x", &HostTensor::from_vec(vec![2, 3], vec![0f32; 6]).unwrap())], &["y"]).unwrap();
    drop(session);
    assert_eq!(outputs[0].bytes().as_ref(), [1, 1, 0, 0]);
    assert_eq!(outputs[1].values::<f32>().unwrap().as_ref(), [11., 22., -82., -170.]);
    assert_eq!(outputs[2], outputs[0]);
}

#[test]
fn bytes_that_are_not_aligned_give_the_same() {
    let shifted = [&[0u8][..], x().bytes()].concat();
    let shifted = HostTensor::new(DType::F32, vec![2, 3], bytes::Bytes::from(shifted).slice(1..)).unwrap();
    let mut session = open(&SessionOptions::default());
    assert_eq!(session.run(&[("x", &shifted)], &["y"]).unwrap(), session.run(&[("x", &x())], &["y"]).unwrap());
}

#[test]
fn a_batch_of_nothing_gives_nothing() {
    let nothing = HostTensor::from_vec(vec![0, 3], Vec::<f32>::new()).unwrap();
    let outputs = open(&SessionOptions::default()).run(&[("x", &nothing)], &["y"]).unwrap();
    assert_eq!(outputs[0].shape(), [0, 2]);
}

#[test]
fn mistakes_are_told_in_terms_of_the_model() {
    let mut session = open(&SessionOptions::default());
    let mut failure = |inputs: &[(&str, &HostTensor)], outputs: &[&str]| -> Error {
        let error = session.run(inputs, outputs).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        error
    };
    let doubles = HostTensor::from_vec(vec![2, 3], vec![0f64; 6]).unwrap();
    let flat = HostTensor::from_vec(vec![6], vec![0f32; 6]).unwrap();
    let wide = HostTensor::from_vec(vec![1, 4], vec![0f32; 4]).unwrap();
    let x = x();
    assert_eq!(failure(&[("xx", &x)], &[]).to_string(), "the model has no input `xx`; did you mean `x`?");
    assert_eq!(failure(&[], &[]).to_string(), "input `x` was given no tensor");
    assert_eq!(failure(&[("x", &x), ("x", &x)], &[]).to_string(), "input `x` was given twice");
    assert_eq!(failure(&[("x", &doubles)], &[]).to_string(), "input `x` needs elements of type f32, found f64");
    assert_eq!(failure(&[("x", &flat)], &[]).to_string(), "input `x` needs shape [batch, 3], found [6]");
    assert_eq!(failure(&[("x", &wide)], &[]).to_string(), "input `x` needs shape [batch, 3], found [1, 4]");
    assert_eq!(
        failure(&[("x", &x)], &["logits"]).to_string(),
        "the model has no output `logits`; it has `y`, `positive`"
    );
}

#[test]
fn what_is_no_model_is_refused_with_its_name() {
    let error = Session::open(&runtime(), ModelSource::Bytes(b"not a model"), &SessionOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("ONNX Runtime cannot open the model in memory (11 bytes): "), "{error}");
    assert_eq!(error.kind(), Kind::Input);
    let path = std::path::Path::new("missing.onnx");
    let error = Session::open(&runtime(), ModelSource::File(path), &SessionOptions::default()).unwrap_err();
    assert!(error.to_string().contains("`missing.onnx`"), "{error}");
}

#[test]
fn cuda_is_never_replaced_silently() {
    let runtime = runtime();
    if runtime.providers().iter().any(|name| name == "CUDAExecutionProvider") {
        return;
    }
    let options = SessionOptions { device: Device::Cuda(0), ..SessionOptions::default() };
    let error = Session::open(&runtime, ModelSource::Bytes(AFFINE), &options).unwrap_err();
    assert!(matches!(&error, Error::Runtime(RuntimeError::Device { device, .. }) if device == "cuda:0"), "{error}");
    assert_eq!(error.kind(), Kind::Environment);
    let session = open(&SessionOptions::default());
    assert_eq!(session.device(), Device::Cpu);
    assert_eq!(session.device_reason(), "this ONNX Runtime has no CUDA");
}

#[test]
fn a_binding_runs_again_and_again_without_writing_over_its_results() {
    let mut session = open(&SessionOptions::default());
    let mut binding = Binding::new(&session).unwrap();
    binding.bind_output_to_device(&session, "y").unwrap();
    binding.bind_output_to_host(&session, "positive").unwrap();
    let x = DeviceTensor::from_host(&x(), &session).unwrap();
    let zeros = DeviceTensor::from_host(&HostTensor::from_vec(vec![2, 3], vec![0f32; 6]).unwrap(), &session).unwrap();
    let zero = DeviceTensor::from_host(&HostTensor::from_vec(vec![1, 3], vec![0f32; 3]).unwrap(), &session).unwrap();
    let mut runs = Vec::new();
    for input in [&x, &zeros, &zero, &x] {
        binding.bind_input(&session, "x", input).unwrap();
        runs.push(binding.run(&mut session).unwrap());
    }
    let mut results = runs.into_iter().map(|mut run| {
        let positive = run.pop().unwrap().into_host().unwrap();
        (run.pop().unwrap().into_host().unwrap(), positive)
    });
    let (y, positive) = results.next().unwrap();
    assert_eq!(y.values::<f32>().unwrap().as_ref(), [11., 22., -82., -170.], "later runs must not write over it");
    assert_eq!(positive.bytes().as_ref(), [1, 1, 0, 0]);
    assert_eq!(results.next().unwrap().0.values::<f32>().unwrap().as_ref(), [10., 20., 10., 20.]);
    assert_eq!(results.next().unwrap().0.values::<f32>().unwrap().as_ref(), [10., 20.]);
    assert_eq!(results.next().unwrap(), (y, positive));
    assert!(binding.bind_input(&session, "z", &zeros).is_err());
    assert!(binding.bind_output_to_device(&session, "z").is_err());
    let wrong = DeviceTensor::from_host(&HostTensor::vector(vec![1i64]), &session).unwrap();
    binding.bind_input(&session, "x", &wrong).unwrap();
    assert!(matches!(binding.run(&mut session), Err(Error::Runtime(RuntimeError::Run { .. }))));
}

/// One step of `w <- w - rate * 2 w`, the weights updated in place.
#[test]
fn an_output_can_be_written_over_the_input_it_is_computed_from() {
    let mut b = Builder::new("descent");
    let w = b.input("w", DType::F32, &[Dim::Fixed(3)]);
    let rate = b.input("rate", DType::F32, &[]);
    let gradient = b.add(&w, &w);
    let step = b.mul(&gradient, &rate);
    let next = b.sub(&w, &step);
    b.output("next", &next);
    let squares = b.mul(&gradient, &gradient);
    let loss = b.reduce_sum(&squares, &[0], false);
    b.output("loss", &loss);
    let bytes = b.finish().unwrap().to_bytes().unwrap();
    let options = SessionOptions { device: Device::Cpu, ..SessionOptions::default() };
    let mut session = Session::open(&runtime(), ModelSource::Bytes(&bytes), &options).unwrap();
    let mut weights = DeviceTensor::resident(&HostTensor::vector(vec![1.0f32, 2.0, 4.0]), &session).unwrap();
    let mut rate = DeviceTensor::allocate(DType::F32, &[], &session).unwrap();
    let mut binding = Binding::new(&session).unwrap();
    binding.bind_input(&session, "w", &weights).unwrap();
    binding.bind_input(&session, "rate", &rate).unwrap();
    binding.bind_output_to(&session, "next", &mut weights).unwrap();
    binding.bind_output_to_host(&session, "loss").unwrap();
    let mut losses = Vec::new();
    for step in 0..3 {
        rate.write(&HostTensor::scalar(if step == 1 { 0.5f32 } else { 0.25 })).unwrap();
        let results = binding.run(&mut session).unwrap();
        assert_eq!(results.len(), 1);
        losses.push(results.into_iter().next().unwrap().into_host().unwrap().values::<f32>().unwrap()[0]);
    }
    assert_eq!(losses, [84.0, 21.0, 0.0]);
    assert_eq!(weights.to_host().unwrap().values::<f32>().unwrap().as_ref(), [0.0; 3]);
    weights.write(&HostTensor::vector(vec![0.5f32; 3])).unwrap();
    assert_eq!(weights.to_host().unwrap().values::<f32>().unwrap().as_ref(), [0.5; 3]);
    assert!(weights.write(&HostTensor::vector(vec![0.5f32; 4])).is_err());
    assert!(weights.write(&HostTensor::vector(vec![1i32; 3])).is_err());
}

/// `y = relu(x w1) w2`, its first weight in a mapped file, its second in memory.
fn mapped_model(folder: &std::path::Path) -> (defrost::graph::Model, HostTensor) {
    let values = |shape: &[usize]| HostTensor::from_fn(shape, |at| ((at * 31) % 97) as f32 / 97.0 - 0.5);
    let path = folder.join("weights.safetensors");
    let tensors = [("first".to_owned(), values(&[512, 600]))].into_iter().collect();
    safetensors::write(&path, &tensors, &Default::default()).unwrap();
    let weights = defrost::tensor::Weights::open(&path).unwrap();
    let mut b = Builder::new("net");
    let x = b.input("x", DType::F32, &[Dim::symbol("batch"), Dim::Fixed(512)]);
    let first = b.parameter("first", &weights.get("first").unwrap());
    let second = b.parameter("second", &values(&[600, 96]));
    let hidden = b.matmul(&x, &first);
    let bent = b.relu(&hidden);
    let y = b.matmul(&bent, &second);
    b.output("y", &y);
    (b.finish().unwrap(), values(&[7, 512]))
}

#[test]
fn weights_are_read_where_they_lie_and_threads_share_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let (model, x) = mapped_model(folder.path());
    let detached = model.detach().unwrap();
    let places: Vec<bool> = detached.weights.iter().map(|weight| weight.place.is_some()).collect();
    assert_eq!(places, [true, false]);
    let options = SessionOptions { device: Device::Cpu, threads: 1, ..SessionOptions::default() };
    let run = |source: ModelSource<'_>| {
        Session::open(&runtime(), source, &options).unwrap().run(&[("x", &x)], &["y"]).unwrap()
    };
    let bytes = model.to_bytes().unwrap();
    let whole = run(ModelSource::Bytes(&bytes));
    assert_eq!(run(ModelSource::Detached(&detached)), whole);
    let session = Session::open(&runtime(), ModelSource::Detached(&detached), &options).unwrap();
    // Neither the model nor its weights are needed by a session that is open.
    drop((detached, model));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (session, x, whole) = (&session, &x, &whole);
            scope.spawn(move || {
                for round in 0..50 {
                    let found = session.run_shared(&[("x", x)], &["y"]).unwrap();
                    assert_eq!(found, *whole, "thread {thread}, round {round}");
                }
            });
        }
    });
}
