//! A network in training: its graphs opened as sessions, its parameters and moments in the
//! runtime's memory, where every step updates them in place.

use std::collections::BTreeMap;

use crate::error::{FinetuneError, Result};
use crate::finetune::classifier::LOGITS;
use crate::finetune::drop_path::DROP_PATH;
use crate::finetune::loss::{TARGETS, TargetBatch, WEIGHTS};
use crate::finetune::loss_scale::{LOSS_SCALE, LossScale};
use crate::finetune::optimizer::{FIRST_MOMENT, LEARNING_RATE, NORM, SECOND_MOMENT, STEP, WEIGHT_DECAY};
use crate::finetune::step::{GRADIENT, KEEP, LOSS, NEXT, StepGraphs, StepPlan, Target};
use crate::finetune::{Classifier, memory};
use crate::graph::{Model, rewrite};
use crate::runtime::{Binding, Device, DeviceTensor, ModelSource, Runtime, Session, SessionOptions};
use crate::tensor::safetensors::Tensors;
use crate::tensor::{DType, HostTensor};

/// A network in training.
#[derive(Debug)]
pub struct Trainer {
    step: Engine,
    update: Option<Engine>,
    /// Parameters, statistics, moments and summed gradients under their names as inputs.
    state: BTreeMap<String, DeviceTensor>,
    /// Images, targets and scalars under their names as inputs.
    fed: BTreeMap<String, DeviceTensor>,
    /// Trained parameters and updated statistics.
    moving: Vec<String>,
    branches: usize,
    /// Parameters that were to be trained and that the loss does not depend on.
    unreached: Vec<String>,
    /// The factor on the loss, where it is scaled.
    scale: Option<LossScale>,
}

/// A session with what it reads and writes.
#[derive(Debug)]
struct Engine {
    session: Session,
    binding: Binding,
    /// Outputs that are handed over, in the order of their results.
    results: Vec<String>,
}

/// Some images of a batch with what they are to become.
pub struct MicroBatch<'a> {
    /// `[N, C, H, W]`.
    pub images: &'a [f32],
    /// Targets and weights.
    pub fed: &'a TargetBatch,
    /// Masks of residual branches, `[branches, N]`; empty where none are left out.
    pub masks: &'a [f32],
}

/// The scalars of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepHyperparams {
    /// From 1.
    pub step: u64,
    /// Of this step.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// What a step tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// The loss before the update.
    pub loss: f32,
    /// The norm of the gradient before clipping.
    pub norm: f32,
}

impl Trainer {
    /// Opens the graphs and takes over the weights of the classifier; moments start at zero.
    ///
    /// # Errors
    /// `GraphError` for an operator without gradient,
    /// [`FinetuneError::Memory`](crate::error::FinetuneError::Memory) for a batch that does not
    /// fit, `RuntimeError` where the runtime refuses.
    pub fn open(
        runtime: &Runtime,
        classifier: &Classifier,
        plan: &StepPlan,
        options: &SessionOptions,
    ) -> Result<Trainer> {
        let target = match options.device {
            Device::Cuda(_) => Target::Cuda,
            Device::Auto if runtime.offers_cuda() => Target::Cuda,
            _ => Target::Cpu,
        };
        let graphs = StepGraphs::build(classifier, plan, target)?;
        memory::check(&graphs, plan.batch, options)?;
        let session = open(runtime, &graphs.model, options)?;
        let options = SessionOptions { device: session.device(), ..options.clone() };
        let StepGraphs { update, trained, statistics, branches, .. } = graphs;
        let unreached = plan.trained.keys().filter(|name| !trained.contains_key(*name)).cloned().collect();
        let moving: Vec<String> = trained.keys().chain(&statistics).cloned().collect();
        let mut trainer = Trainer {
            step: Engine::new(session)?,
            update: None,
            state: BTreeMap::new(),
            fed: BTreeMap::new(),
            moving,
            branches,
            unreached,
            scale: plan.mixed_precision.then(LossScale::default),
        };
        if let Some(update) = update {
            trainer.update = Some(Engine::new(open(runtime, &update, &options)?)?);
        }
        let shape_of = |name: &str| classifier.model.graph.initializer(name).map(|tensor| tensor.shape.clone());
        for name in trainer.moving.clone() {
            let shape = shape_of(&name).unwrap_or_default();
            let prefixes: &[&str] = match (trained.contains_key(&name), trainer.update.is_some()) {
                (true, true) => &["", FIRST_MOMENT, SECOND_MOMENT, GRADIENT],
                (true, false) => &["", FIRST_MOMENT, SECOND_MOMENT],
                (false, _) => &[""],
            };
            for prefix in prefixes {
                let tensor = DeviceTensor::allocate(DType::F32, &shape, &trainer.step.session)?;
                trainer.state.insert(format!("{prefix}{name}"), tensor);
            }
        }
        trainer.reset(&classifier.weights()?)?;
        let Trainer { step, update, state, fed, .. } = &mut trainer;
        for engine in [Some(step), update.as_mut()].into_iter().flatten() {
            engine.bind(state, fed)?;
        }
        Ok(trainer)
    }

