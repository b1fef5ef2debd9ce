//! Which wheels hold the ONNX Runtime library for this machine, and their installation into the
//! cache directory.
//!
//! The versions are pinned and their sha256 digests known. The CUDA flavour brings the parts of
//! CUDA 13 and cuDNN 9 that the library needs, so that a machine needs nothing but the NVIDIA
//! driver.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::error::{FetchError, Result};
use crate::runtime::training_library;
use crate::support::progress::Progress;
use crate::support::wheel::Wheel;
use crate::support::{env, wheel};

/// What the library can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The CPU.
    Cpu,
    /// The CPU and NVIDIA devices.
    Cuda,
    /// The CPU, with ONNX Runtime's training API; used where it is named, never found by itself.
    Training,
}

impl Flavour {
    /// The pinned version of ONNX Runtime.
    pub const fn version(self) -> &'static str {
        match self {
            Flavour::Cpu => "1.32.0",
            Flavour::Cuda => "1.31.1",
            Flavour::Training => training_library::VERSION,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Flavour::Cpu => "cpu",
            Flavour::Cuda => "cuda",
            Flavour::Training => "training",
        }
    }

    /// Where it is installed: `runtime/onnxruntime-1.32.0-cpu` in the cache directory.
    ///
    /// # Errors
    /// [`FetchError::NoCacheDirectory`].
    pub fn directory(self) -> Result<PathBuf> {
        let name = format!("onnxruntime-{}-{}", self.version(), self.name());
        Ok(env::required_cache_directory()?.join("runtime").join(name))
    }

    /// The wheels it is made of on this machine.
    ///
    /// # Errors
    /// [`FetchError::NoWheel`] where there are none.
    fn wheels(self) -> Result<Vec<Wheel<'static>>, FetchError> {
        let platforms = platforms();
        let missing = match self {
            Flavour::Cpu => platforms.is_empty(),
            Flavour::Cuda => CUDA.is_empty(),
            Flavour::Training => !cfg!(all(target_os = "linux", target_arch = "x86_64")),
        };
        if missing {
            return Err(FetchError::NoWheel {
                what: format!("the {} flavour of onnxruntime {}", self.name(), self.version()),
                platform: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
            });
        }
        let parts: &[Part] = match self {
            Flavour::Cpu => &CPU,
            Flavour::Cuda => &CUDA,
            Flavour::Training => &TRAINING,
        };
        let wheel = |&(specification, sha256, place): &Part| {
            let (package, version) = specification.split_once(' ')?;
            let python = if self == Flavour::Training { training_library::PYTHON } else { wheel::ANY_PYTHON };
            Some(Wheel { package, version: Cow::Borrowed(version), sha256, platforms, python, place })
        };
        Ok(parts.iter().filter_map(wheel).collect())
    }

    /// Installs it, unless it is installed already; gives its directory.
    ///
    /// # Errors
    /// See [`wheel::fetch`]; [`FetchError::Underivable`].
    pub fn install(self, progress: &dyn Progress) -> Result<PathBuf> {
        let directory = self.directory()?;
        if !directory.is_dir() {
            let finish = if self == Flavour::Training { training_library::finish } else { |_: &Path| Ok(()) };
            wheel::fetch_and(&self.wheels()?, &directory, &finish, progress)?;
        }
        Ok(directory)
    }
}

