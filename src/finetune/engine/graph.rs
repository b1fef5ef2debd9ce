//! The engine `graph`: loss, gradients and updates are one graph of standard operators, which any
//! ONNX Runtime and every device runs.
//!
//! Parameters and moments lie in the runtime's memory, where every step updates them in place.

use std::collections::BTreeMap;

use crate::error::{FinetuneError, Result};
use crate::finetune::Classifier;
use crate::finetune::classifier::LOGITS;
use crate::finetune::drop_path::DROP_PATH;
use crate::finetune::engine::{Engine, MicroBatch, StepHyperparams, StepOutcome, evaluation_model};
use crate::finetune::loss::{TARGETS, WEIGHTS};
use crate::finetune::loss_scale::{LOSS_SCALE, LossScale};
use crate::finetune::optimizer::{FIRST_MOMENT, LEARNING_RATE, NORM, SECOND_MOMENT, STEP, WEIGHT_DECAY};
use crate::finetune::step::{GRADIENT, KEEP, LOSS, NEXT, StepGraphs, StepPlan};
use crate::graph::Model;
use crate::runtime::{Binding, Device, DeviceTensor, ModelSource, Runtime, Session, SessionOptions};
use crate::tensor::safetensors::Tensors;
use crate::tensor::{DType, HostTensor};

/// A network in training.
#[derive(Debug)]
pub(in crate::finetune) struct GraphEngine {
    step: BoundSession,
    update: Option<BoundSession>,
    /// Parameters, statistics, moments and summed gradients under their names as inputs.
    state: BTreeMap<String, DeviceTensor>,
    /// Images, targets and scalars under their names as inputs.
    fed: BTreeMap<String, DeviceTensor>,
    /// Trained parameters and updated statistics.
    moving: Vec<String>,
    /// The factor on the loss, where it is scaled.
    scale: Option<LossScale>,
    evaluation: Evaluation,
}

/// A session with what it reads and writes.
#[derive(Debug)]
struct BoundSession {
    session: Session,
    binding: Binding,
    /// Outputs that are handed over, in the order of their results.
    results: Vec<String>,
}

impl GraphEngine {
    /// Opens the graphs and takes over the weights of the classifier; moments start at zero.
    pub(in crate::finetune) fn open(
        runtime: &Runtime,
        classifier: &Classifier,
        plan: &StepPlan,
        graphs: StepGraphs,
        options: &SessionOptions,
    ) -> Result<GraphEngine> {
        let session = open(runtime, &graphs.model, options)?;
        let options = SessionOptions { device: session.device(), ..options.clone() };
        let StepGraphs { update, trained, statistics, .. } = graphs;
        let moving: Vec<String> = trained.keys().chain(&statistics).cloned().collect();
        let evaluation = Evaluation {
            model: evaluation_model(classifier, &moving)?,
            input: classifier.input.clone(),
            runtime: runtime.clone(),
            options: options.clone(),
            opened: None,
        };
        let mut engine = GraphEngine {
            step: BoundSession::new(session)?,
            update: None,
            state: BTreeMap::new(),
            fed: BTreeMap::new(),
            moving,
            scale: plan.mixed_precision.then(LossScale::default),
            evaluation,
        };
        if let Some(update) = update {
            engine.update = Some(BoundSession::new(open(runtime, &update, &options)?)?);
        }
        for name in engine.moving.clone() {
            let stored = classifier.model.graph.initializer(&name);
            let shape = &stored.ok_or_else(|| FinetuneError::NotStored { name: name.clone() })?.shape;
            let prefixes: &[&str] = match (trained.contains_key(&name), engine.update.is_some()) {
                (true, true) => &["", FIRST_MOMENT, SECOND_MOMENT, GRADIENT],
                (true, false) => &["", FIRST_MOMENT, SECOND_MOMENT],
                (false, _) => &[""],
            };
            for prefix in prefixes {
                let tensor = DeviceTensor::allocate(DType::F32, shape, &engine.step.session)?;
                engine.state.insert(format!("{prefix}{name}"), tensor);
            }
        }
        engine.reset(&classifier.weights()?, 0)?;
        let GraphEngine { step, update, state, fed, .. } = &mut engine;
        for session in [Some(step), update.as_mut()].into_iter().flatten() {
            session.bind(state, fed)?;
        }
        Ok(engine)
    }

