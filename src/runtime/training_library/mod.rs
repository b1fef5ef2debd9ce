//! An ONNX Runtime library with the training API, where nobody publishes one: derived from the
//! last official wheel that holds it, `onnxruntime-training-cpu` 1.19.2, for Linux on x86_64.
//!
//! The wheel, the extension in it and the derived library are pinned by their sha256: a file that
//! is not the known one stops the installation, and nothing is written. Licence and notices of the
//! wheel are kept beside the library.

mod derive;
mod elf;

use std::path::Path;

use crate::error::{FetchError, Result};
use crate::support::fs;

/// The version of the wheel and the library.
pub(super) const VERSION: &str = "1.19.2";
/// Package and version.
pub(super) const PACKAGE: &str = "onnxruntime-training-cpu 1.19.2";
/// The wheel for CPython 3.11; the library in it does not depend on the interpreter.
pub(super) const WHEEL_SHA256: &str = "9b3cde497eb76af75ecae2eb2a4e3a8b2477da0b833315a3d5e2c63f0dc8d5d6";
/// The interpreter that the pinned wheel is for.
pub(super) const PYTHON: &str = "3.11";
/// The extension in the wheel.
const EXTENSION_SHA256: &str = "637012bc7b9b9e8a00b006be918091d04d143ca5c57ee820584478a15298d0ee";
/// The library derived from it.
const LIBRARY_SHA256: &str = "06ded7b4c7a54bfda1ed9394e6309d200796e057eb5005ddbac19463918ea4d0";
/// The extension, where [`member`] puts it.
const EXTENSION: &str = "extension.so";
/// The library's name, as in the other wheels.
const LIBRARY: &str = "libonnxruntime.so.1.19.2";

/// From the wheel: the extension and the licences.
pub(super) fn member(name: &str) -> Option<&str> {
    let path = name.strip_prefix("onnxruntime/")?;
    if matches!(path, "LICENSE" | "ThirdPartyNotices.txt") {
        return Some(path);
    }
    let file = path.strip_prefix("capi/")?;
    (file.starts_with("onnxruntime_pybind11_state") && file.ends_with(".so")).then_some(EXTENSION)
}

/// Replaces the extension in a directory of unpacked files by the library derived from it.
///
/// # Errors
/// [`FetchError::Underivable`] where extension or library are not the known ones.
pub(super) fn finish(directory: &Path) -> Result<()> {
    let extension = directory.join(EXTENSION);
    let library = library(fs::read(&extension)?)
        .map_err(|reason| FetchError::Underivable { what: format!("the library of {PACKAGE}"), reason })?;
    fs::replace(&directory.join(LIBRARY), &library)?;
    fs::remove_file(&extension)
}

/// The library, of an extension with the known digest.
fn library(extension: Vec<u8>) -> elf::Outcome<Vec<u8>> {
    expect_digest("the extension in the wheel", &extension, EXTENSION_SHA256)?;
    let library = derive::derive(extension, VERSION)?;
    expect_digest("the derived library", &library, LIBRARY_SHA256)?;
    Ok(library)
}

fn expect_digest(what: &str, bytes: &[u8], known: &str) -> elf::Outcome<()> {
    let found = fs::sha256(bytes);
    if found == known { Ok(()) } else { Err(format!("{what} has sha256 {found}, not {known}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_extension_and_the_licences_are_taken() {
        let extension = "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so";
        assert_eq!(member(extension), Some(EXTENSION));
        assert_eq!(member("onnxruntime/LICENSE"), Some("LICENSE"));
        assert_eq!(member("onnxruntime/capi/libonnxruntime_providers_shared.so"), None);
        assert_eq!(member("onnxruntime/training/api/module.py"), None);
    }

    #[test]
    fn another_extension_is_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::replace(&folder.path().join(EXTENSION), b"another").unwrap();
        let error = finish(folder.path()).unwrap_err();
        assert!(error.to_string().contains("the extension in the wheel has sha256"), "{error}");
        assert!(!folder.path().join(LIBRARY).exists());
    }
}