/// Package and version, digests of the files for this operating system, placement of the members.
type Part = (&'static str, &'static [&'static str], fn(&str) -> Option<&str>);

/// The official CPU wheel: Linux x86_64 and aarch64, macOS arm64, Windows x86_64 and arm64.
const CPU: [Part; 1] = [(
    "onnxruntime 1.32.0",
    &[
        "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
        "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
        "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
        "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
        "64d394c69d561af3efd4d4f49dcac8f11d0ce135a20701c16d53b74056cd4cf8",
    ],
    onnxruntime_files,
)];

/// The last official wheel with the training API.
const TRAINING: [Part; 1] = [(training_library::PACKAGE, &[training_library::WHEEL_SHA256], training_library::member)];

/// The official CUDA wheel and what its CUDA provider loads, from NVIDIA's own wheels.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const CUDA: [Part; 6] = [
    (
        "onnxruntime-gpu 1.31.1",
        &["05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7"],
        onnxruntime_files,
    ),
    (
        "nvidia-cuda-runtime 13.0.96",
        &["7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"],
        nvidia_files,
    ),
    ("nvidia-cublas 13.0.2.14", &["0cf238ffdbe46c00cb9aa98e7bca745c223a5ca5a53e686ac8b3e5a08fe80d6c"], nvidia_files),
    ("nvidia-curand 10.4.0.35", &["1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc"], nvidia_files),
    ("nvidia-cuda-nvrtc 13.0.88", &["ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"], nvidia_files),
    (
        "nvidia-cudnn-cu13 9.13.1.26",
        &["a0f434a881ce8b35afe3a328634db1da4a3852fc6dfbe89577f3e78400ee10d0"],
        nvidia_files,
    ),
];

/// The same for Windows.
#[cfg(all(target_os = "windows", target_arch = "x86_64"))]
const CUDA: [Part; 6] = [
    (
        "onnxruntime-gpu 1.31.1",
        &["2bb1e9373baba88f6415257f5b6a589d23e23c16004f7d89adf4344eada5749e"],
        onnxruntime_files,
    ),
    (
        "nvidia-cuda-runtime 13.0.96",
        &["f79298c8a098cec150a597c8eba58ecdab96e3bdc4b9bc4f9983635031740492"],
        nvidia_files,
    ),
    ("nvidia-cublas 13.0.2.14", &["5f7a90456b1392db60e28719547ba6e00696bfa81304b6887cf287f9edf2c1d7"], nvidia_files),
    ("nvidia-curand 10.4.0.35", &["65b1710aa6961d326b411e314b374290904c5ddf41dc3f766ebc3f1d7d4ca69f"], nvidia_files),
    ("nvidia-cuda-nvrtc 13.0.88", &["6bcd4e7f8e205cbe644f5a98f2f799bef9556fefc89dd786e79a16312ce49872"], nvidia_files),
    (
        "nvidia-cudnn-cu13 9.13.1.26",
        &["829ada5fd649e6ad81f5e3968d9ca03c73e90de3fa67295c5dbb13926d09852a"],
        nvidia_files,
    ),
];

/// Elsewhere there is no CUDA wheel of this version.
#[cfg(not(all(any(target_os = "linux", target_os = "windows"), target_arch = "x86_64")))]
const CUDA: [Part; 0] = [];

/// The `pip` platform tags of this machine, the newest first; empty where ONNX Runtime has no
/// wheel.
fn platforms() -> &'static [&'static str] {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => {
            &["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        }
        ("linux", "aarch64") => &["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"],
        ("macos", "aarch64") => &["macosx_14_0_arm64"],
        ("windows", "x86_64") => &["win_amd64"],
        ("windows", "aarch64") => &["win_arm64"],
        _ => &[],
    }
}

/// From ONNX Runtime's wheels: the libraries and the licences, in one directory.
fn onnxruntime_files(member: &str) -> Option<&str> {
    let path = member.strip_prefix("onnxruntime/")?;
    if matches!(path, "LICENSE" | "ThirdPartyNotices.txt") {
        return Some(path);
    }
    let file = path.strip_prefix("capi/")?;
    let library = (file.starts_with("libonnxruntime") || file.starts_with("onnxruntime"))
        && (file.contains(".so") || file.ends_with(".dylib") || file.ends_with(".dll"))
        // The Python extension, and a provider whose own library no wheel here brings.
        && !file.contains("pybind11")
        && !file.contains("tensorrt");
    library.then_some(file)
}

/// From NVIDIA's wheels: the libraries beside ONNX Runtime's, the licences below the package's
/// name.
fn nvidia_files(member: &str) -> Option<&str> {
    let (folder, file) = member.rsplit_once('/')?;
    if folder.contains(".dist-info") {
        return file.starts_with("License").then_some(member);
    }
    let library =
        (folder.contains("/lib") && file.contains(".so.")) || (folder.contains("/bin") && file.ends_with(".dll"));
    library.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_libraries_and_licences_are_taken() {
        assert_eq!(onnxruntime_files("onnxruntime/capi/libonnxruntime.so.1.32.0"), Some("libonnxruntime.so.1.32.0"));
        assert_eq!(onnxruntime_files("onnxruntime/capi/onnxruntime.dll"), Some("onnxruntime.dll"));
        assert_eq!(onnxruntime_files("onnxruntime/LICENSE"), Some("LICENSE"));
        assert_eq!(onnxruntime_files("onnxruntime/capi/onnxruntime_pybind11_state.so"), None);
        assert_eq!(onnxruntime_files("onnxruntime/capi/libonnxruntime_providers_tensorrt.so"), None);
        assert_eq!(onnxruntime_files("onnxruntime/capi/training/api.py"), None);
        assert_eq!(nvidia_files("nvidia/cu13/lib/libcublas.so.13"), Some("libcublas.so.13"));
        assert_eq!(nvidia_files("nvidia/cu13/include/cublas.h"), None);
        let licence = "nvidia_cublas-13.0.2.14.dist-info/licenses/License.txt";
        assert_eq!(nvidia_files(licence), Some(licence));
    }

    #[test]
    fn this_machine_has_wheels_and_every_wheel_has_digests() {
        if platforms().is_empty() {
            return;
        }
        for wheel in Flavour::Cpu.wheels().unwrap() {
            assert!(!wheel.sha256.is_empty() && wheel.sha256.iter().all(|digest| digest.len() == 64));
        }
    }
}
