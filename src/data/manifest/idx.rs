//! IDX files, as MNIST and its successors are published: many grey images, or their labels, in one
//! file, gzipped or not.
//!
//! The format (LeCun et al., the MNIST database): two zero bytes, the type of the values (8: one
//! unsigned byte), the number of dimensions, each dimension as a big-endian `u32`, then the values.
//! Labels have one dimension, images three: `[N, H, W]`. Refused: other types, other dimensions,
//! files that are shorter or longer than their header says.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use rayon::prelude::*;

use crate::data::table::{Cells, StringColumn};
use crate::error::{DataError, Result};
use crate::support::fs;

/// Most values of one file.
const MOST: u64 = 1 << 32;

/// The content of an IDX file.
struct Values<const DIMENSIONS: usize> {
    shape: [usize; DIMENSIONS],
    values: Vec<u8>,
}

/// The labels of a file as columns: `row`, from 0, all with as many digits, and `label`.
///
/// # Errors
/// [`DataError::Table`] for a file that is not one of labels.
pub(super) fn labels(path: &Path) -> Result<Cells> {
    let Values { shape: [count], values } = read::<1>(path)?;
    let digits = count.saturating_sub(1).to_string().len();
    let rows = (0..count).map(|row| Some(format!("{row:0digits$}"))).collect::<StringColumn>();
    let labels = values.iter().map(|label| Some(label.to_string())).collect::<StringColumn>();
    let columns = vec![("row".to_owned(), rows), ("label".to_owned(), labels)];
    Ok(Cells { columns, rows: (1..=count as u64).collect() })
}

/// Writes the images of a file as PNG files; `to` is where each goes, in the order of the file.
///
/// # Errors
/// [`DataError::Table`] for a file that is not one of images, or not of as many; `FileError` for
/// one that cannot be written.
pub(super) fn unpack(path: &Path, to: &[impl AsRef<Path> + Sync]) -> Result<()> {
    let Values { shape: [count, height, width], values } = read::<3>(path)?;
    if count != to.len() {
        return Err(refuse(path, format!("it holds {count} images, but there are {} labels", to.len())));
    }
    if values.is_empty() {
        return Ok(());
    }
    let mut folders: Vec<&Path> = to.iter().filter_map(|file| file.as_ref().parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.into_iter().try_for_each(fs::create_directory)?;
    let size = |length: usize| u32::try_from(length).map_err(|_| refuse(path, format!("its images are {length} wide")));
    let (width, height) = (size(width)?, size(height)?);
    values.par_chunks_exact(width as usize * height as usize).zip(to).try_for_each(|(pixels, file)| {
        let mut png = Vec::with_capacity(pixels.len());
        let written = PngEncoder::new(&mut png).write_image(pixels, width, height, ExtendedColorType::L8);
        written.map_err(|error| fs::io_error("encode", file.as_ref())(std::io::Error::other(error)))?;
        fs::write(file.as_ref(), &png)
    })
}

/// Reads a file with that many dimensions.
fn read<const DIMENSIONS: usize>(path: &Path) -> Result<Values<DIMENSIONS>> {
    let bytes = fs::read(path)?;
    let mut content: Box<dyn Read> = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(bytes.as_slice())),
        false => Box::new(bytes.as_slice()),
    };
    let mut word = || -> Result<[u8; 4]> {
        let mut word = [0; 4];
        content.read_exact(&mut word).map_err(|error| refuse(path, format!("its header ends early ({error})")))?;
        Ok(word)
    };
    let found = word()?;
    if found != [0, 0, 8, DIMENSIONS as u8] {
        let expected = format!("an IDX file of bytes with {DIMENSIONS} dimensions starts with 0, 0, 8, {DIMENSIONS}");
        return Err(refuse(path, format!("it starts with the bytes {found:?}; {expected}")));
    }
    let mut shape = [0; DIMENSIONS];
    for length in &mut shape {
        *length = u32::from_be_bytes(word()?) as usize;
    }
    let wanted = shape.iter().try_fold(1u64, |all, &length| all.checked_mul(length as u64)).filter(|&all| all <= MOST);
    let wanted = wanted.ok_or_else(|| refuse(path, format!("its header announces {shape:?} values")))?;
    let mut values = Vec::new();
    let read = content.take(wanted + 1).read_to_end(&mut values);
    let found =
        read.map_err(|error| refuse(path, format!("{} of {wanted} values can be read ({error})", values.len())))?;
    match (found as u64).cmp(&wanted) {
        std::cmp::Ordering::Equal => Ok(Values { shape, values }),
        std::cmp::Ordering::Less => Err(refuse(path, format!("it holds {found} values, its header says {wanted}"))),
        std::cmp::Ordering::Greater => {
            Err(refuse(path, format!("it holds more than the {wanted} values of its header")))
        }
    }
}

fn refuse(path: &Path, problem: String) -> crate::error::Error {
    DataError::Table { path: path.to_path_buf(), problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<const DIMENSIONS: usize>(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        read::<DIMENSIONS>(&path).err().unwrap().to_string()
    }

    #[test]
    fn files_that_are_not_as_their_header_says_are_refused() {
        assert!(refused::<1>(&[0, 0]).contains("header ends early"));
        assert!(refused::<1>(&[0, 0, 8, 1, 0, 0, 0, 2, 7]).contains("1 values, its header says 2"));
        assert!(refused::<1>(&[0, 0, 8, 1, 0, 0, 0, 1, 7, 7]).contains("more than the 1 values"));
        assert!(refused::<1>(&[0, 0, 13, 1, 0, 0, 0, 1, 7]).contains("starts with the bytes [0, 0, 13, 1]"));
        assert!(refused::<3>(&[0, 0, 8, 1, 0, 0, 0, 1, 7]).contains("3 dimensions"));
        assert!(refused::<3>(&[&[0, 0, 8, 3][..], &[0xff; 12]].concat()).contains("announces"));
        assert!(refused::<1>(&[0x1f, 0x8b, 8, 0, 0]).contains("header ends early"));
    }
}
