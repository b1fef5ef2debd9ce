//! The engine `ort`: the same graph as artifacts of ONNX Runtime's training API, which sums up
//! gradients and updates all parameters in its own memory.
//!
//! A session starts from a checkpoint and cannot be set back: it is opened anew for other weights.
//! Moments are read by way of a checkpoint file, for want of another way. With shares of the
//! learning rate a parameter comes back rounded once more than it was stored, so that a run which
//! goes on may differ in the last digit; without them it is the same to the bit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::error::{FinetuneError, Result, RuntimeError};
use crate::finetune::Classifier;
use crate::finetune::drop_path::DROP_PATH;
use crate::finetune::engine::{Engine, MicroBatch, StepHyperparams, StepOutcome, evaluation_model};
use crate::finetune::loss::{TARGETS, WEIGHTS};
use crate::finetune::optimizer::{FIRST_MOMENT, SECOND_MOMENT};
use crate::finetune::step::{LOSS, StepGraphs, StepPlan};
use crate::graph::artifacts::{ArtifactOptions, Artifacts, CLIP, Checkpoint, DECAY, GRADIENT_NORM, Update};
use crate::runtime::{Device, Runtime, SessionOptions, TrainingModels, TrainingSession};
use crate::support::fs;
use crate::tensor::HostTensor;
use crate::tensor::safetensors::Tensors;

/// A network in training.
#[derive(Debug)]
pub(in crate::finetune) struct OrtEngine {
    runtime: Runtime,
    options: SessionOptions,
    artifacts: Artifacts,
    /// Largest norm of the gradient.
    clip: Option<f64>,
    /// Name of the input for images.
    input: String,
    /// None while the parameters wait in `start`.
    session: Option<TrainingSession>,
    /// What a session is to start from.
    start: Checkpoint,
    /// Steps that were taken.
    steps: u64,
}

impl OrtEngine {
    /// Opens a session that starts from the weights of the classifier.
    pub(in crate::finetune) fn open(
        runtime: &Runtime,
        classifier: &Classifier,
        plan: &StepPlan,
        graphs: StepGraphs,
        options: &SessionOptions,
    ) -> Result<OrtEngine> {
        let StepGraphs { model, trained, statistics, .. } = graphs;
        let moving: Vec<String> = trained.keys().chain(&statistics).cloned().collect();
        let eval = evaluation_model(classifier, &moving)?;
        let decays = trained.iter().filter(|(_, shape)| shape.len() > 1).map(|(name, _)| name.clone()).collect();
        let shares = plan.trained.iter().filter(|(name, share)| **share != 1.0 && trained.contains_key(*name));
        let artifacts = ArtifactOptions {
            update: Update::Fed { clips: plan.clip.is_some(), decaying: decays },
            shares: shares.map(|(name, share)| (name.clone(), *share)).collect(),
        };
        let artifacts = Artifacts::new(model, eval, &artifacts)?;
        let checkpoint = artifacts.checkpoint(&classifier.weights()?);
        Checkpoint::check_size(&checkpoint.trained)?;
        let mut engine = OrtEngine {
            runtime: runtime.clone(),
            options: SessionOptions { memory_pattern: false, ..options.clone() },
            artifacts,
            clip: plan.clip,
            input: classifier.input.clone(),
            session: None,
            start: checkpoint,
            steps: 0,
        };
        engine.session()?;
        Ok(engine)
    }

    /// The session, opened where there is none.
    fn session(&mut self) -> Result<&mut TrainingSession> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let Artifacts { training, eval, optimizer, .. } = &self.artifacts;
                let models = TrainingModels {
                    training: &training.to_bytes()?,
                    eval: &eval.to_bytes()?,
                    optimizer: &optimizer.to_bytes()?,
                    checkpoint: &self.start.to_bytes()?,
                };
                let session = TrainingSession::open(&self.runtime, &models, &self.options)?;
                self.start = Checkpoint::default();
                session
            }
        };
        Ok(self.session.insert(session))
    }

    /// Parameters and moments as they are now.
    fn checkpoint(&self) -> Result<Checkpoint> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        match &self.session {
            None => Ok(self.start.clone()),
            Some(session) => {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let path = fs::temporary_beside(&std::env::temp_dir().join(format!("defrost-training-{number}")));
                let saved = session.save(&path).and_then(|()| fs::read(&path));
                // What could not be written need not be there.
                drop(fs::remove_file(&path));
                Ok(Checkpoint::from_bytes(&Bytes::from(saved?))?)
            }
        }
    }
}

impl Engine for OrtEngine {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn device_reason(&self) -> &str {
        "the engine `ort` computes there"
    }

    fn reset(&mut self, state: &Tensors, steps: u64) -> Result<()> {
        let mut checkpoint = self.artifacts.checkpoint(state);
        checkpoint.step = steps;
        for name in &self.artifacts.trained {
            let [first, second] = [FIRST_MOMENT, SECOND_MOMENT].map(|prefix| state.get(&format!("{prefix}{name}")));
            if let (Some(first), Some(second)) = (first, second) {
                checkpoint.moments.insert(name.clone(), [first.clone(), second.clone()]);
            }
        }
        self.session = None;
        self.start = checkpoint;
        self.steps = steps;
        Ok(())
    }

