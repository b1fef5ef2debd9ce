//! ONNX Runtime: find the library, open sessions, run them. The only user of `ort`.
//!
//! One process loads one library and holds one environment: [`Runtime`] is a handle to them. A
//! [`Session`] is a model opened on a [`Device`]; it takes and gives host tensors.

mod binding;
mod concurrent;
mod device;
mod device_tensor;
mod engine;
pub mod install;
mod library;
mod locate;
mod options;
mod provider;
mod self_test;
mod session;
mod training_library;
mod training_session;
mod value;
mod weights;

pub use binding::Binding;
pub use device::Device;
pub use device_tensor::DeviceTensor;
pub use engine::{Engine, EngineOptions};
pub use locate::Origin;
pub use options::{Optimization, SessionOptions, WorkingMemory};
pub use self_test::self_test;
pub use session::{ModelSource, Session, TensorInfo};
pub use training_session::{TrainingModels, TrainingSession};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::error::{Error, Result, RuntimeError};
use crate::runtime::install::Flavour;
use crate::runtime::locate::Places;
use crate::support::env;
use crate::support::progress::Progress;

/// The library of this process, once one is loaded; it stays until the process ends.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The library that the command line names, for all who ask without naming one.
static NAMED: OnceLock<PathBuf> = OnceLock::new();

/// A handle to the ONNX Runtime library of this process; clones share it.
#[derive(Clone, Debug)]
pub struct Runtime(Arc<Loaded>);

#[derive(Debug)]
struct Loaded {
    library: PathBuf,
    origin: Origin,
    version: String,
    providers: Vec<String>,
    environment: Environment,
}

impl Runtime {
    /// Finds and loads the library: `library` if given, else `ORT_DYLIB_PATH`, the cache directory,
    /// the directory of the executable, the system's library paths. A second call gives the same
    /// library.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`] where there is none; [`RuntimeError::NoSuchLibrary`],
    /// [`RuntimeError::NotALibrary`], [`RuntimeError::NotOnnxRuntime`] and [`RuntimeError::TooOld`]
    /// where a library named by the user cannot be used; [`RuntimeError::AlreadyLoaded`] where this
    /// process uses another one.
    pub fn load(library: Option<&Path>) -> Result<Runtime> {
        let library = library.or(NAMED.get().map(PathBuf::as_path));
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return match library {
                Some(requested) if !same_file(requested, runtime.library()) => Err(RuntimeError::AlreadyLoaded {
                    loaded: runtime.library().to_path_buf(),
                    requested: requested.to_path_buf(),
                }
                .into()),
                _ => Ok(runtime.clone()),
            };
        }
        let runtime = Runtime(Arc::new(Loaded::find(&Places::of_this_machine(library))?));
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// Finds and loads the library as [`Runtime::load`] does; where there is none, installs it
    /// after saying so.
    ///
    /// # Errors
    /// Those of [`Runtime::load`] and of [`Flavour::install`].
    pub fn ensure(library: Option<&Path>, progress: &dyn Progress) -> Result<Runtime> {
        match Runtime::load(library) {
            Err(Error::Runtime(RuntimeError::NotFound { .. })) => {
                let version = Flavour::Cpu.version();
                progress.note(&format!("no ONNX Runtime library was found; installing version {version}, once"));
                let directory = Flavour::Cpu.install(progress)?;
                progress.note(&format!("installed ONNX Runtime {version} in `{}`", directory.display()));
                Runtime::load(library)
            }
            outcome => outcome,
        }
    }

