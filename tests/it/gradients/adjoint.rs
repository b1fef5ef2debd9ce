//! The adjoint identity of a case, and that every operator with a rule has one.

use std::collections::BTreeSet;

use defrost::graph::autodiff::pull_back;
use defrost::graph::{Builder, Dim, Value, ops};
use defrost::runtime::{Device, ModelSource, Optimization, Runtime, Session, SessionOptions};
use defrost::tensor::{DType, HostTensor};

use super::cases;

/// How far the two sides of the identity may be apart, relative to the larger of the sums of their
/// terms' magnitudes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Precision {
    /// f64 kernels: central differences with a step of 1e-5.
    Double,
    /// ONNX Runtime has f32 kernels only: a step of 1e-2, for functions that are smooth on that
    /// scale.
    Single,
}

impl Precision {
    fn step(self) -> f64 {
        match self {
            Precision::Double => 1e-5,
            Precision::Single => 1e-2,
        }
    }

    fn tolerance(self) -> f64 {
        match self {
            Precision::Double => 1e-7,
            Precision::Single => 2e-3,
        }
    }

    fn dtype(self) -> DType {
        match self {
            Precision::Double => DType::F64,
            Precision::Single => DType::F32,
        }
    }
}

/// An input of a case: its shape, and the range its numbers are drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub(super) shape: &'static [usize],
    pub(super) range: [f64; 2],
}

/// One graph whose outputs are differentiated by all its inputs.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) precision: Precision,
    pub(super) opset: i64,
    /// Whether it is tried with axes of unknown sizes too.
    pub(super) open: bool,
    pub(super) inputs: Vec<Input>,
    pub(super) build: fn(&mut Builder, &[Value]) -> Vec<Value>,
}

/// Numbers spread over a range without a pattern, the same at each run.
fn draw(count: usize, [low, high]: [f64; 2], seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    next();
    (0..count).map(|_| low + (high - low) * next()).collect()
}

fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> HostTensor {
    match dtype {
        DType::F64 => HostTensor::from_fn(shape, |index| values[index]),
        _ => HostTensor::from_fn(shape, |index| values[index] as f32),
    }
}

fn numbers(tensor: &HostTensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::F64 => tensor.values::<f64>().unwrap().to_vec(),
        _ => tensor.values::<f32>().unwrap().iter().map(|&x| f64::from(x)).collect(),
    }
}

fn session(builder: Builder) -> Session {
    let bytes = builder.finish().unwrap().to_bytes().unwrap();
    let options =
        SessionOptions { device: Device::Cpu, optimization: Optimization::Off, threads: 1, ..Default::default() };
    Session::open(&Runtime::load(None).unwrap(), ModelSource::Bytes(&bytes), &options).unwrap()
}

impl Case {
    fn builder(&self, open: bool) -> (Builder, Vec<Value>, Vec<Value>) {
        let mut b = Builder::with_opset(self.name, self.opset);
        let mut inputs = Vec::new();
        for (index, input) in self.inputs.iter().enumerate() {
            let dims: Vec<Dim> =
                input.shape.iter().map(|&size| if open { Dim::Unknown } else { Dim::from(size) }).collect();
            inputs.push(b.input(&format!("x{index}"), self.precision.dtype(), &dims));
        }
        let outputs = b.scope("net", |b| (self.build)(b, &inputs));
        (b, inputs, outputs)
    }

    /// The operators of the forward graph.
    fn operators(&self) -> BTreeSet<String> {
        let (b, ..) = self.builder(false);
        b.graph().nodes.iter().map(|node| node.operator.clone()).collect()
    }

