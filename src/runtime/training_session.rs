//! Sessions of ONNX Runtime's training API: gradients are summed up and parameters updated inside.
//!
//! In: the three models and the checkpoint of `graph::artifacts`. Only the CPU computes. Refuses a
//! library without the API.
//!
//! `Trainer::step` and `Trainer::eval_step` of `ort` 2.0.0-rc.15 panic on tensors: they wrap each
//! output by `Value::from_ptr(pointer, None)`, which expects an allocator (`tensor values require
//! the allocator it was created with to be passed to Value::from_ptr`). The two functions are
//! called here as they are.

use std::path::Path;
use std::ptr::{NonNull, null, null_mut};

use ort::AsPointer;
use ort::memory::Allocator;
use ort::sys::OrtTrainingApi;
use ort::training::{Checkpoint, Trainer, training_api};
use ort::value::{DynTensorValueType, DynValue};

use crate::error::{Result, RuntimeError};
use crate::runtime::{Runtime, SessionOptions, session, value};
use crate::tensor::HostTensor;

/// What a session is opened from, each as the content of its file.
#[derive(Clone, Copy, Debug)]
pub struct TrainingModels<'a> {
    /// Images to loss and gradients.
    pub training: &'a [u8],
    /// The network without its backward pass.
    pub eval: &'a [u8],
    /// Gradients to updates.
    pub optimizer: &'a [u8],
    /// Parameters, and moments where there are some.
    pub checkpoint: &'a [u8],
}

/// A network in training.
#[derive(Debug)]
pub struct TrainingSession {
    trainer: Trainer,
}

/// Which of its models a session runs.
#[derive(Clone, Copy)]
enum Mode {
    Training,
    Eval,
}

impl TrainingSession {
    /// Opens the models; device and memory of the options do not count.
    ///
    /// # Errors
    /// [`RuntimeError::NoTrainingApi`], [`RuntimeError::Model`] where ONNX Runtime does not accept
    /// the models or the checkpoint.
    pub fn open(runtime: &Runtime, models: &TrainingModels<'_>, options: &SessionOptions) -> Result<Self> {
        runtime.check_can_train()?;
        let builder = session::builder(runtime, options);
        let builder = builder.map_err(|error| value::refused("set session options", &error))?;
        let TrainingModels { training, eval, optimizer, checkpoint } = *models;
        let opened = Checkpoint::load_from_buffer(checkpoint).and_then(|checkpoint| {
            Trainer::new_from_memory(builder, Allocator::default(), checkpoint, training, eval, optimizer)
        });
        let trainer = opened.map_err(|error| RuntimeError::Model {
            model: format!("the training artifacts in memory ({} bytes)", training.len()),
            reason: value::reason(&error),
        })?;
        Ok(TrainingSession { trainer })
    }

    /// Runs the training model on its user inputs in its order; gives its user outputs.
    ///
    /// # Errors
    /// [`RuntimeError::Run`].
    pub fn step(&mut self, inputs: &[&HostTensor]) -> Result<Vec<HostTensor>> {
        self.run(Mode::Training, inputs)
    }

    /// As [`TrainingSession::step`] with the evaluation model.
    ///
    /// # Errors
    /// [`RuntimeError::Run`].
    pub fn eval(&mut self, inputs: &[&HostTensor]) -> Result<Vec<HostTensor>> {
        self.run(Mode::Eval, inputs)
    }

    /// Updates the parameters by the sums of gradients, which start anew.
    ///
    /// # Errors
    /// [`RuntimeError::Run`].
    pub fn update(&mut self, learning_rate: f64) -> Result<()> {
        let mut optimizer = self.trainer.optimizer();
        // The rate is forgotten with every load, so that it is said with every step.
        let done = optimizer.set_lr(learning_rate as f32).and_then(|()| optimizer.step());
        let done = done.and_then(|()| optimizer.reset_grad());
        Ok(done.map_err(|error| RuntimeError::Run { reason: value::reason(&error) })?)
    }

    /// The value of a parameter as it is now.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] where there is no such parameter.
    pub fn parameter(&self, name: &str) -> Result<HostTensor> {
        let found = self.trainer.checkpoint().get_parameter(name, &Allocator::default());
        let found = found.map_err(|error| value::refused("read a parameter", &error))?;
        value::into_host(name, found.into_dyn())
    }

    /// Writes a checkpoint with parameters and moments.
    ///
    /// # Errors
    /// [`RuntimeError::Call`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let saved = self.trainer.checkpoint().save(path, true);
        saved.map_err(|error| value::refused("save a checkpoint", &error))
    }

    #[expect(unsafe_code, reason = "`ort`'s own methods panic on tensors, see the file's header")]
    fn run(&mut self, mode: Mode, inputs: &[&HostTensor]) -> Result<Vec<HostTensor>> {
        let failed = |error: ort::Error| RuntimeError::Run { reason: value::reason(&error) };
        let api: &OrtTrainingApi = training_api().map_err(failed)?;
        let (count_outputs, step) = match mode {
            Mode::Training => (api.TrainingSessionGetTrainingModelOutputCount, api.TrainStep),
            Mode::Eval => (api.TrainingSessionGetEvalModelOutputCount, api.EvalStep),
        };
        let inputs = inputs.iter().map(|tensor| value::borrowed(tensor)).collect::<Result<Vec<_>>>()?;
        let pointers: Vec<_> = inputs.iter().map(|input| input.ptr()).collect();
        let mut count = 0;
        // SAFETY: the session lives as long as the trainer, and the count is a place to write to.
        unsafe { ort::Error::result_from_status(count_outputs(self.trainer.ptr(), &mut count)) }.map_err(failed)?;
        let mut outputs = vec![null_mut(); count];
        // SAFETY: as before; inputs and outputs are as many as is said, the inputs live until the
        // call is over, and outputs that are null are made by the session.
        let status = unsafe {
            let session = self.trainer.ptr().cast_mut();
            step(session, null(), pointers.len(), pointers.as_ptr(), count, outputs.as_mut_ptr())
        };
        // SAFETY: the status is what the call gave.
        unsafe { ort::Error::result_from_status(status) }.map_err(failed)?;
        let allocator = Allocator::default();
        let read = |output| -> Result<HostTensor> {
            let output =
                NonNull::new(output).ok_or_else(|| RuntimeError::Run { reason: "it gave no output".into() })?;
            // SAFETY: the session made the value for its caller, and it is wrapped once. It is
            // copied and dropped at once, before the session that its memory belongs to.
            let output = unsafe { DynValue::from_ptr(output, Some(&allocator)) };
            let output = output
                .downcast::<DynTensorValueType>()
                .map_err(|error| RuntimeError::Run { reason: value::reason(&error) })?;
            value::copied("output", &output)
        };
        outputs.into_iter().map(read).collect()
    }
}