    /// A library with the training API: the one that this process has loaded or that was named, by
    /// the caller or by `ORT_DYLIB_PATH`; else the installed one of [`Flavour::Training`], installed
    /// after saying so where it is not there.
    ///
    /// # Errors
    /// [`RuntimeError::NoTrainingApi`] where the library that was loaded or named lacks it,
    /// [`FetchError::NoWheel`](crate::error::FetchError::NoWheel) where none was named and none is
    /// published for this machine, and those of [`Runtime::load`] and [`Flavour::install`].
    pub fn ensure_training(progress: &dyn Progress) -> Result<Runtime> {
        let is_loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        let is_named = NAMED.get().is_some() || env::path(env::RUNTIME_LIBRARY).is_some();
        let runtime = match is_loaded || is_named {
            true => Runtime::load(None)?,
            false => {
                let directory = Flavour::Training.directory()?;
                if !directory.is_dir() {
                    let version = Flavour::Training.version();
                    progress.note(&format!("installing ONNX Runtime {version} with its training API, once"));
                    Flavour::Training.install(progress)?;
                }
                Runtime::load(Some(&directory))?
            }
        };
        runtime.check_can_train()?;
        Ok(runtime)
    }

    /// Names the library that [`Runtime::load`] and [`Runtime::ensure`] take when their caller
    /// names none; the first call counts.
    pub fn name_library(path: &Path) {
        // A second name has no effect, as documented.
        let _ = NAMED.set(path.to_path_buf());
    }

    /// The library's path.
    pub fn library(&self) -> &Path {
        &self.0.library
    }

    /// Where the library was found.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The library's version: `1.32.0`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The execution providers the library was built with, in its order of preference:
    /// `CPUExecutionProvider`.
    pub fn providers(&self) -> &[String] {
        &self.0.providers
    }

    /// Whether a model on this device will run on the CPU, as far as the library's providers tell:
    /// a session may still end up there where a GPU does not work.
    pub fn is_on_cpu(&self, device: Device) -> bool {
        match device {
            Device::Cpu => true,
            Device::Cuda(_) => false,
            Device::Auto => !self.providers().iter().any(|name| name.contains("CUDA")),
        }
    }

    /// Whether the library has ONNX Runtime's training API.
    pub fn can_train(&self) -> bool {
        ort::training::training_api().is_ok()
    }

    /// Refuses a library without the training API.
    ///
    /// # Errors
    /// [`RuntimeError::NoTrainingApi`].
    pub fn check_can_train(&self) -> Result<(), RuntimeError> {
        match self.can_train() {
            true => Ok(()),
            false => Err(RuntimeError::NoTrainingApi {
                library: self.library().to_path_buf(),
                version: self.version().to_owned(),
            }),
        }
    }

    fn environment(&self) -> &Environment {
        &self.0.environment
    }
}

/// Whether two paths are the same file.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

impl Loaded {
    /// Loads the first usable library of these places.
    fn find(places: &Places) -> Result<Loaded, RuntimeError> {
        let mut searched = places.describe();
        for candidate in places.candidates() {
            let named = matches!(candidate.origin, Origin::Explicit | Origin::Variable);
            if named && !candidate.path.exists() {
                return Err(RuntimeError::NoSuchLibrary { path: candidate.path, origin: candidate.origin.to_string() });
            }
            match Loaded::load(&candidate.path, candidate.origin) {
                Err(fault) if !named => searched.push(format!("found but unusable: {fault}")),
                outcome => return outcome,
            }
        }
        Err(RuntimeError::NotFound { searched })
    }

    /// Loads this library and starts its environment.
    fn load(path: &Path, origin: Origin) -> Result<Loaded, RuntimeError> {
        let refused = |error: ort::Error| RuntimeError::Call { action: "start", reason: value::reason(&error) };
        // An absolute path means the same file to everyone who opens it.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let environment = library::load(&path)?;
        let version = library::version(&path)?;
        let environment = environment.with_name("defrost").with_telemetry(false).build().map_err(refused)?;
        environment.set_log_level(if tracing::enabled!(tracing::Level::DEBUG) {
            LogLevel::Info
        } else {
            LogLevel::Error
        });
        let providers = provider::available().map_err(refused)?;
        Ok(Loaded { library: path, origin, version, providers, environment })
    }
}