    /// The device that the network is trained on, and why.
    pub fn device(&self) -> (Device, &str) {
        (self.step.session.device(), self.step.session.device_reason())
    }

    /// Parameters that were to be trained and that the loss does not depend on.
    pub fn unreached(&self) -> &[String] {
        &self.unreached
    }

    /// Residual branches that masks are needed for.
    pub fn branches(&self) -> usize {
        self.branches
    }

    /// Takes over weights and starts anew: moments become zero.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn reset(&mut self, weights: &Tensors) -> Result<()> {
        let zero = |tensor: &mut DeviceTensor| {
            let zeros = vec![0f32; tensor.len()];
            tensor.write_values(&zeros)
        };
        for (name, tensor) in &mut self.state {
            match weights.get(name) {
                Some(weight) => tensor.write(weight)?,
                None => zero(tensor)?,
            }
        }
        if let Some(scale) = &mut self.scale {
            *scale = LossScale::of_tensor(weights.get(LOSS_SCALE));
        }
        Ok(())
    }

    /// Everything that moves: parameters and statistics under their names, moments and the factor
    /// on the loss under theirs.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn state(&self) -> Result<Tensors> {
        let kept = self.state.iter().filter(|(name, _)| !name.starts_with(GRADIENT));
        let mut state: Tensors =
            kept.map(|(name, tensor)| Ok((name.clone(), tensor.to_host()?))).collect::<Result<_>>()?;
        state.extend(self.scale.map(|scale| (LOSS_SCALE.to_owned(), scale.to_tensor())));
        Ok(state)
    }

    /// Parameters and statistics that move, under their names.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn weights(&self) -> Result<Tensors> {
        let moving = self.moving.iter().filter_map(|name| Some((name, self.state.get(name)?)));
        moving.map(|(name, tensor)| Ok((name.clone(), tensor.to_host()?))).collect()
    }

    /// One step over a batch in parts that the plan's number of images fits.
    ///
    /// # Errors
    /// `RuntimeError` where the runtime refuses.
    pub fn step(&mut self, parts: &[MicroBatch<'_>], rates: StepHyperparams) -> Result<StepOutcome> {
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
                (self.images_name().as_str(), part.images),
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

    /// The input that takes the images: the model's first.
    fn images_name(&self) -> String {
        self.step.session.inputs().first().map(|input| input.name.clone()).unwrap_or_default()
    }

    /// Writes an input, where the graph has it.
    fn feed(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.fed.get_mut(name).map_or(Ok(()), |tensor| tensor.write_values(values))
    }
}

fn scalar(results: &BTreeMap<String, f32>, name: &str) -> f32 {
    results.get(name).copied().unwrap_or(f32::NAN)
}

fn open(runtime: &Runtime, model: &Model, options: &SessionOptions) -> Result<Session> {
    // Activations are most of the memory: they must not be there twice.
    let options = SessionOptions { memory_pattern: false, ..options.clone() };
    Session::open(runtime, ModelSource::Bytes(&model.to_bytes()?), &options)
}

impl Engine {
    fn new(session: Session) -> Result<Self> {
        let binding = Binding::new(&session)?;
        Ok(Engine { session, binding, results: Vec::new() })
    }

    /// Binds the state in place, makes and binds tensors for all other inputs, and lets all other
    /// outputs come to the host.
    fn bind(
        &mut self,
        state: &mut BTreeMap<String, DeviceTensor>,
        fed: &mut BTreeMap<String, DeviceTensor>,
    ) -> Result<()> {
        let Engine { session, binding, results } = self;
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
    fn run(&mut self) -> Result<BTreeMap<String, f32>> {
        let outputs = self.binding.run(&mut self.session)?;
        let read = |tensor: DeviceTensor| -> Result<f32> {
            let host = tensor.into_host()?;
            Ok(host.values::<f32>().and_then(|values| values.first().copied()).unwrap_or(f32::NAN))
        };
        self.results.iter().cloned().zip(outputs).map(|(name, tensor)| Ok((name, read(tensor)?))).collect()
    }
}

/// The network in evaluation: images to logits with weights that may move.
#[derive(Debug)]
pub(super) struct Evaluator {
    session: Session,
    binding: Binding,
    input: String,
    classes: usize,
    fixed_batch: Option<usize>,
    images: BTreeMap<usize, DeviceTensor>,
}

impl Evaluator {
    /// Opens the network so that it reads the moving weights of a trainer.
    pub(super) fn beside(
        runtime: &Runtime,
        classifier: &Classifier,
        trainer: &Trainer,
        options: &SessionOptions,
    ) -> Result<Evaluator> {
        let mut model = classifier.model.clone();
        rewrite::keep_outputs(&model, &[LOGITS]).apply(&mut model)?;
        rewrite::constants_to_inputs(&model, &trainer.moving)?.apply(&mut model)?;
        rewrite::dead(&model).apply(&mut model)?;
        let model = rewrite::slice_pushdown(model)?;
        let options = SessionOptions { device: trainer.device().0, ..options.clone() };
        let session = open(runtime, &model, &options)?;
        let mut binding = Binding::new(&session)?;
        for name in &trainer.moving {
            if let Some(tensor) = trainer.state.get(name) {
                binding.bind_input(&session, name, tensor)?;
            }
        }
        binding.bind_output_to_host(&session, LOGITS)?;
        let (input, classes) = (classifier.input.clone(), classifier.classes);
        let fixed_batch = classifier.fixed_batch;
        Ok(Evaluator { session, binding, input, classes, fixed_batch, images: BTreeMap::new() })
    }

    /// Logits `[N, K]` of images `[N, C, H, W]` in `shape`; where the network takes a fixed number
    /// of images, up to so many, the rest of which are zeros.
    pub(super) fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<Vec<f32>> {
        let count = shape.first().copied().unwrap_or(0);
        let taken = self.fixed_batch.unwrap_or(count).max(count);
        let mut filled = images.to_vec();
        filled.resize(taken * shape[1..].iter().product::<usize>(), 0.0);
        let shape: Vec<usize> = std::iter::once(taken).chain(shape[1..].iter().copied()).collect();
        if !self.images.contains_key(&taken) {
            let tensor = DeviceTensor::allocate(DType::F32, &shape, &self.session)?;
            self.images.insert(taken, tensor);
        }
        if let Some(tensor) = self.images.get_mut(&taken) {
            tensor.write_values(&filled)?;
            self.binding.bind_input(&self.session, &self.input, tensor)?;
        }
        let outputs = self.binding.run(&mut self.session)?;
        let logits: Vec<HostTensor> = outputs.into_iter().map(DeviceTensor::into_host).collect::<Result<_>>()?;
        let found = logits.first().and_then(|logits| Some(logits.to_f32()?.to_vec()));
        let Some(mut values) = found.filter(|values| values.len() == taken * self.classes) else {
            let found = logits.first().map_or_else(Vec::new, |logits| logits.shape().to_vec());
            return Err(FinetuneError::Logits { expected: [taken, self.classes], found }.into());
        };
        values.truncate(count * self.classes);
        Ok(values)
    }
}
