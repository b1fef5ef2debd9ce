//! Execution providers: the chosen device is registered strictly, so that nothing falls back to the
//! CPU unseen.

use ort::ep;
use ort::ep::ExecutionProvider as _;
use ort::session::builder::SessionBuilder;

use crate::error::{Result, RuntimeError};
use crate::runtime::{Device, Runtime, SessionOptions, WorkingMemory, library, value};

/// Asks, one name after the other, for the providers that a library may be built with.
macro_rules! known_providers {
    ($($name:ident),* $(,)?) => {
        /// The execution providers the loaded library was built with.
        pub(super) fn available() -> ort::Result<Vec<String>> {
            let mut found = Vec::new();
            $({
                struct Named;
                impl ep::ExecutionProvider for Named {
                    const NAME: &'static str = stringify!($name);
                    fn register(&self, _builder: &mut SessionBuilder) -> ort::Result<()> {
                        Err(ort::Error::new("this type only asks whether its provider exists"))
                    }
                }
                if Named::is_available()? {
                    found.push(stringify!($name).to_owned());
                }
            })*
            Ok(found)
        }
    };
}

known_providers! {
    TensorrtExecutionProvider, CUDAExecutionProvider, ROCMExecutionProvider, MIGraphXExecutionProvider,
    OpenVINOExecutionProvider, CoreMLExecutionProvider, DmlExecutionProvider, QNNExecutionProvider,
    CANNExecutionProvider, DnnlExecutionProvider, XnnpackExecutionProvider, WebGpuExecutionProvider,
    AzureExecutionProvider, CPUExecutionProvider,
}

/// Registers the device of `options`; gives the builder, the device in use, and why it was chosen.
///
/// # Errors
/// [`RuntimeError::Device`] where an explicit CUDA device cannot be used.
pub(super) fn register(
    runtime: &Runtime,
    builder: SessionBuilder,
    options: &SessionOptions,
) -> Result<(SessionBuilder, Device, String)> {
    let (builder, device, reason) = match options.device {
        Device::Cpu => (builder, Device::Cpu, "asked for".to_owned()),
        Device::Cuda(number) => match cuda(runtime, builder, number, options) {
            (builder, None) => (builder, options.device, "asked for".to_owned()),
            (_, Some(reason)) => {
                return Err(RuntimeError::Device { device: options.device.to_string(), reason }.into());
            }
        },
        Device::Auto if !runtime.offers_cuda() => (builder, Device::Cpu, "this ONNX Runtime has no CUDA".to_owned()),
        Device::Auto => match cuda(runtime, builder, 0, options) {
            (builder, None) => (builder, Device::Cuda(0), "a CUDA device is available".to_owned()),
            (builder, Some(reason)) => (builder, Device::Cpu, format!("CUDA is not available: {reason}")),
        },
    };
    Ok((cpu(builder, options)?, device, reason))
}

/// Sets the CPU's own memory use; every session has the CPU as its last provider.
fn cpu(builder: SessionBuilder, options: &SessionOptions) -> Result<SessionBuilder> {
    let arena = options.memory != WorkingMemory::Release;
    let provider = ep::CPU::default().with_arena_allocator(arena).build().error_on_failure();
    builder.with_execution_providers([provider]).map_err(|error| value::refused("use the CPU", &error))
}

impl Runtime {
    /// Whether the library was built with the CUDA execution provider; whether a GPU is there shows
    /// when a session is opened.
    pub fn offers_cuda(&self) -> bool {
        self.providers().iter().any(|name| name == ep::CUDA::NAME)
    }
}

/// Registers CUDA; gives the builder back, with the reason where CUDA cannot be used.
fn cuda(
    runtime: &Runtime,
    builder: SessionBuilder,
    number: u32,
    options: &SessionOptions,
) -> (SessionBuilder, Option<String>) {
    if !runtime.offers_cuda() {
        let reason = format!("the ONNX Runtime at `{}` was built without CUDA", runtime.library().display());
        return (builder, Some(reason));
    }
    let Ok(id) = i32::try_from(number) else {
        return (builder, Some(format!("there is no CUDA device {number}")));
    };
    library::preload_beside(runtime.library());
    let provider = ep::CUDA::default()
        .with_device_id(id)
        .with_tf32(options.tensor_float_32)
        .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
        .build()
        .error_on_failure();
    match builder.with_execution_providers([provider]) {
        Ok(builder) => (builder, None),
        Err(error) => {
            let reason = value::reason(&error);
            (error.recover(), Some(reason))
        }
    }
}