    /// Sets the sums of gradients to zero, as after an overflow: 0 times what overflowed is no
    /// number.
    fn forget_sums(&mut self) -> Result<()> {
        let mut sums = self.state.iter_mut().filter(|(name, _)| name.starts_with(GRADIENT));
        sums.try_for_each(|(_, tensor)| tensor.write_values(&vec![0f32; tensor.len()]))
    }

    /// Loss, gradients and update; nothing is updated where the loss is scaled and gradients
    /// overflow.
    fn backward(&mut self, parts: &[MicroBatch<'_>]) -> Result<StepOutcome> {
        if let Some(scale) = self.scale {
            self.feed(LOSS_SCALE, &[scale.factor])?;
        }
        let mut progressed = StepOutcome { loss: 0.0, norm: f32::NAN };
        for (number, part) in parts.iter().enumerate() {
            let keep: f32 = if number == 0 { 0.0 } else { 1.0 };
            let inputs = [
                (KEEP, std::slice::from_ref(&keep)),
                (self.evaluation.input.as_str(), part.images),
                (TARGETS, &part.fed.targets),
                (WEIGHTS, &part.fed.weights),
                (DROP_PATH, part.masks),
            ]
            .map(|(name, values)| (name.to_owned(), values));
            for (name, values) in inputs {
                self.feed(&name, values)?;
            }
            let results = self.step.run()?;
            progressed.loss += scalar(&results, LOSS);
            if let Some(norm) = results.get(NORM) {
                progressed.norm = *norm;
            }
        }
        if let Some(update) = &mut self.update {
            progressed.norm = scalar(&update.run()?, NORM);
        }
        Ok(progressed)
    }

    /// Writes an input, where the graph has it.
    fn feed(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.fed.get_mut(name).map_or(Ok(()), |tensor| tensor.write_values(values))
    }
}

impl Engine for GraphEngine {
    fn device(&self) -> Device {
        self.step.session.device()
    }

    fn device_reason(&self) -> &str {
        self.step.session.device_reason()
    }

    fn reset(&mut self, state: &Tensors, _steps: u64) -> Result<()> {
        let zero = |tensor: &mut DeviceTensor| {
            let zeros = vec![0f32; tensor.len()];
            tensor.write_values(&zeros)
        };
        for (name, tensor) in &mut self.state {
            match state.get(name) {
                Some(weight) => tensor.write(weight)?,
                None => zero(tensor)?,
            }
        }
        if let Some(scale) = &mut self.scale {
            *scale = LossScale::of_tensor(state.get(LOSS_SCALE));
        }
        Ok(())
    }

    fn state(&self) -> Result<Tensors> {
        let kept = self.state.iter().filter(|(name, _)| !name.starts_with(GRADIENT));
        let mut state: Tensors =
            kept.map(|(name, tensor)| Ok((name.clone(), tensor.to_host()?))).collect::<Result<_>>()?;
        state.extend(self.scale.map(|scale| (LOSS_SCALE.to_owned(), scale.to_tensor())));
        Ok(state)
    }

    fn weights(&self) -> Result<Tensors> {
        let moving = self.moving.iter().filter_map(|name| Some((name, self.state.get(name)?)));
        moving.map(|(name, tensor)| Ok((name.clone(), tensor.to_host()?))).collect()
    }

    fn step(&mut self, parts: &[MicroBatch<'_>], rates: StepHyperparams) -> Result<StepOutcome> {
        let scalars = [
            (LEARNING_RATE, rates.learning_rate as f32),
            (STEP, rates.step as f32),
            (WEIGHT_DECAY, rates.weight_decay as f32),
        ];
        for (name, value) in scalars {
            self.feed(name, &[value])?;
        }
        let mut progressed = self.backward(parts)?;
        while progressed.loss.is_finite()
            && !progressed.norm.is_finite()
            && self.scale.as_mut().is_some_and(LossScale::lower)
        {
            self.forget_sums()?;
            progressed = self.backward(parts)?;
        }
        if let Some(scale) = self.scale.as_mut().filter(|_| progressed.norm.is_finite()) {
            scale.taken();
        }
        Ok(progressed)
    }

    fn open_evaluation(&mut self) -> Result<()> {
        self.evaluation.open(&self.moving, &self.state).map(|_| ())
    }

    fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<HostTensor> {
        self.evaluation.open(&self.moving, &self.state)?.logits(images, shape)
    }
}

#[expect(clippy::expect_used, reason = "the graphs of a step give both")]
fn scalar(results: &BTreeMap<String, f32>, name: &str) -> f32 {
    *results.get(name).expect("a step graph gives its loss, or the gradient's norm where it updates")
}

fn open(runtime: &Runtime, model: &Model, options: &SessionOptions) -> Result<Session> {
    // Activations are most of the memory: they must not be there twice.
    let options = SessionOptions { memory_pattern: false, ..options.clone() };
    Session::open(runtime, ModelSource::Bytes(&model.to_bytes()?), &options)
}

impl BoundSession {
    fn new(session: Session) -> Result<Self> {
        let binding = Binding::new(&session)?;
        Ok(BoundSession { session, binding, results: Vec::new() })
    }