    fn state(&self) -> Result<Tensors> {
        let Checkpoint { trained, frozen, mut moments, .. } = self.checkpoint()?;
        let mut state = Tensors::new();
        for (name, stored) in trained.iter().chain(&frozen) {
            state.insert(name.clone(), self.artifacts.restored(name, stored));
        }
        for (name, stored) in &trained {
            let zeros = || HostTensor::from_fn(stored.shape(), |_| 0f32);
            let moments = moments.remove(name).unwrap_or_else(|| [zeros(), zeros()]);
            for (prefix, moment) in [FIRST_MOMENT, SECOND_MOMENT].into_iter().zip(moments) {
                state.insert(format!("{prefix}{name}"), moment);
            }
        }
        Ok(state)
    }

    fn weights(&self) -> Result<Tensors> {
        let names = self.artifacts.trained.iter().chain(&self.artifacts.statistics);
        let read = |name: &String| -> Result<(String, HostTensor)> {
            let stored = match &self.session {
                Some(session) => session.parameter(name)?,
                None => {
                    let found = self.start.trained.get(name).or_else(|| self.start.frozen.get(name)).cloned();
                    found.ok_or_else(|| FinetuneError::NotStored { name: name.clone() })?
                }
            };
            Ok((name.clone(), self.artifacts.restored(name, &stored)))
        };
        names.map(read).collect()
    }

    #[expect(clippy::expect_used, reason = "shapes and outputs are those of the artifacts made in `open`")]
    fn step(&mut self, parts: &[MicroBatch<'_>], rates: StepHyperparams) -> Result<StepOutcome> {
        let StepHyperparams { step, learning_rate, weight_decay } = rates;
        if step != self.steps + 1 {
            let expected = "one more than that of the step before";
            return Err(FinetuneError::Setting { name: "step", found: step.to_string(), expected }.into());
        }
        let inputs: Vec<(String, Vec<usize>)> = self
            .artifacts
            .user_inputs()
            .map(|input| {
                let sizes = input.tensor_type().and_then(|known| known.shape.as_ref());
                let sizes = sizes.expect("the inputs of a step graph have shapes").iter();
                (input.name.clone(), sizes.map(|dim| dim.fixed().map_or(1, |size| size as usize)).collect())
            })
            .collect();
        let outputs: Vec<String> = self.artifacts.user_outputs().map(str::to_owned).collect();
        let (images_name, clip) = (self.input.clone(), self.clip);
        let session = self.session()?;
        let mut told = StepOutcome { loss: 0.0, norm: f32::NAN };
        for (number, part) in parts.iter().enumerate() {
            // Clipping and decays are for the whole batch, which is complete with its last part.
            let (clip, decay) = match number + 1 == parts.len() {
                true => (clip.unwrap_or(f64::INFINITY) as f32, (learning_rate * weight_decay) as f32),
                false => (f32::INFINITY, 0.0),
            };
            let fed = [
                (images_name.as_str(), part.images),
                (TARGETS, part.fed.targets.as_slice()),
                (WEIGHTS, part.fed.weights.as_slice()),
                (DROP_PATH, part.masks),
                (CLIP, std::slice::from_ref(&clip)),
                (DECAY, std::slice::from_ref(&decay)),
            ];
            let fed: BTreeMap<&str, &[f32]> = fed.into_iter().collect();
            let read = |(name, shape): &(String, Vec<usize>)| {
                tensor(name, shape, fed.get(name.as_str()).copied().unwrap_or(&[]))
            };
            let fed: Vec<HostTensor> = inputs.iter().map(read).collect::<Result<_, _>>()?;
            let results = session.step(&fed.iter().collect::<Vec<_>>())?;
            let scalar = |name: &str| {
                let result = outputs.iter().position(|output| output == name).and_then(|at| results.get(at));
                let value = result.and_then(|tensor| tensor.values::<f32>()?.first().copied());
                value.expect("artifacts give the loss and the gradient's norm")
            };
            told.loss += scalar(LOSS);
            told.norm = scalar(GRADIENT_NORM);
        }
        session.update(learning_rate)?;
        self.steps = step;
        Ok(told)
    }

    fn open_evaluation(&mut self) -> Result<()> {
        self.session().map(|_| ())
    }

    fn logits(&mut self, images: &[f32], shape: &[usize]) -> Result<HostTensor> {
        let images = tensor(&self.input, shape, images)?;
        let mut outputs = self.session()?.eval(&[&images])?;
        Ok(outputs.remove(0))
    }
}

/// The tensor for an input.
fn tensor(name: &str, shape: &[usize], values: &[f32]) -> Result<HostTensor, RuntimeError> {
    HostTensor::from_vec(shape.to_vec(), values.to_vec()).ok_or_else(|| RuntimeError::InputShape {
        name: name.to_owned(),
        expected: format!("{shape:?}"),
        found: vec![values.len()],
    })
}
