//! Failures of ONNX Runtime: its library, its devices, its sessions.

use std::path::PathBuf;

use crate::error::{Diagnostic, Kind};

/// ONNX Runtime is missing, unusable or refused a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// No library was found anywhere.
    #[error("no ONNX Runtime library was found (looked in {})", .searched.join(", "))]
    NotFound {
        /// The places looked in, with the reason where one held an unusable library.
        searched: Vec<String>,
    },
    /// A library that was asked for by path does not exist.
    #[error("the ONNX Runtime library `{path}` ({origin}) does not exist")]
    NoSuchLibrary {
        /// The path asked for.
        path: PathBuf,
        /// Who asked for it.
        origin: String,
    },
    /// A file cannot be loaded as a shared library.
    #[error("`{path}` cannot be loaded as a shared library: {reason}")]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A shared library that is something else.
    #[error("`{path}` is a shared library but not ONNX Runtime: it does not export `OrtGetApiBase`")]
    NotOnnxRuntime {
        /// The library.
        path: PathBuf,
    },
    /// A library of a version that lacks what is needed.
    #[error("`{path}` is ONNX Runtime {found}, but {least} or later is needed")]
    TooOld {
        /// The library.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest version that works.
        least: String,
    },
    /// A second, different library was asked for in one process.
    #[error("ONNX Runtime is already loaded from `{loaded}`; one process cannot load `{requested}` as well")]
    AlreadyLoaded {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        requested: PathBuf,
    },
    /// A library without the training API.
    #[error("`{library}` (ONNX Runtime {version}) has no training API")]
    NoTrainingApi {
        /// The library.
        library: PathBuf,
        /// Its version.
        version: String,
    },
    /// A device name that is none.
    #[error("`{text}` is not a device")]
    UnknownDevice {
        /// The text.
        text: String,
    },
    /// A device that was asked for cannot be used.
    #[error("device `{device}` cannot be used: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A model that ONNX Runtime does not accept.
    #[error("ONNX Runtime cannot open {model}: {reason}")]
    Model {
        /// The model: its path, or what it is.
        model: String,
        /// What ONNX Runtime said.
        reason: String,
    },
    /// An input or output name the model does not have.
    #[error("the model has no {direction} `{name}`{}", suggestion(.nearest, .known))]
    UnknownName {
        /// `input` or `output`.
        direction: &'static str,
        /// The name asked for.
        name: String,
        /// Names that resemble it, nearest first.
        nearest: Vec<String>,
        /// All names there are.
        known: Vec<String>,
    },
    /// An input got no tensor.
    #[error("input `{name}` was given no tensor")]
    MissingInput {
        /// The input's name.
        name: String,
    },
    /// An input got two tensors.
    #[error("input `{name}` was given twice")]
    RepeatedInput {
        /// The input's name.
        name: String,
    },
    /// A tensor of the wrong element type.
    #[error("input `{name}` needs elements of type {expected}, found {found}")]
    InputType {
        /// The input's name.
        name: String,
        /// The element type the model declares.
        expected: String,
        /// The element type of the tensor.
        found: String,
    },
    /// A tensor of the wrong shape.
    #[error("input `{name}` needs shape {expected}, found {found:?}")]
    InputShape {
        /// The input's name.
        name: String,
        /// The shape the model declares, free axes by name or `?`.
        expected: String,
        /// The shape of the tensor.
        found: Vec<usize>,
    },
    /// A value that is not a tensor of plain numbers.
    #[error("`{name}` is {found}, which cannot be read as a tensor of numbers")]
    ElementType {
        /// Name of the input or output.
        name: String,
        /// What it is.
        found: String,
    },
    /// A model failed while it ran.
    #[error("ONNX Runtime failed while running the model: {reason}")]
    Run {
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The library computes wrong results.
    #[error("ONNX Runtime failed its self-test: {reason}")]
    SelfTest {
        /// What was wrong.
        reason: String,
    },
    /// Any other call that was refused.
    #[error("ONNX Runtime cannot {action}: {reason}")]
    Call {
        /// What was tried, as a verb.
        action: &'static str,
        /// What ONNX Runtime said.
        reason: String,
    },
}

/// The end of a sentence about an unknown name.
fn suggestion(nearest: &[String], known: &[String]) -> String {
    if nearest.is_empty() {
        format!("; it has `{}`", known.join("`, `"))
    } else {
        format!("; did you mean `{}`?", nearest.join("` or `"))
    }
}

impl Diagnostic for RuntimeError {
    fn kind(&self) -> Kind {
        match self {
            RuntimeError::UnknownDevice { .. }
            | RuntimeError::Model { .. }
            | RuntimeError::UnknownName { .. }
            | RuntimeError::MissingInput { .. }
            | RuntimeError::RepeatedInput { .. }
            | RuntimeError::InputType { .. }
            | RuntimeError::InputShape { .. }
            | RuntimeError::ElementType { .. } => Kind::Input,
            _ => Kind::Environment,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            RuntimeError::NotFound { .. } => {
                "run `defrost runtime install`, or name a library with `ORT_DYLIB_PATH`".into()
            }
            RuntimeError::NoSuchLibrary { origin, .. } => {
                format!("correct or remove {origin}, or run `defrost runtime install` for one that works")
            }
            RuntimeError::NotALibrary { .. } | RuntimeError::NotOnnxRuntime { .. } | RuntimeError::TooOld { .. } => {
                "run `defrost runtime install` for a version that works, and remove `ORT_DYLIB_PATH` if it names this file"
                    .into()
            }
            RuntimeError::NoTrainingApi { .. } => {
                "leave `<runtime-library>` and `ORT_DYLIB_PATH` out to use the library of `defrost runtime install --training` \
                 (Linux on x86_64), name another one that was built with the API, or train with `<engine graph>`"
                    .into()
            }
            RuntimeError::UnknownDevice { .. } => "devices are `auto`, `cpu`, `cuda` and `cuda:N`".into(),
            RuntimeError::Device { .. } => {
                "use `<device cpu>`, or run `defrost runtime install --cuda` on a machine with an NVIDIA driver and look at `defrost doctor`"
                    .into()
            }
            RuntimeError::UnknownName { .. } => "`defrost graph show` lists a model's inputs and outputs".into(),
            _ => return None,
        })
    }
}
