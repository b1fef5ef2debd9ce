//! One look at one image file.

use std::error::Error as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::pixels::{DecodeLimits, Decoding, check_size, format_name, frame};
use crate::preprocess::{Image, Samples};
use crate::support::fs;

/// What one file is.
pub(super) struct ImageHash {
    /// Size of the file; 0 where it cannot be read.
    pub(super) bytes: u64,
    /// The decoded image, or why there is none.
    pub(super) picture: Result<Picture, String>,
}

/// What one decoded image is.
pub(super) struct Picture {
    pub(super) format: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    channels: usize,
    bits: u8,
    /// Whether its file has further pages or frames.
    pub(super) is_first_of_several: bool,
    /// Digest of size, channels, depth and pixels.
    pub(super) digest: [u8; 32],
}

impl ImageHash {
    /// Reads and decodes a file.
    pub(super) fn at(path: &Path, limits: &DecodeLimits) -> Self {
        let (path, frame) = frame::source(path);
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        let decoding = Decoding { limits: *limits, frame, ..Decoding::default() };
        ImageHash { bytes, picture: picture(&path, bytes, &decoding).map_err(|error| reason(&error)) }
    }
}

impl Picture {
    /// For example `RGB, 8 bits`.
    pub(super) fn kind(&self) -> String {
        let channels = match self.channels {
            1 => "grey".to_owned(),
            3 => "RGB".to_owned(),
            other => format!("{other} channels"),
        };
        format!("{channels}, {} bits", self.bits)
    }
}

fn picture(path: &Path, bytes: u64, decoding: &Decoding) -> Result<Picture> {
    check_size(bytes, &decoding.limits)?;
    let content = fs::read(path)?;
    let image = decoding.decode(&content)?;
    let format = format_name(&content)?;
    let (bits, samples): (u8, &[u8]) = match &image.samples {
        Samples::U8(samples) => (8, samples),
        Samples::U16(samples) => (16, bytemuck::cast_slice(samples)),
    };
    let Image { width, height, channels, .. } = image;
    let header = format!("{width} {height} {channels} {bits}\n");
    let digest = Sha256::new().chain_update(header).chain_update(samples).finalize().into();
    let is_first_of_several = decoding.frame.is_none() && frame::has_several(&content);
    Ok(Picture { format, width, height, channels, bits, is_first_of_several, digest })
}

/// The error and its causes in one line.
fn reason(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
