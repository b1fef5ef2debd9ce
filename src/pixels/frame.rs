//! Frames of files that hold several: `FILE#N` names frame N, from 1, wherever a path is expected.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::decode::DecodeLimits;
use super::dicom;
use crate::support::fs;

/// How much of a file is read to count its frames; more only where that does not reach.
const HEAD: u64 = 1 << 18;

/// The file that a path means, and the frame (from 0) where the path ends in `#N` and no file is
/// called so.
pub(crate) fn source(path: &Path) -> (PathBuf, Option<u32>) {
    let divided = || {
        let name = path.file_name()?.to_str()?;
        let (file, number) = name.rsplit_once('#')?;
        if file.is_empty() || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) || path.exists() {
            return None;
        }
        // Frame 0 becomes one that no file has, so that it is refused by number.
        let number = number.parse::<u32>().ok()?;
        Some((path.with_file_name(file), Some(number.wrapping_sub(1))))
    };
    divided().unwrap_or_else(|| (path.to_path_buf(), None))
}

/// Frames of a DICOM file; `None` for any other and for what cannot be read.
pub(crate) fn count(path: &Path) -> Option<u32> {
    let mut file = fs::open(path).ok()?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes).ok()?;
    if !dicom::is_dicom(&bytes) {
        return None;
    }
    let limits = DecodeLimits::default();
    dicom::count_frames(&bytes, &limits).or_else(|| {
        file.take(limits.max_bytes).read_to_end(&mut bytes).ok()?;
        dicom::count_frames(&bytes, &limits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_the_name_is_a_frame_unless_a_file_is_called_so() {
        let of = |path: &str| source(Path::new(path));
        assert_eq!(of("a/scan.dcm#3"), (PathBuf::from("a/scan.dcm"), Some(2)));
        for whole in ["a/scan.dcm", "a/scan#x", "a#2/scan.dcm", "#3", "a/scan#"] {
            assert_eq!(of(whole), (PathBuf::from(whole), None), "{whole}");
        }
        assert_eq!(of("scan#0").1, Some(u32::MAX));
        let folder = tempfile::tempdir().unwrap();
        let literal = folder.path().join("scan#7");
        std::fs::write(&literal, "x").unwrap();
        assert_eq!(source(&literal), (literal, None));
    }
}
