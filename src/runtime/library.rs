//! One shared library: is it ONNX Runtime, and which version? What is wrong with it, where it is
//! not usable.

use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ort::LoadDynamicError;

use crate::error::RuntimeError;

/// What the CUDA provider loads, in an order in which each finds the ones before it.
#[cfg(not(windows))]
const CUDA_LIBRARIES: [&str; 13] = [
    "libcudart.so.13",
    "libnvrtc.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
    "libcudnn.so.9",
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_precompiled.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
    "libcudnn_cnn.so.9",
    "libcudnn_adv.so.9",
];
#[cfg(windows)]
const CUDA_LIBRARIES: [&str; 13] = [
    "cudart64_13.dll",
    "nvrtc64_130_0.dll",
    "cublasLt64_13.dll",
    "cublas64_13.dll",
    "curand64_10.dll",
    "cudnn64_9.dll",
    "cudnn_graph64_9.dll",
    "cudnn_ops64_9.dll",
    "cudnn_heuristic64_9.dll",
    "cudnn_engines_precompiled64_9.dll",
    "cudnn_engines_runtime_compiled64_9.dll",
    "cudnn_cnn64_9.dll",
    "cudnn_adv64_9.dll",
];

/// Loads the CUDA libraries that lie beside the library, so that its CUDA provider finds them
/// without a search path.
pub(super) fn preload_beside(path: &Path) {
    let Some(directory) = path.parent() else { return };
    for name in CUDA_LIBRARIES {
        let library = directory.join(name);
        if library.is_file()
            && let Err(error) = ort::util::preload_dylib(&library)
        {
            // Registering the provider fails later and tells what is missing.
            tracing::warn!("cannot load `{}`: {error}", library.display());
        }
    }
}

/// Loads the library into `ort`; afterwards its functions can be called for the rest of the
/// process.
pub(super) fn load(path: &Path) -> Result<ort::environment::EnvironmentBuilder, RuntimeError> {
    if let Some(reason) = foreign(path) {
        return Err(RuntimeError::NotALibrary { path: path.to_path_buf(), reason });
    }
    ort::init_from(path).map_err(|error| match error {
        LoadDynamicError::Dlopen { error, path } => RuntimeError::NotALibrary { path, reason: error.to_string() },
        LoadDynamicError::MissingApi { path } => RuntimeError::NotOnnxRuntime { path },
        LoadDynamicError::BadVersion { version_str, path } => {
            RuntimeError::TooOld { path, found: version_str, least: format!("1.{}", ort::MINOR_VERSION) }
        }
        LoadDynamicError::InvalidVersionString => {
            RuntimeError::NotALibrary { path: path.to_path_buf(), reason: error.to_string() }
        }
    })
}

/// The version of a library that [`load`] has accepted, as it tells it: `1.32.0`.
#[expect(unsafe_code, reason = "`ort` keeps the version that the library tells to itself")]
pub(super) fn version(path: &Path) -> Result<String, RuntimeError> {
    let failed =
        |error: libloading::Error| RuntimeError::NotALibrary { path: PathBuf::from(path), reason: error.to_string() };
    // SAFETY: the library is loaded already (`load` accepted it), so that no foreign code starts
    // here; `OrtGetApiBase` has this signature in every version, and its version string lives as
    // long as the library, which `ort` never unloads.
    unsafe {
        let library = libloading::Library::new(path).map_err(failed)?;
        let base: libloading::Symbol<'_, unsafe extern "C" fn() -> *const ort::sys::OrtApiBase> =
            library.get(b"OrtGetApiBase").map_err(failed)?;
        match base().as_ref() {
            Some(base) => Ok(CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned()),
            None => Err(RuntimeError::NotOnnxRuntime { path: path.to_path_buf() }),
        }
    }
}

/// Why the file cannot be a library for this machine, as far as its first bytes tell.
fn foreign(path: &Path) -> Option<String> {
    let mut head = [0u8; 20];
    let read = File::open(path).and_then(|mut file| {
        let mut filled = 0;
        while filled < head.len() {
            match file.read(&mut head[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    });
    match read {
        Err(error) => Some(error.to_string()),
        Ok(0) => Some("it is empty".to_owned()),
        Ok(count) if cfg!(target_os = "linux") => elf_fault(&head[..count]),
        Ok(_) => None,
    }
}

/// Why these first bytes are not those of a library for this processor.
fn elf_fault(head: &[u8]) -> Option<String> {
    if !head.starts_with(b"\x7fELF") {
        return Some("it is no ELF file".to_owned());
    }
    let machine = head.get(18..20).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let (own, name) = match std::env::consts::ARCH {
        "x86_64" => (62, "x86_64"),
        "aarch64" => (183, "aarch64"),
        _ => return None,
    };
    match machine {
        None => Some("it is cut short".to_owned()),
        Some(found) if found != own => {
            let found = match found {
                62 => "x86_64".to_owned(),
                183 => "aarch64".to_owned(),
                3 => "32-bit x86".to_owned(),
                40 => "32-bit ARM".to_owned(),
                other => format!("processor number {other}"),
            };
            Some(format!("it is for {found}, this machine is {name}"))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_files_tell_what_they_are() {
        let mut head = [0u8; 20];
        head[..4].copy_from_slice(b"\x7fELF");
        assert_eq!(elf_fault(b"PK\x03\x04").unwrap(), "it is no ELF file");
        assert_eq!(elf_fault(&head[..10]).unwrap(), "it is cut short");
        head[18] = 243;
        assert!(elf_fault(&head).unwrap().contains("processor number 243"));
        head[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
        assert_eq!(elf_fault(&head), None);
    }
}
