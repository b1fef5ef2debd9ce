//! Frames of files that hold several: `FILE#N` names frame N, from 1, wherever a path is expected.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::limits::DecodeLimits;
use super::tiff::directory::Directory;
use super::{dicom, gif, orientation};
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

/// Whether a picture has pages or frames behind the first, which alone is decoded: TIFF, GIF,
/// animated PNG and WebP.
pub(crate) fn has_several(bytes: &[u8]) -> bool {
    match bytes {
        [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => {
            Directory::first(bytes).is_some_and(|directory| directory.has_next)
        }
        [b'G', b'I', b'F', b'8', ..] => gif::has_several(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', b'V', b'P', b'8', b'X', _, _, _, _, flags, ..] => {
            flags & 2 != 0
        }
        [0x89, b'P', b'N', b'G', ..] => {
            orientation::png_chunks(bytes).find(|(kind, _)| matches!(*kind, b"acTL" | b"IDAT")).is_some_and(
                |(kind, body)| kind == b"acTL" && body.first_chunk().is_some_and(|n| u32::from_be_bytes(*n) > 1),
            )
        }
        _ => false,
    }
}

/// What a run says of so many files that have several.
pub(crate) fn note_of_several(files: usize) -> Option<String> {
    match files {
        0 => None,
        1 => Some("1 file holds several pages or frames: the first is its image".to_owned()),
        _ => Some(format!("{files} files hold several pages or frames: the first of each is its image")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixels::gif::tests::gif;

    #[test]
    fn pages_and_frames_behind_the_first_are_noticed() {
        let tiff = |next: u8| [b"II*\0\x08\0\0\0\0\0".as_slice(), &[next, 0, 0, 0]].concat();
        let png = |chunk: &[u8]| [b"\x89PNG\r\n\x1a\n".as_slice(), chunk].concat();
        let animated = |frames: u8| png(&[b"\0\0\0\x08acTL\0\0\0".as_slice(), &[frames], b"\0\0\0\0crc!"].concat());
        let webp = |flags: u8| [b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0".as_slice(), &[flags, 0, 0, 0]].concat();
        for several in [gif(2), gif(3), tiff(1), animated(2), webp(2)] {
            assert!(has_several(&several), "{}", several.escape_ascii());
        }
        let cut = gif(2)[..30].to_vec();
        for one in [gif(1), tiff(0), animated(1), png(b"\0\0\0\0IDATcrc!"), webp(0x10), cut, b"P5 1 1".to_vec()] {
            assert!(!has_several(&one), "{}", one.escape_ascii());
        }
    }

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