    /// Both sides of the identity and what they are measured by.
    fn sides(&self, open: bool) -> [f64; 3] {
        let (dtype, step) = (self.precision.dtype(), self.precision.step());
        let (mut forward, _, outputs) = self.builder(open);
        for (index, output) in outputs.iter().enumerate() {
            forward.output(&format!("y{index}"), output);
        }
        let mut forward = session(forward);
        let points: Vec<Vec<f64>> = (self.inputs.iter().zip(1..))
            .map(|(input, seed)| draw(input.shape.iter().product(), input.range, seed))
            .collect();
        let directions: Vec<Vec<f64>> =
            points.iter().zip(101..).map(|(point, seed)| draw(point.len(), [-1.0, 1.0], seed)).collect();
        let mut at = |shift: f64| {
            let moved: Vec<HostTensor> = (self.inputs.iter().zip(&points).zip(&directions))
                .map(|((input, point), direction)| {
                    let values: Vec<f64> = point.iter().zip(direction).map(|(x, v)| x + shift * v).collect();
                    tensor(dtype, input.shape, &values)
                })
                .collect();
            let names: Vec<String> = (0..moved.len()).map(|index| format!("x{index}")).collect();
            let fed: Vec<(&str, &HostTensor)> = names.iter().map(String::as_str).zip(&moved).collect();
            forward.run(&fed, &[]).unwrap()
        };
        let (above, below) = (at(step), at(-step));
        let covectors: Vec<Vec<f64>> =
            above.iter().zip(201..).map(|(output, seed)| draw(output.len(), [-1.0, 1.0], seed)).collect();
        let (mut forwards, mut scale) = (0.0, 0.0f64);
        for ((above, below), covector) in above.iter().zip(&below).zip(&covectors) {
            for ((x, y), u) in numbers(above).iter().zip(numbers(below)).zip(covector) {
                let term = (x - y) / (2.0 * step) * u;
                forwards += term;
                scale += term.abs();
            }
        }

        let (mut backward, inputs, outputs) = self.builder(open);
        let mut seeds = Vec::new();
        for (index, (output, value)) in outputs.iter().zip(&above).enumerate() {
            let dims: Vec<Dim> =
                value.shape().iter().map(|&size| if open { Dim::Unknown } else { Dim::from(size) }).collect();
            seeds.push((output.clone(), backward.input(&format!("u{index}"), dtype, &dims)));
        }
        let gradients = pull_back(&mut backward, &seeds, &inputs).unwrap();
        for (index, gradient) in gradients.iter().enumerate() {
            backward.output(&format!("g{index}"), gradient.as_ref().unwrap());
        }
        let mut backward = session(backward);
        let point = self.inputs.iter().zip(&points).map(|(input, point)| tensor(dtype, input.shape, point));
        let cotangents = above.iter().zip(&covectors).map(|(value, covector)| tensor(dtype, value.shape(), covector));
        let (point, cotangents): (Vec<HostTensor>, Vec<HostTensor>) = (point.collect(), cotangents.collect());
        let names: Vec<String> =
            (0..point.len()).map(|i| format!("x{i}")).chain((0..cotangents.len()).map(|i| format!("u{i}"))).collect();
        let fed: Vec<(&str, &HostTensor)> =
            names.iter().map(String::as_str).zip(point.iter().chain(&cotangents)).collect();
        // What the gradient does not read is no input of the session.
        let read: BTreeSet<String> = backward.inputs().iter().map(|input| input.name.clone()).collect();
        let fed: Vec<(&str, &HostTensor)> = fed.into_iter().filter(|(name, _)| read.contains(*name)).collect();
        let found = backward.run(&fed, &[]).unwrap();
        let (mut backwards, mut other) = (0.0, 0.0f64);
        for ((gradient, direction), input) in found.iter().zip(&directions).zip(&self.inputs) {
            assert_eq!(gradient.shape(), input.shape, "{}: the shape of a gradient", self.name);
            for (g, v) in numbers(gradient).iter().zip(direction) {
                backwards += g * v;
                other += (g * v).abs();
            }
        }
        [forwards, backwards, scale.max(other)]
    }

    /// What is wrong with the case, in a line.
    fn complaint(&self, open: bool) -> Option<String> {
        let [forwards, backwards, scale] = self.sides(open);
        let distance = (forwards - backwards).abs();
        let holds = distance <= self.precision.tolerance() * scale && scale > 0.0;
        let sizes = if open { "open sizes" } else { "fixed sizes" };
        (!holds).then(|| {
            format!("{} ({sizes}): <Jv,u> = {forwards:.9}, <v,J'u> = {backwards:.9}, of {scale:.3}", self.name)
        })
    }
}

#[test]
fn every_rule_satisfies_the_adjoint_identity() {
    let mut complaints = Vec::new();
    let wanted = std::env::var("DEFROST_CASE").ok();
    for case in cases::all() {
        if wanted.as_ref().is_some_and(|wanted| !case.name.contains(wanted.as_str())) {
            continue;
        }
        let tries = if case.open { &[false, true][..] } else { &[false] };
        complaints.extend(tries.iter().filter_map(|&open| {
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.complaint(open)));
            tried.unwrap_or_else(|_| Some(format!("{} (open: {open}) fails, see above", case.name)))
        }));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_operator_with_a_rule_has_a_case() {
    let tried: BTreeSet<String> = cases::all().iter().flat_map(Case::operators).collect();
    let ruled = ops::ALL.iter().flat_map(|family| family.iter());
    let ruled = ruled.filter(|definition| matches!(definition.vjp, ops::Vjp::Rule(_)));
    let untried: Vec<&str> = ruled.map(|definition| definition.name).filter(|name| !tried.contains(*name)).collect();
    assert!(untried.is_empty(), "rules without a gradient test: {}", untried.join(", "));
}
