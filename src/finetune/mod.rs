//! Fine-tuning: a backbone with a head is trained on labelled images, by gradients that are part of
//! the graph.
//!
//! ```text
//! backbone + head (classifier) ──▶ forward, loss, backward, AdamW (step) ──▶ state in the runtime (trainer)
//!     ──▶ epochs over augmented images (training) ──▶ search, checkpoints, best epoch, test (run) ──▶ model.onnx, record
//! ```
//!
//! Every graph is plain ONNX, so that any ONNX Runtime trains. The same seed, data and settings
//! give the same numbers, whether a run was interrupted or not.

mod artifacts;
mod batch_norm;
pub mod bench;
mod checkpoint;
mod classifier;
mod config;
mod drop_path;
mod engine;
mod engine_kind;
mod evaluation;
mod fine_tune;
mod head;
mod journal;
mod loss;
mod loss_scale;
mod memory;
mod optimizer;
mod options;
mod policy;
mod recipe;
mod run;
mod sampler;
mod schedule;
mod search;
mod step;
mod trainer;
mod training;
mod training_set;

pub use classifier::Classifier;
pub use config::{CONFIG, MODEL, ModelConfig, RECORD, RunConfig, TrainingRun};
pub use engine::{MicroBatch, StepHyperparams, StepOutcome};
pub use engine_kind::EngineKind;
pub use fine_tune::FineTune;
pub use head::Head;
pub use journal::{Line, METRICS, read as read_journal};
pub use loss::{Loss, TargetBatch, Targets};
pub use options::TrainOptions;
pub use policy::Freeze;
pub use recipe::Recipe;
pub use run::{FinetuneResult, finetune};
pub use sampler::Sampling;
pub use schedule::Schedule;
pub use step::{BatchNorm, StepPlan};
pub use trainer::Trainer;