    /// Binds the state in place, makes and binds tensors for all other inputs, and lets all other
    /// outputs come to the host.
    fn bind(
        &mut self,
        state: &mut BTreeMap<String, DeviceTensor>,
        fed: &mut BTreeMap<String, DeviceTensor>,
    ) -> Result<()> {
        let BoundSession { session, binding, results } = self;
        for input in session.inputs().to_vec() {
            let tensor = match state.get(&input.name) {
                Some(tensor) => tensor,
                None => {
                    let shape: Vec<usize> = input.shape.iter().map(|size| size.unwrap_or(1)).collect();
                    if !fed.contains_key(&input.name) {
                        let tensor = DeviceTensor::allocate(DType::F32, &shape, session)?;
                        fed.insert(input.name.clone(), tensor);
                    }
                    &fed[&input.name]
                }
            };
            binding.bind_input(session, &input.name, tensor)?;
        }
        for output in session.outputs().to_vec() {
            match output.name.strip_prefix(NEXT).and_then(|name| state.get_mut(name)) {
                Some(tensor) => binding.bind_output_to(session, &output.name, tensor)?,
                None => {
                    binding.bind_output_to_host(session, &output.name)?;
                    results.push(output.name);
                }
            }
        }
        Ok(())
    }

    /// Runs; gives the scalars that are handed over.
    #[expect(clippy::expect_used, reason = "the graphs of a step give their state and f32 scalars")]
    fn run(&mut self) -> Result<BTreeMap<String, f32>> {
        let outputs = self.binding.run(&mut self.session)?;
        let read = |tensor: DeviceTensor| -> Result<f32> {
            let host = tensor.into_host()?;
            let value = host.values::<f32>().and_then(|values| values.first().copied());
            Ok(value.expect("what a step graph hands over is f32 scalars"))
        };
        self.results.iter().cloned().zip(outputs).map(|(name, tensor)| Ok((name, read(tensor)?))).collect()
    }
}

/// The network in evaluation, opened where it is needed.
#[derive(Debug)]
struct Evaluation {
    model: Model,
    input: String,
    runtime: Runtime,
    options: SessionOptions,
    opened: Option<Evaluator>,
}

impl Evaluation {
    /// Opens the network so that it reads the moving weights, unless it is open.
    fn open(&mut self, moving: &[String], state: &BTreeMap<String, DeviceTensor>) -> Result<&mut Evaluator> {
        let evaluator = match self.opened.take() {
            Some(evaluator) => evaluator,
            None => {
                let session = open(&self.runtime, &self.model, &self.options)?;
                let mut binding = Binding::new(&session)?;
                for name in moving {
                    if let Some(tensor) = state.get(name) {
                        binding.bind_input(&session, name, tensor)?;
                    }
                }
                binding.bind_output_to_host(&session, LOGITS)?;
                Evaluator { session, binding, input: self.input.clone(), images: BTreeMap::new() }
            }
        };
        Ok(self.opened.insert(evaluator))
    }
}

/// Images to logits with weights that may move.
#[derive(Debug)]
struct Evaluator {
    session: Session,
    binding: Binding,
    input: String,
    images: BTreeMap<usize, DeviceTensor>,
}

impl Evaluator {
    fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<HostTensor> {
        let count = shape.first().copied().unwrap_or(0);
        if !self.images.contains_key(&count) {
            let tensor = DeviceTensor::allocate(DType::F32, shape, &self.session)?;
            self.images.insert(count, tensor);
        }
        if let Some(tensor) = self.images.get_mut(&count) {
            tensor.write_values(images)?;
            self.binding.bind_input(&self.session, &self.input, tensor)?;
        }
        let mut outputs = self.binding.run(&mut self.session)?;
        outputs.remove(0).into_host()
    }
}
