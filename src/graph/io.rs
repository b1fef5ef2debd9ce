//! Models from and to files: protobuf, memory-mapped on loading, replaced atomically on saving.
//!
//! A model larger than protobuf allows is saved with its weights in one side file,
//! `NAME.onnx.data`.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use crate::error::{FileError, GraphError, Result};
use crate::graph::decode::decode;
use crate::graph::external::ExternalFiles;
use crate::graph::model::{KNOWN_OPSETS, Model};
use crate::graph::{chunks, encode, external, proto};
use crate::support::{fs, mapped};

/// The largest protobuf message: 2 GiB less one byte.
const LARGEST_MESSAGE: u64 = (1 << 31) - 1;

/// How a model is laid out in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveOptions {
    /// Models of more bytes than this keep their weights in a side file; at most 2 GiB less one
    /// byte.
    pub largest_file: u64,
}

impl Default for SaveOptions {
    fn default() -> Self {
        SaveOptions { largest_file: LARGEST_MESSAGE }
    }
}

impl Model {
    /// Loads a model with its external data; large files are memory-mapped.
    ///
    /// The graph is decoded, not validated: see [`validate`](super::validate).
    ///
    /// # Errors
    /// [`FileError::Io`] when a file cannot be read; [`FileError::Parse`], with a [`GraphError`] as
    /// its source, when the file is no ONNX model, when external data is outside the model's
    /// directory or not of the right size, and when the standard operators' version is not one of
    /// [`KNOWN_OPSETS`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = mapped::read_shared(path)?;
        let mut files = ExternalFiles::beside(path)?;
        decode(bytes, Some(&mut files)).and_then(checked).map_err(|error| match error {
            crate::Error::File(error) => error.into(),
            other => FileError::Parse { path: path.to_path_buf(), format: "ONNX", source: Box::new(other) }.into(),
        })
    }

    /// The files with external data of a model, as the model names them: relative to its directory,
    /// sorted.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn external_files(path: &Path) -> Result<Vec<String>> {
        let mut files = ExternalFiles::beside(path)?;
        decode(mapped::read_shared(path)?, Some(&mut files))?;
        Ok(files.locations())
    }

    /// Decodes a model from memory; the weights share `bytes`.
    ///
    /// # Errors
    /// [`GraphError`] as for [`Model::load`]; external data is refused.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        decode(bytes, None).and_then(checked)
    }

    /// The model as one protobuf message, weights included.
    ///
    /// # Errors
    /// [`GraphError::TooLarge`] when that is more than 2 GiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        encoded(&encode::model(self))
    }

    /// Saves the model, replacing the file atomically; above 2 GiB the weights go to
    /// `NAME.onnx.data` beside it.
    ///
    /// # Errors
    /// [`FileError::Io`] when a file cannot be written; [`GraphError::TooLarge`] when the graph
    /// without its weights is too large.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_with(path, SaveOptions::default())
    }

    /// Saves the model as `options` say, see [`Model::save`].
    ///
    /// The side file is replaced before the model's file: a crash between the two leaves the old
    /// model with new weights, so a model with external data is better saved under a new name than
    /// over itself.
    ///
    /// # Errors
    /// As [`Model::save`].
    pub fn save_with(&self, path: &Path, options: SaveOptions) -> Result<()> {
        let mut message = encode::model(self);
        if message.encoded_len() as u64 > options.largest_file.min(LARGEST_MESSAGE) {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(".data");
            let pieces = external::extract(&mut message, &name.to_string_lossy());
            if !pieces.is_empty() {
                let side = path.with_file_name(&name);
                fs::replace_with(&side, |file| external::write(&side, file, &pieces))?;
            }
        }
        check_size(&message)?;
        let pieces = chunks::pieces(message);
        fs::replace_with(path, |file| {
            let mut write = || pieces.iter().try_for_each(|piece| file.write_all(piece));
            Ok(write().map_err(fs::io_error("write", path))?)
        })
    }
}

/// The message as bytes, if it is not larger than protobuf allows.
pub(super) fn encoded(message: &proto::Model) -> Result<Vec<u8>> {
    check_size(message)?;
    Ok(message.encode_to_vec())
}

fn check_size(message: &proto::Model) -> Result<()> {
    let size = message.encoded_len() as u64;
    if size > LARGEST_MESSAGE {
        return Err(GraphError::TooLarge { size, limit: LARGEST_MESSAGE }.into());
    }
    Ok(())
}

/// The model, if its standard operators are of a version that is understood.
fn checked(model: Model) -> Result<Model> {
    match model.opset("") {
        Some(version) if !KNOWN_OPSETS.contains(&version) => Err(GraphError::Opset {
            domain: "ai.onnx".to_owned(),
            version,
            lowest: *KNOWN_OPSETS.start(),
            highest: *KNOWN_OPSETS.end(),
        }
        .into()),
        _ => Ok(model),
    }
}
