//! Failures of fine-tuning.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// A network cannot be trained, or a run cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinetuneError {
    /// A setting is outside its range.
    #[error("`{name}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// More blocks are to be frozen than the backbone has.
    #[error("{wanted} blocks are to be frozen, the backbone has {found}")]
    Blocks {
        /// Blocks asked for.
        wanted: usize,
        /// Blocks it has.
        found: usize,
    },
    /// Something that an engine does not do.
    #[error("the engine `{engine}` does not train {what}")]
    Engine {
        /// The engine.
        engine: String,
        /// What was asked for.
        what: String,
    },
    /// A loss that does not suit the labels.
    #[error("the loss `{loss}` does not suit a {task} task")]
    Loss {
        /// The loss.
        loss: String,
        /// What the labels mean.
        task: &'static str,
    },
    /// A parameter whose elements are not in memory.
    #[error("the weight `{name}` has no elements that could be trained")]
    NotStored {
        /// The parameter.
        name: String,
    },
    /// Nothing but the head would be trained although more was asked for.
    #[error("nothing but the head would be trained, although more was asked for{}", listed(fixed))]
    OnlyHead {
        /// The weights that stay as they are, with the reasons.
        fixed: Vec<String>,
    },
    /// A network takes a number of images at once and no other.
    #[error("the network takes {count} images at once and no other number, {problem}")]
    FixedBatch {
        /// The number.
        count: usize,
        /// What does not fit.
        problem: String,
    },
    /// The network gives something else than a number per image and class.
    #[error("the network gives logits of shape {found:?}, expected {expected:?}")]
    Logits {
        /// Images and classes.
        expected: [usize; 2],
        /// What it gives.
        found: Vec<usize>,
    },
    /// Weights do not fit the network they are read into.
    #[error("`{path}` does not hold `{name}` as {expected}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The tensor or field.
        name: String,
        /// What is needed.
        expected: String,
    },
    /// The updates would be computed from parameters that are overwritten already.
    #[error("`{parameter}` is still read by `{node}` when it is written")]
    Aliased {
        /// The parameter.
        parameter: String,
        /// The node that reads it.
        node: String,
    },
    /// Loss or gradient is no number any more.
    #[error("{what} is {value} at step {step} (epoch {epoch})")]
    NotFinite {
        /// `the loss` or `the norm of the gradient`.
        what: &'static str,
        /// What it is.
        value: f32,
        /// The step, from 1.
        step: u64,
        /// The epoch, from 1.
        epoch: usize,
        /// Where the last good weights lie, where there are some.
        checkpoint: Option<PathBuf>,
    },
    /// A batch needs more memory than there is.
    #[error("a step on {batch} images needs about {needed_mib:.0} MiB, of which {available_mib:.0} MiB are available")]
    Memory {
        /// Images that go through the network at once.
        batch: usize,
        /// Estimate of what it needs.
        needed_mib: f64,
        /// What the system has.
        available_mib: f64,
    },
    /// A folder that holds another run.
    #[error("`{path}` holds a run with other settings: {difference}")]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// The first setting that differs.
        difference: String,
    },
    /// Too many images could not be read.
    #[error("{failed} of {total} images could not be read, the first of them `{id}`: {reason}")]
    Unreadable {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// The first one.
        id: String,
        /// Why it could not be read.
        reason: String,
    },
}

/// Weights with the reasons why they are fixed, the first few.
fn listed(fixed: &[String]) -> String {
    match fixed {
        [] => ": the network has no weights that could be".to_owned(),
        [first @ .., _] if first.len() > 4 => format!(": {} and {} more", first[..4].join(", "), fixed.len() - 4),
        all => format!(": {}", all.join(", ")),
    }
}

impl Diagnostic for FinetuneError {
    fn kind(&self) -> Kind {
        match self {
            FinetuneError::Memory { .. } => Kind::Environment,
            FinetuneError::NotFinite { .. } => Kind::Incomplete,
            _ => Kind::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            FinetuneError::NotFinite { checkpoint: Some(path), .. } => format!(
                "lower the learning rate, or clip gradients with `<clip>`; the last good weights lie in `{}`",
                path.display()
            ),
            FinetuneError::NotFinite { .. } => "lower the learning rate, or clip gradients with `<clip>`".into(),
            FinetuneError::Engine { .. } => "`<engine graph>` does".into(),
            FinetuneError::Blocks { found: 0, .. } => {
                "the model names no blocks `block_00`, `block_01`, ...: use `<freeze all>` or `<freeze none>`".into()
            }
            FinetuneError::OnlyHead { .. } => {
                "`<freeze all>` trains the head alone; export the model with its weights as floating-point tensors to \
                 train them"
                    .into()
            }
            FinetuneError::FixedBatch { count, .. } => format!(
                "export the model with an open number of images (dynamic axes), or use batches of {count} images"
            ),
            FinetuneError::Memory { batch, .. } => format!(
                "`<micro-batch {}>` gives the same gradients in smaller parts, `<recompute>` keeps fewer activations, `<freeze>` \
                 trains less of the network",
                (batch / 2).max(1)
            ),
            FinetuneError::OtherRun { .. } => {
                "choose another folder with `<out>`, or give the settings of the run to go on with it".into()
            }
            FinetuneError::Loss { .. } => {
                "`cross-entropy` is for one class of several, `bce` for several labels, `mse` for ordered classes"
                    .into()
            }
            _ => return None,
        })
    }
}
