//! Checkpoints written by PyTorch itself (in `tests/fixtures/pickle`), and programs that must be
//! refused.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::*;
use crate::error::{Error, ModelError};
use crate::tensor::{DType, Weights};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickle").join(name)
}

fn open_bytes(bytes: &[u8]) -> Result<Weights> {
    Weights::of_bytes(Path::new("model.pth"), Bytes::copy_from_slice(bytes))
}

/// A stream whose object is the program given.
fn stream(object: &[u8]) -> Vec<u8> {
    let magic: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let system: &[u8] = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
    [magic, system, object, b"\x80\x02].".as_slice()].concat()
}

#[test]
fn both_formats_and_all_protocols_hold_the_same_tensors() {
    for protocol in 2..=5 {
        for format in ["zip", "legacy"] {
            let weights = Weights::open(&fixture(&format!("p{protocol}_{format}.pt"))).unwrap();
            let names: Vec<&str> = weights.names().collect();
            assert_eq!(names, ["model.a", "model.b", "model.bl", "model.h", "model.i"], "{protocol} {format}");
            let a = weights.get("model.a").unwrap();
            assert_eq!(a.shape(), [3, 2]);
            assert_eq!(a.values::<f32>().unwrap().as_ref(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(weights.get("model.b").unwrap().values::<f32>().unwrap().as_ref(), [1.0, 1.0]);
            assert_eq!(weights.get("model.h").unwrap().to_f32().unwrap().as_ref(), [1.0; 3]);
            assert_eq!(weights.get("model.i").unwrap().values::<i64>().unwrap().as_ref(), [3]);
            assert_eq!(weights.dtype("model.bl"), Some(DType::Bool));
            assert_eq!(weights.get("model.bl").unwrap().bytes().as_ref(), [1, 0]);
        }
    }
}

#[test]
fn a_pickle_that_would_run_code_is_refused_by_name() {
    for (program, global) in [
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.".as_slice(), "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n)R.", "torch.storage._load_from_bytes"),
    ] {
        let error = open_bytes(&stream(program)).unwrap_err();
        assert!(matches!(&error, Error::Model(ModelError::ForbiddenGlobal { global: found, .. }) if found == global));
        assert!(error.to_string().contains("nothing of it was executed"), "{error}");
    }
}

#[test]
fn truncation_at_any_byte_is_an_error_and_never_a_panic() {
    for name in ["p2_zip.pt", "p2_legacy.pt", "p4_legacy.pt"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        assert!(open_bytes(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(open_bytes(&bytes[..end]).is_err(), "{name}: accepted {end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let bytes = std::fs::read(fixture("p4_legacy.pt")).unwrap();
    for at in 0..bytes.len() {
        for value in [0, b'.', b'R', b'(', b't', b'e', 0x94, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(weights) = open_bytes(&damaged) {
                for name in weights.names() {
                    weights.get(name).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_cyclic_or_foreign_pickle_is_an_error() {
    // A list that holds itself.
    let error = open_bytes(&stream(b"\x80\x02]q\x00h\x00a.")).unwrap_err();
    assert!(error.to_string().contains("it holds no tensor"), "{error}");
    let error = open_bytes(b"\x80\x02]q\x00K\x01a.").unwrap_err();
    assert!(error.to_string().contains("not one that `torch.save` wrote"), "{error}");
}

#[test]
fn storages_are_slices_of_the_file() {
    let bytes = Bytes::from(std::fs::read(fixture("p2_legacy.pt")).unwrap());
    let tensors = read_stream(Path::new("x"), &bytes).unwrap();
    let storage = &tensors["model.b"].storage;
    assert!(bytes.as_ptr_range().contains(&storage.as_ptr()));
}
